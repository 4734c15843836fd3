//! Unpacks an untrusted archive inside the cell.
//!
//! The worker has scanned the archive before, but with other code, which may read the archive differently. Therefore the
//! warden makes every check again, on the data that it unpacks. The warden reads entries one at a time from the central
//! directory (never an index of all entries), counts bytes while it inflates them, and passes both through a fixed buffer.
//! So memory does not grow with the content of the archive, except for eight bytes per entry to detect duplicates.

use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;

use assize_protocol::content::{Content, HEAD};
use assize_protocol::plan::Input;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat, mkdirat};
use zip::ZipReadOptions;
use zip::read::{Config, ZipFileEntry};
use zip::result::ZipError;
use zip::unstable::read::ZipIterable;

/// The longest name of an entry in bytes: Linux's `PATH_MAX`.
const MAX_NAME: usize = 4096;
/// The longest component of a name in bytes: Linux's `NAME_MAX`.
const MAX_COMPONENT: usize = 255;
/// Folders that may lie within each other. Real projects stay below 30 (nested `node_modules`).
const MAX_DEPTH: usize = 64;
/// Bytes between two checks of the clock and of stdin.
const BUFFER: usize = 64 * 1024;
/// Characters of a name that a message quotes.
const QUOTED: usize = 120;

/// File type bits of a Unix mode, as archives carry them.
const TYPE_BITS: u32 = 0o170_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_FOLDER: u32 = 0o040_000;

/// Why the caller interrupts unpacking.
#[derive(Debug, Clone, Copy)]
pub enum Interrupt {
    /// The worker sent a `Finish` frame.
    Finish,
    /// The time limit of the plan has passed.
    TimeUp,
    /// Bytes on stdin are not a frame.
    Broken,
}

/// How unpacking ended. Files that were unpacked before stay in place, because the cell is not used further.
#[derive(Debug)]
pub enum Unpacked {
    /// Everything was unpacked.
    Whole,
    /// The archive is at fault: what was wrong, the limit and the value.
    Rejected(String),
    /// The file system has no free byte or inode.
    Full,
    /// The cell is at fault.
    Fault(String),
    /// The caller interrupted unpacking.
    Interrupted(Interrupt),
}

/// Unpacks `archive` into the folder `input.into`.
pub fn unpack(archive: File, input: &Input, interrupted: &mut dyn FnMut() -> Option<Interrupt>) -> Unpacked {
    match unpack_all(archive, input, interrupted) {
        Ok(()) => Unpacked::Whole,
        Err(other) => other,
    }
}

fn unpack_all(
    archive: File,
    input: &Input,
    interrupted: &mut dyn FnMut() -> Option<Interrupt>,
) -> Result<(), Unpacked> {
    let mut folder = Folder::open(&input.into)?;
    let mut zip = ZipIterable::try_new(archive, Config::default()).map_err(|error| unreadable(&error))?;
    let announced = zip.len() as u64;
    if announced > input.max_entries {
        return Err(too_many(announced, input.max_entries));
    }

    let entries = zip.files().map_err(|error| unreadable(&error))?;
    let names = RandomState::new();
    let mut seen = HashSet::new();
    let mut made = Made { count: 0, limit: input.max_entries };
    let mut left = input.max_bytes;
    let mut buffer = vec![0; BUFFER];
    while let Some(entry) = entries.next() {
        if let Some(interrupt) = interrupted() {
            return Err(Unpacked::Interrupted(interrupt));
        }
        let entry = entry.map_err(|error| unreadable(&error))?;
        let name = Name::check(&entry)?;
        if !seen.insert(names.hash_one(&name.components)) {
            return Err(Unpacked::Rejected(format!(
                "the archive contains the entry {} twice",
                quote(entry.name_raw())
            )));
        }
        // A folder that no entry names counts too: it takes an inode like any other.
        folder.enter(name.parents(), &name, &mut made)?;
        if name.is_folder {
            folder.enter(&name.components, &name, &mut made)?;
        } else {
            made.one_more()?;
            let is_executable = entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
            let mut file = folder.create(&name, is_executable)?;
            let mut data = entry
                .with_reader(entries.reader_mut(), ZipReadOptions::new())
                .map_err(|error| name.unreadable(&error))?;
            left -= inflate(&mut data, &mut file, left, input, &name, &mut buffer, interrupted)?;
        }
    }
    Ok(())
}

