//! The last stage of a subject whose driver calls its programs: the warden itself serves.
//!
//! # Theory of operation
//!
//! ```text
//!  driver's warden ──TCP──► listener ─► guests ─► link ─► Program ─┬─ stdout pipe ─┐
//!                              ▲          (handshake)    (group)   └─ stderr pipe ─┤
//!                              └── link ◄── CallStdout, CallStderr, CallEnded ◄────┘
//! ```
//!
//! What must hold:
//!
//! 1. The listener is bound before the first stage, so that no project can be there first.
//! 2. Nothing is accepted before every process of the stages is dead. What they had left in the backlog is dropped.
//! 3. The first guest that knows the secret becomes the link, and the listener is closed for good. From then on, no
//!    program of a call finds anything to connect to.
//! 4. A call is over when every process of the cell is dead. If one cannot be killed, no further call is served.
//! 5. The programs of calls inherit nothing but their three standard streams. Their input is sealed against writing.

pub mod client;
pub mod command;
mod files;
mod handshake;
mod input;
mod program;
pub mod relay;
mod snapshot;
mod wire;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use assize_protocol::exec::{Call, CallEnded, CallExit, ExecService, Secret};
use assize_protocol::frame::{Frame, Kind};
use assize_protocol::plan::{Plan, Stage};
use nix::poll::PollFlags;

use crate::clock;
use crate::reaper::Reaper;
use handshake::{Admission, Guest};
use input::Incoming;
use program::Program;
use snapshot::Snapshot;
use wire::Wire;

/// Connections that may be in their handshake at one time.
const MAX_GUESTS: usize = 8;

/// Connections that are taken in one turn.
const MAX_ACCEPTS: usize = 16;

/// Connections that the kernel can hold for us; more than its default backlog.
const MAX_BACKLOG: usize = 8192;

/// A descriptor of the service in the poll set.
#[derive(Clone, Copy)]
pub enum Source {
    Listener,
    Guest { position: usize },
    Link,
    Pipe { position: usize },
}

/// What is wrong with a frame.
enum Fault {
    /// The call cannot be served; the next one may.
    Call(String),
    /// No warden of ours sends it.
    Link,
}

impl From<String> for Fault {
    fn from(error: String) -> Self {
        Self::Call(error)
    }
}

/// The state of the stage.
pub struct Service<'p> {
    pub index: u8,
    pub stage: &'p Stage,
    pub started_us: u64,
    plan: &'p Plan,
    spec: &'p ExecService,
    secret: Secret,
    listener: Option<TcpListener>,
    is_serving: bool,
    guests: Vec<Guest>,
    link: Option<Wire<TcpStream>>,
    incoming: Option<Incoming>,
    program: Option<Program>,
    snapshot: Option<Snapshot>,
}

