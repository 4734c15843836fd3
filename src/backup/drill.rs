//! The drill: restores a backup into a scratch cluster and proves that it is whole.

use std::collections::BTreeSet;
use std::path::Path;

use assize_domain::output;
use assize_signing::keys::SigningKeys;
use assize_signing::{PublicKey, PublishedKey, Statement, TrustedKeys, verify};
use assize_store::Store;
use assize_store::backup::SignedEnd;
use chrono::Days;

use super::restore::{blocking, check_schema, difference};
use super::set::{BLOBS, BackupSet, DUMP, FILES};
use super::{BackupError, digests, postgres_tools};
use crate::embedded::{Durability, Embedded};
use crate::intake::blob::archive_key;

/// The number of signed ends that are verified.
const VERIFIED_ENDS: i64 = 100;

/// Days by which a retention is shortened: what the janitor deletes next may have gone while the blobs were copied.
const MARGIN_DAYS: u64 = 2;

/// What a drill has proved.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Drilled {
    /// Files whose SHA-256 was compared.
    pub files: u64,
    /// Rows of all tables, as many as were copied.
    pub rows: i64,
    pub newest_event: i64,
    pub schema_version: i64,
    /// Archives and artifacts that rows name and that are in the backup.
    pub archives: usize,
    pub artifacts: usize,
    /// Signed ends that verify against the public keys of the database.
    pub signed_ends: usize,
    /// Of these, those whose stored output is the one that was signed.
    pub outputs: usize,
}

/// Restores the backup into a scratch cluster below `scratch`, which nobody else uses, and compares. The installation is
/// not touched.
///
/// # Errors
/// [`BackupError`] names the first thing that is not as it was.
pub async fn drill(set: &BackupSet, scratch: &Path) -> Result<Drilled, BackupError> {
    check_schema(set)?;
    let digests = set.digests()?;
    let checked = set.clone();
    let files = blocking(&set.folder, move || checked.check(&digests, &[DUMP, FILES, BLOBS])).await?;
    let embedded = Embedded::start(scratch, Durability::ThrowAway).await?;
    let drilled = compare(set, &embedded.database_url, files).await;
    for complaint in embedded.stop().await {
        tracing::warn!(complaint, "the scratch cluster was killed");
    }
    drilled
}

async fn compare(set: &BackupSet, scratch_url: &str, files: u64) -> Result<Drilled, BackupError> {
    postgres_tools::restore(scratch_url, &set.dump()).await?;
    let store = Store::open(scratch_url, 2)?;
    let seen = store.facts().await?;
    if seen != set.manifest.database {
        return Err(BackupError::Differs(difference(set, &seen)));
    }
    // Signatures need the tables of this version.
    store.migrate().await?;
    let (archives, artifacts) = if set.manifest.has_blobs { named_blobs(set, &store).await? } else { (0, 0) };
    let ends = store.draw_signed_ends(VERIFIED_ENDS).await?;
    let keys = trusted_keys(&store).await?;
    let mut outputs = 0;
    for end in &ends {
        outputs += usize::from(check_end(set, end, &keys)?);
    }
    Ok(Drilled {
        files,
        rows: seen.rows.values().sum(),
        newest_event: seen.newest_event,
        schema_version: seen.schema_version,
        archives,
        artifacts,
        signed_ends: ends.len(),
        outputs,
    })
}

/// Checks that every blob that a row names, and that retention has not reached, is in the backup.
async fn named_blobs(set: &BackupSet, store: &Store) -> Result<(usize, usize), BackupError> {
    let since = |days: u32| match days {
        0 => chrono::DateTime::UNIX_EPOCH,
        days => {
            let kept = Days::new(u64::from(days).saturating_sub(MARGIN_DAYS));
            set.manifest.taken_at.checked_sub_days(kept).unwrap_or(chrono::DateTime::UNIX_EPOCH)
        }
    };
    let archives = store.archives_since(since(set.manifest.archive_retention_days)).await?;
    check_present(set, &archives, "archives", archive_key)?;
    let artifacts = store.artifacts_since(since(set.manifest.output_retention_days)).await?;
    check_present(set, &artifacts, "artifacts", assize_domain::artifact::blob_key)?;
    Ok((archives.len(), artifacts.len()))
}

fn check_present(
    set: &BackupSet,
    sha256s: &BTreeSet<String>,
    kind: &'static str,
    path: impl Fn(&str) -> String,
) -> Result<(), BackupError> {
    let missing: Vec<&String> =
        sha256s.iter().filter(|sha256| !set.folder.join(BLOBS).join(path(sha256)).is_file()).collect();
    match missing.first() {
        None => Ok(()),
        Some(first) => Err(BackupError::Missing { count: missing.len(), kind, first: (*first).clone() }),
    }
}

/// Returns the public keys of the restored database.
async fn trusted_keys(store: &Store) -> Result<TrustedKeys, BackupError> {
    let rows = store.list_signing_keys().await?;
    if rows.is_empty() {
        return Ok(TrustedKeys::default());
    }
    let differs = |reason: String| BackupError::Differs(format!("its signing keys cannot be read ({reason})"));
    let mut keys = Vec::new();
    for row in rows {
        let key = PublicKey::from_bytes(&row.public_key).map_err(|error| differs(error.to_string()))?;
        keys.push(PublishedKey::new(key, row.created_at, row.retired_at));
    }
    let text = serde_json::to_string(&SigningKeys { keys }).map_err(|error| differs(error.to_string()))?;
    TrustedKeys::read(&text).map_err(|error| differs(error.to_string()))
}

/// Verifies a signed end. Returns whether its output was compared too.
fn check_end(set: &BackupSet, end: &SignedEnd, keys: &TrustedKeys) -> Result<bool, BackupError> {
    let bad = |reason: String| BackupError::Signature { run: end.run, reason };
    let verified = verify(end.envelope.to_string().as_bytes(), keys).map_err(|error| bad(error.to_string()))?;
    let Statement::Run(statement) = &verified.statement else {
        return Err(bad("it is not the end of a run".to_owned()));
    };
    if statement.run_id != end.run || statement.status.to_string() != end.status {
        return Err(bad(format!("it is about run {} that was {}", statement.run_id, statement.status)));
    }
    let attempt = u32::try_from(statement.attempt).unwrap_or(0);
    let output = set.folder.join(BLOBS).join(output::blob_key(end.run, attempt));
    if statement.output.is_none() || !output.is_file() {
        return Ok(false);
    }
    let sha256 = digests::of_file(&output).map_err(|error| BackupError::io(&output, &error))?;
    verified.check_output(&sha256).map_err(|error| bad(error.to_string()))?;
    Ok(true)
}