/// Unpacks one file and returns its length. The kind of its content is detected before any byte is written.
fn inflate(
    data: &mut impl Read,
    file: &mut File,
    left: u64,
    input: &Input,
    name: &Name,
    buffer: &mut [u8],
    interrupted: &mut dyn FnMut() -> Option<Interrupt>,
) -> Result<u64, Unpacked> {
    let mut length: u64 = 0;
    loop {
        let is_head = length == 0;
        let piece = if is_head { buffer.get_mut(..HEAD).unwrap_or_default() } else { &mut *buffer };
        let read = fill(data, piece)
            .map_err(|error| Unpacked::Rejected(format!("the entry {} cannot be read: {error}", name.quoted)))?;
        if read == 0 {
            return Ok(length);
        }
        if is_head
            && let Some(found) = Content::detect(piece.get(..read).unwrap_or_default())
            && input.deny_content.contains(&found)
        {
            let (name, found) = (&name.quoted, found.as_str());
            return Err(Unpacked::Rejected(format!(
                "the entry {name} is of the kind `{found}`, which the template refuses"
            )));
        }
        length += read as u64;
        if length > left {
            let seen = input.max_bytes - left + length;
            return Err(Unpacked::Rejected(format!(
                "unpacked, the files up to {} have {seen} bytes or more, the limit is {}",
                name.quoted, input.max_bytes
            )));
        }
        file.write_all(buffer.get(..read).unwrap_or_default()).map_err(|error| unwritable(&error, name))?;
        if let Some(interrupt) = interrupted() {
            return Err(Unpacked::Interrupted(interrupt));
        }
    }
}

