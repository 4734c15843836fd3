//! Copies of the blobs: a file that the backup before has too becomes a hard link to it.

use std::fs::{File, FileTimes, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::BackupError;
use super::digests::{self, Digests};
use super::set::BLOBS;

/// The deepest folder below the blobs. The deepest that exists is `output/<run>/`.
const MAX_DEPTH: usize = 8;

/// What a copy of the blobs came to.
#[derive(Debug, Default)]
pub(super) struct Copied {
    pub(super) blobs: u64,
    pub(super) bytes: u64,
    pub(super) linked: u64,
    /// Blobs whose bytes do not have the SHA-256 in their name.
    pub(super) damaged: Vec<String>,
}

/// The backup before, whose files can be linked.
pub(super) struct Before {
    pub(super) folder: PathBuf,
    pub(super) digests: Digests,
}

/// Copies every blob below `from` into `to`, and adds their digests.
pub(super) fn copy(
    from: &Path,
    to: &Path,
    before: Option<&Before>,
    digests: &mut Digests,
) -> Result<Copied, BackupError> {
    let mut copied = Copied::default();
    make_folder(to)?;
    copy_folder(from, to, "", before, digests, &mut copied, 0)?;
    Ok(copied)
}

fn copy_folder(
    from: &Path,
    to: &Path,
    below: &str,
    before: Option<&Before>,
    digests: &mut Digests,
    copied: &mut Copied,
    depth: usize,
) -> Result<(), BackupError> {
    let fault = |error: std::io::Error| BackupError::io(from, &error);
    for entry in std::fs::read_dir(from).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        // A blob that is being written has `#` in its name.
        if !digests::is_plain(&path) || name.contains('#') {
            continue;
        }
        let kind = entry.file_type().map_err(fault)?;
        let (from, to) = (entry.path(), to.join(&name));
        if kind.is_dir() && depth < MAX_DEPTH {
            make_folder(&to)?;
            copy_folder(&from, &to, &path, before, digests, copied, depth + 1)?;
        } else if kind.is_file() {
            copy_blob(&from, &to, &path, before, digests, copied)?;
        }
    }
    Ok(())
}

fn copy_blob(
    from: &Path,
    to: &Path,
    path: &str,
    before: Option<&Before>,
    digests: &mut Digests,
    copied: &mut Copied,
) -> Result<(), BackupError> {
    let mut file = match File::open(from) {
        Ok(file) => file,
        // The janitor was here. What it deletes is older than anything that is still needed.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BackupError::io(from, &error)),
    };
    let about = file.metadata().map_err(|error| BackupError::io(from, &error))?;
    let name = format!("{BLOBS}/{path}");
    copied.blobs += 1;
    copied.bytes += about.len();
    if let Some(digest) = before.and_then(|before| link(before, &name, to, &about)) {
        copied.linked += 1;
        digests.insert(name, digest);
        return Ok(());
    }
    let mut copy = || {
        let mut target = File::options().write(true).create_new(true).mode(0o600).open(to)?;
        let digest = digests::copy(&mut file, &mut target)?;
        // The time of the last change says the next time whether the blob is the same.
        target.set_times(FileTimes::new().set_modified(about.modified()?))?;
        Ok(digest)
    };
    let digest: String = copy().map_err(|error: std::io::Error| BackupError::io(to, &error))?;
    if named_digest(path).is_some_and(|named| named != digest) {
        copied.damaged.push(path.to_owned());
    }
    digests.insert(name, digest);
    Ok(())
}

/// Links the file of the backup before, if it is the same. Returns its digest.
fn link(before: &Before, name: &str, to: &Path, about: &Metadata) -> Option<String> {
    let digest = before.digests.get(name)?;
    let kept = before.folder.join(name);
    let seen = std::fs::symlink_metadata(&kept).ok()?;
    let is_same = seen.is_file()
        && seen.len() == about.len()
        && seen.mtime() == about.mtime()
        && seen.mtime_nsec() == about.mtime_nsec();
    // A file has a limited number of links: then it is copied once more.
    (is_same && std::fs::hard_link(&kept, to).is_ok()).then(|| digest.clone())
}

/// Returns the SHA-256 that the name of an archive or an artifact promises.
fn named_digest(path: &str) -> Option<&str> {
    let (folder, name) = path.rsplit_once('/')?;
    let name = match folder.split('/').next()? {
        "archives" => name.strip_suffix(".zip")?,
        "artifacts" => name,
        _ => return None,
    };
    (name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(name)
}

/// Copies the blobs of a backup back; what is there already stays. Returns how many were written.
pub(super) fn restore(from: &Path, to: &Path) -> Result<u64, BackupError> {
    restore_folder(from, to, 0)
}

fn restore_folder(from: &Path, to: &Path, depth: usize) -> Result<u64, BackupError> {
    let fault = |error: std::io::Error| BackupError::io(from, &error);
    make_like_its_parent(to).map_err(|error| BackupError::io(to, &error))?;
    let mut written = 0;
    for entry in std::fs::read_dir(from).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let kind = entry.file_type().map_err(fault)?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if kind.is_dir() && depth < MAX_DEPTH {
            written += restore_folder(&from, &to, depth + 1)?;
        } else if kind.is_file() && !to.exists() {
            restore_blob(&from, &to).map_err(|error| BackupError::io(&to, &error))?;
            written += 1;
        }
    }
    Ok(written)
}

