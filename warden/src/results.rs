//! The results file, read after every process of the cell has ended.
//!
//! The project could write to the folder, so the warden opens the path one component at a time and follows no link
//! (Judge0 CVE-2024-28185: links in the results led out of the sandbox). No process is left that could replace a component
//! during the walk; the checks are made on the open file all the same.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path};

use assize_protocol::event::ResultsStatus;
use assize_protocol::mask::MAX_MASKED;
use assize_protocol::plan::ResultsFile;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{Mode, fstatat};

use crate::channel::Channel;

/// Sends the file in frames and returns its status.
///
/// # Errors
/// Only if stdout is gone; a problem with the file is part of the status. After a status other than `Read`, frames that
/// were sent before do not count.
pub fn send(file: &ResultsFile, channel: &mut Channel) -> io::Result<ResultsStatus> {
    let opened = match open_plain(file) {
        Ok(opened) => opened,
        Err(status) => return Ok(status),
    };
    // One byte more than the limit, to detect a file that is longer than its metadata says.
    let mut bounded = opened.take(file.max_bytes.saturating_add(1));
    let mut buffer = vec![0; MAX_MASKED];
    let mut sent = 0;
    loop {
        match bounded.read(&mut buffer) {
            Ok(0) => return Ok(ResultsStatus::Read { bytes: sent }),
            Ok(length) if sent + length as u64 > file.max_bytes => return Ok(too_long(file, sent + length as u64)),
            Ok(length) => {
                channel.results(buffer.get(..length).unwrap_or_default())?;
                sent += length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(refused(file, &format!("cannot be read: {error}"))),
        }
    }
}

/// The answer where processes were left that could not be killed: they could write while it is read.
pub fn contested(file: &ResultsFile) -> ResultsStatus {
    refused(file, "is not read while processes of the project live that could not be killed")
}

fn open_plain(file: &ResultsFile) -> Result<File, ResultsStatus> {
    let mut names = Vec::new();
    for component in Path::new(&file.path).components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => names.push(name),
            Component::ParentDir | Component::Prefix(_) => return Err(refused(file, "is not a plain absolute path")),
        }
    }
    let Some((last, parents)) = names.split_last() else {
        return Err(refused(file, "names no file"));
    };

    let step = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut at: OwnedFd = open("/", step, Mode::empty()).map_err(|errno| unopened(file, errno))?;
    for name in parents {
        at = openat(&at, *name, step, Mode::empty()).map_err(|errno| match errno {
            Errno::ELOOP | Errno::ENOTDIR => {
                refused(file, &format!("lies behind {}, which is a link or not a folder", name.display()))
            }
            Errno::EACCES => closed(name),
            errno => unopened(file, errno),
        })?;
    }
    // Non-blocking: a FIFO without a writer would wait for ever.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let opened = openat(&at, *last, flags, Mode::empty()).map_err(|errno| {
        // The same error for a file that may not be read, and for a folder in which nothing may be looked for.
        let looked = fstatat(&at, *last, AtFlags::AT_SYMLINK_NOFOLLOW);
        if looked == Err(Errno::EACCES) { closed(last) } else { unopened(file, errno) }
    })?;
    let opened = File::from(opened);
    let metadata = opened.metadata().map_err(|error| refused(file, &format!("cannot be examined: {error}")))?;
    let kind = metadata.file_type();
    if !kind.is_file() {
        let seen = match kind {
            kind if kind.is_dir() => "a folder",
            kind if kind.is_fifo() => "a FIFO",
            kind if kind.is_char_device() || kind.is_block_device() => "a device",
            _ => "something else",
        };
        return Err(refused(file, &format!("is {seen}, a plain file is needed")));
    }
    if metadata.nlink() != 1 {
        return Err(refused(file, &format!("has {} names, a plain file with one name is needed", metadata.nlink())));
    }
    if metadata.len() > file.max_bytes {
        return Err(too_long(file, metadata.len()));
    }
    Ok(opened)
}

/// A folder that its owner has closed: nobody could write there either.
fn closed(name: &OsStr) -> ResultsStatus {
    let reason = format!("{} cannot be looked for, its folder is closed (EACCES)", name.display());
    ResultsStatus::Missing { reason: Some(reason) }
}

fn unopened(file: &ResultsFile, errno: Errno) -> ResultsStatus {
    match errno {
        Errno::ENOENT => ResultsStatus::Missing { reason: None },
        Errno::ELOOP => refused(file, "is a symbolic link, a plain file is needed"),
        Errno::ENXIO => refused(file, "is a socket or a device, a plain file is needed"),
        errno => refused(file, &format!("cannot be opened: {errno}")),
    }
}

fn too_long(file: &ResultsFile, seen: u64) -> ResultsStatus {
    refused(file, &format!("has {seen} bytes or more, the limit is {}", file.max_bytes))
}

fn refused(file: &ResultsFile, what: &str) -> ResultsStatus {
    ResultsStatus::Refused { reason: format!("the results file {} {what}", file.path) }
}
