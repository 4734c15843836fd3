//! Frames over a socket that never blocks.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use assize_protocol::frame::{self, Decoder, Frame, FrameError, Kind, MAX_PAYLOAD};
use nix::poll::PollFlags;

/// Bytes that wait to be sent, from which on nothing more is read for this socket.
const HIGH_WATER: usize = 4 * MAX_PAYLOAD;

/// One end of a connection between two programs of ours.
pub struct Wire<S> {
    stream: S,
    decoder: Decoder,
    outgoing: Vec<u8>,
    sent: usize,
    is_closed: bool,
}

impl<S: Read + Write + AsFd> Wire<S> {
    /// The stream must be non-blocking.
    pub fn new(stream: S) -> Self {
        Self { stream, decoder: Decoder::default(), outgoing: Vec::new(), sent: 0, is_closed: false }
    }

    /// Queues a frame of at most [`MAX_PAYLOAD`] bytes.
    pub fn queue(&mut self, kind: Kind, payload: &[u8]) {
        if !self.is_closed {
            frame::encode(kind, payload, &mut self.outgoing);
        }
    }

    /// Whether so much waits to be sent that whoever writes more must wait.
    pub fn is_full(&self) -> bool {
        self.outgoing.len() - self.sent >= HIGH_WATER
    }

    pub fn is_empty(&self) -> bool {
        self.sent == self.outgoing.len()
    }

    /// Stops using a peer that breaks the rules.
    pub fn close(&mut self) {
        self.is_closed = true;
        self.decoder = Decoder::default();
    }

    /// Whether the peer is gone, or has sent what is no frame.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// What to poll; nothing once it is closed.
    pub fn interest(&self, may_read: bool) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let read = if may_read { PollFlags::POLLIN } else { PollFlags::empty() };
        let write = if self.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
        // Without either, poll still reports that the peer hung up, again and again.
        (!self.is_closed && !(read | write).is_empty()).then(|| (self.stream.as_fd(), read | write))
    }

    /// Sends what can be sent now.
    pub fn flush(&mut self) {
        while !self.is_closed && self.sent < self.outgoing.len() {
            match self.stream.write(self.outgoing.get(self.sent..).unwrap_or_default()) {
                Ok(0) => self.is_closed = true,
                Ok(length) => self.sent += length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // What was sent is forgotten, even if the peer never catches up.
                    self.outgoing.drain(..self.sent);
                    self.sent = 0;
                    return;
                }
                Err(_) => self.is_closed = true,
            }
        }
        self.outgoing.clear();
        self.sent = 0;
    }

    /// Reads once.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        match self.stream.read(buffer) {
            Ok(0) => self.is_closed = true,
            Ok(length) => self.decoder.feed(buffer.get(..length).unwrap_or_default()),
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(_) => self.is_closed = true,
        }
    }

    /// The next frame that was read; `None` if there is none, and once the peer has sent what is no frame.
    pub fn take(&mut self) -> Option<Frame> {
        match self.decoder.next_frame() {
            Ok(frame) => frame,
            Err(FrameError::UnknownKind(_) | FrameError::TooLong(_)) => {
                self.is_closed = true;
                None
            }
        }
    }
}
