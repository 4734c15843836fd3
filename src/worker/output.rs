//! The output of a run and the ends of its tests on their way to readers: live through Redis, and as one blob at the end.

use std::collections::{HashMap, HashSet};

use assize_domain::output::{Entry, EntryId, OutputEntry, TestEntry};
use assize_domain::run::StageName;
use assize_protocol::event::{Output, Stream};
use assize_protocol::progress::TestReport;
use bytes::Bytes;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::redis::{Redis, Share};

/// The most text that a failure's evidence quotes, in bytes and lines.
const MAX_QUOTED_BYTES: usize = 2048;
const MAX_QUOTED_LINES: usize = 20;

/// Entries in one call to Redis.
const MAX_BATCH: usize = 256;

/// Entries that are read from Redis when another worker's attempt is adopted: more than any run's share holds.
const MAX_PUBLISHED: usize = 1 << 20;

/// The output of one attempt. Its length is bounded: the warden sends the head and the tail of each stage's output, and
/// the session refuses more.
pub struct OutputLog {
    /// Whether the blob is stored, so that readers need no live output once the end is written.
    pub is_stored: bool,
    last_id: EntryId,
    /// The blob so far.
    lines: Vec<u8>,
    /// Published entries that come after a part that Redis has dropped. They wait here until the journal has brought
    /// that part again.
    tail: Option<PublishedTail>,
    /// The first bytes of characters whose rest has not come yet, with their offset.
    partial: HashMap<(StageName, Stream), (u64, Vec<u8>)>,
    last_stage: Option<StageName>,
    last_text: String,
    /// Tests that have ended.
    tests: u64,
    /// Entries of an adopted attempt that readers have already. The journal brings the same entries again.
    published: HashSet<EntryKey>,
    live: mpsc::UnboundedSender<Live>,
}

/// What tells an entry from others of its attempt, whatever its number.
#[derive(PartialEq, Eq, Hash)]
enum EntryKey {
    Output(StageName, Stream, u64),
    Test(u64),
}

impl From<&Entry> for EntryKey {
    fn from(entry: &Entry) -> Self {
        match entry {
            Entry::Output(OutputEntry { stage, stream, offset, .. }) => Self::Output(*stage, *stream, *offset),
            Entry::Test(TestEntry { sequence, .. }) => Self::Test(*sequence),
        }
    }
}

/// A message to the task that publishes live output.
enum Live {
    Entry(Entry),
    /// The run has moved on, so readers should read its row.
    Changed,
    /// The attempt has ended, and its blob is stored.
    Ended,
}

/// Entries that readers have under known numbers, as lines of the blob.
struct PublishedTail {
    first: u64,
    last: EntryId,
    lines: Vec<u8>,
}

impl OutputLog {
    /// Continues after the entries that are [`published`], or begins with entry 1. `share` limits the live output of the
    /// run in Redis, and counts the published entries.
    pub fn begin(redis: Redis, mut share: Share, run: Uuid, attempt: i32, published: Vec<Entry>) -> Self {
        let (live, pieces) = mpsc::unbounded_channel();
        let attempt = u32::try_from(attempt).unwrap_or(0);
        share.has(&published);
        tokio::spawn(publish(redis, share, run, attempt, pieces));
        Self::continue_after(EntryId { attempt, number: 0 }, &published, live)
    }

    fn continue_after(beginning: EntryId, published: &[Entry], live: mpsc::UnboundedSender<Live>) -> Self {
        let lines: Vec<u8> = published.iter().flat_map(Entry::line).collect();
        let (last_id, lines, tail) = match (published.first(), published.last()) {
            (Some(first), Some(last)) if first.id().number > 1 => {
                (beginning, Vec::new(), Some(PublishedTail { first: first.id().number, last: last.id(), lines }))
            }
            (_, last) => (last.map_or(beginning, Entry::id), lines, None),
        };
        Self {
            is_stored: false,
            last_id,
            lines,
            tail,
            tests: 0,
            published: published.iter().map(EntryKey::from).collect(),
            partial: HashMap::new(),
            last_stage: None,
            last_text: String::new(),
            live,
        }
    }

