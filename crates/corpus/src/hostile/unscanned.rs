//! What the warden must reject by its own checks if no scan has seen the archive.

use super::UnscannedAnswer;

/// Archive, and words of the reason that the warden rejects it with. The limits of the warden's tests are 20 files and
/// folders and 1 MiB; the archives that are missing here are unpacked into plain files and folders.
pub(super) const REJECTED: &[(&str, &str)] = &[];

/// What the warden must do with the archive of this name.
pub(super) fn answer(name: &str) -> UnscannedAnswer {
    let rejected = REJECTED.iter().find(|(archive, _)| *archive == name);
    rejected.map_or(UnscannedAnswer::Contained, |(_, words)| UnscannedAnswer::Rejected(words))
}