impl<'p> Service<'p> {
    /// Listens for the driver's warden, if the last stage of the plan serves calls.
    ///
    /// # Errors
    /// Why it cannot listen, in words.
    pub fn listen(plan: &'p Plan) -> Result<Option<Self>, String> {
        let Some((index, (stage, spec))) =
            plan.stages.iter().enumerate().find_map(|(at, stage)| Some((at, (stage, stage.exec.as_ref()?))))
        else {
            return Ok(None);
        };
        let secret = handshake::random().map_err(|error| format!("there is no randomness: {error}"))?;
        let port = spec.port;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|error| format!("the warden cannot listen on port {port}, which must be free: {error}"))?;
        Ok(Some(Self {
            index: u8::try_from(index).unwrap_or(u8::MAX),
            stage,
            started_us: 0,
            plan,
            spec,
            secret: Secret::new(secret),
            listener: Some(listener),
            is_serving: false,
            guests: Vec::new(),
            link: None,
            incoming: None,
            program: None,
            snapshot: None,
        }))
    }

    /// Begins to serve. Every process of the stages must be dead.
    ///
    /// # Errors
    /// Why calls cannot be served, in words about the project.
    pub fn begin(&mut self) -> Result<Secret, String> {
        self.started_us = clock::now_us();
        if let Some(fresh) = &self.spec.fresh {
            self.snapshot = Some(Snapshot::take(&self.stage.cwd, fresh)?);
        }
        // Nobody can know the secret yet, so whoever waits here was left by a stage.
        for _ in 0..MAX_BACKLOG {
            if self.listener.as_ref().is_none_or(|listener| listener.accept().is_err()) {
                break;
            }
        }
        self.is_serving = true;
        Ok(self.secret.clone())
    }

    pub fn is_serving(&self) -> bool {
        self.is_serving
    }

    /// What to poll.
    pub fn interests(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let mut all = Vec::new();
        if !self.is_serving {
            return all;
        }
        if let Some(listener) = self.listener.as_ref().filter(|_| self.guests.len() < MAX_GUESTS) {
            all.push((Source::Listener, listener.as_fd(), PollFlags::POLLIN));
        }
        let guests = self.guests.iter().enumerate();
        all.extend(guests.map(|(position, guest)| (Source::Guest { position }, guest.fd(), PollFlags::POLLIN)));
        if let Some((fd, flags)) = self.link.as_ref().and_then(|link| link.interest(!link.is_full())) {
            all.push((Source::Link, fd, flags));
        }
        if let Some(program) = self.program.as_ref().filter(|_| self.link.as_ref().is_none_or(|link| !link.is_full())) {
            all.extend(program.open_pipes().map(|(position, fd)| (Source::Pipe { position }, fd, PollFlags::POLLIN)));
        }
        all
    }

    pub fn wakes_at(&self) -> Option<u64> {
        let guests = self.guests.iter().map(Guest::until);
        guests.chain(self.program.as_ref().and_then(Program::wakes_at)).min()
    }

    /// Handles what poll has reported.
    pub fn handle(&mut self, sources: &[Source], buffer: &mut [u8], reaper: &mut Reaper) {
        let mut ready = Vec::new();
        for source in sources {
            match *source {
                Source::Listener => self.accept(),
                Source::Guest { position } => ready.push(position),
                Source::Link => {
                    if let Some(link) = &mut self.link {
                        link.flush();
                        if !link.is_full() {
                            link.fill(buffer);
                        }
                    }
                }
                Source::Pipe { position } => {
                    if let (Some(program), Some(link)) = (&mut self.program, &mut self.link) {
                        program.read_pipe(position, buffer, link, reaper);
                    }
                }
            }
        }
        self.advance_guests(&ready);
        self.handle_frames(reaper);
        if let Some(link) = &mut self.link {
            link.flush();
        }
    }

    fn accept(&mut self) {
        let now = clock::now_us();
        for _ in 0..MAX_ACCEPTS {
            let Some(listener) = self.listener.as_ref().filter(|_| self.guests.len() < MAX_GUESTS) else { return };
            let Ok((stream, _)) = listener.accept() else { return };
            if stream.set_nonblocking(true).is_ok() {
                let _best_effort = stream.set_nodelay(true);
                self.guests.push(Guest::new(stream, now));
            }
        }
    }

    fn advance_guests(&mut self, ready: &[usize]) {
        for (position, guest) in std::mem::take(&mut self.guests).into_iter().enumerate() {
            if !ready.contains(&position) {
                self.guests.push(guest);
                continue;
            }
            match guest.advance(&self.secret) {
                Admission::Waiting(guest) => self.guests.push(guest),
                Admission::Admitted(stream) => {
                    self.link = Some(Wire::new(stream));
                    self.listener = None;
                    self.guests.clear();
                    return;
                }
                Admission::Refused => {}
            }
        }
    }

    fn handle_frames(&mut self, reaper: &mut Reaper) {
        while let Some(frame) = self.link.as_mut().and_then(Wire::take) {
            match self.handle_frame(&frame, reaper) {
                Ok(()) => {}
                Err(Fault::Call(error)) => {
                    self.incoming = None;
                    self.answer(&CallEnded::without_process(CallExit::Refused { error }));
                }
                Err(Fault::Link) => {
                    if let Some(link) = &mut self.link {
                        link.close();
                    }
                }
            }
        }
        if self.link.as_ref().is_some_and(Wire::is_closed) {
            self.incoming = None;
            if let Some(program) = &mut self.program {
                program.kill(CallExit::Cancelled, reaper);
            }
        }
    }

    fn handle_frame(&mut self, frame: &Frame, reaper: &mut Reaper) -> Result<(), Fault> {
        match frame.kind {
            Kind::Call if self.program.is_none() && self.incoming.is_none() => {
                let call: Call = serde_json::from_slice(&frame.payload)
                    .map_err(|error| format!("the call cannot be read: {error}"))?;
                call.check()?;
                self.incoming = Some(Incoming::new(call)?);
                Ok(())
            }
            Kind::CallInput => match &mut self.incoming {
                Some(incoming) => Ok(incoming.add(&frame.payload)?),
                None => Ok(()),
            },
            Kind::CallStart => match self.incoming.take() {
                Some(incoming) => Ok(self.start(incoming, reaper)?),
                // It was refused before it was complete.
                None => Ok(()),
            },
            Kind::CallCancel => {
                if let Some(program) = &mut self.program {
                    program.kill(CallExit::Cancelled, reaper);
                } else if self.incoming.take().is_some() {
                    self.answer(&CallEnded::without_process(CallExit::Cancelled));
                }
                Ok(())
            }
            _ => Err(Fault::Link),
        }
    }

    fn start(&mut self, incoming: Incoming, reaper: &mut Reaper) -> Result<(), String> {
        let (call, input) = incoming.complete()?;
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.put_back()?;
        }
        match Program::start(&call, input, self.plan, self.stage, self.snapshot.is_some(), reaper) {
            Ok(program) => self.program = Some(program),
            Err(error) => self.answer(&CallEnded::without_process(CallExit::NotStarted { error })),
        }
        Ok(())
    }

    /// Ends the call whose program has ended: every process of the cell dies first.
    ///
    /// # Errors
    /// A process cannot be killed, so no further call may be served.
    pub fn finish_ended(&mut self, buffer: &mut [u8], reaper: &mut Reaper) -> Result<(), String> {
        let Some(exit) = self.program.as_ref().and_then(|program| reaper.exit_of(program.leader)) else {
            return Ok(());
        };
        let ended_us = clock::now_us();
        if !reaper.clear_everything() {
            return Err("processes of a call live that could not be killed".to_owned());
        }
        let (Some(mut program), Some(link)) = (self.program.take(), self.link.as_mut()) else { return Ok(()) };
        program.drain(buffer, link, reaper);
        files::send(program.files(), &self.stage.cwd, link);
        let leader = program.leader;
        let ended = program.ended(exit, ended_us, reaper);
        reaper.forget(leader);
        self.answer(&ended);
        Ok(())
    }

    pub fn keep_time(&mut self, now: u64, reaper: &Reaper) {
        self.guests.retain(|guest| guest.until() > now);
        if let Some(program) = &mut self.program {
            program.keep_time(now, reaper);
        }
    }

    fn answer(&mut self, ended: &CallEnded) {
        let Some(link) = &mut self.link else { return };
        link.queue(Kind::CallEnded, &serde_json::to_vec(ended).unwrap_or_default());
        link.flush();
    }
}
