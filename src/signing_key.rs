//! The signing key of this process, with its public half in the table of signing keys.

use std::path::{Path, PathBuf};

use assize_signing::{KeyFileError, Signer};
use assize_store::{Store, StoreError};
use chrono::{DateTime, Utc};

/// Why a process cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The public key could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key was retired and signs nothing any more.
    #[error("the signing key {id} in {} was retired at {retired_at}; run `assize key signing rotate`", .path.display())]
    Retired {
        /// The id of the key.
        id: String,
        /// The file that holds it.
        path: PathBuf,
        /// When it was retired.
        retired_at: DateTime<Utc>,
    },
}

/// Opens the key of `path`, the setting `signing_key_file`, and stores its public half before anything is signed with
/// it. Returns `None` if the setting is empty.
///
/// # Errors
/// [`SignerError`] says what to do.
pub async fn open(path: &Path, store: &Store) -> Result<Option<Signer>, SignerError> {
    if path.as_os_str().is_empty() {
        tracing::warn!("signing_key_file is empty: neither receipts nor ends of runs are signed");
        return Ok(None);
    }
    let signer = Signer::open(path)?;
    let key = signer.key();
    let registered = store.ensure_signing_key(key.public()).await?;
    assize_observe::metrics().signing_key_created(registered.created_at.timestamp());
    match registered.retired_at {
        Some(retired_at) => Err(SignerError::Retired { id: key.id().to_owned(), path: path.to_owned(), retired_at }),
        None => Ok(Some(signer)),
    }
}
