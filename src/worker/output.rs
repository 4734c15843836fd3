//! What a run writes, on its way to readers: live through Redis, whole into one blob at the end.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use tokio::sync::mpsc;
use uuid::Uuid;
use warden::event::{Output, Stream};

use crate::output::{Entry, EntryId};
use crate::redis::{LIVE_ENTRIES, Redis};
use crate::run::StageName;

/// Of the text that a failure's evidence quotes, in bytes and lines.
const LAST_BYTES: usize = 2048;
const LAST_LINES: usize = 20;

/// Entries that one call to Redis carries.
const BATCH: usize = 256;

/// The output of one attempt. Bounded by what the warden lets through.
pub struct OutputLog {
    last_id: EntryId,
    /// The blob so far.
    lines: Vec<u8>,
    /// First bytes of characters whose rest has not come yet.
    cut: HashMap<(StageName, Stream), (u64, Vec<u8>)>,
    last_stage: Option<StageName>,
    last_text: String,
    /// What readers have had already, of an attempt that another worker began: the journal brings it
    /// again, piece by piece the same.
    seen: HashSet<(StageName, Stream, u64)>,
    live: mpsc::UnboundedSender<Live>,
}

enum Live {
    Entry(Entry),
    Moved,
}

impl OutputLog {
    /// Goes on after what readers have [`seen`]; at entry 1 if that is nothing.
    pub fn begin(redis: Redis, run: Uuid, attempt: i32, seen: Vec<Entry>) -> Self {
        let (live, pieces) = mpsc::unbounded_channel();
        tokio::spawn(publish(redis, run, pieces));
        let first = EntryId { attempt: u32::try_from(attempt).unwrap_or(0), number: 0 };
        let mut lines = Vec::new();
        for entry in &seen {
            lines.extend(entry.line());
        }
        Self {
            last_id: seen.last().map_or(first, |entry| entry.id),
            lines,
            seen: seen.iter().map(|entry| (entry.stage, entry.stream, entry.offset)).collect(),
            cut: HashMap::new(),
            last_stage: None,
            last_text: String::new(),
            live,
        }
    }

    /// Adds a piece; bytes that are not UTF-8 become replacement characters, and a character that
    /// was cut between two pieces comes whole with the second.
    pub fn push(&mut self, stage: StageName, output: Output) {
        let Output { offset, stream, bytes, .. } = output;
        let (offset, bytes) = match self.cut.remove(&(stage, stream)) {
            Some((cut_at, mut cut)) if cut_at + cut.len() as u64 == offset => {
                cut.extend_from_slice(&bytes);
                (cut_at, cut)
            }
            Some((cut_at, cut)) => {
                self.write(stage, stream, cut_at, &cut);
                (offset, bytes)
            }
            None => (offset, bytes),
        };
        let whole = bytes.len() - unfinished(&bytes);
        let (text, cut) = bytes.split_at(whole);
        if !cut.is_empty() {
            self.cut.insert((stage, stream), (offset + text.len() as u64, cut.to_vec()));
        }
        self.write(stage, stream, offset, text);
    }

    /// The stage is over: characters that were never finished are written as they are.
    pub fn end_stage(&mut self, stage: StageName) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Some((offset, cut)) = self.cut.remove(&(stage, stream)) {
                self.write(stage, stream, offset, &cut);
            }
        }
    }

    fn write(&mut self, stage: StageName, stream: Stream, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(bytes).into_owned();
        if self.last_stage != Some(stage) {
            self.last_stage = Some(stage);
            self.last_text.clear();
        }
        self.last_text.push_str(&text);
        let surplus = self.last_text.len().saturating_sub(LAST_BYTES);
        let keep_from = (surplus..).find(|at| self.last_text.is_char_boundary(*at)).unwrap_or(0);
        self.last_text.drain(..keep_from);
        if self.seen.remove(&(stage, stream, offset)) {
            return;
        }
        self.last_id.number += 1;
        let entry = Entry { id: self.last_id, stage, stream, offset, text };
        self.lines.extend(entry.line());
        self.live.send(Live::Entry(entry)).ok();
    }

    /// The last lines that `stage` wrote, if it was the last to write.
    pub fn last_lines(&self, stage: StageName) -> Option<String> {
        if self.last_stage != Some(stage) {
            return None;
        }
        let lines: Vec<_> = self.last_text.lines().collect();
        let from = lines.len().saturating_sub(LAST_LINES);
        // Postgres keeps no NUL in a jsonb.
        lines.get(from..).map(|lines| lines.join("\n").replace('\0', "\u{fffd}")).filter(|text| !text.is_empty())
    }

    /// Says that the run moved, after all output before it.
    pub fn announce(&self) {
        self.live.send(Live::Moved).ok();
    }

    /// The blob; empty if nothing was written.
    pub fn take_blob(&mut self) -> Bytes {
        std::mem::take(&mut self.lines).into()
    }
}

