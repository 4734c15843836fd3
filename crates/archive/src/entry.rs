//! One entry: its central header, and the local header that must agree with it.

use super::fault::{Field, Special};
use super::layout::Range;
use super::record::{self, Extras, u16_at, u32_at, u64_at};
use super::source::{Source, Window};
use super::types::FileTypes;
use super::{ArchiveProblem, ScanLimits, name};
use assize_protocol::content::HEAD;
use assize_protocol::names::{RawName, link};
use flate2::read::DeflateDecoder;
use std::io::Read;

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
const SETUID: u32 = 0o4_000;
const SETGID: u32 = 0o2_000;

/// An entry as the directory describes it.
pub(super) struct Entry {
    /// Its name, decoded.
    pub(super) text: String,
    /// Declared bytes once unpacked.
    pub(super) unpacked: u64,
    pub(super) packed: u64,
    raw_name: Vec<u8>,
    flags: u16,
    method: u16,
    crc: u32,
    /// Where its local header begins.
    pub(super) offset: u64,
    attributes: u32,
    is_from_dos: bool,
    /// An extra field of the directory makes it a link to another entry.
    is_hard_link: bool,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Link,
}

/// Where the parts of an entry lie.
pub(super) struct Local {
    pub(super) range: Range,
    /// Where its data begins.
    data: u64,
    is_hard_link: bool,
}

impl Entry {
    /// Reads the next central header and holds its structure to the rules.
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

