//! The driver's end of the connection between the two wardens of a run.
//!
//! ```text
//!  assize-exec ──Unix socket──► listener ─► waiting ─► active ◄──► link ──TCP──► subject's warden
//! ```
//!
//! The command runs as the driver's uid, so it never holds the secret: it knows a socket in a folder of its own cell,
//! which is in no other mount namespace. Only the warden speaks to the subject. It has one call under way at a time; the
//! others wait in the order in which they came.

use std::collections::VecDeque;
use std::fs::DirBuilder;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use assize_protocol::exec::{COMMAND, ExecClient, SOCKET};
use assize_protocol::frame::Kind;
use nix::poll::PollFlags;

use super::handshake;
use super::wire::Wire;
use crate::clock;

/// Calls that may wait at one time.
const MAX_WAITING: usize = 64;

/// How long calls get no answer after the subject's cell is gone, in ms. The worker learns from that cell why it is gone,
/// and ends the run for it; answers before that would let the driver report about a run that is over.
const LOST_MS: u64 = 1_000;

/// A descriptor of the relay in the poll set.
#[derive(Clone, Copy)]
pub enum Source {
    Listener,
    Client,
    Link,
}

/// The call that is under way.
struct Active {
    client: Wire<UnixStream>,
    /// The subject's warden has heard of the call, so it will answer.
    has_called: bool,
    /// The answer is complete, and may not have been sent in full.
    has_ended: bool,
    /// The client hung up, and the subject's warden was told so.
    is_cancelled: bool,
}

pub struct Relay {
    listener: UnixListener,
    link: Wire<TcpStream>,
    /// When calls get an answer again, once the link is lost.
    lost_until: Option<u64>,
    waiting: VecDeque<UnixStream>,
    active: Option<Active>,
}

impl Relay {
    /// Makes the folder with the command and the socket, and connects to the subject's warden (12 s at most).
    ///
    /// # Errors
    /// What went wrong, in words.
    pub fn open(exec: &ExecClient) -> Result<Self, String> {
        let folder = Path::new(&exec.folder);
        let failed = |error: std::io::Error| format!("{} cannot be made: {error}", folder.display());
        DirBuilder::new().mode(0o700).create(folder).map_err(failed)?;
        let warden = std::env::current_exe().map_err(failed)?;
        symlink(warden, folder.join(COMMAND)).map_err(failed)?;
        let listener = UnixListener::bind(folder.join(SOCKET)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let link = Wire::new(handshake::connect(exec.port, &exec.secret)?);
        Ok(Self { listener, link, lost_until: None, waiting: VecDeque::new(), active: None })
    }

    /// What to poll.
    pub fn interests(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let mut all = Vec::new();
        if self.waiting.len() < MAX_WAITING {
            all.push((Source::Listener, self.listener.as_fd(), PollFlags::POLLIN));
        }
        if let Some((fd, flags)) = self.active.as_ref().and_then(|active| active.client.interest(!self.link.is_full()))
        {
            all.push((Source::Client, fd, flags));
        }
        let may_read = self.active.as_ref().is_none_or(|active| !active.client.is_full());
        if let Some((fd, flags)) = self.link.interest(may_read) {
            all.push((Source::Link, fd, flags));
        }
        all
    }

    pub fn wakes_at(&self, now: u64) -> Option<u64> {
        let is_asked = self.active.is_some() || !self.waiting.is_empty();
        self.lost_until.filter(|until| is_asked || *until > now)
    }

    /// Handles what poll has reported.
    pub fn handle(&mut self, sources: &[Source], buffer: &mut [u8]) {
        for source in sources {
            match source {
                Source::Listener => self.accept(),
                Source::Client => {
                    if let Some(active) = &mut self.active {
                        active.client.flush();
                        if !self.link.is_full() {
                            active.client.fill(buffer);
                        }
                    }
                }
                Source::Link => {
                    self.link.flush();
                    self.link.fill(buffer);
                }
            }
        }
        self.forward();
        self.answer();
        self.link.flush();
        self.end_active();
        if self.link.is_closed() && self.lost_until.is_none() {
            self.lost_until = Some(clock::after_ms(clock::now_us(), LOST_MS));
        }
    }

    /// Hangs up on everybody once nothing can be answered any more.
    pub fn keep_time(&mut self, now: u64) {
        if self.lost_until.is_some_and(|until| until <= now) {
            self.active = None;
            self.waiting.clear();
        }
    }

    fn accept(&mut self) {
        while self.waiting.len() < MAX_WAITING {
            let Ok((stream, _)) = self.listener.accept() else { break };
            if stream.set_nonblocking(true).is_ok() {
                self.waiting.push_back(stream);
            }
        }
        self.end_active();
    }

    /// From the client to the subject.
    fn forward(&mut self) {
        let Some(active) = &mut self.active else { return };
        while let Some(frame) = active.client.take() {
            match frame.kind {
                Kind::Call if !active.has_called => {
                    active.has_called = true;
                    self.link.queue(frame.kind, &frame.payload);
                }
                Kind::CallInput | Kind::CallStart if active.has_called && !active.has_ended => {
                    self.link.queue(frame.kind, &frame.payload);
                }
                _ => active.client.close(),
            }
        }
    }

    /// From the subject to the client.
    fn answer(&mut self) {
        while let Some(frame) = self.link.take() {
            let Some(active) = &mut self.active else { continue };
            active.has_ended |= frame.kind == Kind::CallEnded;
            active.client.queue(frame.kind, &frame.payload);
        }
        if let Some(active) = &mut self.active {
            active.client.flush();
        }
    }

    /// Forgets a call that was answered, or that nobody waits for and the subject is not busy with, and begins the next.
    fn end_active(&mut self) {
        if let Some(active) = &mut self.active {
            let is_gone = active.client.is_closed();
            if is_gone && active.has_called && !active.has_ended && !active.is_cancelled {
                self.link.queue(Kind::CallCancel, &[]);
                active.is_cancelled = true;
                self.link.flush();
            }
            let is_over = active.has_ended && (is_gone || active.client.is_empty());
            if is_over || (is_gone && !active.has_called) {
                self.active = None;
            }
        }
        if self.active.is_none() && !self.link.is_closed() {
            let next = self.waiting.pop_front();
            self.active = next.map(|stream| {
                let client = Wire::new(stream);
                Active { client, has_called: false, has_ended: false, is_cancelled: false }
            });
        }
    }
}
