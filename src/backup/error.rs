//! Why a backup or a restore failed.

use std::path::{Path, PathBuf};

use assize_store::StoreError;

use crate::embedded::EmbeddedError;

/// Why a backup was not made, or cannot be restored. Each message ends with what to do.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("cannot use {}: {reason}; check that it exists, its owner and the free space", .path.display())]
    Io { path: PathBuf, reason: String },
    #[error("another backup to {} is running; wait until it has ended", .0.display())]
    InUse(PathBuf),
    #[error("{program} is not installed; install it (Debian: apt install postgresql-client)")]
    NoProgram { program: &'static str },
    #[error("{program} failed: {reason}; correct this and start again")]
    Program { program: &'static str, reason: String },
    #[error(
        "blob_url is not a folder, and only folders are copied; use versioning or replication of the bucket, and --no-blobs"
    )]
    NoFolder,
    #[error("{} blobs were damaged when they were copied, the first is {first}: its bytes do not have the SHA-256 in its name; restore it from an earlier backup", .count)]
    Damaged { count: usize, first: String },
    #[error("there is no backup in {}; name the folder that `assize backup --to` wrote", .0.display())]
    NoSet(PathBuf),
    #[error("{} is not a manifest of a backup: {reason}; use another backup", .path.display())]
    BadManifest { path: PathBuf, reason: String },
    #[error("the backup has format {seen}, this program reads {known}; use the version of assize that made it")]
    Format { seen: u32, known: u32 },
    #[error(
        "the backup has schema {seen}, this program knows {known}; use the version of assize that made it, or a newer one"
    )]
    Newer { seen: i64, known: i64 },
    #[error(
        "the database has {tables} tables, it must have none; create an empty one and set database_direct_url to it"
    )]
    NotEmpty { tables: usize },
    #[error("{count} files of the backup are missing or changed, the first is {first}; use another backup")]
    Changed { count: usize, first: String },
    #[error("the restored database differs from the one that was copied: {0}; use another backup, and find out why")]
    Differs(String),
    #[error(
        "{count} {kind} that the database names are not in the backup, the first is {first}; make a new backup, and check what deletes blobs"
    )]
    Missing { count: usize, kind: &'static str, first: String },
    #[error("the signed end of run {run} is not valid: {reason}; find out who changed it")]
    Signature { run: uuid::Uuid, reason: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
}

impl BackupError {
    pub(super) fn io(path: &Path, error: &std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), reason: error.to_string() }
    }

    /// Whether the command line or its input is wrong, as opposed to a service or the host.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::InUse(_) | Self::NoFolder | Self::NoSet(_) | Self::NotEmpty { .. })
    }
}
