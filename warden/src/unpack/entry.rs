//! One entry of the archive, and whether it belongs to the project.

use std::fs::File;
use std::os::unix::fs::FileExt;

use assize_protocol::names::{Name, NameFault, Place, RawName, Reading, link};
use zip::read::ZipFileEntry;
use zip::result::ZipError;

use super::{Unpacked, quote};

/// The longest name of an entry in bytes: Linux's `PATH_MAX`.
const MAX_NAME: usize = 4096;
/// Folders that may lie within each other. Real projects stay below 30 (nested `node_modules`).
const MAX_DEPTH: usize = 64;

/// File type bits of a Unix mode, as archives carry them.
const TYPE_BITS: u32 = 0o170_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_FOLDER: u32 = 0o040_000;

/// Bytes of a central header before its name, and where it has its flags and lengths (APPNOTE 4.3.12).
const CENTRAL_LEN: usize = 46;
const CENTRAL: [u8; 4] = *b"PK\x01\x02";

/// The text of an entry's name, read from its central header as the scan reads it.
pub(super) fn text_of(archive: &File, entry: &ZipFileEntry<'_>) -> Result<String, Unpacked> {
    let quoted = quote(entry.name_raw());
    let refuse = |what: &str| Unpacked::Rejected(format!("the entry {quoted} {what}"));
    let read = |bytes: &mut [u8], at: u64| {
        let read = archive.read_exact_at(bytes, at);
        read.map_err(|error| Unpacked::Rejected(format!("the archive cannot be read as zip: {error}")))
    };
    let mut fixed = [0; CENTRAL_LEN];
    read(&mut fixed, entry.central_header_start())?;
    if !fixed.starts_with(&CENTRAL) {
        return Err(refuse("cannot be read: it has no header in the directory"));
    }
    let [.., flags_low, flags_high] = fixed[..10] else { return Err(refuse("cannot be read")) };
    let [.., name_low, name_high, extra_low, extra_high] = fixed[..32] else { return Err(refuse("cannot be read")) };
    let length = |low, high| usize::from(u16::from_le_bytes([low, high]));
    let (name_len, extra_len) = (length(name_low, name_high), length(extra_low, extra_high));
    if name_len > MAX_NAME {
        return Err(refuse(&format!("has a name of {name_len} bytes, the limit is {MAX_NAME}")));
    }
    let mut rest = vec![0; name_len + extra_len];
    read(&mut rest, entry.central_header_start().saturating_add(CENTRAL_LEN as u64))?;
    let (name, extra) = rest.split_at(name_len);
    let name = RawName::new(name, u16::from_le_bytes([flags_low, flags_high]), extra);
    let name = name.ok_or_else(|| refuse("cannot be read: its extra fields are malformed"))?;
    Ok(name.decode().map_err(|fault| refuse(fault.as_str()))?.into_owned())
}

/// What an entry becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    /// A plain file that holds the target, or nothing.
    Link,
}

/// An entry of the project after every check: its components stay below the folder.
pub(super) struct Member {
    pub(super) name: Name,
    pub(super) kind: Kind,
    pub(super) quoted: String,
}

impl Member {
    /// Checks an entry; `None` if it does not belong to the project. Links are for projects alone: an archive of this
    /// service has none.
    pub(super) fn check(
        entry: &ZipFileEntry<'_>,
        text: &str,
        reading: &Reading<'_>,
        is_project: bool,
    ) -> Result<Option<Self>, Unpacked> {
        let quoted = quote(text.as_bytes());
        let refuse = |what: &str| Unpacked::Rejected(format!("the entry {quoted} {what}"));
        let place = reading.place(text).map_err(|fault| match fault {
            NameFault::ComponentTooLong(seen) => {
                let limit = assize_protocol::names::MAX_COMPONENT;
                refuse(&format!("has a component of {seen} bytes, the limit is {limit}"))
            }
            fault => refuse(fault.as_str()),
        })?;
        let Place::Project(name) = place else { return Ok(None) };
        if name.components.len() > MAX_DEPTH {
            return Err(refuse(&format!("lies {} levels deep, the limit is {MAX_DEPTH}", name.components.len())));
        }
        if entry.encrypted() {
            return Err(refuse("is encrypted; store it without a password"));
        }
        let attributes = entry.external_attributes() >> 16;
        if is_project && link::is_link(attributes) && !name.is_folder {
            return Ok(Some(Self { name, kind: Kind::Link, quoted }));
        }
        // The upper half of the attributes carries a Unix mode; some tools fill it whatever system
        // the entry names, so it is looked at in any case.
        for mode in [entry.unix_mode().unwrap_or(0), attributes] {
            let is_plain = match mode & TYPE_BITS {
                0 => true,
                TYPE_FILE => !name.is_folder,
                TYPE_FOLDER => name.is_folder,
                _ => false,
            };
            if !is_plain {
                return Err(refuse(&format!(
                    "is neither a plain file nor a folder (mode 0{mode:o}); links and devices are refused"
                )));
            }
        }
        let kind = if name.is_folder { Kind::Folder } else { Kind::File };
        Ok(Some(Self { name, kind, quoted }))
    }

    /// The components in the project; none for its own folder.
    pub(super) fn path(&self) -> &[String] {
        self.name.in_project()
    }

    pub(super) fn parents(&self) -> &[String] {
        self.path().split_last().map_or(&[], |(_, parents)| parents)
    }

    pub(super) fn last(&self) -> &str {
        self.path().last().map_or("", String::as_str)
    }

    pub(super) fn unreadable(&self, error: &ZipError) -> Unpacked {
        Unpacked::Rejected(format!("the entry {} cannot be read: {error}", self.quoted))
    }
}
