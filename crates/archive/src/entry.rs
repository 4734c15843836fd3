//! One entry: its central header, and the local header that must agree with it.

use super::fault::{Field, Special};
use super::layout::Range;
use super::record::{self, Extras, u16_at, u32_at, u64_at};
use super::source::{Source, Window};
use super::types::FileTypes;
use super::{ArchiveProblem, ScanLimits, excessive_ratio, name};
use assize_protocol::content::HEAD;

/// Flag: the data is encrypted; with strong encryption; with the headers masked (APPNOTE 4.4.4).
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
/// Flag: sizes and CRC follow the data.
const HAS_DESCRIPTOR: u16 = 1 << 3;
/// Flag: the data is a patch against something else.
const PATCH: u16 = 1 << 5;
/// Flags that only tune the compressor and that some tools set in one header alone.
const TUNING: u16 = 1 << 1 | 1 << 2;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// WinZip's AES marks encrypted entries by method.
const AES: u16 = 99;

/// The system that made an entry, in the upper byte of its version (4.4.2.2), and the bit of its attributes that says
/// "folder".
const DOS: u8 = 0;
const DOS_FOLDER: u32 = 0x10;

/// Bits of a Unix mode: file type, and set-uid, set-gid, sticky.
const TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_000;
const SETUID: u32 = 0o4_000;
const SETGID: u32 = 0o2_000;

/// An entry as the directory describes it.
pub(super) struct Entry {
    /// Without the slash at the end that makes it a folder.
    pub(super) name: String,
    pub(super) is_folder: bool,
    /// Declared bytes once unpacked.
    pub(super) unpacked: u64,
    raw_name: Vec<u8>,
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    /// Where its local header begins.
    pub(super) offset: u64,
}

impl Entry {
    /// Reads the next central header and holds it to the rules.
    pub(super) fn read(directory: &mut Window<'_>, limits: &ScanLimits) -> Result<Self, ArchiveProblem> {
        let fixed = directory.take(record::CENTRAL_LEN, "directory")?.to_vec();
        if u32_at(&fixed, 0) != record::CENTRAL {
            return Err(ArchiveProblem::DirectoryMismatch {
                detail: "an entry does not begin with its signature",
                limit: u64::from(record::CENTRAL),
                seen: u64::from(u32_at(&fixed, 0)),
            });
        }
        let name_len = u64::from(u16_at(&fixed, 28));
        let raw_name = directory.take(name_len, "name in the directory")?.to_vec();
        let shown = || name::shown(&raw_name);
        if name_len > limits.max_name_bytes {
            return Err(ArchiveProblem::NameTooLong { name: shown(), limit: limits.max_name_bytes, seen: name_len });
        }
        let extra_len = u64::from(u16_at(&fixed, 30));
        let extra = directory.take(extra_len, "extra field in the directory")?.to_vec();
        directory.take(u64::from(u16_at(&fixed, 32)), "comment in the directory")?;

        let (name, is_folder) = name::check(&raw_name, limits)?;
        let extras = Extras::parse(&extra).ok_or_else(|| ArchiveProblem::BadExtraField { name: shown() })?;
        if !extras.names(&raw_name) {
            return Err(ArchiveProblem::HeaderMismatch { name: shown(), field: Field::SecondName });
        }
        if extras.is_link {
            return Err(ArchiveProblem::HardLink { name: shown() });
        }
        if u16_at(&fixed, 34) != 0 {
            return Err(ArchiveProblem::MultiDisk);
        }
        let sizes = [u32_at(&fixed, 24), u32_at(&fixed, 20), u32_at(&fixed, 42)];
        let [unpacked, packed, offset] =
            extras.widen(sizes).ok_or(ArchiveProblem::Zip64Lie { detail: "an entry's zip64 sizes contradict it" })?;
        let entry = Self {
            name,
            is_folder,
            unpacked,
            flags: u16_at(&fixed, 8),
            method: u16_at(&fixed, 10),
            crc: u32_at(&fixed, 16),
            packed,
            offset,
            raw_name,
        };
        let attributes = u32_at(&fixed, 38);
        entry.check_kind(attributes >> 16)?;
        entry.check_dos(fixed.get(5) == Some(&DOS), attributes)?;
        entry.check_data(limits)?;
        Ok(entry)
    }

