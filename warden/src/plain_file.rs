//! Files of the project, opened as nothing but what they are: plain files with one name, through no link.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;

/// A file that was opened, and its length as its metadata has it.
pub struct PlainFile {
    pub file: File,
    pub length: u64,
}

/// Why a file was not opened.
pub enum NotPlain {
    /// The system refused it.
    Unopened(Errno),
    /// It is something else, in words that follow its name.
    Refused(String),
}

/// Opens a file beneath an open folder.
///
/// # Errors
/// [`NotPlain`]: it is no plain file, or has a second name.
pub fn open_plain(folder: impl AsFd, name: &OsStr) -> Result<PlainFile, NotPlain> {
    // Non-blocking: a FIFO without a writer would wait for ever.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = File::from(openat(folder, name, flags, Mode::empty()).map_err(NotPlain::Unopened)?);
    let metadata = file.metadata().map_err(|error| NotPlain::Refused(format!("cannot be examined: {error}")))?;
    let kind = metadata.file_type();
    if !kind.is_file() {
        let what = match kind {
            kind if kind.is_dir() => "a folder",
            kind if kind.is_fifo() => "a FIFO",
            kind if kind.is_char_device() || kind.is_block_device() => "a device",
            _ => "something else",
        };
        return Err(NotPlain::Refused(format!("is {what}, a plain file is needed")));
    }
    if metadata.nlink() != 1 {
        let names = metadata.nlink();
        return Err(NotPlain::Refused(format!("has {names} names, a plain file with one name is needed")));
    }
    Ok(PlainFile { file, length: metadata.len() })
}

/// What the system's refusal says of a file, in words that follow its name.
pub fn unopened(errno: Errno) -> String {
    match errno {
        Errno::ELOOP => "is a symbolic link, a plain file is needed".to_owned(),
        Errno::ENXIO => "is a socket or a device, a plain file is needed".to_owned(),
        errno => format!("cannot be opened: {errno}"),
    }
}

/// The root folder, from which a walk takes one component at a time.
///
/// # Errors
/// The system refused it.
pub fn root() -> nix::Result<OwnedFd> {
    open("/", step(), Mode::empty())
}

/// Opens a folder beneath an open one, through no link.
///
/// # Errors
/// The system refused it: `ELOOP` or `ENOTDIR` for a link or what is no folder.
pub fn enter(folder: impl AsFd, name: &OsStr) -> nix::Result<OwnedFd> {
    openat(folder, name, step(), Mode::empty())
}

fn step() -> OFlag {
    OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}
