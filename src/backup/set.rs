//! A backup on disk: one folder named by its time, complete or absent.
//!
//! ```text
//! /var/backups/assize/2026-11-30T03-30-00.123Z/
//!     manifest.json      what was copied, and when
//!     SHA256SUMS         for sha256sum --check
//!     database.dump      pg_dump, custom format
//!     blobs/             as below blob_url; files of the backup before are hard links
//!     files/             keys and settings under their absolute paths, mode 0600
//! ```

use std::path::{Path, PathBuf};

use assize_store::backup::DatabaseFacts;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::BackupError;
use super::digests::{self, Digests};

/// The format of the folder and the manifest.
pub(super) const FORMAT: u32 = 1;

/// The largest manifest that is read, in bytes.
const MAX_MANIFEST: u64 = 1 << 20;

pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const SUMS: &str = "SHA256SUMS";
pub(super) const DUMP: &str = "database.dump";
pub(super) const BLOBS: &str = "blobs";
pub(super) const FILES: &str = "files";

/// The name of a set that is not complete.
pub(super) const PARTIAL: &str = ".partial";

/// The form of a set's name. It sorts by time.
const NAME: &str = "%Y-%m-%dT%H-%M-%S.%3fZ";

/// What was copied, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// The version of assize that made the backup.
    pub version: String,
    pub instance: String,
    /// When the snapshot of the database was taken, by its clock.
    pub taken_at: DateTime<Utc>,
    pub database: DatabaseFacts,
    /// Whether the blobs are part of the backup.
    pub has_blobs: bool,
    pub blobs: u64,
    pub blob_bytes: u64,
    /// Blobs that are hard links to those of the backup before.
    pub linked_blobs: u64,
    /// The setting `archive_retention_days` at that time: older archives may be deleted already.
    pub archive_retention_days: u32,
    pub output_retention_days: u32,
}

/// A complete backup.
#[derive(Debug, Clone)]
pub struct BackupSet {
    pub folder: PathBuf,
    pub manifest: Manifest,
}

impl BackupSet {
    /// Opens a backup: `path` itself, or the newest below it.
    ///
    /// # Errors
    /// [`BackupError::NoSet`] if there is none, and what is wrong with its manifest.
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        let folder = if path.join(MANIFEST).is_file() {
            path.to_owned()
        } else {
            let names = complete(path)?;
            path.join(names.last().ok_or_else(|| BackupError::NoSet(path.to_owned()))?)
        };
        let file = folder.join(MANIFEST);
        let bad = |reason: String| BackupError::BadManifest { path: file.clone(), reason };
        let about = std::fs::metadata(&file).map_err(|error| BackupError::io(&file, &error))?;
        if about.len() > MAX_MANIFEST {
            return Err(bad(format!("it has {} bytes, the limit is {MAX_MANIFEST}", about.len())));
        }
        let text = std::fs::read_to_string(&file).map_err(|error| BackupError::io(&file, &error))?;
        let manifest: Manifest = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        if manifest.format != FORMAT {
            return Err(BackupError::Format { seen: manifest.format, known: FORMAT });
        }
        Ok(Self { folder, manifest })
    }

    pub(super) fn dump(&self) -> PathBuf {
        self.folder.join(DUMP)
    }

    pub(super) fn digests(&self) -> Result<Digests, BackupError> {
        digests::read(&self.folder.join(SUMS))
    }

    /// Compares the files below these parts with their digests, and returns how many there are.
    pub(super) fn check(&self, digests: &Digests, parts: &[&str]) -> Result<u64, BackupError> {
        let wanted = digests.iter().filter(|(name, _)| parts.iter().any(|part| name.starts_with(part)));
        let (mut checked, mut changed) = (0, Vec::new());
        for (name, digest) in wanted {
            checked += 1;
            if !digests::of_file(&self.folder.join(name)).is_ok_and(|seen| seen == *digest) {
                changed.push(name);
            }
        }
        match changed.first() {
            None => Ok(checked),
            Some(first) => Err(BackupError::Changed { count: changed.len(), first: (*first).clone() }),
        }
    }
}

