//! The lines that a stage writes about its tests: read from the pipe that its processes have as descriptor 3, cut,
//! checked, and sent on within limits.
//!
//! Whoever has the descriptor may write anything into it, close it, or keep it for ever. A line that is no report of a
//! test is counted and dropped, and so is every line beyond the limits. The pipe is read to its end all the same, because
//! a closed one would kill the tests with SIGPIPE. It is read only after what was read before has been written to stdout,
//! so the warden holds at most one buffer of it and one unfinished line.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use assize_protocol::progress::{DroppedLines, MAX_BYTES, MAX_LINE, MAX_LINES, TestReport};

use crate::channel::Channel;
use crate::clock;
use crate::stage::{FULL_READ, pipe};

/// Pause after a short read, in ms, so that a line for each test costs at most 100 frames a second.
const REST_MS: u64 = 10;

/// The most that is read after the processes of the stage were killed, in bytes: what the largest pipe of a process
/// without privileges holds. Somebody who escaped the stage's group can write on.
const MAX_DRAIN: usize = 1 << 20;

/// The reading end of a stage's pipe.
pub struct Progress {
    /// Absent once every writer is gone.
    pipe: Option<File>,
    lines: Lines,
    rest_until: u64,
}

impl Progress {
    /// Makes the pipe; the second value is for the stage.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub fn open() -> nix::Result<(Self, OwnedFd)> {
        let (reader, writer) = pipe()?;
        Ok((Self { pipe: Some(reader), lines: Lines::default(), rest_until: 0 }, writer))
    }

    /// The pipe, if it is to be polled now.
    pub fn interest(&self, now: u64) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().filter(|_| now >= self.rest_until).map(AsFd::as_fd)
    }

    /// The end of the pause, in µs.
    pub fn wakes_at(&self, now: u64) -> Option<u64> {
        (self.rest_until > now && self.pipe.is_some()).then_some(self.rest_until)
    }

    /// Reads once what poll has reported.
    ///
    /// # Errors
    /// Stdout is gone.
    pub fn read(&mut self, stage: u8, buffer: &mut [u8], channel: &mut Channel) -> io::Result<()> {
        let length = self.read_once(stage, buffer, channel)?;
        if length < FULL_READ {
            self.rest_until = clock::after_ms(clock::now_us(), REST_MS);
        }
        Ok(())
    }

    /// Reads what is left when the stage is over. It does not wait for whoever keeps the descriptor.
    ///
    /// # Errors
    /// Stdout is gone.
    pub fn drain(&mut self, stage: u8, buffer: &mut [u8], channel: &mut Channel) -> io::Result<()> {
        let mut drained = 0;
        while drained < MAX_DRAIN {
            match self.read_once(stage, buffer, channel)? {
                0 => break,
                length => drained += length,
            }
        }
        self.pipe = None;
        let last = self.lines.finish();
        channel.progress(stage, clock::now_us(), &last)
    }

    pub fn dropped(&self) -> DroppedLines {
        self.lines.dropped
    }

    /// Returns the length: 0 when nothing is there now, or nothing will ever be.
    fn read_once(&mut self, stage: u8, buffer: &mut [u8], channel: &mut Channel) -> io::Result<usize> {
        let Some(pipe) = &mut self.pipe else { return Ok(0) };
        match pipe.read(buffer) {
            Ok(length @ 1..) => {
                let lines = self.lines.take(buffer.get(..length).unwrap_or_default());
                channel.progress(stage, clock::now_us(), &lines)?;
                Ok(length)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
            // Every writer is gone, or the pipe cannot be read.
            Ok(_) | Err(_) => {
                self.pipe = None;
                Ok(0)
            }
        }
    }
}

/// Cuts bytes into lines and counts. Pure.
#[derive(Default)]
struct Lines {
    unfinished: Vec<u8>,
    /// The unfinished line is longer than allowed, and its beginning is dropped already.
    is_too_long: bool,
    sent: u64,
    sent_bytes: u64,
    dropped: DroppedLines,
}

