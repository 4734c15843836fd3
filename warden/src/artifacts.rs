//! The artifacts: files that the run hands out, sent after the results, when every process of the cell has ended.
//!
//! The project filled the folders, so nothing in them is trusted: no link is followed, a file is judged by the descriptor
//! that it is read from, and entries, depth, files, bytes and time are bounded. What cannot be handed out is a line of the
//! report and never a failure of the run.

mod walk;

use std::io::{self, Read};

use assize_protocol::artifacts::{
    ArtifactEnded, ArtifactRules, ArtifactStarted, ArtifactsReport, Pattern, TIMEOUT_MS, extension_of, name_problem,
};
use assize_protocol::frame::Kind;
use assize_protocol::mask::MAX_MASKED;

use crate::channel::Channel;
use crate::clock;
use crate::plain_file::{self, NotPlain, PlainFile};
use walk::{Found, Walk};

/// The reason for everything that is left when the time is over.
const TIME_IS_OVER: &str = "the time for artifacts was over";

/// Sends the files that the rules name.
///
/// # Errors
/// Only if stdout is gone; a problem with a file is part of the report.
pub fn send(rules: &ArtifactRules, channel: &mut Channel) -> io::Result<ArtifactsReport> {
    let deadline = clock::after_ms(clock::now_us(), TIMEOUT_MS);
    let patterns = rules.patterns.iter().filter_map(|pattern| Pattern::parse(pattern).ok()).collect();
    let mut sender = Sender { rules, channel, report: ArtifactsReport::default(), begun: 0, spent: 0, deadline };
    for found in Walk::begin(patterns, deadline) {
        match found {
            Found::LeftOut { path, reason } => sender.report.leave_out(&path, reason),
            Found::File { folder, name, path } => {
                let opened = plain_file::open_plain(&folder, &name).map_err(|problem| match problem {
                    NotPlain::Refused(what) => what,
                    NotPlain::Unopened(errno) => plain_file::unopened(errno),
                });
                sender.send_file(&path, opened)?;
            }
        }
    }
    Ok(sender.report)
}

/// The report where processes were left that could not be killed: they could write while files are read.
pub fn contested() -> ArtifactsReport {
    let mut report = ArtifactsReport::default();
    report.leave_out(b"/", "nothing is handed out while processes of the project live that could not be killed");
    report
}

struct Sender<'a> {
    rules: &'a ArtifactRules,
    channel: &'a mut Channel,
    report: ArtifactsReport,
    /// Files that were begun, whole or not, and their bytes: the journal has them all.
    begun: u32,
    spent: u64,
    deadline: u64,
}

impl Sender<'_> {
    /// Sends a file whose path is matched by a pattern, or reports why it is left out.
    fn send_file(&mut self, path: &[u8], opened: Result<PlainFile, String>) -> io::Result<()> {
        let checked = self.check(path).and_then(|name| Ok((name, opened?)));
        let (name, PlainFile { file, length }) = match checked {
            Ok(checked) => checked,
            Err(reason) => {
                self.report.leave_out(path, reason);
                return Ok(());
            }
        };
        let room = self.rules.max_bytes.saturating_sub(self.spent);
        if length > room {
            let limit = self.rules.max_bytes;
            let reason = format!("has {length} bytes, {room} of the {limit} bytes for all artifacts are left");
            self.report.leave_out(path, reason);
            return Ok(());
        }
        self.begun += 1;
        self.channel.event(Kind::ArtifactStarted, &ArtifactStarted { name: name.to_owned() })?;
        let ended = self.send_content(file, length)?;
        match &ended {
            ArtifactEnded::Bytes(bytes) => {
                self.report.sent += 1;
                self.report.bytes += bytes;
            }
            ArtifactEnded::LeftOut(reason) => self.report.leave_out(path, reason.as_str()),
        }
        self.channel.event(Kind::ArtifactEnded, &ended)
    }

    /// What can be said of a file by its name and by what was sent before.
    fn check<'p>(&self, path: &'p [u8]) -> Result<&'p str, String> {
        let name = std::str::from_utf8(path).map_err(|_| "its path is not UTF-8".to_owned())?;
        if let Some(problem) = name_problem(name) {
            return Err(problem.to_owned());
        }
        if !extension_of(name).is_some_and(|extension| self.rules.extensions.iter().any(|own| own == extension)) {
            return Err("its kind is not one that the template hands out".to_owned());
        }
        if self.begun == self.rules.max_files {
            return Err(format!("{} artifacts come before it, the limit", self.begun));
        }
        Ok(name)
    }

    /// Sends at most as many bytes as the metadata had. A file that is longer then does not count.
    fn send_content(&mut self, file: impl Read, length: u64) -> io::Result<ArtifactEnded> {
        let mut bounded = file.take(length.saturating_add(1));
        let mut buffer = vec![0; MAX_MASKED];
        let mut sent = 0;
        loop {
            if clock::now_us() >= self.deadline {
                return Ok(ArtifactEnded::LeftOut(TIME_IS_OVER.to_owned()));
            }
            match bounded.read(&mut buffer) {
                Ok(0) => return Ok(ArtifactEnded::Bytes(sent)),
                Ok(more) if sent + more as u64 > length => {
                    let reason = format!("has more than the {length} bytes that its metadata had");
                    return Ok(ArtifactEnded::LeftOut(reason));
                }
                Ok(more) => {
                    self.channel.artifact(buffer.get(..more).unwrap_or_default())?;
                    sent += more as u64;
                    self.spent += more as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok(ArtifactEnded::LeftOut(format!("cannot be read: {error}"))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(content: &[u8], length: u64, deadline: u64) -> ArtifactEnded {
        let rules = ArtifactRules { patterns: vec![], max_files: 1, max_bytes: 10, extensions: vec![] };
        let (mut channel, report) = (Channel::default(), ArtifactsReport::default());
        let mut sender = Sender { rules: &rules, channel: &mut channel, report, begun: 0, spent: 0, deadline };
        sender.send_content(content, length).unwrap()
    }

    /// Nobody could write, yet the length of a file is not believed.
    #[test]
    fn a_file_that_is_longer_than_its_metadata_does_not_count() {
        let left_out =
            |ended| matches!(ended, ArtifactEnded::LeftOut(reason) if reason.contains("more than the 0 bytes"));
        assert!(left_out(sent(b"x", 0, u64::MAX)));
        assert_eq!(sent(b"", 0, u64::MAX), ArtifactEnded::Bytes(0));
        assert_eq!(sent(b"", 5, u64::MAX), ArtifactEnded::Bytes(0), "one that is shorter is what it is");
    }

    #[test]
    fn nothing_is_sent_when_the_time_is_over() {
        assert_eq!(sent(b"x", 1, 0), ArtifactEnded::LeftOut(TIME_IS_OVER.to_owned()));
        let mut walk = Walk::begin(vec![Pattern::parse("/tmp/**").unwrap()], 0);
        assert!(matches!(walk.next(), Some(Found::LeftOut { reason, .. }) if reason == TIME_IS_OVER));
        assert!(walk.next().is_none());
    }
}
