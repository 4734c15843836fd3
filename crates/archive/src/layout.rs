//! Where the entries lie in the file: one after the other, from its first byte to the directory.

use super::ArchiveProblem;
use std::collections::HashSet;

/// The bytes of an entry: local header, data, descriptor.
pub(super) struct Range {
    pub(super) start: u64,
    /// Where it can end: one place, or up to four where a descriptor can be read in several ways. Never empty.
    pub(super) ends: Vec<u64>,
    /// For messages.
    pub(super) name: String,
}

/// The ranges of all entries.
#[derive(Default)]
pub(super) struct Layout {
    ranges: Vec<Range>,
    starts: HashSet<u64>,
    /// Bytes of all ranges at their shortest.
    covered: u64,
}

impl Layout {
    /// Two entries with one local header overlap in full.
    pub(super) fn claim(&mut self, start: u64, name: impl FnOnce() -> String) -> Result<(), ArchiveProblem> {
        if self.starts.insert(start) { Ok(()) } else { Err(ArchiveProblem::Overlap { name: name() }) }
    }

    /// Adds a range. Ranges that are longer than the file together must overlap somewhere; seen here already, so that
    /// no more than the file's length is ever read of local headers.
    pub(super) fn add(&mut self, range: Range, directory: u64) -> Result<(), ArchiveProblem> {
        let end = range.ends.iter().min().copied().unwrap_or(range.start);
        self.covered = self.covered.saturating_add(end.saturating_sub(range.start));
        if self.covered > directory {
            return Err(ArchiveProblem::Overlap { name: range.name });
        }
        self.ranges.push(range);
        Ok(())
    }

    /// Checks that the ranges fill the layout.
    ///
    /// Overlapping entries are how a small archive unpacks to terabytes; bytes between entries are entries to a reader
    /// that goes from front to back, and to no other.
    ///
    /// They begin with the file, or behind a marker of `marker` bytes.
    pub(super) fn check(mut self, marker: u64, directory: u64) -> Result<(), ArchiveProblem> {
        self.ranges.sort_unstable_by_key(|range| range.start);
        let starts: Vec<u64> = self.ranges.iter().map(|range| range.start).chain([directory]).collect();
        match starts.first() {
            Some(&first) if first == marker => {}
            first => return Err(ArchiveProblem::PrependedData { seen: first.copied().unwrap_or(0) }),
        }
        for (range, &next) in self.ranges.iter().zip(&starts[1..]) {
            if range.ends.contains(&next) {
                continue;
            }
            return Err(match range.ends.iter().filter(|&&end| end < next).max() {
                Some(end) => ArchiveProblem::HiddenData { name: range.name.clone(), seen: next - end },
                None => ArchiveProblem::Overlap { name: range.name.clone() },
            });
        }
        Ok(())
    }
}