        let flags = u16_at(&fixed, 8);
        let bad_extra = || ArchiveProblem::BadExtraField { name: shown() };
        let extras = Extras::parse(&extra).ok_or_else(bad_extra)?;
        let name = RawName::new(&raw_name, flags, &extra).ok_or_else(bad_extra)?;
        let text = name.decode().map_err(|fault| name::problem(fault, &raw_name))?.into_owned();
        let disk = u16_at(&fixed, 34);
        if !matches!(disk, 0 | record::DISK_IN_ZIP64) {
            return Err(ArchiveProblem::MultiDisk);
        }
        let sizes = [u32_at(&fixed, 24), u32_at(&fixed, 20), u32_at(&fixed, 42)];
        let [unpacked, packed, offset] = extras
            .widen(sizes, disk)
            .ok_or(ArchiveProblem::Zip64Lie { detail: "an entry's zip64 sizes contradict it" })?;
        let entry = Self {
            text,
            unpacked,
            packed,
            flags,
            method: u16_at(&fixed, 10),
            crc: u32_at(&fixed, 16),
            offset,
            attributes: u32_at(&fixed, 38),
            is_from_dos: fixed.get(5) == Some(&DOS),
            is_hard_link: extras.is_link,
            raw_name,
        };
        // Encryption adds a few bytes to what is stored.
        if entry.method == STORED && !entry.is_encrypted() && entry.packed != entry.unpacked {
            return Err(entry.mismatch(Field::Size));
        }
        if entry.unpacked > limits.max_unpacked_bytes {
            return Err(ArchiveProblem::UnpackedTooLarge { limit: limits.max_unpacked_bytes, seen: entry.unpacked });
        }
        Ok(entry)
    }

    /// Holds what is not ignored to the rules for its kind and its data. Returns the kind.
    pub(super) fn check(&self, is_folder: bool) -> Result<Kind, ArchiveProblem> {
        if self.is_hard_link {
            return Err(ArchiveProblem::HardLink { name: self.shown() });
        }
        let kind = self.check_kind(is_folder)?;
        self.check_dos(is_folder)?;
        self.check_data(is_folder)?;
        Ok(kind)
    }

    fn shown(&self) -> String {
        name::shown(self.text.as_bytes())
    }

    fn mismatch(&self, field: Field) -> ArchiveProblem {
        ArchiveProblem::HeaderMismatch { name: self.shown(), field }
    }

    /// Only plain files, folders and symbolic links. The mode is looked at whatever system the entry claims to be from:
    /// readers differ in whether they do, and an archive from a system without modes has zeros there.
    fn check_kind(&self, is_folder: bool) -> Result<Kind, ArchiveProblem> {
        let mode = self.attributes >> 16;
        let name = self.shown();
        let special = |special| Err(ArchiveProblem::SpecialFile { name: name.clone(), special, seen: u64::from(mode) });
        let kind = match mode & TYPE {
            0 if is_folder => Kind::Folder,
            0 => Kind::File,
            REGULAR if !is_folder => Kind::File,
            REGULAR => return Err(self.mismatch(Field::FileMode)),
            FOLDER if is_folder => Kind::Folder,
            FOLDER => return Err(self.mismatch(Field::FolderMode)),
            _ if link::is_link(mode) && is_folder => return Err(ArchiveProblem::Symlink { name }),
            _ if link::is_link(mode) => Kind::Link,
            0o010_000 => return special(Special::Fifo),
            0o020_000 => return special(Special::CharacterDevice),
            0o060_000 => return special(Special::BlockDevice),
            0o140_000 => return special(Special::Socket),
            _ => return special(Special::Unknown),
        };
        // Shared folders of a group carry set-gid on every folder; there it grants nothing.
        let grants = if is_folder { SETUID } else { SETUID | SETGID };
        if mode & grants != 0 {
            return Err(ArchiveProblem::Setuid { name, seen: u64::from(mode & 0o7777) });
        }
        Ok(kind)
    }

    /// An archive from DOS, or that says so, tells folders by a bit; the cell's reader goes by it, others by the name.
    fn check_dos(&self, is_folder: bool) -> Result<(), ArchiveProblem> {
        match (self.is_from_dos && self.attributes != 0, self.attributes & DOS_FOLDER != 0) {
            (true, true) if !is_folder => Err(self.mismatch(Field::FolderMode)),
            (true, false) if is_folder => Err(self.mismatch(Field::FileMode)),
            _ => Ok(()),
        }
    }

    const fn is_encrypted(&self) -> bool {
        self.flags & ENCRYPTED != 0 || self.method == AES
    }

    fn check_data(&self, is_folder: bool) -> Result<(), ArchiveProblem> {
        if self.is_encrypted() {
            return Err(ArchiveProblem::Encrypted { name: self.shown() });
        }
        if self.flags & PATCH != 0 || !matches!(self.method, STORED | DEFLATED) {
            return Err(ArchiveProblem::UnsupportedMethod { name: self.shown(), seen: u64::from(self.method) });
        }
        if is_folder && self.unpacked != 0 {
            return Err(self.mismatch(Field::FolderSize));
        }
        Ok(())
    }

    /// Checks what the first bytes of a file show, if it is stored as it is.
    pub(super) fn check_head(
        &self,
        local: &Local,
        source: &Source<'_>,
        types: &FileTypes,
    ) -> Result<(), ArchiveProblem> {
        if self.method != STORED || types.deny_content.is_empty() {
            return Ok(());
        }
        types.check_head(&self.text, &source.read(local.data, self.packed.min(HEAD as u64), "data")?)
    }

    /// The target of a symbolic link; `None` if it is too long, or not a whole deflate stream.
    pub(super) fn link_target(&self, local: &Local, source: &Source<'_>) -> Result<Option<Vec<u8>>, ArchiveProblem> {
        if !link::is_short(self.packed, self.unpacked) {
            return Ok(None);
        }
        let packed = source.read(local.data, self.packed, "data")?;
        if self.method == STORED {
            return Ok(Some(packed));
        }
        let mut target = Vec::new();
        let inflated = DeflateDecoder::new(packed.as_slice()).take(link::MAX_TARGET + 1).read_to_end(&mut target);
        Ok(inflated.ok().filter(|&len| len as u64 <= link::MAX_TARGET).map(|_| target))
    }

    /// A hard link in the local header, which the directory need not have.
    pub(super) fn check_local_kind(&self, local: &Local) -> Result<(), ArchiveProblem> {
        if local.is_hard_link { Err(ArchiveProblem::HardLink { name: self.shown() }) } else { Ok(()) }
    }

    /// Reads the local header, which must say the same, and the descriptor after the data. Returns what they take up.
    pub(super) fn check_local(&self, source: &Source<'_>) -> Result<Local, ArchiveProblem> {
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
        // A second name here must be the one that the directory has, or lead to the same.
        let local_name = RawName::new(name, flags, extra);
        let local_name = local_name.ok_or_else(|| ArchiveProblem::BadExtraField { name: self.shown() })?;
        if local_name.has_second() && local_name.decode().as_deref() != Ok(self.text.as_str()) {
            return Err(self.mismatch(Field::SecondName));
        }
        self.check_local_sizes(&fixed, &extras)?;

        let data = self.offset + record::LOCAL_LEN + name_len + extra_len;
        let end = data.saturating_add(self.packed);
        if end > source.len() {
            return Err(ArchiveProblem::Truncated { what: "data", limit: source.len(), seen: end });
        }
        let ends = match self.flags & HAS_DESCRIPTOR {
            0 => vec![end],
            _ => self.descriptor_ends(source, end)?,
        };
        let range = Range { start: self.offset, ends, name: self.shown() };
        Ok(Local { range, data, is_hard_link: extras.is_link })
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
            _ => extras.widen(sizes, 0),
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
