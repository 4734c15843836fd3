//! The signer of a process, which uses the key that its file contains at that time.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;

use super::envelope::Envelope;
use super::key::PrivateKey;
use super::key_file::{self, KeyFileError, Stamp};

/// Signs with the key of a file. A rotation is noticed at the next signature, without a restart; a file
/// that cannot be read any more is logged once, and the key that was read before goes on.
#[derive(Clone)]
pub struct Signer(Arc<Inner>);

struct Inner {
    path: PathBuf,
    now: RwLock<Loaded>,
}

struct Loaded {
    key: Arc<PrivateKey>,
    stamp: Option<Stamp>,
}

impl Signer {
    /// Reads the key of this file.
    ///
    /// # Errors
    /// [`KeyFileError`] says what to do.
    pub fn open(path: &Path) -> Result<Self, KeyFileError> {
        let (key, stamp) = key_file::read(path)?;
        let now = RwLock::new(Loaded { key: Arc::new(key), stamp: Some(stamp) });
        Ok(Self(Arc::new(Inner { path: path.to_owned(), now })))
    }

    /// The key that signs now. One call of `stat`, some microseconds.
    #[must_use]
    pub fn key(&self) -> Arc<PrivateKey> {
        let seen = Stamp::read(&self.0.path);
        {
            let now = self.0.now.read();
            if now.stamp == seen {
                return Arc::clone(&now.key);
            }
        }
        let mut now = self.0.now.write();
        if now.stamp != seen {
            now.stamp = seen;
            match key_file::read(&self.0.path) {
                Ok((key, stamp)) => {
                    tracing::info!(before = now.key.id(), now = key.id(), "the signing key was replaced");
                    (now.key, now.stamp) = (Arc::new(key), Some(stamp));
                }
                Err(error) => {
                    tracing::warn!(%error, key = now.key.id(), "the signing key cannot be read; the one read before goes on");
                }
            }
        }
        Arc::clone(&now.key)
    }

    /// Signs what `statement` makes of the key's id. `None`, and a line in the log, if it cannot be written
    /// as JSON: a fault of ours.
    #[must_use]
    pub fn sign<T: serde::Serialize>(&self, statement: impl FnOnce(&str) -> T) -> Option<Envelope> {
        let key = self.key();
        match serde_json::to_vec(&statement(key.id())) {
            Ok(payload) => Some(Envelope::sign(&key, &payload)),
            Err(error) => {
                tracing::error!(%error, "a statement could not be written, and was not signed");
                None
            }
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("path", &self.0.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_is_noticed_and_a_broken_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing.key");
        let (first, second) = (PrivateKey::generate(), PrivateKey::generate());
        key_file::create(&path, &first).unwrap();
        let signer = Signer::open(&path).unwrap();
        assert_eq!(signer.key().id(), first.id());
        key_file::replace(&path, &second).unwrap();
        assert_eq!(signer.key().id(), second.id());
        std::fs::write(&path, "broken").unwrap();
        assert_eq!(signer.key().id(), second.id());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(signer.key().id(), second.id());
        key_file::create(&path, &first).unwrap();
        assert_eq!(signer.key().id(), first.id(), "it is back");
    }
}
