//! How much of Redis one run's live output may take.
//!
//! When Redis is full it drops what was not used for longest: the output of quiet runs, and the buckets of rate
//! limits, while loud runs write on. So all runs that may be active at one time share [`LIVE_BYTES`] evenly, and a
//! run that writes more loses its own oldest entries. Who has read them goes on; who has not is told of the gap and
//! gets them from the blob when the attempt is over. The output of an attempt that is over goes at once.

use std::collections::VecDeque;

use assize_config::Config;
use assize_domain::output::{Entry, EntryId};

/// The live output of all active runs, in bytes: half of what the embedded Redis may take in all. The rest is for
/// what it costs to keep it, for answers on their way, and for buckets.
const LIVE_BYTES: usize = 32 << 20;

/// What a run may have in any case: enough to follow it, in bytes.
const LEAST: usize = 64 << 10;

/// What Redis needs for an entry beside its text, at most, in bytes.
const OVERHEAD: usize = 64;

/// One run's share, and which entries are in it.
#[derive(Debug, Default)]
pub struct Share {
    /// Absent if nothing bounds it.
    most: Option<usize>,
    entries: VecDeque<(EntryId, usize)>,
    bytes: usize,
}

/// What has to be done to Redis to add entries within a share.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// Entries before this one go first.
    pub trim: Option<EntryId>,
    /// What is then added.
    pub add: Vec<(EntryId, String)>,
}

impl Share {
    /// That of one of the runs that these settings let be active at one time.
    #[must_use]
    pub fn from_config(config: &Config) -> Self {
        Self::at_most((LIVE_BYTES / config.max_active_evaluations.max(1) as usize).max(LEAST))
    }

    /// One of so many bytes.
    #[must_use]
    pub fn at_most(bytes: usize) -> Self {
        Self { most: Some(bytes), ..Self::default() }
    }

    /// Takes these entries in, the newest of them if they are too many.
    pub(super) fn add(&mut self, entries: &[Entry]) -> Change {
        let most = self.most.unwrap_or(usize::MAX);
        let (mut add, mut bytes) = (Vec::new(), 0_usize);
        // From the newest on, so that what does not fit is never even written out.
        for entry in entries.iter().rev() {
            let Ok(line) = serde_json::to_string(entry) else { continue };
            let size = line.len() + OVERHEAD;
            if bytes.saturating_add(size) > most {
                break;
            }
            bytes += size;
            add.push((entry.id(), line, size));
        }
        let is_cut = add.len() < entries.len();
        let mut is_trimmed = false;
        while self.bytes.saturating_add(bytes) > most || is_cut {
            let Some((_, size)) = self.entries.pop_front() else { break };
            self.bytes -= size;
            is_trimmed = true;
        }
        self.bytes += bytes;
        self.entries.extend(add.iter().rev().map(|(id, _, size)| (*id, *size)));
        let newest = entries.last().map(Entry::id).map(|id| EntryId { number: id.number + 1, ..id });
        let oldest = self.entries.front().map(|(id, _)| *id).or(newest);
        let add = add.into_iter().rev().map(|(id, line, _)| (id, line)).collect();
        Change { trim: oldest.filter(|_| is_trimmed), add }
    }

    /// Counts entries that another worker added.
    pub fn has(&mut self, entries: &[Entry]) {
        let sizes = entries.iter().map(|entry| (entry.id(), entry.line().len() + OVERHEAD));
        self.entries.extend(sizes);
        self.bytes = self.entries.iter().map(|(_, size)| size).sum();
    }
}

#[cfg(test)]
mod tests {
    use assize_protocol::event::Stream;

    use super::*;
    use assize_domain::output::OutputEntry;
    use assize_domain::run::StageName;

    fn entries(numbers: std::ops::RangeInclusive<u64>, length: usize) -> Vec<Entry> {
        let entry = |number| {
            Entry::Output(OutputEntry {
                id: EntryId { attempt: 1, number },
                stage: StageName::Tests,
                stream: Stream::Stdout,
                offset: number,
                text: "x".repeat(length),
            })
        };
        numbers.map(entry).collect()
    }

    fn added(change: &Change) -> Vec<u64> {
        change.add.iter().map(|(id, _)| id.number).collect()
    }

    #[test]
    fn what_fits_is_added_and_nothing_goes() {
        let mut share = Share::at_most(10_000);
        let change = share.add(&entries(1..=5, 100));
        assert_eq!((change.trim, added(&change)), (None, vec![1, 2, 3, 4, 5]));
    }

    #[test]
    fn the_oldest_go_and_never_more_than_the_share_is_kept() {
        let mut share = Share::at_most(4_000);
        for first in (1..100).step_by(3) {
            let change = share.add(&entries(first..=first + 2, 1_000));
            assert_eq!(added(&change), [first, first + 1, first + 2]);
            assert!(share.bytes <= 4_000);
            assert_eq!(share.bytes, share.entries.iter().map(|(_, size)| size).sum::<usize>());
            assert_eq!(change.trim.is_some(), first > 1);
            assert!(change.trim.is_none_or(|trim| trim.number == first));
        }
    }

    #[test]
    fn of_a_batch_that_is_too_large_the_newest_are_added_and_all_before_goes() {
        let mut share = Share::at_most(4_000);
        share.add(&entries(1..=2, 10));
        let change = share.add(&entries(3..=20, 1_000));
        assert_eq!(added(&change), [18, 19, 20]);
        assert_eq!(change.trim.map(|id| id.number), Some(18));
        // One that is larger than all: those after it are no part of what is before it.
        let change = share.add(&entries(21..=21, 10_000));
        assert_eq!((added(&change), change.trim.map(|id| id.number)), (vec![], Some(22)));
        assert_eq!((share.bytes, share.entries.len()), (0, 0));
    }

    #[test]
    fn what_another_worker_added_counts() {
        let mut share = Share::at_most(4_000);
        share.has(&entries(1..=3, 1_000));
        assert_eq!(share.add(&entries(4..=4, 1_000)).trim.map(|id| id.number), Some(2));
    }

    #[test]
    fn all_runs_that_may_be_active_fit_into_the_whole() {
        let share =
            |max_active_evaluations| Share::from_config(&Config { max_active_evaluations, ..Config::default() });
        assert_eq!(share(40).most, Some(LIVE_BYTES / 40));
        assert_eq!(share(100_000).most, Some(LEAST));
    }
}
