//! The file with the private key: its permissions, and how it is replaced.

use std::fs::{File, Metadata};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::key::{KeyError, PrivateKey};

/// The longest file that is read, in bytes: a key has 119.
const MAX_BYTES: u64 = 4096;

/// The advice for a file that does not exist.
const CREATE: &str = "create one with `assize key signing create`, or set signing_key_file";

/// The advice for a file that exists already.
const ROTATE: &str = "replace it with `assize key signing rotate`";

/// The advice for a file that other users may read.
const CLOSE: &str = "run `chmod 600` on it, and rotate it if others had access";

/// The advice for a file that holds no key.
const RESTORE: &str = "replace it with a copy or with `assize key signing rotate`";

/// The advice for a path that is not a plain file.
const SET_FILE: &str = "set signing_key_file";

/// The advice for a file that cannot be read or written.
const CHECK_FOLDER: &str = "check its folder and signing_key_file";

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message above each variant documents it")]
pub enum KeyFileError {
    #[error("no signing key at {}; {CREATE}", .0.display())]
    Missing(PathBuf),
    #[error("a signing key exists at {}; {ROTATE}", .0.display())]
    Exists(PathBuf),
    #[error("the signing key {} is readable by others than its owner (mode {mode:04o}, the limit is 0600); {CLOSE}", .path.display())]
    Open { path: PathBuf, mode: u32 },
    #[error("the signing key {}: {reason}; {RESTORE}", .path.display())]
    Unusable { path: PathBuf, reason: KeyError },
    #[error("the signing key {} is not a plain file of at most {MAX_BYTES} bytes; {SET_FILE}", .0.display())]
    NotAFile(PathBuf),
    #[error("cannot read or write the signing key {}: {error}; {CHECK_FOLDER}", .path.display())]
    Io { path: PathBuf, error: std::io::Error },
}

impl KeyFileError {
    /// Returns what an operator should do. The message ends with this advice, after a semicolon.
    #[must_use]
    pub const fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::Missing(_) => CREATE,
            Self::Exists(_) => ROTATE,
            Self::Open { .. } => CLOSE,
            Self::Unusable { .. } => RESTORE,
            Self::NotAFile(_) => SET_FILE,
            Self::Io { .. } => CHECK_FOLDER,
        })
    }
}

/// Metadata that changes with the content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn from_metadata(about: &Metadata) -> Self {
        Self {
            inode: about.ino(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        }
    }

    /// The stamp of the file at this time; `None` if its metadata cannot be read.
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|about| Self::from_metadata(&about))
    }
}

/// Reads the key, if only its owner can.
///
/// # Errors
/// [`KeyFileError`] says what to do.
pub fn read(path: &Path) -> Result<(PrivateKey, Stamp), KeyFileError> {
    let fault = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => KeyFileError::Missing(path.to_owned()),
        _ => KeyFileError::Io { path: path.to_owned(), error },
    };
    // A pipe in its place must not hold the process up: what is no plain file is not opened.
    if !std::fs::metadata(path).map_err(fault)?.is_file() {
        return Err(KeyFileError::NotAFile(path.to_owned()));
    }
    let file = File::open(path).map_err(fault)?;
    // Of the file that was opened, whatever has the name by now.
    let about = file.metadata().map_err(fault)?;
    if !about.is_file() || about.len() > MAX_BYTES {
        return Err(KeyFileError::NotAFile(path.to_owned()));
    }
    let mode = about.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Open { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::with_capacity(4096));
    let unusable = |reason| KeyFileError::Unusable { path: path.to_owned(), reason };
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => unusable(KeyError::NotPrivate),
        _ => fault(error),
    })?;
    Ok((PrivateKey::from_pem(&text).map_err(unusable)?, Stamp::from_metadata(&about)))
}

/// Writes a key where there is none.
///
/// # Errors
/// [`KeyFileError::Exists`], or [`KeyFileError::Io`].
pub fn create(path: &Path, key: &PrivateKey) -> Result<(), KeyFileError> {
    if std::fs::symlink_metadata(path).is_ok() {
        return Err(KeyFileError::Exists(path.to_owned()));
    }
    replace(path, key)
}

/// Writes a key, in the place of another if there is one: whole or not at all, on disk before this
/// returns, and never readable for others.
///
/// # Errors
/// [`KeyFileError::Io`].
pub fn replace(path: &Path, key: &PrivateKey) -> Result<(), KeyFileError> {
    let fault = |error| KeyFileError::Io { path: path.to_owned(), error };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(fault)?;
    let aside = path.with_extension("new");
    match std::fs::remove_file(&aside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fault(error)),
        _ => {}
    }
    let written = || -> std::io::Result<()> {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&aside)?;
        file.write_all(key.to_pem().as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&aside, path)?;
        File::open(folder)?.sync_all()
    };
    written().map_err(fault)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_was_written_is_read_back_and_belongs_to_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/signing.key");
        assert!(matches!(read(&path), Err(KeyFileError::Missing(_))));
        let key = PrivateKey::generate();
        create(&path, &key).unwrap();
        assert_eq!(read(&path).unwrap().0.id(), key.id());
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(create(&path, &key), Err(KeyFileError::Exists(_))));
        let next = PrivateKey::generate();
        let before = Stamp::read(&path);
        replace(&path, &next).unwrap();
        assert_eq!(read(&path).unwrap().0.id(), next.id());
        assert_ne!(Stamp::read(&path), before);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing stays beside it");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing.key");
        create(&path, &PrivateKey::generate()).unwrap();
        // Each right of group and others alone, whatever the owner has; and what `cp` and `umask 002` leave.
        let alone = (0..6).flat_map(|bit| [0o600 | 1 << bit, 0o400 | 1 << bit]);
        for mode in alone.chain([0o644, 0o664, 0o660, 0o777]) {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let refused = read(&path).unwrap_err();
            assert!(matches!(refused, KeyFileError::Open { mode: seen, .. } if seen == mode), "{refused}");
            assert!(refused.to_string().contains("chmod 600"), "{refused}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        read(&path).unwrap();
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing.key");
        let write = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            read(&path).unwrap_err()
        };
        for content in [&b"secret"[..], b"", b"\xff\xfesecret"] {
            let refused = write(content);
            assert!(matches!(refused, KeyFileError::Unusable { .. }), "{refused}");
            assert!(!format!("{refused} {refused:?}").contains("secret"), "{refused}");
        }
        assert!(matches!(write(&[b'x'; 4097]), KeyFileError::NotAFile(_)));
        assert!(matches!(read(folder.path()), Err(KeyFileError::NotAFile(_))));
    }
}
