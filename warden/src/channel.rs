//! Frames sent on stdout.
//!
//! Writes block, which is acceptable for three reasons. The amount that a stage can make the warden write is bounded (head
//! and tail of its output, and the quota of its proxy). Docker's log driver drains the pipe whether or not a worker
//! listens. And the worker enforces every deadline a second time from outside: a warden that is stuck here is killed with
//! its cell.

use std::io::{self, ErrorKind};

use assize_protocol::egress::FromCell;
use assize_protocol::event::{OUTPUT_HEADER, Output, Stream};
use assize_protocol::frame::{FLUSH, Kind, MAX_PAYLOAD};
use assize_protocol::mask::{self, MAX_MASKED};
use assize_protocol::progress::{PROGRESS_HEADER, Progress};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use std::os::fd::AsFd;

/// The longest piece of output that fits into one frame, in bytes.
pub const MAX_OUTPUT: usize = MAX_MASKED - OUTPUT_HEADER;

/// Encodes and writes frames. Nothing else in this process may write to stdout.
#[derive(Default)]
pub struct Channel {
    payload: Vec<u8>,
    frame: Vec<u8>,
}

impl Channel {
    /// Sends an event as JSON.
    ///
    /// # Errors
    /// When stdout is gone, or an event is longer than a frame: both end the cell.
    pub fn event(&mut self, kind: Kind, event: &impl Serialize) -> io::Result<()> {
        self.payload.clear();
        serde_json::to_writer(&mut self.payload, event)?;
        if self.payload.len() > MAX_PAYLOAD {
            let length = self.payload.len();
            return Err(io::Error::other(format!("an event of {length} bytes, a frame holds {MAX_PAYLOAD}")));
        }
        self.write(kind)
    }

    /// Sends output of a stage, in as many frames as it takes.
    ///
    /// # Errors
    /// Stdout is gone.
    pub fn output(&mut self, stage: u8, stream: Stream, at_us: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut offset = offset;
        for piece in bytes.chunks(MAX_OUTPUT) {
            self.payload.clear();
            Output::encode_parts(at_us, offset, stage, stream, piece, &mut self.payload);
            self.write(Kind::Output)?;
            offset += piece.len() as u64;
        }
        Ok(())
    }

    /// Sends a piece of a results file, at most [`MAX_MASKED`] bytes.
    ///
    /// # Errors
    /// Stdout is gone.
    pub fn results(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.payload.clear();
        self.payload.extend_from_slice(bytes);
        self.write(Kind::Results)
    }

    /// Sends a piece of an artifact, at most [`MAX_MASKED`] bytes.
    ///
    /// # Errors
    /// Stdout is gone.
    pub fn artifact(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.payload.clear();
        self.payload.extend_from_slice(bytes);
        self.write(Kind::Artifact)
    }

    /// Sends lines that a stage wrote about its tests, each with its line feed, in as many frames as it takes.
    ///
    /// # Errors
    /// Stdout is gone.
    pub fn progress(&mut self, stage: u8, at_us: u64, lines: &[u8]) -> io::Result<()> {
        let mut rest = lines;
        while !rest.is_empty() {
            let most = rest.len().min(MAX_MASKED - PROGRESS_HEADER);
            // No line is as long as a frame.
            let end = rest.iter().take(most).rposition(|byte| *byte == b'\n').map_or(most, |at| at + 1);
            let (piece, after) = rest.split_at(end);
            rest = after;
            self.payload.clear();
            Progress::encode_parts(at_us, stage, piece, &mut self.payload);
            self.write(Kind::Progress)?;
        }
        Ok(())
    }

    /// Sends a message of the proxy.
    ///
    /// # Errors
    /// Stdout is gone.
    pub fn tunnel(&mut self, message: &FromCell) -> io::Result<()> {
        self.payload.clear();
        message.encode(&mut self.payload);
        self.write(Kind::FromTunnel)
    }

    fn write(&mut self, kind: Kind) -> io::Result<()> {
        self.frame.clear();
        mask::encode(kind, &self.payload, &mut self.frame);
        self.frame.push(FLUSH);
        let stdout = io::stdout();
        let mut rest = self.frame.as_slice();
        while !rest.is_empty() {
            match nix::unistd::write(&stdout, rest) {
                Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero)),
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(Errno::EINTR) => {}
                // Somebody outside made the pipe non-blocking: wait as a blocking write would.
                Err(Errno::EAGAIN) => {
                    let mut room = [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)];
                    match poll(&mut room, PollTimeout::NONE) {
                        Ok(_) | Err(Errno::EINTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
