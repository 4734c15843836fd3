//! The copies of the warden that cells mount, named by their SHA-256.
//!
//! A cell mounts the warden by its path. An upgrade of the package replaces the file at the original path while a worker
//! of the earlier version still creates cells, and a warden of another version cannot read that worker's plans. So each
//! worker mounts a copy that no upgrade touches.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use assize_host as host;
use sha2::{Digest, Sha256};

use super::call::EngineError;

/// The largest warden, in bytes: the program has less than a tenth of it.
const MAX_WARDEN_BYTES: u64 = 64 << 20;

/// The age at which a copy is removed. Each worker renews the age of its own copy every day.
const MAX_AGE: Duration = Duration::from_secs(14 * 86_400);

/// Everyone may read and run a copy, and nobody may write to it.
const MODE: u32 = 0o555;

/// Copies the warden into the folder `store`, unless the copy exists, and returns the path of the copy.
///
/// # Errors
/// [`EngineError::Warden`] if the warden cannot be read or the copy cannot be written.
pub fn keep(store: &Path, warden: &Path) -> Result<PathBuf, EngineError> {
    let fault = |doing: &str, error: &io::Error| EngineError::Warden {
        path: warden.to_owned(),
        reason: format!("cannot be {doing} ({error})"),
    };
    let program = read(warden).map_err(|error| fault("read", &error))?;
    let copy = store.join(hex::encode(Sha256::digest(&program)));
    write(&copy, &program).map_err(|error| fault(&format!("copied to {}", store.display()), &error))?;
    copy.canonicalize().map_err(|error| fault(&format!("copied to {}", store.display()), &error))
}

fn read(warden: &Path) -> io::Result<Vec<u8>> {
    let mut program = Vec::new();
    File::open(warden)?.take(MAX_WARDEN_BYTES + 1).read_to_end(&mut program)?;
    if program.len() as u64 > MAX_WARDEN_BYTES {
        return Err(io::Error::other(format!("it has more than {MAX_WARDEN_BYTES} bytes")));
    }
    Ok(program)
}

/// Writes the whole copy or nothing. A copy that exists is renewed only if it is not the program: its file system may
/// have lost it in a crash.
fn write(copy: &Path, program: &[u8]) -> io::Result<()> {
    if read(copy).is_ok_and(|existing| existing == program) {
        return touch(copy);
    }
    if let Some(store) = copy.parent() {
        fs::create_dir_all(store)?;
    }
    let new = copy.with_extension(format!("{}.new", std::process::id()));
    let written =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).and_then(|mut file| {
            file.write_all(program)?;
            file.set_permissions(fs::Permissions::from_mode(MODE))?;
            file.sync_all()
        });
    let renamed = written.and_then(|()| fs::rename(&new, copy));
    if renamed.is_err() {
        fs::remove_file(&new).ok();
    }
    renamed
}

/// Makes the copy as young as one that was just written. Only its owner can: a copy that another user wrote is renewed
/// by the workers of that user.
fn touch(copy: &Path) -> io::Result<()> {
    match host::touch(copy) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

/// A copy that no worker uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusedCopy {
    pub path: PathBuf,
    pub bytes: u64,
}

/// Renews the age of `own`, the copy of this process, and returns the copies that no worker has renewed for two weeks.
///
/// # Errors
/// If the folder cannot be read.
pub fn find_unused(own: &Path) -> io::Result<Vec<UnusedCopy>> {
    touch(own)?;
    let now = fs::metadata(own)?.modified()?;
    let Some(store) = own.parent() else { return Ok(Vec::new()) };
    let mut unused = Vec::new();
    for entry in fs::read_dir(store)? {
        let entry = entry?;
        let about = entry.metadata()?;
        let is_old = now.duration_since(about.modified()?).is_ok_and(|age| age > MAX_AGE);
        if is_old && is_copy(&entry.file_name().to_string_lossy()) {
            unused.push(UnusedCopy { path: entry.path(), bytes: about.len() });
        }
    }
    Ok(unused)
}

/// Removes the copies that [`find_unused`] returns. Cells that still run from a removed copy keep its content. Returns the
/// number of removed copies.
///
/// # Errors
/// If the folder cannot be read, or a copy not be removed.
pub fn sweep(own: &Path) -> io::Result<u64> {
    let unused = find_unused(own)?;
    for copy in &unused {
        fs::remove_file(&copy.path)?;
    }
    Ok(unused.len() as u64)
}

/// Whether a file of this name is a copy, or one that was being written.
fn is_copy(name: &str) -> bool {
    let (digest, rest) = name.split_once('.').unwrap_or((name, "new"));
    digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) && rest.ends_with("new")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgrade_leaves_the_copy_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (warden, store) = (folder.path().join("assize-warden"), folder.path().join("wardens"));
        fs::write(&warden, "one").unwrap();
        let first = keep(&store, &warden).unwrap();
        fs::write(&warden, "two").unwrap();
        let second = keep(&store, &warden).unwrap();
        assert_ne!(first, second);
        assert_eq!(fs::read(&first).unwrap(), b"one");
        assert_eq!(fs::read(&second).unwrap(), b"two");
        assert_eq!(fs::metadata(&first).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(fs::read_dir(&store).unwrap().count(), 2, "no file is left over");
        assert_eq!(keep(&store, &warden).unwrap(), second);
    }

    #[test]
    fn a_copy_that_is_damaged_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let (warden, store) = (folder.path().join("assize-warden"), folder.path().join("wardens"));
        fs::write(&warden, "one").unwrap();
        let copy = keep(&store, &warden).unwrap();
        fs::remove_file(&copy).unwrap();
        fs::write(&copy, "").unwrap();
        assert_eq!(keep(&store, &warden).unwrap(), copy);
        assert_eq!(fs::read(&copy).unwrap(), b"one");
    }

    #[test]
    fn copies_that_nobody_renews_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (warden, store) = (folder.path().join("assize-warden"), folder.path().join("wardens"));
        fs::write(&warden, "one").unwrap();
        let old = keep(&store, &warden).unwrap();
        fs::write(&warden, "two").unwrap();
        let own = keep(&store, &warden).unwrap();
        let other = store.join("README");
        fs::write(&other, "").unwrap();
        let long_ago = fs::metadata(&own).unwrap().modified().unwrap() - MAX_AGE - Duration::from_secs(1);
        for path in [&old, &own, &other] {
            File::open(path).unwrap().set_modified(long_ago).unwrap();
        }
        assert_eq!(find_unused(&own).unwrap(), [UnusedCopy { path: old.clone(), bytes: 3 }]);
        assert_eq!(sweep(&own).unwrap(), 1);
        assert!(!old.exists() && own.exists() && other.exists());
        assert_eq!(sweep(&own).unwrap(), 0, "its own age was renewed");
    }

    #[test]
    fn a_warden_that_is_missing_or_a_folder_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let warden = folder.path().join("assize-warden");
        let missing = keep(folder.path(), &warden).unwrap_err().to_string();
        assert!(missing.contains("assize-warden cannot be read ("), "{missing}");
        fs::write(&warden, "one").unwrap();
        let below_a_file = warden.join("wardens");
        let refused = keep(&below_a_file, &warden).unwrap_err().to_string();
        assert!(refused.contains(&format!("cannot be copied to {} (", below_a_file.display())), "{refused}");
    }
}
