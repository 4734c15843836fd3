//! Puts a backup back: into an empty database, and beside the blobs that are there.

use std::path::Path;

use assize_config::Config;
use assize_signing::key_file;
use assize_store::Store;

use super::set::{BLOBS, BackupSet, DUMP, FILES};
use super::{BackupError, blobs, postgres_tools};
use crate::intake::blob::local_folder;

/// What a restore did.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Restored {
    /// Blobs that were written; those that were there already stayed.
    pub blobs: u64,
    /// Whether the signing key of the settings was put back.
    pub has_signing_key: bool,
    pub schema_version: i64,
}

/// Restores a backup into the database of the settings, which must be empty, and the blobs into their folder.
///
/// # Errors
/// [`BackupError`] says what is wrong. Until the database is complete it stays empty.
pub async fn restore(config: &Config, set: &BackupSet) -> Result<Restored, BackupError> {
    check_schema(set)?;
    let store = Store::open(config.owner_database_url(), 2)?;
    let tables = store.tables().await?;
    if !tables.is_empty() {
        return Err(BackupError::NotEmpty { tables: tables.len() });
    }
    let folder = if set.manifest.has_blobs {
        Some(local_folder(&config.blob_url).ok_or(BackupError::NoFolder)?.to_owned())
    } else {
        None
    };
    let digests = set.digests()?;
    let checked = set.clone();
    blocking(&set.folder, move || checked.check(&digests, &[DUMP, FILES, BLOBS])).await?;
    // The blobs first: a row must not name one that is not there yet.
    let written = match folder {
        None => 0,
        Some(folder) => {
            let from = set.folder.join(BLOBS);
            blocking(&set.folder, move || blobs::restore(&from, &folder)).await?
        }
    };
    postgres_tools::restore(config.owner_database_url(), &set.dump()).await?;
    let seen = store.facts().await?;
    if seen != set.manifest.database {
        return Err(BackupError::Differs(difference(set, &seen)));
    }
    store.migrate().await?;
    store.grant_rights().await?;
    let has_signing_key = restore_signing_key(config, set)?;
    Ok(Restored { blobs: written, has_signing_key, schema_version: store.schema_version().await? })
}

/// Refuses a backup of a newer schema than this program knows.
pub(super) fn check_schema(set: &BackupSet) -> Result<(), BackupError> {
    let (seen, known) = (set.manifest.database.schema_version, assize_store::newest_migration());
    if seen > known { Err(BackupError::Newer { seen, known }) } else { Ok(()) }
}

/// Says in which number a restored database differs from the one that was copied.
pub(super) fn difference(set: &BackupSet, seen: &assize_store::backup::DatabaseFacts) -> String {
    let copied = &set.manifest.database;
    if copied.schema_version != seen.schema_version {
        return format!("schema {} instead of {}", seen.schema_version, copied.schema_version);
    }
    if copied.newest_event != seen.newest_event {
        return format!("newest event {} instead of {}", seen.newest_event, copied.newest_event);
    }
    let other = copied.rows.iter().find(|(table, rows)| seen.rows.get(*table) != Some(rows));
    match other {
        Some((table, rows)) => {
            format!("{} rows of {table} instead of {rows}", seen.rows.get(table).copied().unwrap_or(0))
        }
        None => "a table that was not copied".to_owned(),
    }
}

/// Puts the signing key of the settings back, if it is in the backup and the file does not exist.
fn restore_signing_key(config: &Config, set: &BackupSet) -> Result<bool, BackupError> {
    let path = &config.signing_key_file;
    if path.as_os_str().is_empty() || path.exists() {
        return Ok(false);
    }
    let absolute = std::path::absolute(path).map_err(|error| BackupError::io(path, &error))?;
    let kept = set.folder.join(FILES).join(absolute.strip_prefix("/").unwrap_or(&absolute));
    if !kept.is_file() {
        return Ok(false);
    }
    let bad = |error: assize_signing::KeyFileError| BackupError::Io { path: kept.clone(), reason: error.to_string() };
    let (key, _) = key_file::read(&kept).map_err(bad)?;
    key_file::create(path, &key).map_err(bad)?;
    Ok(true)
}

/// Runs what reads and writes many files on a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    let failed = |error: tokio::task::JoinError| BackupError::Io { path: path.to_owned(), reason: error.to_string() };
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}
