//! The records of a zip file, as APPNOTE.TXT 6.3.10 lays them out; section numbers are its.

use super::ArchiveProblem;
use super::source::Source;
use assize_protocol::names::fields;

/// Bytes of a central header before its name (4.3.12).
pub(super) const CENTRAL_LEN: u64 = 46;
/// Bytes of a local header before its name (4.3.7).
pub(super) const LOCAL_LEN: u64 = 30;
/// Bytes of the end record before its comment (4.3.16).
const END_LEN: u64 = 22;
/// Bytes of the zip64 end record, version 1 (4.3.14).
const END64_LEN: u64 = 56;
/// Bytes of the zip64 end locator (4.3.15).
const LOCATOR_LEN: u64 = 20;

pub(super) const CENTRAL: u32 = 0x0201_4b50;
pub(super) const LOCAL: u32 = 0x0403_4b50;
pub(super) const DESCRIPTOR: u32 = 0x0807_4b50;
/// Markers at the beginning of a file.
const SPANNED: u32 = DESCRIPTOR;
const NOT_SPANNED: u32 = 0x3030_4b50;
const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const LOCATOR: u32 = 0x0706_4b50;

/// A 32-bit field that says "look into the zip64 record" (4.4.1.4).
pub(super) const IN_ZIP64: u32 = u32::MAX;

/// A number of a disk that says the same.
pub(super) const DISK_IN_ZIP64: u16 = u16::MAX;

/// The extra field with 64-bit sizes and offset (4.5.3).
const EXTRA_ZIP64: u16 = 0x0001;

/// The little-endian number at `at`; 0 beyond the end, which callers exclude by reading whole records.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes)
}

/// As [`u16_at`], of four bytes.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// As [`u16_at`], of eight bytes.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Bytes of a marker before the first entry, if there is one. A writer that could have split the archive over disks, and
/// did not, begins it so (8.5.3, 8.5.4).
pub(super) fn marker_len(source: &Source<'_>) -> Result<u64, ArchiveProblem> {
    let head = source.read_up_to(0, 8)?;
    let has_marker = matches!(u32_at(&head, 0), SPANNED | NOT_SPANNED) && u32_at(&head, 4) == LOCAL;
    Ok(if has_marker { 4 } else { 0 })
}

/// Where the directory is and how long.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) entries: u64,
    pub(super) offset: u64,
    pub(super) len: u64,
}

impl Directory {
    /// Where it ends; holds once [`End::directory`] returned it.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.len
    }
}

/// The end record.
pub(super) struct End {
    at: u64,
    bytes: Vec<u8>,
}

impl End {
    /// Finds the end record: the one whose comment ends with the file, or before zeros that end with it.
    ///
    /// Readers look for it from the back and few check the comment's length, so a second one that fits, or one within
    /// the comment, would be another archive to some of them.
    pub(super) fn find(source: &Source<'_>) -> Result<Self, ArchiveProblem> {
        if source.len() == 0 {
            return Err(ArchiveProblem::Empty { seen: 0 });
        }
        let tail_at = source.len().saturating_sub(END_LEN + u64::from(u16::MAX));
        let tail = source.read_up_to(tail_at, source.len())?;
        let signatures: Vec<usize> =
            tail.windows(4).enumerate().filter(|(_, four)| u32_at(four, 0) == END).map(|(at, _)| at).collect();
        // Writers that pad the last block leave zeros behind the comment; no reader sees anything in them.
        let fits = |&at: &usize| {
            let behind = tail.get(at + 22 + usize::from(u16_at(&tail, at + 20))..);
            behind.is_some_and(|behind| behind.iter().all(|&byte| byte == 0))
        };
        let Some(&last) = signatures.last() else {
            let head = source.read_up_to(0, 4)?;
            return Err(match u32_at(&head, 0) {
                LOCAL => ArchiveProblem::Truncated { what: "end record", limit: source.len(), seen: source.len() },
                _ => ArchiveProblem::NotAZip { seen: source.len(), format: None },
            });
        };
        let fitting: Vec<usize> = signatures.iter().copied().filter(fits).collect();
        match fitting.as_slice() {
            [only] if *only == last => Ok(Self { at: tail_at + *only as u64, bytes: tail[*only..*only + 22].to_vec() }),
            [] => {
                let claimed = last as u64 + END_LEN + u64::from(u16_at(&tail, last + 20));
                let found = tail.len() as u64;
                Err(match found.checked_sub(claimed) {
                    Some(seen) => ArchiveProblem::TrailingData { seen },
                    None => {
                        ArchiveProblem::Truncated { what: "end record", limit: source.len(), seen: tail_at + claimed }
                    }
                })
            }
            several => Err(ArchiveProblem::FalseEndRecord { seen: several.len().max(2) as u64 }),
        }
    }