/// Reads until `piece` is full or the data ends.
fn fill(data: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = piece.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match data.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The name of an entry after every check: components that stay below the folder.
struct Name {
    components: Vec<String>,
    is_folder: bool,
    quoted: String,
}

impl Name {
    fn check(entry: &ZipFileEntry<'_>) -> Result<Self, Unpacked> {
        let raw = entry.name_raw();
        let quoted = quote(raw);
        let refuse = |what: &str| Unpacked::Rejected(format!("the entry {quoted} {what}"));
        if raw.len() > MAX_NAME {
            return Err(refuse(&format!("has a name of {} bytes, the limit is {MAX_NAME}", raw.len())));
        }
        let text =
            std::str::from_utf8(raw).map_err(|_| refuse("has a name that is not UTF-8; store names as UTF-8"))?;
        if text.contains(['\\', '\0']) {
            return Err(refuse("has a backslash or a NUL in its name; use `/` between folders"));
        }
        if text.starts_with('/') {
            return Err(refuse("has an absolute name; names must be relative"));
        }
        if matches!(text.as_bytes(), [drive, b':', ..] if drive.is_ascii_alphabetic()) {
            return Err(refuse("has a drive letter in its name; names must be relative"));
        }
        let (path, is_folder) = match text.strip_suffix('/') {
            Some(path) => (path, true),
            None => (text, false),
        };
        let components: Vec<String> = path.split('/').map(str::to_owned).collect();
        if components.iter().any(|component| matches!(component.as_str(), "" | "." | "..")) {
            return Err(refuse("has an empty, `.` or `..` component in its name"));
        }
        if components.len() > MAX_DEPTH {
            return Err(refuse(&format!("lies {} levels deep, the limit is {MAX_DEPTH}", components.len())));
        }
        if let Some(long) = components.iter().find(|component| component.len() > MAX_COMPONENT) {
            return Err(refuse(&format!("has a component of {} bytes, the limit is {MAX_COMPONENT}", long.len())));
        }
        if entry.encrypted() {
            return Err(refuse("is encrypted; store it without a password"));
        }
        // The upper half of the attributes carries a Unix mode; some tools fill it whatever system
        // the entry names, so it is looked at in any case.
        for mode in [entry.unix_mode().unwrap_or(0), entry.external_attributes() >> 16] {
            let is_plain = match mode & TYPE_BITS {
                0 => true,
                TYPE_FILE => !is_folder,
                TYPE_FOLDER => is_folder,
                _ => false,
            };
            if !is_plain {
                return Err(refuse(&format!(
                    "is neither a plain file nor a folder (mode 0{mode:o}); links and devices are refused"
                )));
            }
        }
        Ok(Self { components, is_folder, quoted })
    }

    fn parents(&self) -> &[String] {
        self.components.split_last().map_or(&[], |(_, parents)| parents)
    }

    fn last(&self) -> &str {
        self.components.last().map_or("", String::as_str)
    }

    fn unreadable(&self, error: &ZipError) -> Unpacked {
        Unpacked::Rejected(format!("the entry {} cannot be read: {error}", self.quoted))
    }
}

/// Counts files and folders that were created, up to one more than the limit.
struct Made {
    count: u64,
    limit: u64,
}

impl Made {
    fn one_more(&mut self) -> Result<(), Unpacked> {
        self.count += 1;
        if self.count > self.limit { Err(too_many(self.count, self.limit)) } else { Ok(()) }
    }
}

/// The target folder, and the open folders on the path of the last entry. Entries mostly come folder by folder, so most
/// entries need no walk.
struct Folder {
    root: OwnedFd,
    way: Vec<(String, OwnedFd)>,
}

impl Folder {
    fn open(path: &str) -> Result<Self, Unpacked> {
        let root = open(path, STEP, Mode::empty())
            .map_err(|errno| Unpacked::Fault(format!("the folder {path} cannot be opened: {errno}")))?;
        Ok(Self { root, way: Vec::new() })
    }

    /// Opens a folder below the root, creates and counts missing folders. No link is followed: a component that is not a
    /// folder is rejected.
    fn enter(&mut self, components: &[String], name: &Name, made: &mut Made) -> Result<(), Unpacked> {
        let common = self.way.iter().zip(components).take_while(|((at, _), component)| at == *component).count();
        self.way.truncate(common);
        for component in components.iter().skip(common) {
            let at = self.at();
            let mode = Mode::from_bits_truncate(0o755);
            match mkdirat(at, component.as_str(), mode) {
                Ok(()) => {
                    made.one_more()?;
                    // A default ACL of the folder around it may have made it one that its owner cannot use.
                    fchmodat(at, component.as_str(), mode, FchmodatFlags::FollowSymlink)
                        .map_err(|errno| unwritable(&errno.into(), name))?;
                }
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(unwritable(&errno.into(), name)),
            }
            let next = openat(at, component.as_str(), STEP, Mode::empty()).map_err(|errno| match errno {
                Errno::ENOTDIR | Errno::ELOOP => {
                    Unpacked::Rejected(format!("the entry {} lies below a file", name.quoted))
                }
                errno => unwritable(&errno.into(), name),
            })?;
            self.way.push((component.clone(), next));
        }
        Ok(())
    }

    fn create(&self, name: &Name, is_executable: bool) -> Result<File, Unpacked> {
        let mode = Mode::from_bits_truncate(if is_executable { 0o755 } else { 0o644 });
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(self.at(), name.last(), flags, mode) {
            Ok(file) => {
                fchmod(&file, mode).map_err(|errno| unwritable(&errno.into(), name))?;
                Ok(File::from(file))
            }
            Err(Errno::EEXIST) => Err(Unpacked::Rejected(format!("the entry {} exists already", name.quoted))),
            Err(errno) => Err(unwritable(&errno.into(), name)),
        }
    }

    fn at(&self) -> &OwnedFd {
        self.way.last().map_or(&self.root, |(_, folder)| folder)
    }
}

const STEP: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

fn too_many(seen: u64, limit: u64) -> Unpacked {
    Unpacked::Rejected(format!("the archive has {seen} files and folders or more, the limit is {limit}"))
}

fn unreadable(error: &ZipError) -> Unpacked {
    Unpacked::Rejected(format!("the archive cannot be read as zip: {error}"))
}

fn unwritable(error: &io::Error, name: &Name) -> Unpacked {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Unpacked::Full,
        ErrorKind::OutOfMemory => {
            Unpacked::Rejected(format!("the entry {} does not fit into the cell's memory: {error}", name.quoted))
        }
        _ => Unpacked::Fault(format!("the entry {} cannot be written: {error}", name.quoted)),
    }
}

/// Quotes a name for a message: escaped, and cut after [`QUOTED`] characters.
pub fn quote(raw: &[u8]) -> String {
    let escaped = raw.escape_ascii().to_string();
    match escaped.char_indices().nth(QUOTED) {
        Some((cut, _)) => format!("\"{}...\"", escaped.get(..cut).unwrap_or_default()),
        None => format!("\"{escaped}\""),
    }
}
