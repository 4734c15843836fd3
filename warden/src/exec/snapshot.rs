//! The working folder as the stages have left it, and how each call gets it again.
//!
//! Everything in a cell runs as one user, so no folder is out of a program's reach. The copy lies in the warden's memory
//! instead: contents in a file without a name, names and modes beside it. It is made, and put back, while no process of
//! the project lives, so nothing changes under the warden's hands.
//!
//! A time of change could tell which files are still the same, but its clock is too coarse for that: a program that
//! writes in the same tick would keep what it wrote. So everything is removed and written again.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, FileTimes, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use assize_protocol::exec::Fresh;
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::handover::restore;
use crate::unpack::quote;

/// The longest path below the folder, in bytes.
const MAX_PATH: usize = 1024;

/// The bits of a mode that are put back.
const MODE: u32 = 0o777;

/// What its owner needs to read a folder or a file.
const OWNER: u32 = 0o700;

enum Kind {
    Folder,
    File { offset: u64, length: u64, modified: SystemTime },
    Link { target: PathBuf },
}

struct Entry {
    /// Below the folder.
    path: PathBuf,
    mode: u32,
    kind: Kind,
}

/// A copy of a folder.
pub struct Snapshot {
    folder: PathBuf,
    mode: u32,
    emptied: Vec<String>,
    /// A folder comes before what is in it.
    entries: Vec<Entry>,
    contents: File,
}

impl Snapshot {
    /// Copies a folder. FIFOs, sockets and devices are left out.
    ///
    /// # Errors
    /// What cannot be copied, the limit and the value.
    pub fn take(folder: &str, limits: &Fresh) -> Result<Self, String> {
        restore(folder)?;
        let contents = memfd_create(c"workspace", MFdFlags::MFD_CLOEXEC)
            .map(File::from)
            .map_err(|errno| format!("there is no memory for a copy of {folder}: {errno}"))?;
        let mode = fs::metadata(folder).map_err(|error| format!("{folder} cannot be examined: {error}"))?.mode() & MODE;
        let (folder, emptied) = (PathBuf::from(folder), limits.emptied.clone());
        let mut snapshot = Self { folder, mode, emptied, entries: Vec::new(), contents };
        let (mut open, mut length) = (vec![PathBuf::new()], 0);
        while let Some(below) = open.pop() {
            for name in snapshot.names(&below).map_err(|error| unreadable(&below, &error))? {
                let path = below.join(name);
                if snapshot.entries.len() as u64 >= limits.max_entries {
                    let (folder, limit) = (snapshot.folder.display(), limits.max_entries);
                    return Err(format!(
                        "{folder} has more than {limit} files and folders, which is all that fresh calls can copy; build fewer"
                    ));
                }
                if path.as_os_str().len() > MAX_PATH {
                    let (path, length) = (quote(path.as_os_str().as_bytes()), path.as_os_str().len());
                    return Err(format!(
                        "{path} has {length} bytes, the limit of fresh calls is {MAX_PATH}; shorten it"
                    ));
                }
                let is_folder = snapshot
                    .add(&path, limits.max_bytes - length, &mut length)
                    .map_err(|error| unreadable(&path, &error))?;
                if length > limits.max_bytes {
                    let (folder, limit) = (snapshot.folder.display(), limits.max_bytes);
                    return Err(format!(
                        "{folder} has more than {limit} bytes, which is all that fresh calls can copy; build less"
                    ));
                }
                if is_folder {
                    open.push(path);
                }
            }
        }
        Ok(snapshot)
    }

    fn names(&self, below: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(self.folder.join(below))?.map(|entry| Ok(entry?.file_name())).collect()
    }

