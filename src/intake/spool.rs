//! An upload in progress: an unnamed file that is gone when nobody holds it, counted and hashed as
//! it grows.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// Bytes that are gathered before they are written: one hop to the blocking pool for each.
const GATHER: usize = 256 * 1024;

/// An upload that is still coming.
pub struct Spool {
    file: Arc<File>,
    hash: Sha256,
    gathered: Vec<u8>,
    bytes: u64,
    limit: u64,
}

/// A whole upload.
#[derive(Debug, Clone)]
pub struct Spooled {
    pub file: Arc<File>,
    pub bytes: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// Why an upload could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("the upload is longer than {limit} bytes")]
    TooLong { limit: u64, seen: u64 },
    #[error("cannot write to the spool folder: {0}; check spool_dir and its free space")]
    Io(#[from] io::Error),
}

impl Spool {
    /// Begins an upload of at most `limit` bytes in `folder`.
    ///
    /// # Errors
    /// If no file can be made there.
    pub fn begin(folder: &Path, limit: u64) -> Result<Self, SpoolError> {
        let file = Arc::new(tempfile::tempfile_in(folder)?);
        Ok(Self { file, hash: Sha256::new(), gathered: Vec::new(), bytes: 0, limit })
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// [`SpoolError::TooLong`] as soon as the limit is passed; the file is gone with the spool.
    pub async fn write(&mut self, piece: &Bytes) -> Result<(), SpoolError> {
        self.bytes += piece.len() as u64;
        if self.bytes > self.limit {
            return Err(SpoolError::TooLong { limit: self.limit, seen: self.bytes });
        }
        self.gathered.extend_from_slice(piece);
        if self.gathered.len() >= GATHER { self.flush().await } else { Ok(()) }
    }

    /// The upload is complete.
    ///
    /// # Errors
    /// If the last bytes cannot be written.
    pub async fn finish(mut self) -> Result<Spooled, SpoolError> {
        self.flush().await?;
        Ok(Spooled { file: self.file, bytes: self.bytes, sha256: hex::encode(self.hash.finalize()) })
    }

    async fn flush(&mut self) -> Result<(), SpoolError> {
        let gathered = std::mem::take(&mut self.gathered);
        let mut hash = std::mem::take(&mut self.hash);
        let file = Arc::clone(&self.file);
        let work = tokio::task::spawn_blocking(move || {
            hash.update(&gathered);
            (&*file).write_all(&gathered)?;
            io::Result::Ok((hash, gathered))
        });
        let (hash, mut gathered) = work.await.map_err(io::Error::other)??;
        gathered.clear();
        self.hash = hash;
        self.gathered = gathered;
        Ok(())
    }
}
