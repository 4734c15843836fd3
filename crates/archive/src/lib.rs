//! The scan of an uploaded zip archive, which unpacks nothing (FAILURES 16).
//!
//! The archive is unpacked later by one reader inside a cell; students, graders and virus scanners use other readers.
//! Readers disagree wherever a zip file contains a fact twice. So both copies must agree, and the scan refuses
//! everything that only some readers would see: entries that overlap, bytes that belong to no entry, a local header
//! that differs from the directory, two end records, data before the first entry. An accepted archive means the same to
//! every reader.
//!
//! Names, and what of the archive becomes the project, are no reader's own matter: [`assize_protocol::names`] decides them
//! here and in the cell. Of what is ignored only the structure counts.
//!
//! ```text
//!  offset 0                                    directory                 end record, last
//!  [local header, data, (descriptor)] [ ... ]  [central header] [ ... ]  [zip64 records] [end] [comment]
//!  └ each range begins where the one before ends, and the last ends where the directory begins
//! ```
//!
//! Sizes are those that the archive declares; the cell counts again while it inflates. Nested archives are plain files,
//! unless a template denies that content.
//!
//! Memory is bounded by the limits (entries x name length), never by what the file claims; every read is positional and
//! of bounded size, so the file can be shared. Of local headers no more is read than the file is long.

#![warn(missing_docs)]

mod entry;
mod fault;
mod foreign;
mod layout;
mod name;
mod problem;
mod record;
mod room;
mod source;
mod summary;
mod tally;
mod tree;
mod types;

#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod crafted;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod seeds;
#[cfg(test)]
mod tests;

pub use fault::{Field, NameFault, Special};
pub use name::NameStyle;
pub use problem::ArchiveProblem;
pub use room::{NODE_BYTES, Needed, PAGE, Room, in_pages};
pub use summary::{ArchiveSummary, Contents, Example, Ignored, MAX_EXAMPLES, Reason};
pub use types::FileTypes;

use assize_config::Config;
use assize_protocol::names::{NameRules, Survey};
use entry::Entry;
use record::{Directory, End};
use source::{Source, Window};
use std::fs::File;
use tally::Tally;

/// The limits that an archive must respect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanLimits {
    /// Bytes of the archive itself. 100 MiB: a project with its assets, but without its dependencies.
    pub max_archive_bytes: u64,
    /// Entries, folders included. 10,000: ten times a large course project.
    pub max_entries: u64,
    /// Declared bytes of all files together. 512 MiB: what a cell's workspace holds, with room to build in.
    pub max_unpacked_bytes: u64,
    /// Unpacked bytes per packed byte, of all files together, and of those above it together, each where these have more
    /// than [`RATIO_FLOOR`]. 200: text reaches 20, deflate itself stops at about 1,030.
    pub max_ratio: u64,
    /// Bytes of one name with its folders. 1,024: a quarter of what Linux can open.
    pub max_name_bytes: u64,
    /// Components of one name. 32: dependencies left out, projects rarely reach 12.
    pub max_depth: u64,
    /// Accepted file types; by default all.
    pub types: FileTypes,
    /// How names are read, and what is ignored.
    pub names: NameRules,
    /// Accepted names; by default all that Linux has.
    pub style: NameStyle,
    /// Room in the cell; unlimited by default.
    pub room: Room,
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self {
            max_archive_bytes: 100 * 1024 * 1024,
            max_entries: 10_000,
            max_unpacked_bytes: 512 * 1024 * 1024,
            max_ratio: 200,
            max_name_bytes: 1024,
            max_depth: 32,
            types: FileTypes::default(),
            names: NameRules::default(),
            style: NameStyle::default(),
            room: Room::default(),
        }
    }
}

impl ScanLimits {
    /// The limits that the settings define.
    #[must_use]
    pub fn from_config(config: &Config) -> Self {
        Self {
            max_archive_bytes: config.max_archive_bytes,
            max_entries: config.max_archive_entries,
            max_unpacked_bytes: config.max_unpacked_bytes,
            max_ratio: config.max_archive_ratio,
            ..Self::default()
        }
    }
}

/// Unpacked bytes up to which no ratio is enforced: an eighth of what the settings let in, which costs a tenth of a second
/// and no room that the limits do not give anyway. White images, emptied databases and logs have ratios of 500 to 1,000
/// and are no bombs.
pub const RATIO_FLOOR: u64 = 64 * 1024 * 1024;

/// Bytes of extra fields and comment that an entry of the directory may have on average; real ones have about 30.
const EXTRA_BYTES: u64 = 1024;

/// Name, extra fields and comment of one entry at their longest, 16-bit lengths each: room for one odd entry, so that
/// it is refused by its own name.
const ONE_ENTRY_BYTES: u64 = 3 * 0xffff;

/// Scans the archive in `file`. The position of the file's cursor does not matter.
///
/// Takes time in proportion to the entries, at most [`ScanLimits::max_entries`] of them; it blocks on the disk.
///
/// # Errors
///
/// The first [`ArchiveProblem`] that is found. The submission is at fault for all of them except
/// [`ArchiveProblem::Io`].
pub fn scan(file: &File, limits: &ScanLimits) -> Result<ArchiveSummary, ArchiveProblem> {
    let source = Source::new(file)?;
    if source.len() > limits.max_archive_bytes {
        return Err(ArchiveProblem::TooLarge { limit: limits.max_archive_bytes, seen: source.len() });
    }
    let directory = End::find(&source).and_then(|end| end.directory(&source));
    let directory = directory.map_err(|problem| foreign::named(&source, problem))?;
    check_directory(&directory, limits)?;

    let entries = read_directory(&source, &directory, limits)?;
    foreign::check_document(&source, &entries)?;
    let mut survey = Survey::new(Some(&limits.names));
    entries.iter().for_each(|entry| survey.add(&entry.text));
    let mut tally = Tally::new(&source, survey.finish(), limits);
    for entry in &entries {
        tally.add(entry, &directory)?;
    }
    tally.finish(&directory)
}

/// Reads every entry of the directory. They take up less memory than the names of the limits.
fn read_directory(
    source: &Source<'_>,
    directory: &Directory,
    limits: &ScanLimits,
) -> Result<Vec<Entry>, ArchiveProblem> {
    let mut window = Window::new(source, directory.offset, directory.end());
    let mut entries = Vec::new();
    for _ in 0..directory.entries {
        entries.push(Entry::read(&mut window, limits)?);
    }
    if window.position() != directory.end() {
        return Err(ArchiveProblem::DirectoryMismatch {
            detail: "it is longer than its entries",
            limit: directory.end() - directory.offset,
            seen: window.position() - directory.offset,
        });
    }
    Ok(entries)
}

/// Checks the claims of the end record against the limits, before anything is read or allocated because of them.
fn check_directory(directory: &Directory, limits: &ScanLimits) -> Result<(), ArchiveProblem> {
    if directory.entries > limits.max_entries {
        return Err(ArchiveProblem::TooManyEntries { limit: limits.max_entries, seen: directory.entries });
    }
    let each = record::CENTRAL_LEN + limits.max_name_bytes + EXTRA_BYTES;
    let most = directory.entries.saturating_mul(each).saturating_add(ONE_ENTRY_BYTES);
    if directory.len > most {
        return Err(ArchiveProblem::DirectoryTooLarge { limit: most, seen: directory.len });
    }
    let least = directory.entries.saturating_mul(record::CENTRAL_LEN);
    if directory.len < least {
        return Err(ArchiveProblem::DirectoryMismatch {
            detail: "it is shorter than its entries",
            limit: directory.len,
            seen: least,
        });
    }
    Ok(())
}
