//! The output of a run as clients read it: numbered pieces of text, which are the same during the run and afterwards.
//!
//! While a run is active the pieces live in a capped Redis stream; when it ends they become one
//! blob of JSON lines. Both use the same [`EntryId`], so a reader that resumes does not notice
//! which of the two answers.

use std::fmt;
use std::str::FromStr;

use assize_protocol::event::Stream;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::run::StageName;

/// The place of a piece in its run: `<attempt>-<number>`, both from 1 on. Also its id in Redis and
/// the `id:` of its Server-Sent Event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntryId {
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Number of the piece within its attempt, from 1.
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

/// One piece of output. `offset` counts bytes of its stage over both streams; a jump is where the
/// middle of a flood was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
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

impl Entry {
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
        let entry = Entry {
            id: EntryId { attempt: 1, number: 1 },
            stage: StageName::Tests,
            stream: Stream::Stdout,
            offset: 0,
            text: "hello\n".to_owned(),
        };
        let line = serde_json::to_string(&entry).unwrap();
        let blob = format!("{line}\n{{broken\n{line}\n");
        assert_eq!(read_blob(blob.as_bytes()).collect::<Vec<_>>(), [entry.clone(), entry]);
    }
}
