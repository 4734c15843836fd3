//! The stages of a plan, in one poll loop.
//!
//! # Theory of operation
//!
//! ```text
//!  stdin  ──► inbox ─┐                        ┌─► service's leader   ─┬─ stdout pipe ─┐
//!  proxy's sockets  ─┤                        │
//!  signalfd(SIGCHLD) ┼─► poll ─► Stages::run ─┤   (own process group) └─ stderr pipe ─┤
//!  probe's socket   ─┘     ▲                  └─► foreground's leader ─ pipes ────────┤
//!                          └──────────────────────────────────────────────────────────┘
//!  stdout ◄── channel ◄── head at once, tail and StageEnded at a stage's end
//! ```
//!
//! There is one thread and no signal handler. `running` holds the services that are ready, oldest first, and behind them
//! at most one stage that the plan waits for: a command until it exits, or a service until it is ready. Every event is a
//! descriptor in the poll set or a time in [`Stages::wakes_at`]. The loop waits for nothing else, with these exceptions:
//!
//! - writes to stdout block (see `channel`),
//! - [`Held::hand_in`] runs between two turns, but checks stdin and the plan's deadline after each piece,
//! - [`crate::exec::relay::Relay::open`] (12 s at most) before the first stage, and a copy of the working folder
//!   (`exec/snapshot.rs`, bounded in bytes and entries) before a call,
//! - [`Reaper::clear_group`] (1 s at most), [`Reaper::clear_everything`] (5 s at most) and
//!   [`Running::drain`] (0.2 s at most) when a stage or a call ends.
//!
//! Who waits for whom: the warden is the parent of every leader and inherits every orphan; only `reaper` reaps processes.
//! Leaders wait for nobody: their stdin is `/dev/null`, and the warden empties their pipes as long as they live, also while
//! it stops them, so that no leader blocks on output. The same holds of the pipe of a stage that reports its tests
//! (`progress`).
//!
//! What must hold:
//!
//! 1. No signal handler is ever installed, so the kernel drops every signal that the project sends to PID 1. SIGCHLD, and
//!    the two signals that Rust's runtime handles, are blocked (see [`Reaper::new`]); a forged SIGCHLD costs one check.
//! 2. The warden is not dumpable and its descriptors are close-on-exec, so no process of the same
//!    uid can reach its stdin and stdout, not even through `/proc/1/fd`.
//! 3. A held input is unpacked after every process of the earlier stages was killed and before its own stage starts. A plan
//!    in which a service would still run at that time is refused.
//! 4. A stage is reported as ended only after its leader was reaped and its group was killed, and, if no service runs, after
//!    *every* process of the cell was killed. No process survives from one stage to the next.
//! 5. The reason why a stage was stopped outranks its exit code: a stage that exits with 0 after TERM has timed out.
//! 6. Work per turn is bounded (one read per pipe, 512 reaped processes), so deadlines hold under any load.
//! 7. A proxy exists only as long as its stage: it is closed before the stage is reported as ended.
//! 8. A plan ends with the first process that the kernel kills for memory. The outcome of the run is then certain, and a
//!    project that is killed again and again keeps the kernel and the engine busy at its neighbours' cost.
//! 9. An end of file on stdin does not end the plan: the worker may come back.

mod calls;
mod held_inputs;
mod waiting;

use std::io;

use assize_protocol::egress::ToCell;
use assize_protocol::event::{EndStatus, StageEnded, StageExit, StageReady, StageStarted};
use assize_protocol::frame::{Kind, MAX_PAYLOAD};
use assize_protocol::plan::{Plan, Stage};
use nix::errno::Errno;
use nix::poll::poll;

use crate::cgroup;
use crate::channel::Channel;
use crate::clock;
use crate::handover::{Held, restore};
use crate::inbox::{self, Inbox};
use crate::progress::Progress;
use crate::proxy::Proxy;
use crate::reaper::Reaper;
use crate::stage::{Running, full_disk};
use calls::Calls;
use waiting::Source;

/// Interval of reading the kernel's count of processes killed for memory, in ms. The kernel cannot notify the warden: for
/// that, version 1 requires a write to the cgroup, which a cell may not do. One read takes about 20 µs.
const OOM_CHECK_MS: u64 = 100;

pub struct Stages<'p, 'w> {
    plan: &'p Plan,
    channel: &'w mut Channel,
    inbox: &'w mut Inbox,
    reaper: &'w mut Reaper,
    global_deadline: u64,
    /// Inputs that wait for their stage.
    held: Vec<Held<'p>>,
    running: Vec<Running<'p>>,
    /// Proxy of the last running stage, if that stage has egress.
    proxy: Option<Proxy>,
    calls: Calls<'p>,
    upcoming: std::iter::Enumerate<std::slice::Iter<'p, Stage>>,
    /// Count of processes that the kernel had killed for memory before the first stage.
    oom_kills_before: u64,
    /// Time of the next read of that count, in µs.
    look_at: u64,
    /// Whether the plan is over: no further stage starts, and running stages are being stopped.
    is_over: bool,
    /// How the plan ended.
    status: EndStatus,
    buffer: Vec<u8>,
}

