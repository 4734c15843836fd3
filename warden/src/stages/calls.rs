//! Calls of programs of the subject, at both ends: the stage that serves them, and the stages that make them.

use std::io;

use assize_protocol::event::{EndStatus, StageEnded, StageExit, StageReady, StageStarted};
use assize_protocol::frame::Kind;
use assize_protocol::plan::Plan;
use assize_protocol::progress::DroppedLines;

use super::Stages;
use super::waiting::Source;
use crate::cgroup;
use crate::clock;
use crate::exec::Service;
use crate::exec::relay::Relay;
use crate::stage::full_disk;

/// What a plan has to do with calls.
pub(super) struct Calls<'p> {
    pub(super) service: Option<Service<'p>>,
    pub(super) relay: Option<Relay>,
    /// How the stage that serves calls ends.
    exit: StageExit,
}

impl<'p> Calls<'p> {
    pub(super) const fn none() -> Self {
        Self { service: None, relay: None, exit: StageExit::Stopped }
    }

    /// Before any process of a stage exists.
    fn open(plan: &'p Plan) -> Result<Self, String> {
        let service = Service::listen(plan)?;
        let relay = plan.exec.as_ref().map(Relay::open).transpose()?;
        Ok(Self { service, relay, ..Self::none() })
    }

    pub(super) fn is_serving(&self) -> bool {
        self.service.as_ref().is_some_and(Service::is_serving)
    }
}

impl Stages<'_, '_> {
    pub(super) fn open_calls(&mut self) {
        match Calls::open(self.plan) {
            Ok(calls) => self.calls = calls,
            Err(error) => {
                self.status = EndStatus::Fault { error };
                self.end_plan(0);
            }
        }
    }

    /// Begins to serve calls, as the last stage.
    pub(super) fn serve_calls(&mut self, index: u8) -> io::Result<()> {
        let started_us = clock::now_us();
        self.channel.event(Kind::StageStarted, &StageStarted { stage: index, at_us: started_us })?;
        let Some(service) = &mut self.calls.service else { return Ok(()) };
        let begun = if self.reaper.clear_everything() {
            service.begin()
        } else {
            Err("processes of the stages before live that could not be killed".to_owned())
        };
        match begun {
            Ok(secret) => {
                let ready = StageReady { stage: index, at_us: clock::now_us(), secret: Some(secret) };
                self.channel.event(Kind::StageReady, &ready)
            }
            Err(error) => self.never_started(index, StageExit::NotStarted { error }),
        }
    }

    /// Handles what poll has reported of calls.
    pub(super) fn handle_calls(&mut self, ready: &[Source]) {
        if let Some(service) = &mut self.calls.service {
            let sources: Vec<_> = ready
                .iter()
                .filter_map(|source| if let Source::Exec(exec) = source { Some(*exec) } else { None })
                .collect();
            if !sources.is_empty() {
                service.handle(&sources, &mut self.buffer, self.reaper);
            }
        }
        if let Some(relay) = &mut self.calls.relay {
            let sources: Vec<_> = ready
                .iter()
                .filter_map(|source| if let Source::Relay(relay) = source { Some(*relay) } else { None })
                .collect();
            if !sources.is_empty() {
                relay.handle(&sources, &mut self.buffer);
            }
        }
    }

    /// Ends the call whose program has ended.
    pub(super) fn finish_call(&mut self) {
        let Some(service) = &mut self.calls.service else { return };
        if let Err(error) = service.finish_ended(&mut self.buffer, self.reaper) {
            self.calls.exit = StageExit::NotStarted { error };
            self.end_plan(0);
        }
    }

    pub(super) fn keep_time_of_calls(&mut self, now: u64) {
        if let Some(service) = &mut self.calls.service {
            service.keep_time(now, self.reaper);
        }
        if let Some(relay) = &mut self.calls.relay {
            relay.keep_time(now);
        }
        if !self.is_over && now >= self.global_deadline {
            self.calls.exit = StageExit::GlobalTimedOut;
        }
    }

    /// Ends the stage that serves calls, once the plan is over.
    pub(super) fn end_calls(&mut self) -> io::Result<()> {
        let Some(service) = self.calls.service.take().filter(Service::is_serving) else { return Ok(()) };
        self.reaper.clear_everything();
        let exit = std::mem::replace(&mut self.calls.exit, StageExit::Stopped);
        let usage = self.reaper.take_usage();
        let ended = StageEnded {
            stage: service.index,
            ready: true,
            started_us: service.started_us,
            at_us: clock::now_us(),
            output_bytes: 0,
            output_dropped: 0,
            cpu_ms: usage.cpu_ms,
            max_rss_kib: usage.max_rss_kib,
            disk_full: if exit == StageExit::Stopped { None } else { full_disk(&self.plan.disks) },
            oom_kills: cgroup::oom_kills(),
            memory_limit_hits: cgroup::memory_limit_hits(),
            pids_refused: cgroup::pids_refused(),
            lines_dropped: DroppedLines::default(),
            exit,
        };
        self.channel.event(Kind::StageEnded, &ended)
    }
}