    fn shown(&self) -> String {
        name::shown(&self.raw_name)
    }

    fn mismatch(&self, field: Field) -> ArchiveProblem {
        ArchiveProblem::HeaderMismatch { name: self.shown(), field }
    }

    /// Only plain files and folders. The mode is looked at whatever system the entry claims to be from: readers differ
    /// in whether they do, and an archive from a system without modes has zeros there.
    fn check_kind(&self, mode: u32) -> Result<(), ArchiveProblem> {
        let name = self.shown();
        let special = |special| Err(ArchiveProblem::SpecialFile { name: name.clone(), special, seen: u64::from(mode) });
        match mode & TYPE {
            0 => {}
            REGULAR if !self.is_folder => {}
            REGULAR => return Err(self.mismatch(Field::FileMode)),
            FOLDER if self.is_folder => {}
            FOLDER => return Err(self.mismatch(Field::FolderMode)),
            SYMLINK => return Err(ArchiveProblem::Symlink { name }),
            0o010_000 => return special(Special::Fifo),
            0o020_000 => return special(Special::CharacterDevice),
            0o060_000 => return special(Special::BlockDevice),
            0o140_000 => return special(Special::Socket),
            _ => return special(Special::Unknown),
        }
        // Shared folders of a group carry set-gid on every folder; there it grants nothing.
        let grants = if self.is_folder { SETUID } else { SETUID | SETGID };
        if mode & grants != 0 {
            return Err(ArchiveProblem::Setuid { name, seen: u64::from(mode & 0o7777) });
        }
        Ok(())
    }

    /// An archive from DOS, or that says so, tells folders by a bit; the cell's reader goes by it, others by the name.
    fn check_dos(&self, is_dos: bool, attributes: u32) -> Result<(), ArchiveProblem> {
        match (is_dos && attributes != 0, attributes & DOS_FOLDER != 0) {
            (true, true) if !self.is_folder => Err(self.mismatch(Field::FolderMode)),
            (true, false) if self.is_folder => Err(self.mismatch(Field::FileMode)),
            _ => Ok(()),
        }
    }

    fn check_data(&self, limits: &ScanLimits) -> Result<(), ArchiveProblem> {
        if self.flags & ENCRYPTED != 0 || self.method == AES {
            return Err(ArchiveProblem::Encrypted { name: self.shown() });
        }
        if self.flags & PATCH != 0 || !matches!(self.method, STORED | DEFLATED) {
            return Err(ArchiveProblem::UnsupportedMethod { name: self.shown(), seen: u64::from(self.method) });
        }
        if self.method == STORED && self.packed != self.unpacked {
            return Err(self.mismatch(Field::Size));
        }
        if self.is_folder && self.unpacked != 0 {
            return Err(self.mismatch(Field::FolderSize));
        }
        if self.unpacked > limits.max_unpacked_bytes {
            return Err(ArchiveProblem::UnpackedTooLarge { limit: limits.max_unpacked_bytes, seen: self.unpacked });
        }
        if let Some(seen) = excessive_ratio(self.unpacked, self.packed, limits) {
            return Err(ArchiveProblem::Ratio { name: Some(self.shown()), limit: limits.max_ratio, seen });
        }
        Ok(())
    }

