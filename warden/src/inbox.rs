//! Frames received on stdin.
//!
//! Stdin stays a blocking descriptor, because the engine shares its other end. The warden reads stdin only if poll reports
//! that a read returns at once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use assize_protocol::frame::{Decoder, Frame, FrameError, Kind, MAX_PAYLOAD};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::clock;
use crate::unpack::Interrupt;

/// Time for which stdin is not polled after an end of file, in ms. A FIFO is at its end whenever it has no writer, and a
/// worker that comes back opens it again. For a closed pipe this costs four polls a second.
const MUTED_MS: u64 = 250;

/// The frames that were received and not yet handled.
pub struct Inbox {
    stdin: io::Stdin,
    decoder: Decoder,
    next: Option<Frame>,
    muted_until: u64,
}

impl Inbox {
    pub fn new() -> Self {
        Self { stdin: io::stdin(), decoder: Decoder::default(), next: None, muted_until: 0 }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.stdin.as_fd()
    }

    /// Time from which stdin may be polled again, in µs; `None`: now.
    pub fn muted_until(&self, now: u64) -> Option<u64> {
        (self.muted_until > now).then_some(self.muted_until)
    }

    /// Reads once. The caller must have seen by poll that stdin is readable or hung up.
    pub fn fill(&mut self, now: u64) {
        let mut bytes = [0; MAX_PAYLOAD];
        match nix::unistd::read(&self.stdin, &mut bytes) {
            // The worker may have died. Its successor attaches again; until then the deadlines remain in force.
            Ok(0) => self.muted_until = clock::after_ms(now, MUTED_MS),
            Ok(length) => self.decoder.feed(bytes.get(..length).unwrap_or_default()),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => self.muted_until = clock::after_ms(now, MUTED_MS),
        }
    }

    /// The next complete frame, if one was received.
    ///
    /// # Errors
    /// The bytes are not frames. Nothing after them can be trusted.
    pub fn take(&mut self) -> Result<Option<Frame>, FrameError> {
        match self.next.take() {
            Some(frame) => Ok(Some(frame)),
            None => self.decoder.next_frame(),
        }
    }

    /// Waits for the next frame until `deadline` (µs); returns `None` after the deadline.
    ///
    /// # Errors
    /// The bytes are not frames.
    pub fn wait(&mut self, deadline: Option<u64>) -> Result<Option<Frame>, FrameError> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(Some(frame));
            }
            let now = clock::now_us();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(None);
            }
            let muted = self.muted_until(now);
            let until = match (muted, deadline) {
                (Some(muted), Some(deadline)) => Some(muted.min(deadline)),
                (muted, deadline) => muted.or(deadline),
            };
            if self.is_readable(muted.is_none(), timeout(now, until)) {
                self.fill(clock::now_us());
            }
        }
    }

    /// Whether the very next frame is a `Finish`, without waiting.
    ///
    /// Reads no further than the end of one frame, so that no more than one frame is buffered. A `Finish` behind another
    /// archive is found when that archive is due.
    ///
    /// # Errors
    /// The bytes are not frames.
    pub fn is_finish_next(&mut self) -> Result<bool, FrameError> {
        if self.next.is_none() {
            self.next = self.decoder.next_frame()?;
        }
        let now = clock::now_us();
        if self.next.is_none() && self.muted_until(now).is_none() && self.is_readable(true, PollTimeout::ZERO) {
            self.fill(now);
            self.next = self.decoder.next_frame()?;
        }
        Ok(self.next.as_ref().is_some_and(|frame| frame.kind == Kind::Finish))
    }

    /// The check that interrupts unpacking: a `Finish` frame, the deadline (µs), or bytes that are not frames.
    pub fn interrupts(&mut self, deadline: u64) -> impl FnMut() -> Option<Interrupt> + '_ {
        move || match self.is_finish_next() {
            Ok(false) => (clock::now_us() >= deadline).then_some(Interrupt::TimeUp),
            Ok(true) => Some(Interrupt::Finish),
            // The next wait finds the same bytes and reports the error.
            Err(_) => Some(Interrupt::Broken),
        }
    }

    fn is_readable(&self, listen: bool, timeout: PollTimeout) -> bool {
        let mut fds = [PollFd::new(self.fd(), PollFlags::POLLIN)];
        let watched = if listen { fds.as_mut_slice() } else { &mut [] };
        matches!(poll(watched, timeout), Ok(ready) if ready > 0)
    }
}

/// The time from `now` to `until` (µs) for poll, rounded up so that a deadline has passed when poll
/// returns.
pub fn timeout(now: u64, until: Option<u64>) -> PollTimeout {
    match until {
        None => PollTimeout::NONE,
        Some(until) => {
            let ms = until.saturating_sub(now).div_ceil(1_000);
            PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
        }
    }
}
