//! What the tests of the scan ask of archives made by hand.

use super::{ArchiveProblem, ArchiveSummary, ScanLimits, scan};
use std::fs::File;
use std::io::Write;

pub(super) use assize_corpus::{Ending, Member, archive, file, folder, longs, numbers};

pub(super) fn spooled(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes).expect("written");
    file
}

pub(super) fn scan_bytes(bytes: &[u8]) -> Result<ArchiveSummary, ArchiveProblem> {
    scan(&spooled(bytes), &ScanLimits::default())
}

pub(super) fn scan_members(members: &[Member]) -> Result<ArchiveSummary, ArchiveProblem> {
    scan_bytes(&archive(members, &Ending::default()))
}

/// The code that the archive is refused with, or "accepted".
pub(super) fn code(members: &[Member]) -> &'static str {
    scan_members(members).map_or_else(|problem| problem.code(), |_| "accepted")
}

/// As [`code`], of an archive whose end record is as given.
pub(super) fn code_of_end(ending: &Ending) -> &'static str {
    let members = [file("a"), file("b")];
    scan_bytes(&archive(&members, ending)).map_or_else(|problem| problem.code(), |_| "accepted")
}
