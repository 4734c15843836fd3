//! Inputs that the warden holds until their stage is due, and stages that never start because their input failed.

use std::io;

use assize_protocol::event::{StageEnded, StageExit};
use assize_protocol::frame::Kind;
use assize_protocol::progress::DroppedLines;

use super::Stages;
use crate::cgroup;
use crate::clock;
use crate::handover::Handed;
use crate::stage::full_disk;
use crate::unpack::Interrupt;

impl Stages<'_, '_> {
    /// Reports a stage that has no process.
    pub(super) fn never_started(&mut self, index: u8, exit: StageExit) -> io::Result<()> {
        let at_us = clock::now_us();
        let ended = StageEnded {
            stage: index,
            exit,
            ready: false,
            started_us: at_us,
            at_us,
            output_bytes: 0,
            output_dropped: 0,
            cpu_ms: 0,
            max_rss_kib: 0,
            disk_full: full_disk(&self.plan.disks),
            oom_kills: cgroup::oom_kills(),
            memory_limit_hits: cgroup::memory_limit_hits(),
            pids_refused: cgroup::pids_refused(),
            lines_dropped: DroppedLines::default(),
        };
        self.channel.event(Kind::StageEnded, &ended)?;
        self.end_plan(self.plan.grace_ms);
        Ok(())
    }

    /// Unpacks the inputs that were held for this stage. Returns `false` if that ended the plan.
    pub(super) fn hand_in(&mut self, index: u8) -> io::Result<bool> {
        while let Some(position) = self.held.iter().position(|held| held.before == index) {
            let held = self.held.remove(position);
            if !self.reaper.clear_everything() {
                self.status = held.contested();
                self.end_plan(0);
                return Ok(false);
            }
            let handed = held.hand_in(&self.plan.disks, &mut self.inbox.interrupts(self.global_deadline));
            match handed {
                Handed::Whole => continue,
                Handed::Over(status) => {
                    self.status = status;
                    self.end_plan(0);
                }
                // The earlier stages have used up the time.
                Handed::Interrupted(Interrupt::TimeUp) => self.never_started(index, StageExit::GlobalTimedOut)?,
                Handed::Interrupted(Interrupt::Finish | Interrupt::Broken) => {
                    self.handle_frames()?;
                    self.end_plan(0);
                }
            }
            return Ok(false);
        }
        Ok(true)
    }
}
