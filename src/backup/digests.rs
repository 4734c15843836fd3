//! The file `SHA256SUMS` of a backup, in the format of sha256sum(1), and copies that compute a digest on the way.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::BackupError;

/// Bytes that are read at a time.
const PIECE: usize = 256 * 1024;

/// The longest line of `SHA256SUMS`: a digest, two spaces and a path.
const MAX_LINE: u64 = 8192;

/// The digest of each file of a set, by its path below the set.
pub(super) type Digests = BTreeMap<String, String>;

/// Whether a path can be a line of `SHA256SUMS`.
pub(super) fn is_plain(path: &str) -> bool {
    !path.is_empty() && path.len() < 4096 && !path.contains(['\n', '\r', '\\'])
}

/// Writes the digests, sorted by path.
pub(super) fn write(path: &Path, digests: &Digests) -> Result<(), BackupError> {
    let written = || {
        let mut file = BufWriter::new(File::create(path)?);
        for (name, digest) in digests {
            writeln!(file, "{digest}  {name}")?;
        }
        file.flush()
    };
    written().map_err(|error| BackupError::io(path, &error))
}

/// Reads the digests. A path that leads out of the set is refused.
pub(super) fn read(path: &Path) -> Result<Digests, BackupError> {
    let fault = |error: std::io::Error| BackupError::io(path, &error);
    let bad = |reason: &str| BackupError::BadManifest { path: path.to_owned(), reason: reason.to_owned() };
    let mut file = BufReader::new(File::open(path).map_err(fault)?);
    let mut digests = Digests::new();
    loop {
        let mut line = String::new();
        if (&mut file).take(MAX_LINE).read_line(&mut line).map_err(fault)? == 0 {
            return Ok(digests);
        }
        let line = line.strip_suffix('\n').ok_or_else(|| bad("a line is too long or has no end"))?;
        let (digest, name) = line.split_once("  ").ok_or_else(|| bad("a line is no digest and path"))?;
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_below =
            is_plain(name) && Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !is_digest || !is_below {
            return Err(bad("a line is no digest and path below the backup"));
        }
        digests.insert(name.to_owned(), digest.to_owned());
    }
}

/// Returns the SHA-256 of a file.
pub(super) fn of_file(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        let length = file.read(&mut piece)?;
        if length == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(&piece[..length]);
    }
}

/// Copies a file and returns the SHA-256 of what was copied.
pub(super) fn copy(from: &mut File, to: &mut File) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        let length = from.read(&mut piece)?;
        if length == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(&piece[..length]);
        to.write_all(&piece[..length])?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("SHA256SUMS");
        let digests = Digests::from([("blobs/a b".to_owned(), "0".repeat(64)), ("c".to_owned(), "f".repeat(64))]);
        write(&path, &digests).unwrap();
        assert_eq!(read(&path).unwrap(), digests);
    }

    #[test]
    fn a_path_out_of_the_backup_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("SHA256SUMS");
        let zeros = "0".repeat(64);
        for name in ["../a", "/etc/passwd", "a/../../b", "", "a\\nb"] {
            std::fs::write(&path, format!("{zeros}  {name}\n")).unwrap();
            assert!(matches!(read(&path), Err(BackupError::BadManifest { .. })), "{name}");
        }
        for text in ["0".repeat(64), format!("{zeros}  a"), format!("{}  a\n", "x".repeat(64)), "0".repeat(10_000)] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(read(&path), Err(BackupError::BadManifest { .. })));
        }
    }

    #[test]
    fn a_copy_has_the_digest_of_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        std::fs::write(&from, vec![7; PIECE + 1]).unwrap();
        let digest = copy(&mut File::open(&from).unwrap(), &mut File::create(&to).unwrap()).unwrap();
        assert_eq!((digest.clone(), digest), (of_file(&from).unwrap(), of_file(&to).unwrap()));
    }
}
