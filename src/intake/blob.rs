//! Where archives and output are kept: a local folder or S3. No other module names object_store.
//!
//! A blob appears whole or not at all, and is on disk before `put` returns: the 202 that follows is
//! a promise.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use assize_domain::artifact;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use futures_util::stream::{BoxStream, StreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};

/// The longest wait for the store to take or give one piece.
const PIECE_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a piece on its way to S3, which wants no smaller part of an upload. A few are held at a
/// time, so this is what an archive of any size costs in memory, some times over.
const S3_PIECE: usize = 5 * 1024 * 1024;

/// Bytes of a piece on its way to a local folder: one hop to the blocking pool each.
const LOCAL_PIECE: usize = 512 * 1024;

/// Parts into which archives are divided, by the first byte of their SHA-256.
pub const SHARDS: i64 = 256;

/// The advice for an address that cannot be used.
/// The credentials that the service manager may pass for S3, named like the variables that hold them elsewhere.
const S3_CREDENTIALS: [&str; 3] = ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"];

const ADDRESS_FORMS: &str = "use file:<folder> or s3://<bucket>/<prefix>";

/// Why a blob was not stored or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("blob_url {url:?} is not usable: {reason}; {ADDRESS_FORMS}")]
    Address { url: String, reason: String },
    #[error("there is no blob {0}")]
    Missing(String),
    #[error("the blob store did not {what}: {reason}")]
    Unavailable { what: &'static str, reason: String },
}

impl BlobError {
    /// Returns what an operator should do. The message ends with this advice, after a semicolon.
    #[must_use]
    pub const fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Address { .. } => Some(ADDRESS_FORMS),
            Self::Missing(_) | Self::Unavailable { .. } => None,
        }
    }
}

/// The local folder that `blob_url` names, if it names one.
#[must_use]
pub fn local_folder(url: &str) -> Option<&FilePath> {
    let folder = url.strip_prefix("file:")?;
    Some(FilePath::new(folder.strip_prefix("//").unwrap_or(folder)))
}

/// The address without what stands before its host, or behind it: who puts a password there, or another
/// service's address here, finds it in no message.
fn without_user(url: &str) -> String {
    let address = url.split(['?', '#']).next().unwrap_or_default();
    let host = |rest: &str| format!("...@{}", rest.split('/').next().unwrap_or_default());
    address.rsplit_once('@').map_or_else(|| address.to_owned(), |(_, rest)| host(rest))
}

/// What is known about a blob without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobInfo {
    pub bytes: u64,
    pub written_at: DateTime<Utc>,
}

/// The blob store.
#[derive(Debug, Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    /// The local folder, if it is one.
    folder: Option<PathBuf>,
    /// Bytes of a piece on its way in.
    piece: usize,
}

