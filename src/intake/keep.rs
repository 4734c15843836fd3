//! An archive into the blob store, against a janitor that may be deleting it for its age.

use super::blob::{BlobError, Blobs, Kept};
use super::spool::Spooled;
use crate::store::{Store, StoreError};

/// Why an archive was not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Stores the archive. What is there already may be about to be deleted: that is stopped or waited for, and
/// then it is looked for once more.
///
/// # Errors
/// If the blob store or Postgres does not answer; a blob without a submission may then stay, and ages.
pub async fn keep(store: &Store, blobs: &Blobs, archive: &Spooled) -> Result<(), KeepError> {
    let put = async || blobs.put_archive(&archive.sha256, &archive.file, archive.bytes).await;
    if put().await? == Kept::Found {
        store.reuse_archive(&archive.sha256).await?;
        put().await?;
    }
    Ok(())
}
