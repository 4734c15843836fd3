//! Reading a run's output: from the blobs of ended attempts, and from Redis for the attempt in progress.

use std::collections::BTreeMap;

use assize_domain::output::{Entry, EntryId, blob_key, read_blob};
use assize_observe::event;
use assize_store::runs::RunRow;
use uuid::Uuid;

use super::state::ApiState;
use crate::intake::blob::BlobError;

/// The number of entries in one request to Redis.
pub(super) const BATCH: usize = 500;

/// Reads the whole output of a run so far, in order.
pub(super) async fn read_whole(api: &ApiState, run: &RunRow) -> Result<Vec<Entry>, BlobError> {
    let current = u32::try_from(run.attempt).unwrap_or(1);
    let mut entries = Vec::new();
    for attempt in 1..current {
        entries.extend(read_ended_attempt(api, run.id, attempt).await?);
    }
    if run.status.is_terminal() {
        entries.extend(read_ended_attempt(api, run.id, current).await?);
    } else {
        entries.extend(read_live(api, run.id, current).await);
    }
    Ok(entries)
}

/// Reads the output of an attempt that has ended: its blob, which is complete. An attempt whose worker was lost has no
/// blob; then this returns what Redis still has.
pub(super) async fn read_ended_attempt(api: &ApiState, run: Uuid, attempt: u32) -> Result<Vec<Entry>, BlobError> {
    match api.blobs.output(&blob_key(run, attempt)).await {
        Ok(blob) => {
            let entries = read_blob(&blob).filter(|entry| entry.id().attempt == attempt);
            let by_id: BTreeMap<EntryId, Entry> = entries.map(|entry| (entry.id(), entry)).collect();
            Ok(by_id.into_values().collect())
        }
        Err(BlobError::Missing(_)) => Ok(read_live(api, run, attempt).await),
        Err(error) => Err(error),
    }
}

/// Reads what Redis has of one attempt; nothing while Redis is unavailable.
async fn read_live(api: &ApiState, run: Uuid, attempt: u32) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let after = entries.last().map_or(EntryId { attempt, number: 0 }, Entry::id);
        match api.redis.read_output(run, after, BATCH).await {
            Ok(batch) => {
                let is_last = batch.len() < BATCH || batch.iter().any(|entry| entry.id().attempt > attempt);
                entries.extend(batch.into_iter().filter(|entry| entry.id().attempt == attempt));
                if is_last {
                    return entries;
                }
            }
            Err(error) => {
                event::dependency("redis", false, &error.to_string());
                return entries;
            }
        }
    }
}