impl Lines {
    /// Takes bytes as they were read, and returns the lines to send on, each with its line feed.
    fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut sent = Vec::new();
        let mut pieces = bytes.split(|byte| *byte == b'\n');
        let last = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            self.add(piece);
            self.end_line(&mut sent);
        }
        self.add(last);
        sent
    }

    /// Ends a line that has no line feed.
    fn finish(&mut self) -> Vec<u8> {
        let mut sent = Vec::new();
        self.end_line(&mut sent);
        sent
    }

    fn add(&mut self, piece: &[u8]) {
        self.is_too_long |= self.unfinished.len() + piece.len() > MAX_LINE;
        if self.is_too_long {
            self.unfinished.clear();
        } else {
            self.unfinished.extend_from_slice(piece);
        }
    }

    fn end_line(&mut self, sent: &mut Vec<u8>) {
        let is_too_long = std::mem::take(&mut self.is_too_long);
        if !is_too_long && self.unfinished.trim_ascii().is_empty() {
            self.unfinished.clear();
            return;
        }
        // Once a line was left out, no later one is sent on either: the last line about a test counts.
        if self.dropped.surplus > 0 || self.sent == MAX_LINES {
            self.dropped.surplus += 1;
        } else {
            match TestReport::parse(&self.unfinished) {
                Ok(report) if !is_too_long => self.send(&report, sent),
                _ => self.dropped.bad += 1,
            }
        }
        self.unfinished.clear();
    }

    fn send(&mut self, report: &TestReport, sent: &mut Vec<u8>) {
        let before = sent.len();
        report.encode(sent);
        let length = (sent.len() - before) as u64;
        if self.sent_bytes + length > MAX_BYTES {
            sent.truncate(before);
            self.dropped.surplus += 1;
            return;
        }
        self.sent += 1;
        self.sent_bytes += length;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sent(pieces: &[&[u8]]) -> (String, DroppedLines) {
        let mut lines = Lines::default();
        let mut all: Vec<u8> = pieces.iter().flat_map(|piece| lines.take(piece)).collect();
        all.extend(lines.finish());
        (String::from_utf8(all).unwrap(), lines.dropped)
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_are_cut(cuts in prop::collection::vec(0_usize..90, 0..6)) {
            let text = b"{\"test\":\"a\",\"status\":\"passed\"}\nnothing\n\n \r\n{\"status\":\"error\",\"test\":\"b\"}";
            let mut ends: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            ends.push(text.len());
            ends.sort_unstable();
            let mut from = 0;
            let mut pieces = Vec::new();
            for end in ends {
                pieces.push(&text[from..end]);
                from = end;
            }
            let expected = "{\"test\":\"a\",\"status\":\"passed\"}\n{\"test\":\"b\",\"status\":\"errored\"}\n";
            prop_assert_eq!(sent(&pieces), (expected.to_owned(), DroppedLines { bad: 1, surplus: 0 }));
        }
    }

    #[test]
    fn a_line_without_end_is_one_bad_line_and_is_not_held() {
        let mut lines = Lines::default();
        for _ in 0..100_000 {
            assert!(lines.take(&[b'x'; 1000]).is_empty());
            assert!(lines.unfinished.capacity() <= 2 * MAX_LINE);
        }
        assert_eq!(lines.take(b"\n{\"test\":\"a\",\"status\":\"passed\"}\n").len(), 31);
        assert_eq!(lines.dropped, DroppedLines { bad: 1, surplus: 0 });
    }

    #[test]
    fn a_million_lines_are_ten_thousand() {
        let line = b"{\"test\":\"a\",\"status\":\"passed\"}\n".repeat(1000);
        let mut lines = Lines::default();
        let length: usize = (0..1000).map(|_| lines.take(&line).len()).sum();
        assert_eq!(length, line.len() * 10);
        assert_eq!(lines.dropped, DroppedLines { bad: 0, surplus: 990_000 });
    }

    #[test]
    fn long_names_use_up_the_bytes_before_the_lines() {
        let long = format!("{{\"test\":\"{}\",\"status\":\"passed\"}}\n", "x".repeat(512));
        let short = b"{\"test\":\"a\",\"status\":\"passed\"}\n";
        let mut lines = Lines::default();
        let mut length = 0;
        for _ in 0..5_000 {
            length += lines.take(long.as_bytes()).len() as u64;
        }
        assert!(length <= MAX_BYTES && MAX_BYTES - length < long.len() as u64, "{length}");
        assert!(lines.take(short).is_empty(), "a later line would follow a gap");
        assert!(lines.dropped.surplus > 1 && lines.sent < MAX_LINES);
    }

    #[test]
    fn frames_of_a_warden_are_bad_lines() {
        let mut forged = Vec::new();
        let kind = assize_protocol::frame::Kind::End;
        assize_protocol::mask::encode(kind, b"{\"test\":\"a\",\"status\":\"passed\"}", &mut forged);
        assert_eq!(sent(&[&forged]), (String::new(), DroppedLines { bad: 1, surplus: 0 }));
    }
}
