//! What an upload is that is no zip archive of a project.

use super::source::Source;
use super::{ArchiveProblem, entry::Entry};

/// Bytes that suffice to know a format: the mark of tar lies the furthest in, at 257.
const HEAD: u64 = 512;

/// First bytes of files that people submit in place of a zip archive, and what they are.
const FORMATS: [(&[u8], &str); 14] = [
    (b"\x1f\x8b", "a gzip file, such as a .tar.gz"),
    (b"\x1f\x9d", "a compress file, such as a .tar.Z"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\xfd7zXZ\0", "an xz file, such as a .tar.xz"),
    (b"BZh", "a bzip2 file, such as a .tar.bz2"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file, such as a .tar.zst"),
    (b"LZIP", "an lzip file, such as a .tar.lz"),
    (b"%PDF-", "a PDF document"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document of an old Office (.doc, .xls, .ppt)"),
    (b"{\\rtf", "a Rich Text document"),
    (b"<!DOCTYPE", "a web page"),
    (b"<!doctype", "a web page"),
    (b"<html", "a web page"),
];

/// Names that documents have which are zip archives by their format, and what such a document is. The archive's own folder
/// holds all of them.
const DOCUMENTS: [(&[&str], &str); 5] = [
    (&["[Content_Types].xml", "word/document.xml"], "a Word document"),
    (&["[Content_Types].xml", "xl/workbook.xml"], "an Excel workbook"),
    (&["[Content_Types].xml", "ppt/presentation.xml"], "a PowerPoint presentation"),
    (&["mimetype", "META-INF/manifest.xml", "content.xml"], "an OpenDocument file"),
    (&["mimetype", "META-INF/container.xml"], "an EPUB book"),
];

/// Names the format of a file in which no archive was found, if it is a known one; or else repeats the problem.
pub(super) fn named(source: &Source<'_>, problem: ArchiveProblem) -> ArchiveProblem {
    let Ok(head) = source.read_up_to(0, HEAD) else { return problem };
    let is_tar = head.get(257..262) == Some(b"ustar");
    let known = FORMATS.iter().find(|(mark, _)| head.starts_with(mark)).map(|(_, format)| *format);
    match known.or(is_tar.then_some("a tar archive")) {
        Some(format) => ArchiveProblem::NotAZip { seen: source.len(), format: Some(format) },
        None => problem,
    }
}

/// Refuses a document whose format is that of a zip archive.
pub(super) fn check_document(source: &Source<'_>, entries: &[Entry]) -> Result<(), ArchiveProblem> {
    let has = |name: &&str| entries.iter().any(|entry| entry.text == **name);
    // Most archives have neither of these two, so most names are compared once.
    if !["[Content_Types].xml", "mimetype"].iter().any(has) {
        return Ok(());
    }
    match DOCUMENTS.iter().find(|(names, _)| names.iter().all(has)) {
        Some((_, format)) => Err(ArchiveProblem::NotAZip { seen: source.len(), format: Some(*format) }),
        None => Ok(()),
    }
}
