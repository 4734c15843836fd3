//! The results files, read after every process of the cell has ended.
//!
//! The project could write to the folder, so the warden opens the path one component at a time and follows no link
//! (Judge0 CVE-2024-28185: links in the results led out of the sandbox). No process is left that could replace a component
//! during the walk; the checks are made on the open file all the same.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use assize_protocol::event::{ResultsFileStarted, ResultsStatus};
use assize_protocol::frame::Kind;
use assize_protocol::mask::MAX_MASKED;
use assize_protocol::plan::ResultsFile;
use assize_protocol::results::{MAX_FILES, ResultsPath, matches};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, fstatat};

use crate::channel::Channel;
use crate::plain_file::{self, NotPlain, PlainFile};

/// Entries of a folder that are looked at for a pattern: the project may have filled it.
const MAX_LISTED: usize = 100_000;

/// Sends the files in frames and returns their status.
///
/// # Errors
/// Only if stdout is gone; a problem with a file is part of the status. After a status other than `Read`, frames that
/// were sent before do not count.
pub fn send(file: &ResultsFile, channel: &mut Channel) -> io::Result<ResultsStatus> {
    let (folder, names, is_pattern) = match look_up(file) {
        Ok(found) => found,
        Err(status) => return Ok(status),
    };
    let mut sent = 0;
    for name in names {
        if is_pattern {
            let started = ResultsFileStarted { name: name.to_string_lossy().into_owned() };
            channel.event(Kind::ResultsFile, &started)?;
        }
        let seen = Seen { file, name: is_pattern.then_some(name.as_os_str()), before: sent };
        match open_plain(&folder, &name, &seen) {
            Ok(opened) => match send_one(opened, &seen, channel)? {
                Ok(length) => sent += length,
                Err(status) => return Ok(status),
            },
            Err(status) => return Ok(status),
        }
    }
    Ok(ResultsStatus::Read { bytes: sent })
}

/// A file of the results, for what is said of it.
struct Seen<'a> {
    file: &'a ResultsFile,
    /// Its name, where the path is a pattern.
    name: Option<&'a OsStr>,
    /// Bytes of the files before it.
    before: u64,
}

fn send_one(opened: File, seen: &Seen<'_>, channel: &mut Channel) -> io::Result<Result<u64, ResultsStatus>> {
    let room = seen.file.max_bytes.saturating_sub(seen.before);
    // One byte more than the limit, to detect a file that is longer than its metadata says.
    let mut bounded = opened.take(room.saturating_add(1));
    let mut buffer = vec![0; MAX_MASKED];
    let mut sent = 0;
    loop {
        match bounded.read(&mut buffer) {
            Ok(0) => return Ok(Ok(sent)),
            Ok(length) if sent + length as u64 > room => return Ok(Err(seen.too_long(sent + length as u64))),
            Ok(length) => {
                channel.results(buffer.get(..length).unwrap_or_default())?;
                sent += length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Err(seen.refused(&format!("cannot be read: {error}")))),
        }
    }
}

/// The answer where processes were left that could not be killed: they could write while it is read.
pub fn contested(file: &ResultsFile) -> ResultsStatus {
    Seen { file, name: None, before: 0 }
        .refused("is not read while processes of the project live that could not be killed")
}

/// The folder of the results, and the names of the files in it that are to be sent.
fn look_up(file: &ResultsFile) -> Result<(OwnedFd, Vec<OsString>, bool), ResultsStatus> {
    let whole = Seen { file, name: None, before: 0 };
    let (folder, pattern) = match ResultsPath::parse(&file.path).map_err(|why| whole.refused(&why))? {
        ResultsPath::File(path) => (Path::new(path), None),
        ResultsPath::Pattern { name, .. } => (Path::new(&file.path), Some(name)),
    };
    let mut names = Vec::new();
    for component in folder.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => names.push(name),
            Component::ParentDir | Component::Prefix(_) => return Err(whole.refused("is not a plain absolute path")),
        }
    }
    let Some((last, parents)) = names.split_last() else {
        return Err(whole.refused("names no file"));
    };
    let folder = walk(parents, &whole)?;
    match pattern {
        None => Ok((folder, vec![last.to_os_string()], false)),
        Some(pattern) => {
            let matching = list(&folder, pattern, &whole)?;
            if matching.is_empty() {
                Err(ResultsStatus::Missing { reason: None })
            } else {
                Ok((folder, matching, true))
            }
        }
    }
}