    /// Adds a piece. Bytes that are not UTF-8 become replacement characters. A character that was cut between two pieces
    /// is written whole with the second piece.
    pub fn push(&mut self, stage: StageName, output: Output) {
        let Output { offset, stream, bytes, .. } = output;
        let (offset, bytes) = match self.partial.remove(&(stage, stream)) {
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
        let whole = bytes.len() - incomplete_suffix(&bytes);
        let (text, cut) = bytes.split_at(whole);
        if !cut.is_empty() {
            self.partial.insert((stage, stream), (offset + text.len() as u64, cut.to_vec()));
        }
        self.write(stage, stream, offset, text);
    }

    /// Adds the end of a test, `at_ms` after the start of its stage.
    pub fn push_test(&mut self, stage: StageName, at_ms: u64, report: TestReport) {
        self.tests += 1;
        let (sequence, TestReport { test, status }) = (self.tests, report);
        self.append(Entry::Test(TestEntry { id: self.last_id, stage, sequence, at_ms, test, status }));
    }

    /// Ends a stage: characters that were never completed are written as replacement characters.
    pub fn end_stage(&mut self, stage: StageName) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Some((offset, cut)) = self.partial.remove(&(stage, stream)) {
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
        let surplus = self.last_text.len().saturating_sub(MAX_QUOTED_BYTES);
        let keep_from = (surplus..).find(|at| self.last_text.is_char_boundary(*at)).unwrap_or(0);
        self.last_text.drain(..keep_from);
        self.append(Entry::Output(OutputEntry { id: self.last_id, stage, stream, offset, text }));
    }

    /// Numbers an entry and publishes it, unless readers have it already.
    fn append(&mut self, mut entry: Entry) {
        if self.published.remove(&EntryKey::from(&entry)) {
            return;
        }
        self.last_id.number += 1;
        if let Some(tail) = self.tail.take_if(|tail| tail.first == self.last_id.number) {
            self.lines.extend(tail.lines);
            self.last_id = tail.last;
            self.last_id.number += 1;
        }
        entry.set_id(self.last_id);
        self.lines.extend(entry.line());
        // An entry before the tail is one that Redis has dropped, so it is not published again.
        if self.tail.is_none() {
            self.live.send(Live::Entry(entry)).ok();
        }
    }

    /// The last lines that `stage` wrote, if it was the last stage to write.
    pub fn last_lines(&self, stage: StageName) -> Option<String> {
        if self.last_stage != Some(stage) {
            return None;
        }
        let lines: Vec<_> = self.last_text.lines().collect();
        let from = lines.len().saturating_sub(MAX_QUOTED_LINES);
        // Postgres stores no NUL in a jsonb.
        lines.get(from..).map(|lines| lines.join("\n").replace('\0', "\u{fffd}")).filter(|text| !text.is_empty())
    }

    /// Notifies readers that the run has moved on, after all output before this call.
    pub fn announce(&self) {
        self.live.send(Live::Changed).ok();
    }

    /// Drops the live output: readers get the attempt's blob from here on.
    pub fn drop_live(&self) {
        self.live.send(Live::Ended).ok();
    }

    /// The blob; it is empty if nothing was written.
    pub fn take_blob(&mut self) -> Bytes {
        self.lines.extend(self.tail.take().into_iter().flat_map(|tail| tail.lines));
        std::mem::take(&mut self.lines).into()
    }
}

/// The entries of an adopted attempt that readers have already; none if Redis does not answer.
pub async fn published(redis: &Redis, run: Uuid, attempt: i32) -> Vec<Entry> {
    let before = EntryId { attempt: u32::try_from(attempt).unwrap_or(0), number: 0 };
    let entries = redis.read_output(run, before, MAX_PUBLISHED).await.unwrap_or_default();
    // Entries after a gap are dropped, because the missing ones come again under their old ids. The beginning may be
    // missing as well, if the run wrote more than its share.
    let first = entries.first().map_or(1, |entry| entry.id().number);
    let whole = (first..)
        .zip(entries)
        .map_while(|(number, entry)| (entry.id() == EntryId { number, ..before }).then_some(entry));
    whole.collect()
}

/// The number of bytes at the end that begin a character without completing it.
fn incomplete_suffix(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(3);
    (tail..bytes.len())
        .find_map(|at| {
            let rest = bytes.get(at..)?;
            let error = std::str::from_utf8(rest).err()?;
            (error.error_len().is_none() && error.valid_up_to() == 0).then_some(rest.len())
        })
        .unwrap_or(0)
}

/// Publishes what comes in as few calls as possible. Readers get from the blob what Redis does not accept.
async fn publish(redis: Redis, mut share: Share, run: Uuid, attempt: u32, mut pieces: mpsc::UnboundedReceiver<Live>) {
    let mut batch = Vec::new();
    while pieces.recv_many(&mut batch, MAX_BATCH).await > 0 {
        let (mut entries, mut has_changed, mut has_ended) = (Vec::new(), false, false);
        for piece in batch.drain(..) {
            match piece {
                Live::Entry(entry) => entries.push(entry),
                Live::Changed => has_changed = true,
                Live::Ended => has_ended = true,
            }
        }
        let sent = match (entries.is_empty(), has_changed) {
            (true, false) => Ok(()),
            (true, true) => redis.announce(run).await,
            (false, _) => redis.append_within(&mut share, run, &entries).await,
        };
        let dropped = if has_ended { redis.drop_output(run, attempt).await } else { Ok(()) };
        if let Err(error) = sent.and(dropped) {
            tracing::debug!(%run, %error, "live output was not published");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use assize_protocol::progress::ReportedStatus;

    fn log() -> (OutputLog, mpsc::UnboundedReceiver<Live>) {
        log_after(&[])
    }

    fn log_after(published: &[Entry]) -> (OutputLog, mpsc::UnboundedReceiver<Live>) {
        let (live, pieces) = mpsc::unbounded_channel();
        (OutputLog::continue_after(EntryId { attempt: 1, number: 0 }, published, live), pieces)
    }

    fn piece(offset: usize, bytes: &[u8]) -> Output {
        Output { at_us: 0, offset: offset as u64, stage: 0, stream: Stream::Stdout, bytes: bytes.to_vec() }
    }

    fn joined(entries: &[Entry]) -> String {
        let output =
            entries.iter().filter_map(|entry| if let Entry::Output(output) = entry { Some(output) } else { None });
        output.map(|output| output.text.as_str()).collect()
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
            let entries: Vec<_> = assize_domain::output::read_blob(&log.take_blob()).collect();
            prop_assert_eq!(joined(&entries), text);
            for (number, entry) in (1..).zip(&entries) {
                prop_assert_eq!(entry.id(), EntryId { attempt: 1, number });
            }
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..64), cut in 0_usize..64) {
            let (mut log, _pieces) = log();
            let cut = cut.min(bytes.len());
            log.push(StageName::Build, piece(0, &bytes[..cut]));
            log.push(StageName::Build, piece(cut, &bytes[cut..]));
            log.end_stage(StageName::Build);
            let entries: Vec<_> = assize_domain::output::read_blob(&log.take_blob()).collect();
            prop_assert_eq!(joined(&entries), String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn what_is_replayed_gets_the_ids_that_readers_know_whatever_redis_still_has() {
        let all = ["one ", "two ", "three ", "four ", "five "];
        let write = |log: &mut OutputLog| {
            let mut offset = 0;
            for text in all {
                log.push(StageName::Tests, piece(offset, text.as_bytes()));
                offset += text.len();
                // The same test twice: its last status counts, and readers get both.
                let report = TestReport { test: "a".to_owned(), status: ReportedStatus::Passed };
                log.push_test(StageName::Tests, 5, report);
            }
        };
        let (mut first, _pieces) = log();
        write(&mut first);
        let blob = first.take_blob();
        let entries: Vec<Entry> = assize_domain::output::read_blob(&blob).collect();
        assert_eq!(entries.len(), 10);
        for (from, to) in [(0, 0), (0, 2), (0, 3), (2, 4), (1, 9), (4, 5), (9, 10), (0, 10)] {
            let (mut log, mut pieces) = log_after(&entries[from..to]);
            write(&mut log);
            assert_eq!(log.take_blob(), blob, "{from} {to}");
            drop(log);
            let mut sent = Vec::new();
            while let Ok(Live::Entry(entry)) = pieces.try_recv() {
                sent.push(entry);
            }
            assert_eq!(sent, entries[to..], "{from} {to}");
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