impl<'p, 'w> Stages<'p, 'w> {
    pub fn new(
        plan: &'p Plan,
        held: Vec<Held<'p>>,
        global_deadline: u64,
        channel: &'w mut Channel,
        inbox: &'w mut Inbox,
        reaper: &'w mut Reaper,
    ) -> Self {
        Self {
            plan,
            channel,
            inbox,
            reaper,
            global_deadline,
            held,
            running: Vec::new(),
            proxy: None,
            calls: Calls::none(),
            upcoming: plan.stages.iter().enumerate(),
            oom_kills_before: cgroup::oom_kills(),
            look_at: 0,
            is_over: false,
            status: EndStatus::Done,
            buffer: vec![0; MAX_PAYLOAD],
        }
    }

    /// Runs the stages to their end and returns how the plan ended.
    ///
    /// # Errors
    /// Stdout is gone.
    pub fn run(mut self) -> io::Result<EndStatus> {
        self.open_calls();
        loop {
            // Frames come first: one may have arrived together with the last input.
            self.handle_frames()?;
            self.start_what_is_due()?;
            if self.is_over {
                self.end_calls()?;
            }
            if self.is_over && self.running.is_empty() {
                return Ok(self.status);
            }
            self.turn()?;
            self.keep_time();
            while let Some((position, exit)) = self.next_ended() {
                let ended = self.running.remove(position);
                self.report(ended, exit)?;
            }
        }
    }

    fn start_what_is_due(&mut self) -> io::Result<()> {
        while !self.is_over && self.running.iter().all(|running| running.ready) {
            let Some((index, stage)) = self.upcoming.next() else {
                // A plan whose last stage is a service runs until `Finish`.
                if !self.calls.is_serving()
                    && self.running.last().is_none_or(|last| usize::from(last.index) + 1 < self.plan.stages.len())
                {
                    self.end_plan(self.plan.grace_ms);
                }
                return Ok(());
            };
            let index = u8::try_from(index).unwrap_or(u8::MAX);
            if !self.hand_in(index)? {
                return Ok(());
            }
            for disk in &self.plan.disks {
                // One that is not the warden's to change is none that a stage could have changed.
                let _best_effort = restore(disk);
            }
            if stage.exec.is_some() {
                self.serve_calls(index)?;
                continue;
            }
            let proxy = stage.egress.map(|egress| Proxy::listen(index, egress)).transpose();
            let started = proxy.and_then(|proxy| Ok((proxy, Running::start(index, self.plan, stage, self.reaper)?)));
            match started {
                Ok((proxy, running)) => {
                    self.proxy = proxy;
                    let started = StageStarted { stage: index, at_us: running.started_us };
                    self.running.push(running);
                    self.channel.event(Kind::StageStarted, &started)?;
                }
                Err(error) => self.never_started(index, StageExit::NotStarted { error })?,
            }
        }
        Ok(())
    }

    /// Waits once and handles every event that is ready.
    fn turn(&mut self) -> io::Result<()> {
        let now = clock::now_us();
        let ready: Vec<Source> = {
            let (sources, mut fds) = self.poll_set(now);
            match poll(&mut fds, inbox::timeout(now, self.wakes_at(now))) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let is_ready = fds.iter().map(|fd| fd.any().unwrap_or(true));
            sources.into_iter().zip(is_ready).filter_map(|(source, is_ready)| is_ready.then_some(source)).collect()
        };

        let mut probed = Vec::new();
        for source in &ready {
            match *source {
                Source::Stdin => self.inbox.fill(clock::now_us()),
                Source::Children => {}
                Source::Pipe { running, position } => {
                    if let Some(running) = self.running.get_mut(running) {
                        running.read_pipe(position, &mut self.buffer, self.channel)?;
                    }
                }
                Source::Progress { running } => {
                    if let Some(running) = self.running.get_mut(running) {
                        running.read_progress(&mut self.buffer, self.channel)?;
                    }
                }
                Source::Probe { running } => probed.push(running),
                Source::Listener => {
                    if let Some(proxy) = &mut self.proxy {
                        proxy.accept(clock::now_us());
                    }
                }
                Source::Tunnel { position } => {
                    if let Some(proxy) = &mut self.proxy {
                        proxy.advance(position, &mut self.buffer, self.channel)?;
                    }
                }
                Source::Exec(_) | Source::Relay(_) => {}
            }
        }
        self.handle_calls(&ready);
        self.probe(&probed)?;
        for running in &mut self.running {
            running.close_ended();
            if running.must_die_of_output() {
                running.kill(StageExit::OutputLimit, self.reaper);
            }
        }
        self.reaper.reap();
        self.finish_call();
        Ok(())
    }

