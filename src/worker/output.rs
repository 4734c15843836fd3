//! What a run writes, on its way to readers: live through Redis, whole into one blob at the end.

use std::collections::{HashMap, HashSet};

use assize_protocol::event::{Output, Stream};
use bytes::Bytes;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::redis::{Redis, Share};
use assize_domain::output::{Entry, EntryId};
use assize_domain::run::StageName;

/// Of the text that a failure's evidence quotes, in bytes and lines.
const LAST_BYTES: usize = 2048;
const LAST_LINES: usize = 20;

/// Entries that one call to Redis carries.
const BATCH: usize = 256;

/// Entries that are asked of Redis when another worker's attempt is taken over: more than any share holds.
const MOST_SEEN: usize = 1 << 20;

/// The output of one attempt. Bounded by what the warden lets through.
pub struct OutputLog {
    /// Whether the blob is kept, so that nobody needs the live output once the end is written.
    pub is_kept: bool,
    last_id: EntryId,
    /// The blob so far.
    lines: Vec<u8>,
    /// What of `seen` comes after a part that Redis has no longer; until that has come again, it waits here.
    later: Option<Later>,
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
    /// The attempt is over, and its blob is kept.
    Over,
}

/// Entries that readers have had, under their numbers, and the lines of the blob that they are.
struct Later {
    first: u64,
    last: EntryId,
    lines: Vec<u8>,
}

impl OutputLog {
    /// Goes on after what readers have [`seen`]; at entry 1 if that is nothing. What `share` of Redis the run's live
    /// output may take counts what is there already.
    pub fn begin(redis: Redis, mut share: Share, run: Uuid, attempt: i32, seen: Vec<Entry>) -> Self {
        let (live, pieces) = mpsc::unbounded_channel();
        let attempt = u32::try_from(attempt).unwrap_or(0);
        share.has(&seen);
        tokio::spawn(publish(redis, share, run, attempt, pieces));
        Self::after(EntryId { attempt, number: 0 }, &seen, live)
    }

    fn after(beginning: EntryId, seen: &[Entry], live: mpsc::UnboundedSender<Live>) -> Self {
        let lines: Vec<u8> = seen.iter().flat_map(Entry::line).collect();
        let (last_id, lines, later) = match (seen.first(), seen.last()) {
            (Some(first), Some(last)) if first.id.number > 1 => {
                (beginning, Vec::new(), Some(Later { first: first.id.number, last: last.id, lines }))
            }
            (_, last) => (last.map_or(beginning, |entry| entry.id), lines, None),
        };
        Self {
            is_kept: false,
            last_id,
            lines,
            later,
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
        if let Some(later) = self.later.take_if(|later| later.first == self.last_id.number) {
            self.lines.extend(later.lines);
            self.last_id = later.last;
            self.last_id.number += 1;
        }
        let entry = Entry { id: self.last_id, stage, stream, offset, text };
        self.lines.extend(entry.line());
        // What comes again from before that is in Redis's past: it takes nothing there any more.
        if self.later.is_none() {
            self.live.send(Live::Entry(entry)).ok();
        }
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

    /// Drops the live output: readers have the attempt's blob from here on.
    pub fn is_over(&self) {
        self.live.send(Live::Over).ok();
    }

    /// The blob; empty if nothing was written.
    pub fn take_blob(&mut self) -> Bytes {
        self.lines.extend(self.later.take().into_iter().flat_map(|later| later.lines));
        std::mem::take(&mut self.lines).into()
    }
}

/// What readers have had of an attempt that another worker began; nothing if Redis does not know.
pub async fn seen(redis: &Redis, run: Uuid, attempt: i32) -> Vec<Entry> {
    let before = EntryId { attempt: u32::try_from(attempt).unwrap_or(0), number: 0 };
    let entries = redis.read_output(run, before, MOST_SEEN).await.unwrap_or_default();
    // Only without a gap do they say what was seen: what is missing comes again, under its old id. The beginning may
    // be missing as well, of a run that wrote more than its share.
    let first = entries.first().map_or(1, |entry| entry.id.number);
    let whole =
        (first..).zip(entries).map_while(|(number, entry)| (entry.id == EntryId { number, ..before }).then_some(entry));
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
async fn publish(redis: Redis, mut share: Share, run: Uuid, attempt: u32, mut pieces: mpsc::UnboundedReceiver<Live>) {
    let mut batch = Vec::new();
    while pieces.recv_many(&mut batch, BATCH).await > 0 {
        let (mut entries, mut moved, mut is_over) = (Vec::new(), false, false);
        for piece in batch.drain(..) {
            match piece {
                Live::Entry(entry) => entries.push(entry),
                Live::Moved => moved = true,
                Live::Over => is_over = true,
            }
        }
        let sent = match (entries.is_empty(), moved) {
            (true, false) => Ok(()),
            (true, true) => redis.announce(run).await,
            (false, _) => redis.append_within(&mut share, run, &entries).await,
        };
        let dropped = if is_over { redis.drop_output(run, attempt).await } else { Ok(()) };
        if let Err(error) = sent.and(dropped) {
            tracing::debug!(%run, %error, "live output was not passed on");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log() -> (OutputLog, mpsc::UnboundedReceiver<Live>) {
        log_after(&[])
    }

    fn log_after(seen: &[Entry]) -> (OutputLog, mpsc::UnboundedReceiver<Live>) {
        let (live, pieces) = mpsc::unbounded_channel();
        (OutputLog::after(EntryId { attempt: 1, number: 0 }, seen, live), pieces)
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
            let entries: Vec<_> = assize_domain::output::read_blob(&log.take_blob()).collect();
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
            let joined: String = assize_domain::output::read_blob(&log.take_blob()).map(|entry| entry.text).collect();
            prop_assert_eq!(joined, String::from_utf8_lossy(&bytes));
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
            }
        };
        let (mut first, _pieces) = log();
        write(&mut first);
        let blob = first.take_blob();
        let entries: Vec<Entry> = assize_domain::output::read_blob(&blob).collect();
        for (from, to) in [(0, 0), (0, 2), (2, 4), (1, 5), (4, 5), (0, 5)] {
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
