//! Unpacks an untrusted archive inside the cell.
//!
//! The worker has scanned the archive before, but with other code, which may read the archive differently. Therefore the
//! warden makes every check again, on the data that it unpacks. Only names have one reading, [`assize_protocol::names`]:
//! the warden looks at all of them first, and then unpacks the entries that belong to the project.
//!
//! The warden reads entries one at a time from the central directory (never an index of all entries), counts bytes while
//! it inflates them, and passes both through a fixed buffer. So memory does not grow with the content of the archive,
//! except for eight bytes per unpacked entry to detect duplicates.

mod entry;
mod folder;

use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read, Write};

use assize_protocol::content::{Content, HEAD};
use assize_protocol::names::{Reading, Survey, link};
use assize_protocol::plan::Input;
use zip::ZipReadOptions;
use zip::read::Config;
use zip::result::ZipError;
use zip::unstable::read::ZipIterable;

use entry::{Kind, Member, text_of};
use folder::{Folder, Made};

/// Bytes between two checks of the clock and of stdin.
const BUFFER: usize = 64 * 1024;
/// Characters of a name that a message quotes.
const QUOTED: usize = 120;

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

type Interrupted<'a> = &'a mut dyn FnMut() -> Option<Interrupt>;

fn unpack_all(archive: File, input: &Input, interrupted: Interrupted<'_>) -> Result<(), Unpacked> {
    let mut folder = Folder::open(&input.into)?;
    let headers =
        archive.try_clone().map_err(|error| Unpacked::Fault(format!("the archive has no second handle: {error}")))?;
    let mut zip = ZipIterable::try_new(archive, Config::default()).map_err(|error| unreadable(&error))?;
    let reading = survey(&headers, &mut zip, input, interrupted)?;

    let entries = zip.files().map_err(|error| unreadable(&error))?;
    let names = RandomState::new();
    let mut seen = HashSet::new();
    let mut made = Made { count: 0, limit: input.max_entries };
    let (mut left, mut has_file) = (input.max_bytes, false);
    let mut buffer = vec![0; BUFFER];
    while let Some(entry) = entries.next() {
        if let Some(interrupt) = interrupted() {
            return Err(Unpacked::Interrupted(interrupt));
        }
        let entry = entry.map_err(|error| unreadable(&error))?;
        let Some(member) = Member::check(&entry, &text_of(&headers, &entry)?, &reading, input.names.is_some())? else {
            continue;
        };
        if !seen.insert(names.hash_one(member.path())) {
            return Err(Unpacked::Rejected(format!("the archive contains the entry {} twice", member.quoted)));
        }
        if member.kind == Kind::Folder {
            folder.enter(member.path(), &member, &mut made)?;
            continue;
        }
        let is_executable = member.kind == Kind::File && entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
        let (packed, unpacked) = (entry.compressed_size(), entry.size());
        let mut data = entry
            .with_reader(entries.reader_mut(), ZipReadOptions::new())
            .map_err(|error| member.unreadable(&error))?;
        let target = match member.kind {
            Kind::Link => match link_target(&mut data, packed, unpacked, &member)? {
                Some(target) => Some(target),
                None => continue,
            },
            _ => None,
        };
        // A folder that no entry names counts too: it takes an inode like any other.
        folder.enter(member.parents(), &member, &mut made)?;
        made.one_more()?;
        let mut file = folder.create(&member, is_executable)?;
        left -= match target {
            Some(target) => inflate(&mut target.as_slice(), &mut file, left, input, &member, &mut buffer, interrupted)?,
            None => inflate(&mut data, &mut file, left, input, &member, &mut buffer, interrupted)?,
        };
        has_file = true;
    }
    if input.names.is_some() && !has_file {
        return Err(Unpacked::Rejected("the archive holds no file of a project".to_owned()));
    }
    Ok(())
}

/// Looks at the names of all entries, which decide together how each of them is read.
fn survey<'r>(
    headers: &File,
    zip: &mut ZipIterable<File>,
    input: &'r Input,
    interrupted: Interrupted<'_>,
) -> Result<Reading<'r>, Unpacked> {
    let mut survey = Survey::new(input.names.as_ref());
    for entry in zip.files().map_err(|error| unreadable(&error))? {
        if let Some(interrupt) = interrupted() {
            return Err(Unpacked::Interrupted(interrupt));
        }
        survey.add(&text_of(headers, &entry.map_err(|error| unreadable(&error))?)?);
    }
    Ok(survey.finish())
}

/// The target of a symbolic link, which becomes the content of a plain file; `None` if the link leads out of the archive.
fn link_target(data: &mut impl Read, packed: u64, unpacked: u64, member: &Member) -> Result<Option<Vec<u8>>, Unpacked> {
    if !link::is_short(packed, unpacked) {
        return Ok(None);
    }
    let mut target = Vec::new();
    let read = data.take(link::MAX_TARGET + 1).read_to_end(&mut target);
    read.map_err(|error| Unpacked::Rejected(format!("the entry {} cannot be read: {error}", member.quoted)))?;
    let is_inside = target.len() as u64 <= link::MAX_TARGET && link::stays_inside(&member.name.components, &target);
    Ok(is_inside.then_some(target))
}

/// Unpacks one file and returns its length. The kind of its content is detected before any byte is written.
fn inflate(
    data: &mut impl Read,
    file: &mut File,
    left: u64,
    input: &Input,
    member: &Member,
    buffer: &mut [u8],
    interrupted: Interrupted<'_>,
) -> Result<u64, Unpacked> {
    let mut length: u64 = 0;
    loop {
        let is_head = length == 0;
        let piece = if is_head { buffer.get_mut(..HEAD).unwrap_or_default() } else { &mut *buffer };
        let read = fill(data, piece)
            .map_err(|error| Unpacked::Rejected(format!("the entry {} cannot be read: {error}", member.quoted)))?;
        if read == 0 {
            return Ok(length);
        }
        if is_head
            && let Some(found) = Content::detect(piece.get(..read).unwrap_or_default())
            && input.deny_content.contains(&found)
        {
            let (name, found) = (&member.quoted, found.as_str());
            return Err(Unpacked::Rejected(format!(
                "the entry {name} is of the kind `{found}`, which the template refuses"
            )));
        }
        length += read as u64;
        if length > left {
            let seen = input.max_bytes - left + length;
            return Err(Unpacked::Rejected(format!(
                "unpacked, the files up to {} have {seen} bytes or more, the limit is {}",
                member.quoted, input.max_bytes
            )));
        }
        file.write_all(buffer.get(..read).unwrap_or_default()).map_err(|error| unwritable(&error, member))?;
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

fn too_many(seen: u64, limit: u64) -> Unpacked {
    Unpacked::Rejected(format!("the archive has {seen} files and folders or more, the limit is {limit}"))
}

fn unreadable(error: &ZipError) -> Unpacked {
    Unpacked::Rejected(format!("the archive cannot be read as zip: {error}"))
}

fn unwritable(error: &io::Error, member: &Member) -> Unpacked {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Unpacked::Full,
        ErrorKind::OutOfMemory => {
            Unpacked::Rejected(format!("the entry {} does not fit into the cell's memory: {error}", member.quoted))
        }
        _ => Unpacked::Fault(format!("the entry {} cannot be written: {error}", member.quoted)),
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