/// What readers have had of an attempt that another worker began; nothing if Redis does not know.
pub async fn seen(redis: &Redis, run: Uuid, attempt: i32) -> Vec<Entry> {
    let before = EntryId { attempt: u32::try_from(attempt).unwrap_or(0), number: 0 };
    let entries = redis.read_output(run, before, LIVE_ENTRIES).await.unwrap_or_default();
    // Only without a gap do they say what was seen: what is missing comes again, under its old id.
    let whole =
        (1..).zip(entries).map_while(|(number, entry)| (entry.id == EntryId { number, ..before }).then_some(entry));
    whole.collect()
}

/// Bytes at the end that begin a character without finishing it.
fn unfinished(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(3);
    (tail..bytes.len())
        .find_map(|at| {
            let rest = bytes.get(at..)?;
            let error = std::str::from_utf8(rest).err()?;
            (error.error_len().is_none() && error.valid_up_to() == 0).then_some(rest.len())
        })
        .unwrap_or(0)
}

/// Passes on what comes, in as few calls as possible. What Redis does not take, readers get from
/// the blob.
async fn publish(redis: Redis, run: Uuid, mut pieces: mpsc::UnboundedReceiver<Live>) {
    let mut batch = Vec::new();
    while pieces.recv_many(&mut batch, BATCH).await > 0 {
        let mut entries = Vec::new();
        for piece in batch.drain(..) {
            if let Live::Entry(entry) = piece {
                entries.push(entry);
            }
        }
        let sent = match entries.is_empty() {
            true => redis.announce(run).await,
            false => redis.append_output(run, &entries).await,
        };
        if let Err(error) = sent {
            tracing::debug!(%run, %error, "live output was not passed on");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log() -> (OutputLog, mpsc::UnboundedReceiver<Live>) {
        let (live, pieces) = mpsc::unbounded_channel();
        let last_id = EntryId { attempt: 1, number: 0 };
        let log = OutputLog {
            last_id,
            lines: Vec::new(),
            cut: HashMap::new(),
            last_stage: None,
            last_text: String::new(),
            seen: HashSet::new(),
            live,
        };
        (log, pieces)
    }

    fn piece(offset: usize, bytes: &[u8]) -> Output {
        Output { at_us: 0, offset: offset as u64, stage: 0, stream: Stream::Stdout, bytes: bytes.to_vec() }
    }

    proptest! {
        #[test]
        fn text_survives_any_cut(text in ".{0,40}", cuts in prop::collection::vec(0_usize..160, 0..6)) {
            let (mut log, _pieces) = log();
            let mut ends: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            ends.push(text.len());
            ends.sort_unstable();
            let mut from = 0;
            for end in ends {
                log.push(StageName::Tests, piece(from, &text.as_bytes()[from..end]));
                from = end;
            }
            log.end_stage(StageName::Tests);
            let entries: Vec<_> = crate::output::read_blob(&log.take_blob()).collect();
            let joined: String = entries.iter().map(|entry| entry.text.as_str()).collect();
            prop_assert_eq!(joined, text);
            for (number, entry) in (1..).zip(&entries) {
                prop_assert_eq!(entry.id, EntryId { attempt: 1, number });
            }
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..64), cut in 0_usize..64) {
            let (mut log, _pieces) = log();
            let cut = cut.min(bytes.len());
            log.push(StageName::Build, piece(0, &bytes[..cut]));
            log.push(StageName::Build, piece(cut, &bytes[cut..]));
            log.end_stage(StageName::Build);
            let joined: String = crate::output::read_blob(&log.take_blob()).map(|entry| entry.text).collect();
            prop_assert_eq!(joined, String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn what_a_failure_quotes_fits_into_a_jsonb() {
        let (mut log, _pieces) = log();
        log.push(StageName::Tests, piece(0, b"a\0b\n"));
        assert_eq!(log.last_lines(StageName::Tests).unwrap(), "a\u{fffd}b");
    }

    #[test]
    fn the_last_lines_are_those_of_the_stage_that_failed() {
        let (mut log, _pieces) = log();
        log.push(StageName::Install, piece(0, b"one\n"));
        for line in 0..100 {
            log.push(StageName::Build, piece(0, format!("line {line}\n").as_bytes()));
        }
        assert_eq!(log.last_lines(StageName::Install), None);
        let last = log.last_lines(StageName::Build).unwrap();
        assert!(last.starts_with("line 80\n") && last.ends_with("line 99"), "{last}");
    }
}
