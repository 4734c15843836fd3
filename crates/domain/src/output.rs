//! The output of a run as clients read it: numbered pieces of text, and between them the ends of tests that the tests
//! reported. They are the same during the run and afterwards.
//!
//! While a run is active the pieces live in a capped Redis stream; when it ends they become one
//! blob of JSON lines. Both use the same [`EntryId`], so a reader that resumes does not notice
//! which of the two answers.

use std::fmt;
use std::str::FromStr;

use assize_protocol::event::Stream;
use assize_protocol::progress::ReportedStatus;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::run::StageName;

/// The place of an entry in its run: `<attempt>-<number>`, both from 1 on. Also its id in Redis and
/// the `id:` of its Server-Sent Event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntryId {
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Number of the entry within its attempt, from 1.
    pub number: u64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.attempt, self.number)
    }
}

impl FromStr for EntryId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_once('-')
            .and_then(|(attempt, number)| Some(Self { attempt: attempt.parse().ok()?, number: number.parse().ok()? }))
            .ok_or_else(|| format!("{:?} is not <attempt>-<number>", text.chars().take(64).collect::<String>()))
    }
}

impl Serialize for EntryId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EntryId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One entry: a piece of output, or the end of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    /// A piece of output.
    Output(OutputEntry),
    /// The end of a test.
    Test(TestEntry),
}

/// One piece of output. `offset` counts bytes of its stage over both streams; a jump is where the
/// middle of a flood was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputEntry {
    /// Place of the piece in its run.
    pub id: EntryId,
    /// The stage that wrote the piece.
    pub stage: StageName,
    /// The pipe that the stage wrote to.
    pub stream: Stream,
    /// Bytes of the stage before this piece, over both streams.
    pub offset: u64,
    /// The text; bytes that are not UTF-8 were replaced by U+FFFD.
    pub text: String,
}

/// The end of a test, as the tests reported it while they ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestEntry {
    /// Place of the entry in its run.
    pub id: EntryId,
    /// The stage that ran the test.
    pub stage: StageName,
    /// Number of the entry among those of tests in its attempt, from 1.
    pub sequence: u64,
    /// Time since the start of the stage, in ms.
    pub at_ms: u64,
    /// The name of the test as the verdict will have it.
    pub test: String,
    /// How the test ended. A later entry of the same name replaces this one.
    pub status: ReportedStatus,
}

impl From<OutputEntry> for Entry {
    fn from(entry: OutputEntry) -> Self {
        Self::Output(entry)
    }
}

impl Entry {
    /// Place of the entry in its run.
    #[must_use]
    pub const fn id(&self) -> EntryId {
        match self {
            Self::Output(OutputEntry { id, .. }) | Self::Test(TestEntry { id, .. }) => *id,
        }
    }

    /// Gives the entry its place.
    pub const fn set_id(&mut self, new: EntryId) {
        match self {
            Self::Output(OutputEntry { id, .. }) | Self::Test(TestEntry { id, .. }) => *id = new,
        }
    }

    /// The stage that the entry is of.
    #[must_use]
    pub const fn stage(&self) -> StageName {
        match self {
            Self::Output(OutputEntry { stage, .. }) | Self::Test(TestEntry { stage, .. }) => *stage,
        }
    }

    /// The entry as a line of the blob. There is only one way to write an entry, because the digest of the blob is
    /// signed and readers receive the blob written again.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// The blob that holds one attempt's output, one [`Entry`] as JSON on each line.
#[must_use]
pub fn blob_key(run: Uuid, attempt: u32) -> String {
    format!("output/{run}/{attempt}.ndjson")
}

/// Reads such a blob. A line that is not an entry is skipped; the other lines are returned.
pub fn read_blob(bytes: &[u8]) -> impl Iterator<Item = Entry> {
    bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_sorts_by_attempt_first() {
        let id = EntryId { attempt: 2, number: 10 };
        assert_eq!("2-10".parse(), Ok(id));
        assert!(id > EntryId { attempt: 1, number: 99 });
        assert!("2".parse::<EntryId>().is_err() && "a-1".parse::<EntryId>().is_err());
    }

    #[test]
    fn a_bad_line_does_not_discard_the_rest() {
        let entry = Entry::Output(OutputEntry {
            id: EntryId { attempt: 1, number: 1 },
            stage: StageName::Tests,
            stream: Stream::Stdout,
            offset: 0,
            text: "hello\n".to_owned(),
        });
        let line = serde_json::to_string(&entry).unwrap();
        let blob = format!("{line}\n{{broken\n{line}\n");
        assert_eq!(read_blob(blob.as_bytes()).collect::<Vec<_>>(), [entry.clone(), entry]);
    }

    /// The digests of blobs that were stored before there were entries of tests are signed.
    #[test]
    fn an_entry_is_written_as_it_was_read() {
        let output = r#"{"id":"1-2","stage":"build","stream":"stderr","offset":7,"text":"\u0000é\n"}"#;
        let test = r#"{"id":"1-3","stage":"tests","sequence":1,"at_ms":12,"test":"a","status":"errored"}"#;
        let blob = format!("{output}\n{test}\n");
        let entries: Vec<Entry> = read_blob(blob.as_bytes()).collect();
        assert!(matches!(entries[..], [Entry::Output(_), Entry::Test(_)]), "{entries:?}");
        assert_eq!(entries.iter().flat_map(Entry::line).collect::<Vec<u8>>(), blob.as_bytes());
        assert_eq!(
            entries.iter().map(|entry| (entry.id().number, entry.stage())).collect::<Vec<_>>(),
            [(2, StageName::Build), (3, StageName::Tests)]
        );
    }
}