    /// Reads the local header, which must say the same, and the descriptor after the data. Returns what they take up.
    pub(super) fn check_local(&self, source: &Source<'_>, types: &FileTypes) -> Result<Range, ArchiveProblem> {
        let fixed = source.read(self.offset, record::LOCAL_LEN, "local header")?;
        if u32_at(&fixed, 0) != record::LOCAL {
            return Err(self.mismatch(Field::LocalHeader));
        }
        let flags = u16_at(&fixed, 6);
        if (flags ^ self.flags) & !TUNING != 0 {
            return Err(self.mismatch(Field::Flags));
        }
        if u16_at(&fixed, 8) != self.method {
            return Err(self.mismatch(Field::Method));
        }
        let (name_len, extra_len) = (u64::from(u16_at(&fixed, 26)), u64::from(u16_at(&fixed, 28)));
        if name_len != self.raw_name.len() as u64 {
            return Err(self.mismatch(Field::Name));
        }
        // Cannot overflow: the header before it was read, so the offset lies within the file.
        let rest = source.read(self.offset + record::LOCAL_LEN, name_len + extra_len, "local header")?;
        let (name, extra) = rest.split_at(self.raw_name.len().min(rest.len()));
        let extras = Extras::parse(extra).ok_or_else(|| ArchiveProblem::BadExtraField { name: self.shown() })?;
        if name != self.raw_name {
            return Err(self.mismatch(Field::Name));
        }
        if !extras.names(name) {
            return Err(self.mismatch(Field::SecondName));
        }
        if extras.is_link {
            return Err(ArchiveProblem::HardLink { name: self.shown() });
        }
        self.check_local_sizes(&fixed, &extras)?;

        let data = self.offset + record::LOCAL_LEN + name_len + extra_len;
        let end = data.saturating_add(self.packed);
        if end > source.len() {
            return Err(ArchiveProblem::Truncated { what: "data", limit: source.len(), seen: end });
        }
        if self.method == STORED && !types.deny_content.is_empty() {
            types.check_head(&self.name, &source.read(data, self.packed.min(HEAD as u64), "data")?)?;
        }
        let ends = match self.flags & HAS_DESCRIPTOR {
            0 => vec![end],
            _ => self.descriptor_ends(source, end)?,
        };
        Ok(Range { start: self.offset, ends, name: self.shown() })
    }

    /// Sizes and CRC must be the directory's; where a descriptor follows, they may be zero as well.
    fn check_local_sizes(&self, fixed: &[u8], extras: &Extras<'_>) -> Result<(), ArchiveProblem> {
        let later = self.flags & HAS_DESCRIPTOR != 0;
        let agrees = |local: u64, central: u64| local == central || (later && local == 0);
        if !agrees(u32_at(fixed, 14).into(), self.crc.into()) {
            return Err(self.mismatch(Field::Crc));
        }
        let sizes = [u32_at(fixed, 22), u32_at(fixed, 18)];
        let wide = match extras.zip64 {
            // While the header is written, the 32-bit fields of a stream may be zero and the 64-bit ones too.
            Some(content) if later && sizes == [0, 0] && content.len() == 16 => {
                Some([u64_at(content, 0), u64_at(content, 8)])
            }
            _ => extras.widen(sizes),
        };
        match wide {
            None => Err(ArchiveProblem::Zip64Lie { detail: "an entry's zip64 sizes contradict it" }),
            Some([unpacked, packed]) if agrees(unpacked, self.unpacked) && agrees(packed, self.packed) => Ok(()),
            Some(_) => Err(self.mismatch(Field::Size)),
        }
    }

    /// Where the descriptor can end: with or without signature, of 32 or 64 bits. Nothing says which, so each form that
    /// agrees is kept, and the layout decides.
    fn descriptor_ends(&self, source: &Source<'_>, at: u64) -> Result<Vec<u64>, ArchiveProblem> {
        let bytes = source.read_up_to(at, 24)?;
        let mut ends = Vec::new();
        let signed = (u32_at(&bytes, 0) == record::DESCRIPTOR).then_some(4);
        for from in [Some(0), signed].into_iter().flatten() {
            if bytes.len() < from + 12 || u32_at(&bytes, from) != self.crc {
                continue;
            }
            let (packed, unpacked) = (u32_at(&bytes, from + 4), u32_at(&bytes, from + 8));
            if (u64::from(packed), u64::from(unpacked)) == (self.packed, self.unpacked) {
                ends.push(at + from as u64 + 12);
            }
            if bytes.len() >= from + 20
                && (u64_at(&bytes, from + 4), u64_at(&bytes, from + 12)) == (self.packed, self.unpacked)
            {
                ends.push(at + from as u64 + 20);
            }
        }
        if ends.is_empty() { Err(ArchiveProblem::DescriptorMismatch { name: self.shown() }) } else { Ok(ends) }
    }
}
