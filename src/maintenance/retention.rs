//! Retention: deletes archives, output and rows that are older than the settings ask for.
//!
//! Each job deletes in small pages, oldest first, until nothing is left or its deadline has passed; the next turn
//! of the job deletes the rest. A page can be repeated after a failure, because a blob is deleted before the row
//! that names it.

use assize_domain::artifact::blob_key as blob_key_of_artifact;
use assize_domain::output::blob_key;
use assize_host::clock::Deadline;
use assize_store::Store;
use assize_store::retention::OutputMark;
use chrono::TimeDelta;
use futures_util::StreamExt;

use crate::intake::blob::{Blobs, SHARDS};

/// Names of archives in one statement.
const PAGE_ARCHIVES: usize = 200;

/// Days after which an idempotency key may be used for another request. Clients repeat a request for minutes, and
/// the services that made such keys common promise 1 day.
pub const KEEP_KEYS_DAYS: u32 = 7;

/// A blob that is younger than this may be about to get its row. No upload may take this long.
pub(super) const MAX_SUBMISSION_TIME: TimeDelta = TimeDelta::hours(1);

/// Shards of the blob store that one hourly search for untracked archives goes through, so that 24 searches cover
/// all 256.
const SHARDS_PER_SEARCH: i64 = 11;

/// Deletes archives whose last use is more than `days` ago. Returns the number of deleted archives.
///
/// # Errors
/// If Postgres or the blob store does not answer.
pub async fn archives(store: &Store, blobs: &Blobs, days: u32, deadline: &Deadline) -> anyhow::Result<u64> {
    let (mut deleted, mut last) = (0, None);
    while days > 0 && !deadline.has_passed() {
        let Some(expired) = store.lock_expired_archive(days, last.take()).await? else { break };
        last = Some((expired.last_used_at, expired.sha256.clone()));
        if blobs.delete_archive(&expired.sha256, deadline.clock().wall() - MAX_SUBMISSION_TIME).await? {
            expired.forget().await?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

/// Inserts a row for each archive whose submission was never written, so that the archive ages like all others.
/// Each call searches the shards of the current hour. Returns the number of inserted rows; no archive is deleted.
///
/// # Errors
/// If Postgres or the blob store does not answer.
pub async fn adopt_untracked_archives(store: &Store, blobs: &Blobs, deadline: &Deadline) -> anyhow::Result<u64> {
    let mut found = 0;
    for shard in shards_of_this_hour(deadline) {
        let mut pages = blobs.archives_in(shard, PAGE_ARCHIVES);
        while !deadline.has_passed() {
            let Some(page) = pages.next().await else { break };
            found += store.adopt_archives(&page?).await?;
        }
    }
    if found > 0 {
        tracing::info!(archives = found, "found archives without a submission; they will be deleted by their age");
    }
    Ok(found)
}

/// The shards of the blob store that are searched in this hour.
fn shards_of_this_hour(deadline: &Deadline) -> impl Iterator<Item = u8> {
    let hour = deadline.clock().wall().timestamp() / 3_600;
    let shards = (0..SHARDS_PER_SEARCH).map(move |number| (hour * SHARDS_PER_SEARCH + number).rem_euclid(SHARDS));
    shards.filter_map(|shard| u8::try_from(shard).ok())
}

/// Deletes the output of runs that ended more than `days` ago, and what they handed out. Returns the number of these runs.
/// The blobs of artifacts stay until [`artifacts`] finds that no run names them.
///
/// # Errors
/// If Postgres or the blob store does not answer.
pub async fn output(store: &Store, blobs: &Blobs, days: u32, deadline: &Deadline) -> anyhow::Result<u64> {
    let mut deleted = 0;
    while days > 0 && !deadline.has_passed() {
        let page = store.expired_output(days, store.output_mark().await?).await?;
        let Some(last) = page.last() else { break };
        for run in &page {
            for attempt in 1..=u32::try_from(run.attempt).unwrap_or(0) {
                blobs.delete(&blob_key(run.id, attempt)).await?;
            }
        }
        store.delete_artifacts(&page.iter().map(|run| run.id).collect::<Vec<_>>()).await?;
        store.mark_output(OutputMark { finished_at: last.finished_at, run_id: last.id }).await?;
        deleted += page.len() as u64;
    }
    Ok(deleted)
}

/// Deletes the blobs of artifacts that no run names: those of runs that expired, and those whose run never came to its end.
/// Returns the number of deleted blobs.
///
/// # Errors
/// If Postgres or the blob store does not answer.
pub async fn artifacts(store: &Store, blobs: &Blobs, deadline: &Deadline) -> anyhow::Result<u64> {
    let (mut deleted, mut last) = (0, None);
    while !deadline.has_passed() {
        let page = store.old_artifacts(last.as_ref()).await?;
        let Some(end) = page.last() else { break };
        for old in page.iter().filter(|old| !old.is_named) {
            let Some(unnamed) = store.lock_unnamed_artifact(&old.sha256).await? else { continue };
            blobs.delete(&blob_key_of_artifact(&old.sha256)).await?;
            unnamed.forget().await?;
            deleted += 1;
        }
        last = Some(end.clone());
    }
    Ok(deleted)
}

/// Inserts a row for each blob of an artifact that has none, so that it is found by [`artifacts`] when it has aged. Each call
/// searches the shards of the current hour. Returns the number of inserted rows.
///
/// # Errors
/// If Postgres or the blob store does not answer.
pub async fn adopt_untracked_artifacts(store: &Store, blobs: &Blobs, deadline: &Deadline) -> anyhow::Result<u64> {
    let mut found = 0;
    for shard in shards_of_this_hour(deadline) {
        let mut pages = blobs.artifacts_in(shard, PAGE_ARCHIVES);
        while !deadline.has_passed() {
            let Some(page) = pages.next().await else { break };
            found += store.adopt_artifacts(&page?).await?;
        }
    }
    if found > 0 {
        tracing::info!(
            artifacts = found,
            "found artifacts without a row; those of no run will be deleted by their age"
        );
    }
    Ok(found)
}

/// Deletes runs that ended more than `days` ago with their events and verdicts, and the submissions that have no
/// run left. If `output_days` is set, only runs whose output is deleted already. Returns the number of deleted runs.
///
/// # Errors
/// If Postgres does not answer.
pub async fn runs(store: &Store, days: u32, output_days: u32, deadline: &Deadline) -> anyhow::Result<u64> {
    let mut deleted = 0;
    while days > 0 && !deadline.has_passed() {
        let page = store.delete_old_runs(days, output_days > 0).await?;
        if page == 0 {
            break;
        }
        deleted += u64::try_from(page)?;
    }
    Ok(deleted)
}

/// Deletes idempotency keys that are older than [`KEEP_KEYS_DAYS`]. Returns the number of deleted keys.
///
/// # Errors
/// If Postgres does not answer.
pub async fn keys(store: &Store, deadline: &Deadline) -> anyhow::Result<u64> {
    let mut deleted = 0;
    while !deadline.has_passed() {
        let page = store.delete_old_keys(KEEP_KEYS_DAYS).await?;
        if page == 0 {
            break;
        }
        deleted += page;
    }
    Ok(deleted)
}
