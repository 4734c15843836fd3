//! Archives, output and rows that were kept for as long as they were to be.
//!
//! Everything goes in small pages, oldest first, until nothing is left or the time is used up; the rest is
//! for the next time. Each page can be done again: a blob goes before what remembers it.

use std::time::Instant;

use chrono::TimeDelta;
use futures_util::StreamExt;

use crate::intake::blob::{Blobs, SHARDS};
use assize_domain::output::blob_key;
use assize_host::clock;
use assize_store::Store;
use assize_store::retention::OutputMark;

/// Names of archives that one statement takes.
const PAGE: usize = 200;

/// Days after which an idempotency key may be used again, for something else. Clients repeat a request for
/// minutes, and the services that made these keys common promise 1 day.
pub const KEEP_KEYS_DAYS: u32 = 7;

/// A blob that was written within this time may be about to get its row: no upload may take so long.
const BEING_HANDED_IN: TimeDelta = TimeDelta::hours(1);

/// Shards that one look for unknown archives goes through: all 256 in a day, at 24 looks.
const SHARDS_AT_ONCE: i64 = 11;

/// Deletes archives whose last use is more than `days` ago. How many.
///
/// # Errors
/// If Postgres or the blob store does not answer.
pub async fn archives(store: &Store, blobs: &Blobs, days: u32, until: Instant) -> anyhow::Result<u64> {
    let (mut deleted, mut last) = (0, None);
    while days > 0 && clock::monotonic() < until {
        let Some(expired) = store.lock_expired_archive(days, last.take()).await? else { break };
        last = Some((expired.last_used_at, expired.sha256.clone()));
        if blobs.delete_archive(&expired.sha256, clock::wall() - BEING_HANDED_IN).await? {
            expired.forget().await?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

/// Takes note of archives whose submission was never written, a part of them each hour: from then on they
/// age like all others. How many; none of them is removed yet.
///
/// # Errors
/// If Postgres or the blob store does not answer.
pub async fn strays(store: &Store, blobs: &Blobs, until: Instant) -> anyhow::Result<u64> {
    let hour = clock::wall().timestamp() / 3_600;
    let mut found = 0;
    for number in 0..SHARDS_AT_ONCE {
        let shard = (hour * SHARDS_AT_ONCE + number).rem_euclid(SHARDS);
        let mut pages = blobs.archives_in(u8::try_from(shard)?, PAGE);
        while clock::monotonic() < until {
            let Some(page) = pages.next().await else { break };
            found += store.adopt_archives(&page?).await?;
        }
    }
    if found > 0 {
        tracing::info!(archives = found, "found archives without a submission; they will be deleted by their age");
    }
    Ok(found)
}

/// Deletes the output of runs that ended more than `days` ago. Of how many runs.
///
/// # Errors
/// If Postgres or the blob store does not answer.
pub async fn output(store: &Store, blobs: &Blobs, days: u32, until: Instant) -> anyhow::Result<u64> {
    let mut deleted = 0;
    while days > 0 && clock::monotonic() < until {
        let page = store.expired_output(days, store.output_mark().await?).await?;
        let Some(last) = page.last() else { break };
        for run in &page {
            for attempt in 1..=u32::try_from(run.attempt).unwrap_or(0) {
                blobs.delete(&blob_key(run.id, attempt)).await?;
            }
        }
        store.mark_output(OutputMark { finished_at: last.finished_at, run_id: last.id }).await?;
        deleted += page.len() as u64;
    }
    Ok(deleted)
}

/// Deletes runs that ended more than `days` ago, with their events and verdicts, and the submissions that
/// have no run left; but with `output_days` set, only those whose output has gone. How many runs.
///
/// # Errors
/// If Postgres does not answer.
pub async fn runs(store: &Store, days: u32, output_days: u32, until: Instant) -> anyhow::Result<u64> {
    let mut deleted = 0;
    while days > 0 && clock::monotonic() < until {
        let page = store.delete_old_runs(days, output_days > 0).await?;
        if page == 0 {
            break;
        }
        deleted += u64::try_from(page)?;
    }
    Ok(deleted)
}

/// Deletes idempotency keys that are older than [`KEEP_KEYS_DAYS`]. How many.
///
/// # Errors
/// If Postgres does not answer.
pub async fn keys(store: &Store, until: Instant) -> anyhow::Result<u64> {
    let mut deleted = 0;
    while clock::monotonic() < until {
        let page = store.delete_old_keys(KEEP_KEYS_DAYS).await?;
        if page == 0 {
            break;
        }
        deleted += page;
    }
    Ok(deleted)
}
