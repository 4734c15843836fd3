//! An archive into the blob store, against a janitor that may be deleting it for its age, and in a time that
//! does not depend on who else has handed it in.

use super::blob::{BlobError, Blobs};
use super::spool::Spooled;
use assize_store::{Store, StoreError};

/// Why an archive was not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Stores the archive. A janitor that is deleting it is waited for, and no other begins to: first its row is made
/// fresh, then its blob is written, whether there is one or not.
///
/// An archive that another organisation handed in before costs the same: one row written and one blob written.
///
/// # Errors
/// If the blob store or Postgres does not answer; a row without a blob, or a blob without a submission, may then stay,
/// and ages.
pub async fn keep(store: &Store, blobs: &Blobs, archive: &Spooled) -> Result<(), KeepError> {
    store.use_archive(&archive.sha256).await?;
    blobs.put_archive(&archive.sha256, &archive.file, archive.bytes).await?;
    Ok(())
}