    /// Where the directory is, by the end record and, if there is one, by the zip64 record, which must agree.
    pub(super) fn directory(&self, source: &Source<'_>) -> Result<Directory, ArchiveProblem> {
        let end = &self.bytes;
        let zip64 = self.zip64(source)?;
        let is_one = |disk: u16| disk == 0 || (disk == DISK_IN_ZIP64 && zip64.is_some());
        if !is_one(u16_at(end, 4)) || !is_one(u16_at(end, 6)) || u16_at(end, 8) != u16_at(end, 10) {
            return Err(ArchiveProblem::MultiDisk);
        }
        let (entries, len, offset) = (u16_at(end, 10), u32_at(end, 12), u32_at(end, 16));
        let plain = Directory { entries: entries.into(), offset: offset.into(), len: len.into() };
        let (directory, must_end_at) = match zip64 {
            None if len == IN_ZIP64 || offset == IN_ZIP64 => {
                return Err(ArchiveProblem::Zip64Lie {
                    detail: "the end record points to a zip64 record that is not there",
                });
            }
            None => (plain, self.at),
            Some((large, at)) => {
                let agrees = (entries == u16::MAX || large.entries == plain.entries)
                    && (len == IN_ZIP64 || large.len == plain.len)
                    && (offset == IN_ZIP64 || large.offset == plain.offset);
                if !agrees {
                    return Err(ArchiveProblem::Zip64Lie { detail: "the end record and the zip64 record differ" });
                }
                (large, at)
            }
        };
        if directory.entries == 0 {
            return Err(ArchiveProblem::Empty { seen: source.len() });
        }
        match directory.offset.checked_add(directory.len) {
            Some(end) if end == must_end_at => Ok(directory),
            // Self-extracting archives and polyglots: every offset is short by what was put in front.
            Some(end) if end < must_end_at => Err(ArchiveProblem::PrependedData { seen: must_end_at - end }),
            claimed => Err(ArchiveProblem::Truncated {
                what: "directory",
                limit: must_end_at,
                seen: claimed.unwrap_or(u64::MAX),
            }),
        }
    }

    /// The zip64 record and its place, if there is a locator right before the end record.
    fn zip64(&self, source: &Source<'_>) -> Result<Option<(Directory, u64)>, ArchiveProblem> {
        let Some(locator_at) = self.at.checked_sub(LOCATOR_LEN) else { return Ok(None) };
        let locator = source.read(locator_at, LOCATOR_LEN, "zip64 locator")?;
        if u32_at(&locator, 0) != LOCATOR {
            return Ok(None);
        }
        let at = u64_at(&locator, 8);
        if u32_at(&locator, 4) != 0 || u32_at(&locator, 16) != 1 {
            return Err(ArchiveProblem::MultiDisk);
        }
        if at.checked_add(END64_LEN) != Some(locator_at) {
            return Err(ArchiveProblem::Zip64Lie {
                detail: "the zip64 locator does not point to the record before it",
            });
        }
        let record = source.read(at, END64_LEN, "zip64 record")?;
        if u32_at(&record, 0) != END64 || u64_at(&record, 4) != END64_LEN - 12 {
            return Err(ArchiveProblem::Zip64Lie {
                detail: "there is no zip64 record of version 1 where one is announced",
            });
        }
        if u32_at(&record, 16) != 0 || u32_at(&record, 20) != 0 || u64_at(&record, 24) != u64_at(&record, 32) {
            return Err(ArchiveProblem::MultiDisk);
        }
        let directory =
            Directory { entries: u64_at(&record, 32), len: u64_at(&record, 40), offset: u64_at(&record, 48) };
        Ok(Some((directory, at)))
    }
}

/// PKWARE's extra field for Unix (4.5.7): 12 bytes of times and ids, then the target of a link or a device's numbers.
const EXTRA_UNIX: u16 = 0x000d;
const EXTRA_UNIX_BYTES: usize = 12;
/// Info-ZIP's extra field of the same kind (4.6, "ASi"): CRC, mode, size or device, ids, then the target of a link.
const EXTRA_ASI: u16 = 0x756e;
const EXTRA_ASI_BYTES: usize = 14;

/// The extra fields that change what an entry means, but for its name.
#[derive(Default)]
pub(super) struct Extras<'a> {
    /// One of them names something that the entry is a link to.
    pub(super) is_link: bool,
    /// The 64-bit values.
    pub(super) zip64: Option<&'a [u8]>,
}

impl<'a> Extras<'a> {
    /// Reads a list of extra fields; `None` if it is malformed, or has the 64-bit values twice.
    pub(super) fn parse(list: &'a [u8]) -> Option<Self> {
        let mut extras = Self::default();
        for field in fields(list) {
            let (id, content) = field?;
            extras.is_link |= (id == EXTRA_UNIX && content.len() > EXTRA_UNIX_BYTES)
                || (id == EXTRA_ASI && content.len() > EXTRA_ASI_BYTES);
            if id == EXTRA_ZIP64 && extras.zip64.replace(content).is_some() {
                return None;
            }
        }
        Some(extras)
    }

    /// Replaces each value that is [`IN_ZIP64`] by the 64-bit one, in order; `None` if the extra field lacks one, has
    /// one too many, or contradicts a value that is complete without it. Where the number of the disk is
    /// [`DISK_IN_ZIP64`] too, it follows them, and must be 0.
    pub(super) fn widen<const N: usize>(&self, values: [u32; N], disk: u16) -> Option<[u64; N]> {
        let mut wide = values.map(u64::from);
        let (any, has_disk) = (values.contains(&IN_ZIP64), disk == DISK_IN_ZIP64);
        let Some(content) = self.zip64 else { return (!any && !has_disk).then_some(wide) };
        if !any && !has_disk {
            let same = content.chunks_exact(8).zip(wide).all(|(chunk, value)| u64_at(chunk, 0) == value);
            return (same && content.len() <= 8 * N + 4).then_some(wide);
        }
        let mut rest = content;
        for (value, wide) in values.iter().zip(&mut wide) {
            if *value == IN_ZIP64 {
                let (number, behind) = rest.split_at_checked(8)?;
                (*wide, rest) = (u64_at(number, 0), behind);
            }
        }
        let last: &[u8] = if has_disk { &[0; 4] } else { &[] };
        (rest == last).then_some(wide)
    }
}