/// Copies a blob under another name first, so that a restore that breaks off leaves no half blob.
fn restore_blob(from: &Path, to: &Path) -> std::io::Result<()> {
    let aside = to.with_extension("restore#");
    let mut source = File::open(from)?;
    // The API and the worker have different users and one group.
    let mut target = File::options().write(true).create(true).truncate(true).mode(0o660).open(&aside)?;
    std::io::copy(&mut source, &mut target)?;
    target.set_times(FileTimes::new().set_modified(source.metadata()?.modified()?))?;
    target.sync_all()?;
    give_to_owner_of_folder(&aside)?;
    std::fs::rename(&aside, to)
}

/// Makes a folder with the owner and the mode of the folder that it is in.
fn make_like_its_parent(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(path)?;
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        give_to_owner_of_folder(path)?;
        std::fs::set_permissions(path, std::fs::metadata(parent)?.permissions())?;
    }
    Ok(())
}

/// Only root may give files away; without that right they belong to this user.
fn give_to_owner_of_folder(path: &Path) -> std::io::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    if !assize_host::is_root() {
        return Ok(());
    }
    let owner = std::fs::metadata(folder)?;
    std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid()))
}

fn make_folder(path: &Path) -> Result<(), BackupError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| BackupError::io(path, &error))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn store(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn inode(path: &Path) -> u64 {
        std::fs::metadata(path).unwrap().ino()
    }

    #[test]
    fn blobs_are_copied_once_and_linked_afterwards() {
        let root = tempfile::tempdir().unwrap();
        let (live, first, second) = (root.path().join("live"), root.path().join("1"), root.path().join("2"));
        store(&live, "output/run/1", "hello");
        store(&live, "archives/aa/half.zip#1", "half");
        let mut digests = Digests::new();
        let copied = copy(&live, &first.join(BLOBS), None, &mut digests).unwrap();
        assert_eq!((copied.blobs, copied.bytes, copied.linked), (1, 5, 0));
        assert_eq!(digests.keys().collect::<Vec<_>>(), ["blobs/output/run/1"]);

        store(&live, "output/run/2", "new");
        let before = Before { folder: first.clone(), digests };
        let mut digests = Digests::new();
        let copied = copy(&live, &second.join(BLOBS), Some(&before), &mut digests).unwrap();
        assert_eq!((copied.blobs, copied.linked), (2, 1));
        assert_eq!(inode(&first.join("blobs/output/run/1")), inode(&second.join("blobs/output/run/1")));
        assert_eq!(digests["blobs/output/run/1"], before.digests["blobs/output/run/1"]);
        // The copy is a file of its own: what happens to the live one does not reach it.
        assert_ne!(inode(&live.join("output/run/1")), inode(&first.join("blobs/output/run/1")));
    }

    #[test]
    fn a_blob_that_changed_is_copied_again() {
        let root = tempfile::tempdir().unwrap();
        let (live, first) = (root.path().join("live"), root.path().join("1"));
        store(&live, "output/run/1", "hello");
        let mut digests = Digests::new();
        copy(&live, &first.join(BLOBS), None, &mut digests).unwrap();
        let kept = std::fs::metadata(first.join("blobs/output/run/1")).unwrap().modified().unwrap();
        let before = Before { folder: first, digests };
        store(&live, "output/run/1", "hell!");
        let file = File::options().write(true).open(live.join("output/run/1")).unwrap();
        for (number, later) in [(2, Duration::from_secs(1)), (3, Duration::from_nanos(1))] {
            file.set_times(FileTimes::new().set_modified(kept + later)).unwrap();
            let to = root.path().join(number.to_string());
            let copied = copy(&live, &to.join(BLOBS), Some(&before), &mut Digests::new()).unwrap();
            assert_eq!(copied.linked, 0, "{later:?} later");
            assert_eq!(std::fs::read_to_string(to.join("blobs/output/run/1")).unwrap(), "hell!");
        }
    }

    #[test]
    fn a_blob_whose_bytes_do_not_fit_its_name_is_reported() {
        let root = tempfile::tempdir().unwrap();
        let live = root.path().join("live");
        store(&live, &format!("archives/00/{}.zip", "0".repeat(64)), "changed");
        store(&live, &format!("artifacts/00/{}", "0".repeat(64)), "changed");
        let copied = copy(&live, &root.path().join("copy"), None, &mut Digests::new()).unwrap();
        assert_eq!(copied.damaged.len(), 2);
    }

    #[test]
    fn a_restore_writes_only_what_is_not_there() {
        let root = tempfile::tempdir().unwrap();
        let (kept, live) = (root.path().join("kept"), root.path().join("live"));
        store(&kept, "output/run/1", "kept");
        store(&kept, "output/run/2", "kept");
        store(&live, "output/run/1", "live");
        assert_eq!(restore(&kept, &live).unwrap(), 1);
        assert_eq!(std::fs::read_to_string(live.join("output/run/1")).unwrap(), "live");
        assert_eq!(std::fs::read_to_string(live.join("output/run/2")).unwrap(), "kept");
        assert_eq!(std::fs::read_dir(live.join("output/run")).unwrap().count(), 2);
    }
}