    /// Copies one entry, at most one byte more than there is room for, and says whether it is a folder.
    fn add(&mut self, path: &Path, room: u64, length: &mut u64) -> io::Result<bool> {
        let place = self.folder.join(path);
        let seen = fs::symlink_metadata(&place)?;
        let mode = seen.mode() & MODE;
        let kind = if seen.is_dir() {
            Kind::Folder
        } else if seen.is_symlink() {
            Kind::Link { target: fs::read_link(&place)? }
        } else if seen.is_file() {
            let offset = self.contents.seek(SeekFrom::End(0))?;
            allow(&place, mode)?;
            let copied = io::copy(&mut File::open(&place)?.take(room + 1), &mut self.contents)?;
            *length += copied;
            Kind::File { offset, length: copied, modified: seen.modified()? }
        } else {
            return Ok(false);
        };
        if seen.is_dir() {
            allow(&place, mode)?;
        }
        self.entries.push(Entry { path: path.to_owned(), mode, kind });
        Ok(seen.is_dir())
    }

    /// Puts the folder back as it was, and empties the other folders.
    ///
    /// # Errors
    /// What the programs before have made of the folders that cannot be undone.
    pub fn put_back(&mut self) -> Result<(), String> {
        let folder = self.folder.display().to_string();
        for other in self.emptied.iter().chain([&folder]) {
            restore(other)?;
            empty(Path::new(other)).map_err(|error| format!("{other} cannot be emptied: {error}"))?;
        }
        for entry in &self.entries {
            self.put(entry).map_err(|error| format!("{} cannot be put back: {error}", entry.path.display()))?;
        }
        // From the inside out: a folder that its owner may not write to has all that is in it by then.
        for entry in self.entries.iter().rev().filter(|entry| matches!(entry.kind, Kind::Folder)) {
            fs::set_permissions(self.folder.join(&entry.path), Permissions::from_mode(entry.mode))
                .map_err(|error| format!("{} cannot be put back: {error}", entry.path.display()))?;
        }
        fs::set_permissions(&self.folder, Permissions::from_mode(self.mode))
            .map_err(|error| format!("{folder} cannot be put back: {error}"))
    }