    /// Handles frames that arrived while stages run. Only `Finish` and messages for the proxy have a meaning here. Once the
    /// plan is over, stdin is no longer read.
    fn handle_frames(&mut self) -> io::Result<()> {
        while !self.is_over {
            let fault = match self.inbox.take() {
                Ok(None) => return Ok(()),
                Ok(Some(frame)) if frame.kind == Kind::Finish => {
                    self.end_plan(self.plan.grace_ms);
                    return Ok(());
                }
                Ok(Some(frame)) if frame.kind == Kind::ToTunnel => {
                    // An unreadable message was truncated when a worker died; its successor resets every connection.
                    if let (Some(proxy), Some(message)) = (&mut self.proxy, ToCell::decode(&frame.payload)) {
                        proxy.handle_message(message, self.channel)?;
                    }
                    continue;
                }
                Ok(Some(frame)) => {
                    format!("unexpected {:?} frame while stages run; only Finish is allowed", frame.kind)
                }
                Err(error) => format!("the stream is invalid: {error}"),
            };
            self.status = EndStatus::Fault { error: fault };
            self.end_plan(0);
        }
        Ok(())
    }

    fn keep_time(&mut self) {
        let now = clock::now_us();
        self.keep_time_of_calls(now);
        if let Some(proxy) = &mut self.proxy {
            proxy.keep_time(now);
        }
        for running in &mut self.running {
            running.keep_time(now, self.plan.grace_ms, self.reaper);
        }
        if !self.is_over && now >= self.look_at {
            self.look_at = clock::after_ms(now, OOM_CHECK_MS);
            if cgroup::oom_kills() > self.oom_kills_before {
                self.end_plan(0);
            }
        }
        if !self.is_over && now >= self.global_deadline {
            if let Some(last) = self.running.last_mut() {
                last.stop(StageExit::GlobalTimedOut, now, self.plan.grace_ms, self.reaper);
            }
            self.end_plan(self.plan.grace_ms);
        }
    }

    /// Advances the readiness of services, which are due by time as well as by poll.
    fn probe(&mut self, polled: &[usize]) -> io::Result<()> {
        let now = clock::now_us();
        for (position, running) in self.running.iter_mut().enumerate() {
            let Some(readiness) = running.readiness.as_mut() else { continue };
            if readiness.advance(now, polled.contains(&position)) {
                running.set_ready();
                let ready = StageReady { stage: running.index, at_us: clock::now_us(), secret: None };
                self.channel.event(Kind::StageReady, &ready)?;
            }
        }
        Ok(())
    }

    /// The first stage whose leader has ended, and how it ended.
    fn next_ended(&self) -> Option<(usize, StageExit)> {
        let mut running = self.running.iter().enumerate();
        running.find_map(|(position, running)| Some((position, self.reaper.exit_of(running.leader)?)))
    }

    /// Kills what a stage left behind, then reports the stage.
    fn report(&mut self, mut ended: Running<'p>, exit: StageExit) -> io::Result<()> {
        if self.proxy.as_ref().is_some_and(|proxy| proxy.stage() == ended.index) {
            self.proxy = None;
        }
        if self.running.is_empty() {
            self.reaper.clear_everything();
        } else {
            self.reaper.clear_group(ended.leader);
        }
        self.reaper.forget(ended.leader);
        ended.drain(&mut self.buffer, self.channel)?;

        let exit = match ended.stopping.take() {
            Some(why) => why,
            None if ended.kept.is_over_limit() => StageExit::OutputLimit,
            None => exit,
        };
        let has_failed = exit != StageExit::Exited { code: 0 };
        let usage = self.reaper.take_usage();
        let report = StageEnded {
            stage: ended.index,
            exit,
            ready: ended.ready,
            started_us: ended.started_us,
            at_us: clock::now_us(),
            output_bytes: ended.kept.total(),
            output_dropped: ended.kept.dropped(),
            cpu_ms: usage.cpu_ms,
            max_rss_kib: usage.max_rss_kib,
            disk_full: if has_failed { full_disk(&self.plan.disks) } else { None },
            oom_kills: cgroup::oom_kills(),
            memory_limit_hits: cgroup::memory_limit_hits(),
            pids_refused: cgroup::pids_refused(),
            lines_dropped: ended.progress.as_ref().map(Progress::dropped).unwrap_or_default(),
        };
        self.channel.event(Kind::StageEnded, &report)?;
        // A service must not end by itself, whatever its exit code is.
        if has_failed || ended.stage.ready.is_some() {
            self.end_plan(self.plan.grace_ms);
        }
        Ok(())
    }

    fn end_plan(&mut self, grace_ms: u64) {
        self.is_over = true;
        self.proxy = None;
        let now = clock::now_us();
        for running in &mut self.running {
            running.stop(StageExit::Stopped, now, grace_ms, self.reaper);
        }
    }
}
