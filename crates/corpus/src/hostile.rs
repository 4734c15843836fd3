//! The hostile archives: each lies, leads elsewhere, collides, overlaps or unpacks to more than it declares.
//!
//! | list | who tries it |
//! |---|---|
//! | [`for_attack`] | `assize doctor --attack`, through the API of a live installation |
//! | [`for_cells`] | the tests of the pipeline, past the scan, each in a cell of its own with [`CELL_MAX_BYTES`] and its like |
//! | [`archives`] | the tests of the scan and of the warden: both lists together |

mod cells;
mod headers;
mod inflated;
mod names;
mod records;
mod unscanned;

pub use inflated::WORKSPACE_INODES;

use crate::{Ending, Member, archive};

/// Bytes that the archives of [`for_cells`] may have in their cells.
pub const CELL_MAX_ARCHIVE_BYTES: u64 = 100_000;
/// Files and folders that the archives of [`for_cells`] may unpack to in their cells.
pub const CELL_MAX_ENTRIES: u64 = 60;
/// Bytes that the archives of [`for_cells`] may unpack to in their cells.
pub const CELL_MAX_BYTES: u64 = 50_000;

/// What the scan must answer to an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanAnswer {
    /// The scan refuses the archive with this public code, by its default limits.
    Refused(&'static str),
    /// The scan refuses the archive with this public code if the workspace has 4 MiB and [`WORKSPACE_INODES`] inodes.
    RefusedForWorkspace(&'static str),
    /// The scan refuses the archive with this public code by the limits [`CELL_MAX_ARCHIVE_BYTES`], [`CELL_MAX_ENTRIES`]
    /// and [`CELL_MAX_BYTES`].
    RefusedForCell(&'static str),
    /// The scan accepts the archive: only inflating it shows what it is.
    Accepted,
    /// The scan accepts the archive, and so does the warden: what is odd about it is ignored, left out, or means nothing
    /// in a cell. The archive unpacks to plain files.
    Harmless,
}

/// What the warden must do with an archive that no scan has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnscannedAnswer {
    /// The warden rejects the archive with a reason that contains these words.
    Rejected(&'static str),
    /// The warden may reject or unpack the archive. Nothing may appear outside the folder, and nothing in the folder but
    /// plain files and folders.
    Contained,
}

/// An archive of the list.
#[derive(Debug, Clone)]
pub struct HostileArchive {
    /// Stable name, unique in the list.
    pub name: String,
    /// What is hostile about the archive, for a person.
    pub what: String,
    /// The archive itself.
    pub bytes: Vec<u8>,
    /// What the scan must answer.
    pub scan: ScanAnswer,
    /// What the warden must do without a scan.
    pub unscanned: UnscannedAnswer,
}

/// Every hostile archive.
#[must_use]
pub fn archives() -> Vec<HostileArchive> {
    [for_attack(), for_cells()].concat()
}

/// The archives that the attack submits.
#[must_use]
pub fn for_attack() -> Vec<HostileArchive> {
    let mut all = [names::all(), headers::all(), records::all(), inflated::all()].concat();
    for archive in &mut all {
        archive.unscanned = unscanned::answer(&archive.name);
    }
    all
}

/// The archives that the tests of the pipeline put into cells.
#[must_use]
pub fn for_cells() -> Vec<HostileArchive> {
    cells::all()
}

/// An archive that the scan must refuse with this public code.
fn refused(name: &str, what: impl Into<String>, code: &'static str, bytes: Vec<u8>) -> HostileArchive {
    let scan = ScanAnswer::Refused(code);
    HostileArchive { name: name.to_owned(), what: what.into(), bytes, scan, unscanned: UnscannedAnswer::Contained }
}

/// An archive of these members with a truthful end, which is odd and harmless.
fn harmless(name: &str, what: impl Into<String>, list: &[Member]) -> HostileArchive {
    HostileArchive { scan: ScanAnswer::Harmless, ..members(name, what, "", list) }
}

/// An archive of these members with a truthful end, which the scan must refuse with this public code.
fn members(name: &str, what: impl Into<String>, code: &'static str, members: &[Member]) -> HostileArchive {
    refused(name, what, code, archive(members, &Ending::default()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn every_name_is_unique_and_no_archive_was_lost() {
        let names: HashSet<String> = super::archives().into_iter().map(|archive| archive.name).collect();
        assert_eq!(names.len(), super::archives().len());
        assert_eq!(super::for_attack().len(), 159);
        assert_eq!(super::for_cells().len(), 32);
    }

    #[test]
    fn every_answer_without_a_scan_belongs_to_an_archive() {
        let names: HashSet<String> = super::for_attack().into_iter().map(|archive| archive.name).collect();
        for (name, _) in super::unscanned::REJECTED {
            assert!(names.contains(*name), "{name}");
        }
    }
}
