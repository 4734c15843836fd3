//! The way in: frames from stdin.
//!
//! Stdin stays a blocking descriptor, for its other end is shared with the engine; it is read only
//! when poll says that a read returns at once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use assize_protocol::frame::{Decoder, Frame, FrameError, Kind, MAX_PAYLOAD};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::clock;
use crate::unpack::Interrupt;

/// How long stdin is left alone after an end of file, in ms. A fifo has an end of file as often as
/// it has no writer, and a worker that comes back opens it again; a closed pipe only costs four
/// polls a second.
const MUTED_MS: u64 = 250;

/// Frames that have come and were not taken yet.
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

    /// When stdin may be polled: `None` now, else the moment to try again, in µs.
    pub fn muted_until(&self, now: u64) -> Option<u64> {
        (self.muted_until > now).then_some(self.muted_until)
    }

    /// One read. Call it only when poll has said that stdin is readable or hung up.
    pub fn fill(&mut self, now: u64) {
        let mut bytes = [0; MAX_PAYLOAD];
        match nix::unistd::read(&self.stdin, &mut bytes) {
            // The worker may have died: its successor attaches again, and until then the deadlines hold.
            Ok(0) => self.muted_until = clock::after_ms(now, MUTED_MS),
            Ok(length) => self.decoder.feed(bytes.get(..length).unwrap_or_default()),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => self.muted_until = clock::after_ms(now, MUTED_MS),
        }
    }

    /// The next whole frame that has come.
    ///
    /// # Errors
    /// When the bytes are not frames; nothing after them can be trusted.
    pub fn take(&mut self) -> Result<Option<Frame>, FrameError> {
        match self.next.take() {
            Some(frame) => Ok(Some(frame)),
            None => self.decoder.next_frame(),
        }
    }

    /// Waits for the next frame until `deadline` (µs); `None` when the time is over.
    ///
    /// # Errors
    /// When the bytes are not frames.
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
    /// It reads no further than to the end of one frame, so that it holds no more than that: a
    /// `Finish` behind another archive is seen when that archive's turn comes.
    ///
    /// # Errors
    /// When the bytes are not frames.
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

    /// What must interrupt an archive that is being unpacked: a `Finish`, the deadline (µs), or bytes that are no
    /// frames.
    pub fn interrupts(&mut self, deadline: u64) -> impl FnMut() -> Option<Interrupt> + '_ {
        move || match self.is_finish_next() {
            Ok(false) => (clock::now_us() >= deadline).then_some(Interrupt::TimeUp),
            Ok(true) => Some(Interrupt::Finish),
            // The next wait finds the same broken bytes and says what they are.
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