    fn put(&self, entry: &Entry) -> io::Result<()> {
        let place = self.folder.join(&entry.path);
        match &entry.kind {
            Kind::Folder => DirBuilder::new().mode(OWNER).create(place),
            Kind::Link { target } => symlink(target, place),
            Kind::File { offset, length, modified } => {
                let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(place)?;
                let mut contents = &self.contents;
                contents.seek(SeekFrom::Start(*offset))?;
                let copied = io::copy(&mut contents.take(*length), &mut file)?;
                if copied < *length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                file.set_permissions(Permissions::from_mode(entry.mode))?;
                file.set_times(FileTimes::new().set_modified(*modified))
            }
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("{} cannot be copied for fresh calls: {error}", quote(path.as_os_str().as_bytes()))
}

/// Lets the owner use a folder or a file that was looked at without following a link.
fn allow(place: &Path, mode: u32) -> io::Result<()> {
    if mode & OWNER == OWNER { Ok(()) } else { fs::set_permissions(place, Permissions::from_mode(mode | OWNER)) }
}

/// Removes everything in a folder. A program may have nested folders deeper than paths reach, so nothing goes down: what
/// is in a folder of the first level moves up before that folder is removed.
fn empty(folder: &Path) -> io::Result<()> {
    let mut moved: u64 = 0;
    loop {
        let mut is_empty = true;
        for entry in fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()? {
            is_empty = false;
            let place = entry.path();
            let seen = fs::symlink_metadata(&place)?;
            if !seen.is_dir() {
                fs::remove_file(&place)?;
                continue;
            }
            allow(&place, seen.mode() & MODE)?;
            for inner in fs::read_dir(&place)?.collect::<Result<Vec<_>, _>>()? {
                let inner = inner.path();
                let seen = fs::symlink_metadata(&inner)?;
                if !seen.is_dir() {
                    fs::remove_file(&inner)?;
                    continue;
                }
                // A folder that moves has its own entry for the one above rewritten, which takes the right to write.
                allow(&inner, seen.mode() & MODE)?;
                fs::rename(&inner, free_name(folder, &mut moved))?;
            }
            fs::remove_dir(&place)?;
        }
        if is_empty {
            return Ok(());
        }
    }
}

/// A name in the folder that nothing has.
fn free_name(folder: &Path, moved: &mut u64) -> PathBuf {
    loop {
        *moved += 1;
        let place = folder.join(format!(".removed-{moved}"));
        if fs::symlink_metadata(&place).is_err() {
            return place;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::process::Command;

    use super::*;

    fn limits() -> Fresh {
        Fresh { max_bytes: 1000, max_entries: 20, emptied: vec![] }
    }

    fn shell(folder: &Path, line: &str) {
        assert!(Command::new("sh").args(["-ec", line]).current_dir(folder).status().unwrap().success(), "{line}");
    }

    /// Every entry with its mode, its time of change and its content.
    fn listing(folder: &Path) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        let mut open = vec![PathBuf::new()];
        while let Some(below) = open.pop() {
            for entry in fs::read_dir(folder.join(&below)).unwrap() {
                let path = below.join(entry.unwrap().file_name());
                let seen = fs::symlink_metadata(folder.join(&path)).unwrap();
                let text = if seen.is_dir() {
                    open.push(path.clone());
                    "folder".to_owned()
                } else if seen.is_symlink() {
                    fs::read_link(folder.join(&path)).unwrap().display().to_string()
                } else {
                    format!("{:?} {:?}", fs::read(folder.join(&path)).unwrap(), seen.modified().unwrap())
                };
                found.insert(path, format!("{:o} {text}", seen.mode() & MODE));
            }
        }
        found
    }

    #[test]
    fn whatever_a_program_leaves_the_next_finds_what_was_built() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        shell(
            folder.path(),
            "mkdir -p a/b; echo x > a/b/file; chmod 755 a/b/file; : > empty; ln -s a/b/file link; ln -s /nowhere lost
            chmod 444 empty; chmod 500 a/b",
        );
        let before = listing(folder.path());
        let mut snapshot = Snapshot::take(&path, &limits()).unwrap();
        for line in [
            "true",
            "echo y > a/b/file; chmod 0 a/b/file",
            "chmod 700 a/b; rm -r a; mkdir -p a/b; echo z > a/b/file; mkfifo a/fifo; rm link; mkdir link; mv empty link",
            "rm -rf * || true; mkdir -p x/x/x/x/x/x/x/x; chmod 0 x/x; touch .removed-1 .removed-2; mkdir .removed-3",
            "python3 -c \"import os\nfor _ in range(500): os.mkdir('d' * 20); os.chdir('d' * 20)\nopen('bottom', 'w')\"",
            "chmod 0 .",
        ] {
            shell(folder.path(), line);
            snapshot.put_back().unwrap();
            assert_eq!(listing(folder.path()), before, "{line}");
        }
    }

    #[test]
    fn other_folders_are_emptied_and_nothing_behind_a_link_is_touched() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "x").unwrap();
        let emptied = vec![other.path().display().to_string()];
        let limits = Fresh { emptied, ..limits() };
        let mut snapshot = Snapshot::take(&folder.path().display().to_string(), &limits).unwrap();
        for place in [&folder, &other] {
            symlink(outside.path(), place.path().join("link")).unwrap();
            fs::create_dir(place.path().join("deep")).unwrap();
            symlink(outside.path(), place.path().join("deep/link")).unwrap();
        }
        snapshot.put_back().unwrap();
        assert!(listing(folder.path()).is_empty() && listing(other.path()).is_empty());
        assert!(outside.path().join("kept").exists());
    }

    #[test]
    fn what_is_too_much_is_refused_with_the_limit() {
        for (line, words) in [
            ("head -c 1001 /dev/zero > large", "more than 1000 bytes"),
            ("truncate -s 1T sparse", "more than 1000 bytes"),
            ("head -c 600 /dev/zero > a; ln a b", "more than 1000 bytes"),
            ("for i in $(seq 21); do mkdir $i; done", "more than 20 files and folders"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            shell(folder.path(), line);
            let error = Snapshot::take(&folder.path().display().to_string(), &limits()).err().unwrap();
            assert!(error.contains(words), "{line}: {error}");
        }
    }
}