/// Returns the name of a set of this time.
pub(super) fn name(at: DateTime<Utc>) -> String {
    at.format(NAME).to_string()
}

/// Returns the names of the complete sets below a folder, the oldest first.
pub(super) fn complete(folder: &Path) -> Result<Vec<String>, BackupError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(BackupError::NoSet(folder.to_owned()));
        }
        Err(error) => return Err(BackupError::io(folder, &error)),
    };
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| chrono::NaiveDateTime::parse_from_str(name, NAME).is_ok())
        .filter(|name| folder.join(name).join(MANIFEST).is_file())
        .collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(format: u32) -> Manifest {
        Manifest {
            format,
            version: "0.1.0".to_owned(),
            instance: "assize".to_owned(),
            taken_at: DateTime::UNIX_EPOCH,
            database: DatabaseFacts { schema_version: 1, newest_event: 2, rows: std::collections::BTreeMap::new() },
            has_blobs: true,
            blobs: 0,
            blob_bytes: 0,
            linked_blobs: 0,
            archive_retention_days: 30,
            output_retention_days: 30,
        }
    }

    fn write(root: &Path, name: &str, manifest: &Manifest) {
        std::fs::create_dir(root.join(name)).unwrap();
        std::fs::write(root.join(name).join(MANIFEST), serde_json::to_string(manifest).unwrap()).unwrap();
    }

    #[test]
    fn the_newest_complete_set_is_found() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(BackupSet::open(root.path()), Err(BackupError::NoSet(_))));
        assert!(matches!(BackupSet::open(&root.path().join("none")), Err(BackupError::NoSet(_))));
        for name in ["2026-11-29T03-30-00.123Z", "2026-11-30T03-30-00.123Z"] {
            write(root.path(), name, &manifest(FORMAT));
        }
        std::fs::create_dir(root.path().join("2026-12-01T03-30-00.123Z")).unwrap();
        write(root.path(), "zzz", &manifest(FORMAT));
        let set = BackupSet::open(root.path()).unwrap();
        assert!(set.folder.ends_with("2026-11-30T03-30-00.123Z"));
        assert_eq!(set.manifest, manifest(FORMAT));
        let chosen = BackupSet::open(&root.path().join("2026-11-29T03-30-00.123Z")).unwrap();
        assert!(chosen.folder.ends_with("2026-11-29T03-30-00.123Z"));
    }

    #[test]
    fn another_format_is_refused() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "2026-11-29T03-30-00.123Z", &manifest(2));
        assert!(matches!(BackupSet::open(root.path()), Err(BackupError::Format { seen: 2, known: 1 })));
        std::fs::write(root.path().join("2026-11-29T03-30-00.123Z/manifest.json"), "{}").unwrap();
        assert!(matches!(BackupSet::open(root.path()), Err(BackupError::BadManifest { .. })));
    }

    #[test]
    fn a_changed_file_is_found() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "2026-11-29T03-30-00.123Z", &manifest(FORMAT));
        let set = BackupSet::open(root.path()).unwrap();
        std::fs::write(set.dump(), "dump").unwrap();
        let digests = Digests::from([(DUMP.to_owned(), digests::of_file(&set.dump()).unwrap())]);
        assert_eq!(set.check(&digests, &[DUMP]).unwrap(), 1);
        std::fs::write(set.dump(), "dumb").unwrap();
        assert!(matches!(set.check(&digests, &[DUMP]), Err(BackupError::Changed { count: 1, .. })));
        std::fs::remove_file(set.dump()).unwrap();
        assert!(matches!(set.check(&digests, &[DUMP]), Err(BackupError::Changed { count: 1, .. })));
        assert_eq!(set.check(&digests, &[BLOBS]).unwrap(), 0);
    }
}
