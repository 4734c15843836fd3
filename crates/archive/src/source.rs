//! Reads of a file at given places, bounded in size.

use super::ArchiveProblem;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;

/// Bytes that a window holds: more than any one header, and one system call per 64 KiB of directory.
const WINDOW: u64 = 64 * 1024;

/// The archive; its length is taken once, so that a file that shrinks meanwhile is truncated, not misread.
pub(super) struct Source<'a> {
    file: &'a File,
    len: u64,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &'a File) -> Result<Self, ArchiveProblem> {
        let len = file.metadata().map_err(|error| ArchiveProblem::Io { kind: error.kind() })?.len();
        Ok(Self { file, len })
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Reads the `len` bytes at `offset`; `what` names them if they are not all there.
    pub(super) fn read(&self, offset: u64, len: u64, what: &'static str) -> Result<Vec<u8>, ArchiveProblem> {
        let truncated = ArchiveProblem::Truncated { what, limit: self.len, seen: offset.saturating_add(len) };
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(truncated);
        }
        let Ok(size) = usize::try_from(len) else { return Err(truncated) };
        let mut bytes = vec![0; size];
        match self.file.read_exact_at(&mut bytes, offset) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(truncated),
            Err(error) => Err(ArchiveProblem::Io { kind: error.kind() }),
        }
    }

    /// Reads up to `len` bytes at `offset`, fewer at the end of the file.
    pub(super) fn read_up_to(&self, offset: u64, len: u64) -> Result<Vec<u8>, ArchiveProblem> {
        self.read(offset, len.min(self.len.saturating_sub(offset)), "data")
    }
}

/// A part of the archive that is read from front to back.
pub(super) struct Window<'a> {
    source: &'a Source<'a>,
    bytes: Vec<u8>,
    /// Where `bytes` begins in the archive.
    start: u64,
    position: u64,
    end: u64,
}

impl<'a> Window<'a> {
    pub(super) fn new(source: &'a Source<'a>, from: u64, end: u64) -> Self {
        Self { source, bytes: Vec::new(), start: from, position: from, end }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next `len` bytes, at most 64 KiB; `what` names them if the part ends before.
    pub(super) fn take(&mut self, len: u64, what: &'static str) -> Result<&[u8], ArchiveProblem> {
        let wanted = self.position.saturating_add(len);
        if wanted > self.end {
            return Err(ArchiveProblem::Truncated { what, limit: self.end, seen: wanted });
        }
        if wanted > self.start + self.bytes.len() as u64 {
            let more = len.max(WINDOW).min(self.end - self.position);
            self.bytes = self.source.read(self.position, more, what)?;
            self.start = self.position;
        }
        // The window was just made to hold them.
        let from = usize::try_from(self.position - self.start).unwrap_or(usize::MAX);
        let until = usize::try_from(wanted - self.start).unwrap_or(usize::MAX);
        self.position = wanted;
        self.bytes.get(from..until).ok_or(ArchiveProblem::Truncated { what, limit: self.end, seen: wanted })
    }
}