impl Blobs {
    /// Opens the store at `blob_url`; makes a local folder that is not there.
    ///
    /// # Errors
    /// [`BlobError::Address`] if it is not an address or the folder cannot be made.
    pub fn open(url: &str) -> Result<Self, BlobError> {
        let fault = |reason: String| BlobError::Address {
            url: without_user(url),
            reason: reason.replace(url, &without_user(url)),
        };
        if let Some(folder) = local_folder(url) {
            // The parts too: the first archive of one would take longer than those that follow it.
            for shard in 0..SHARDS {
                let part = folder.join(format!("archives/{shard:02x}"));
                std::fs::create_dir_all(part).map_err(|error| fault(error.to_string()))?;
            }
            let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| fault(error.to_string()))?;
            let store = store.with_fsync(true).with_automatic_cleanup(true);
            return Ok(Self { store: Arc::new(store), folder: Some(folder.to_owned()), piece: LOCAL_PIECE });
        }
        if !url.starts_with("s3://") {
            return Err(fault("unknown scheme".to_owned()));
        }
        let address = url.parse().map_err(|error| fault(format!("{error}")))?;
        let variables = std::env::vars().filter(|(name, _)| name.starts_with("AWS_"));
        let mut options: Vec<_> = variables.map(|(name, value)| (name.to_lowercase(), value)).collect();
        for name in S3_CREDENTIALS {
            let credential = assize_config::credential(name).map_err(|error| fault(error.to_string()))?;
            options.extend(credential.map(|value| (name.to_owned(), value)));
        }
        let (store, prefix) =
            object_store::parse_url_opts(&address, options).map_err(|error| fault(error.to_string()))?;
        Ok(Self { store: Arc::new(PrefixStore::new(store, prefix)), folder: None, piece: S3_PIECE })
    }

    /// The local folder that it is, if it is one.
    #[must_use]
    pub fn folder(&self) -> Option<&FilePath> {
        self.folder.as_deref()
    }

    /// Keeps a spooled archive under its SHA-256. One that is there already is written once more, in one step: who finds
    /// that handing it in was quicker would know that somebody else had handed it in.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`]; nothing half-written stays behind.
    pub async fn put_archive(&self, sha256: &str, file: &Arc<File>, bytes: u64) -> Result<(), BlobError> {
        self.put_file(&archive_path(sha256), file, 0, bytes).await
    }

    /// Keeps the bytes of `file` between two places.
    async fn put_file(&self, path: &Path, file: &Arc<File>, from: u64, end: u64) -> Result<(), BlobError> {
        if end - from <= self.piece as u64 {
            let whole = self.read_piece(file, from, end).await?;
            bounded("store a file", self.store.put(path, whole.into())).await?;
            return Ok(());
        }
        let upload = bounded("begin an upload", self.store.put_multipart(path)).await?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, self.piece);
        let mut at = from;
        while at < end {
            let piece = self.read_piece(file, at, end).await?;
            at += piece.len() as u64;
            bounded("take a piece", upload.wait_for_capacity(1)).await?;
            upload.put(piece);
        }
        bounded("finish an upload", upload.finish()).await?;
        Ok(())
    }

    async fn read_piece(&self, file: &Arc<File>, at: u64, end: u64) -> Result<Bytes, BlobError> {
        let file = Arc::clone(file);
        let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(self.piece);
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; length];
            file.read_exact_at(&mut piece, at).map(|()| piece.into())
        });
        let fault = |reason: String| BlobError::Unavailable { what: "read the spool", reason };
        read.await.map_err(|error| fault(error.to_string()))?.map_err(|error| fault(error.to_string()))
    }

    /// An archive, piece by piece.
    ///
    /// # Errors
    /// [`BlobError::Missing`] or [`BlobError::Unavailable`], at once or in the stream.
    pub async fn archive(&self, sha256: &str) -> Result<BoxStream<'static, Result<Bytes, BlobError>>, BlobError> {
        let found = bounded("give an archive", self.store.get(&archive_path(sha256))).await?;
        let pieces = found.into_stream().map_err(|error| sort("give a piece", &error));
        Ok(pieces.boxed())
    }

    /// Looks a blob up; `None` if there is none.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`].
    pub async fn info(&self, key: &str) -> Result<Option<BlobInfo>, BlobError> {
        match bounded("look up a blob", self.store.head(&Path::from(key))).await {
            Ok(known) => Ok(Some(BlobInfo { bytes: known.size, written_at: known.last_modified })),
            Err(BlobError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Looks an archive up, as [`Self::info`] does.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`].
    pub async fn archive_info(&self, sha256: &str) -> Result<Option<BlobInfo>, BlobError> {
        self.info(archive_path(sha256).as_ref()).await
    }

    /// Removes an archive that was written before `before`; one that is gone already is fine. False if it
    /// is younger, and so stays.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`].
    pub async fn delete_archive(&self, sha256: &str, before: DateTime<Utc>) -> Result<bool, BlobError> {
        let path = archive_path(sha256);
        match bounded("look up an archive", self.store.head(&path)).await {
            Ok(known) if known.last_modified >= before => Ok(false),
            Ok(_) => self.delete(path.as_ref()).await.map(|()| true),
            Err(BlobError::Missing(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The SHA-256 of the archives in one of [`SHARDS`] parts of the store, in pages of at most `page`.
    pub fn archives_in(&self, shard: u8, page: usize) -> BoxStream<'static, Result<Vec<String>, BlobError>> {
        self.sha256s_in(&format!("archives/{shard:02x}"), ".zip", page)
    }

    /// The SHA-256 of the artifacts in one of [`SHARDS`] parts of the store, in pages of at most `page`.
    pub fn artifacts_in(&self, shard: u8, page: usize) -> BoxStream<'static, Result<Vec<String>, BlobError>> {
        self.sha256s_in(&format!("artifacts/{shard:02x}"), "", page)
    }

    fn sha256s_in(
        &self,
        folder: &str,
        suffix: &'static str,
        page: usize,
    ) -> BoxStream<'static, Result<Vec<String>, BlobError>> {
        let listed = self.store.list(Some(&Path::from(folder)));
        let named = listed.try_filter_map(move |found| {
            let name = found.location.filename().and_then(|name| name.strip_suffix(suffix));
            let is_sha256 = |name: &&str| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            futures_util::future::ready(Ok(name.filter(is_sha256).map(str::to_owned)))
        });
        named.map_err(|error| sort("list blobs", &error)).try_chunks(page).map_err(|error| error.1).boxed()
    }

    /// Keeps an artifact, which lies in `file` from `from` on, under its SHA-256; as with an archive, in any case.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`]; nothing half-written stays behind.
    pub async fn put_artifact(&self, sha256: &str, file: &Arc<File>, from: u64, bytes: u64) -> Result<(), BlobError> {
        self.put_file(&Path::from(artifact::blob_key(sha256)), file, from, from + bytes).await
    }

    /// An artifact, piece by piece.
    ///
    /// # Errors
    /// [`BlobError::Missing`] or [`BlobError::Unavailable`], at once or in the stream.
    pub async fn artifact(&self, sha256: &str) -> Result<BoxStream<'static, Result<Bytes, BlobError>>, BlobError> {
        let path = Path::from(artifact::blob_key(sha256));
        let found = bounded("give an artifact", self.store.get(&path)).await?;
        Ok(found.into_stream().map_err(|error| sort("give a piece", &error)).boxed())
    }

    /// Keeps one attempt's output.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`].
    pub async fn put_output(&self, key: &str, bytes: Bytes) -> Result<(), BlobError> {
        bounded("store output", self.store.put(&Path::from(key), bytes.into())).await?;
        Ok(())
    }

    /// One attempt's output, whole; it is bounded by what the warden keeps.
    ///
    /// # Errors
    /// [`BlobError::Missing`] or [`BlobError::Unavailable`].
    pub async fn output(&self, key: &str) -> Result<Bytes, BlobError> {
        let found = bounded("give output", self.store.get(&Path::from(key))).await?;
        bounded("give output", found.bytes()).await
    }

    /// Removes a blob; one that is gone already is fine.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`].
    pub async fn delete(&self, key: &str) -> Result<(), BlobError> {
        match bounded("remove a blob", self.store.delete(&Path::from(key))).await {
            Err(BlobError::Missing(_)) | Ok(()) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`] if it does not.
    pub async fn ping(&self) -> Result<(), BlobError> {
        let mut list = self.store.list(Some(&Path::from("ping")));
        bounded("answer", async { list.try_next().await }).await?;
        Ok(())
    }
}

fn archive_path(sha256: &str) -> Path {
    Path::from(archive_key(sha256))
}

/// Returns the key of the archive with this SHA-256 in the blob store.
#[must_use]
pub fn archive_key(sha256: &str) -> String {
    format!("archives/{}/{sha256}.zip", sha256.get(..2).unwrap_or("xx"))
}

async fn bounded<T>(
    what: &'static str,
    call: impl Future<Output = Result<T, object_store::Error>>,
) -> Result<T, BlobError> {
    match tokio::time::timeout(PIECE_TIMEOUT, call).await {
        Ok(answer) => answer.map_err(|error| sort(what, &error)),
        Err(_) => Err(BlobError::Unavailable { what, reason: format!("no answer in {} s", PIECE_TIMEOUT.as_secs()) }),
    }
}

fn sort(what: &'static str, error: &object_store::Error) -> BlobError {
    match error {
        object_store::Error::NotFound { path, .. } => BlobError::Missing(path.clone()),
        other => BlobError::Unavailable { what, reason: other.to_string() },
    }
}
