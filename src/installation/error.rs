//! Why an installation could not be started.

use std::path::PathBuf;

use assize_signing::KeyFileError;
use assize_store::StoreError;

use crate::embedded::EmbeddedError;

/// Why an installation could not be started.
#[derive(Debug, thiserror::Error)]
pub enum InstallationError {
    /// A process did not start, did not answer, or ended by itself.
    #[error(transparent)]
    Process(#[from] EmbeddedError),
    /// The database could not be migrated, or the key could not be stored in it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The signing key could not be created.
    #[error(transparent)]
    SigningKey(#[from] KeyFileError),
    /// The administrator's key could not be stored in the folder.
    #[error("cannot write the key to {}: {error}", .path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        error: std::io::Error,
    },
}
