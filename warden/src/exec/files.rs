//! The files that a call was to write, read once every process of the cell has ended.
//!
//! The project could write to the folder, so the path is opened one component at a time, and no link is followed.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use assize_protocol::exec::{CallFile, CallFileStatus};
use assize_protocol::frame::{Kind, MAX_PAYLOAD};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::wire::Wire;
use crate::plain_file::{NotPlain, PlainFile, enter, open_plain, unopened};

/// Queues each wanted file, all together at most `limit` bytes.
pub fn send<S: Read + Write + AsFd>((paths, limit): (&[String], u64), folder: &str, wire: &mut Wire<S>) {
    let mut room = limit;
    for path in paths {
        let (status, contents) = match read(folder, path, room) {
            Ok(contents) => (CallFileStatus::Read { bytes: contents.len() as u64 }, contents),
            Err(status) => (status, Vec::new()),
        };
        room -= contents.len() as u64;
        let file = CallFile { path: path.clone(), status };
        wire.queue(Kind::CallFile, &serde_json::to_vec(&file).unwrap_or_default());
        for piece in contents.chunks(MAX_PAYLOAD) {
            wire.queue(Kind::CallFileData, piece);
        }
    }
}

fn read(folder: &str, path: &str, room: u64) -> Result<Vec<u8>, CallFileStatus> {
    let refused = |reason: String| CallFileStatus::Refused { reason };
    let opened = find(folder, path).map_err(|problem| match problem {
        NotPlain::Unopened(Errno::ENOENT) => CallFileStatus::Missing,
        NotPlain::Unopened(Errno::ENOTDIR) => refused("lies behind a link or what is no folder".to_owned()),
        NotPlain::Unopened(errno) => refused(unopened(errno)),
        NotPlain::Refused(reason) => refused(reason),
    })?;
    let mut contents = Vec::new();
    let reading = opened.file.take(room + 1).read_to_end(&mut contents);
    reading.map_err(|error| refused(format!("cannot be read: {error}")))?;
    if contents.len() as u64 > room {
        let seen = contents.len();
        return Err(refused(format!("has {seen} bytes or more, and the files of a call may have {room} more")));
    }
    Ok(contents)
}

/// Opens a file below the working folder, which the template has named itself.
fn find(folder: &str, path: &str) -> Result<PlainFile, NotPlain> {
    let folder_flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut at: OwnedFd = open(folder, folder_flags, Mode::empty()).map_err(NotPlain::Unopened)?;
    let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
    for parent in parents.split('/').filter(|parent| !parent.is_empty()) {
        at = enter(&at, OsStr::new(parent)).map_err(NotPlain::Unopened)?;
    }
    open_plain(&at, OsStr::new(name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_plain_files_below_the_folder_are_read() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("work");
        std::fs::create_dir_all(folder.join("inner")).unwrap();
        std::fs::write(place.path().join("secret"), "secret").unwrap();
        std::fs::write(folder.join("inner/a"), "12345").unwrap();
        symlink("../secret", folder.join("link")).unwrap();
        symlink("inner", folder.join("way")).unwrap();
        nix::unistd::mkfifo(&folder.join("fifo"), Mode::S_IRWXU).unwrap();
        let read = |path: &str, room: u64| read(folder.to_str().unwrap(), path, room);
        assert_eq!(read("inner/a", 5), Ok(b"12345".to_vec()));
        assert_eq!(read("inner/b", 5), Err(CallFileStatus::Missing));
        for (path, words) in [
            ("link", "a symbolic link"),
            ("way/a", "a link"),
            ("fifo", "is a FIFO"),
            ("inner", "is a folder"),
            ("inner/a/x", "a link"),
        ] {
            let Err(CallFileStatus::Refused { reason }) = read(path, 5) else { panic!("{path} was read") };
            assert!(reason.contains(words), "{path}: {reason}");
        }
        let Err(CallFileStatus::Refused { reason }) = read("inner/a", 4) else { panic!("too long") };
        assert!(reason.contains("5 bytes or more") && reason.contains("4 more"), "{reason}");
    }
}