/// Opens a folder one component at a time.
fn walk(parents: &[&OsStr], whole: &Seen<'_>) -> Result<OwnedFd, ResultsStatus> {
    let mut at = plain_file::root().map_err(|errno| whole.unopened(errno))?;
    for name in parents {
        at = plain_file::enter(&at, name).map_err(|errno| match errno {
            Errno::ELOOP | Errno::ENOTDIR => {
                whole.refused(&format!("lies behind {}, which is a link or not a folder", name.display()))
            }
            Errno::EACCES => closed(name),
            errno => whole.unopened(errno),
        })?;
    }
    Ok(at)
}

/// The names in a folder that match, sorted. No more are kept than may be sent.
fn list(folder: &OwnedFd, pattern: &str, whole: &Seen<'_>) -> Result<Vec<OsString>, ResultsStatus> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let listing = Dir::openat(folder, ".", flags, Mode::empty()).map_err(|errno| match errno {
        Errno::EACCES => closed(OsStr::new("a file")),
        errno => whole.unopened(errno),
    })?;
    let mut names = Vec::new();
    for (number, entry) in listing.into_iter().enumerate() {
        let entry = entry.map_err(|errno| whole.refused(&format!("cannot be listed: {errno}")))?;
        if number >= MAX_LISTED {
            let why =
                format!("lies in a folder with more than {MAX_LISTED} entries; write it into a folder of its own");
            return Err(whole.refused(&why));
        }
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if !matches(pattern, name.as_bytes()) || matches!(name.as_bytes(), b"." | b"..") {
            continue;
        }
        if names.len() == MAX_FILES {
            return Err(whole.refused(&format!("matches more than {MAX_FILES} files, the limit")));
        }
        names.push(name.to_os_string());
    }
    names.sort_unstable();
    Ok(names)
}

fn open_plain(folder: &OwnedFd, name: &OsStr, seen: &Seen<'_>) -> Result<File, ResultsStatus> {
    let PlainFile { file: opened, length } = plain_file::open_plain(folder, name).map_err(|problem| match problem {
        NotPlain::Refused(what) => seen.refused(&what),
        NotPlain::Unopened(errno) => {
            // The same error for a file that may not be read, and for a folder in which nothing may be looked for.
            let looked = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW);
            if looked == Err(Errno::EACCES) { closed(name) } else { seen.unopened(errno) }
        }
    })?;
    if seen.before.saturating_add(length) > seen.file.max_bytes {
        return Err(seen.too_long(length));
    }
    Ok(opened)
}

/// A folder that its owner has closed: nobody could write there either.
fn closed(name: &OsStr) -> ResultsStatus {
    let reason = format!("{} cannot be looked for, its folder is closed (EACCES)", name.display());
    ResultsStatus::Missing { reason: Some(reason) }
}

impl Seen<'_> {
    fn unopened(&self, errno: Errno) -> ResultsStatus {
        match errno {
            Errno::ENOENT => ResultsStatus::Missing { reason: None },
            errno => self.refused(&plain_file::unopened(errno)),
        }
    }

    fn too_long(&self, length: u64) -> ResultsStatus {
        let limit = self.file.max_bytes;
        match self.name {
            None => self.refused(&format!("has {length} bytes or more, the limit is {limit}")),
            Some(_) => {
                let seen = self.before.saturating_add(length);
                self.refused(&format!("and those before it have {seen} bytes or more, the limit is {limit}"))
            }
        }
    }

    fn refused(&self, what: &str) -> ResultsStatus {
        let name = self.name.map(|name| format!(" ({name:?})")).unwrap_or_default();
        ResultsStatus::Refused { reason: format!("the results file {}{name} {what}", self.file.path) }
    }
}
