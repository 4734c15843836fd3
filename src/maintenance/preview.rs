//! A preview of the janitor: what each of its jobs would remove now, without removing it.
//!
//! Each function follows the rules of the job that it is named after, and counts up to [`MAX_OBJECTS`] or until its
//! deadline has passed.

use assize_cell::warden_store;
use assize_domain::artifact::blob_key as blob_key_of_artifact;
use assize_domain::output::blob_key;
use assize_host::clock::Deadline;
use assize_store::Store;
use assize_store::retention::OutputMark;

use super::schedule::Janitor;
use super::{janitor, retention, schedule, stale_cgroups};
use crate::intake::blob::Blobs;

/// The objects that are counted for one job.
pub const MAX_OBJECTS: u64 = 10_000;

/// What a job would remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removable {
    pub objects: u64,
    /// Bytes that become free, where the objects are blobs or images.
    pub bytes: Option<u64>,
    /// Whether there may be more: the count reached [`MAX_OBJECTS`], or the time was over.
    pub is_cut: bool,
}

impl Removable {
    fn counted(objects: usize) -> Self {
        Self { objects: objects as u64, ..Self::default() }
    }

    /// A count of rows that ends at the limit by itself.
    fn rows(counted: i64) -> Self {
        let objects = u64::try_from(counted).unwrap_or(0);
        Self { objects, bytes: None, is_cut: objects >= MAX_OBJECTS }
    }

    fn blobs() -> Self {
        Self { bytes: Some(0), ..Self::default() }
    }

    fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes = self.bytes.map(|sum| sum.saturating_add(bytes));
    }

    /// Whether to stop counting; the result then says so.
    fn is_full(&mut self, deadline: &Deadline) -> bool {
        self.is_cut = self.objects >= MAX_OBJECTS || deadline.has_passed();
        self.is_cut
    }
}

/// Returns the name of each job of the janitor with what it would remove, or why that is unknown.
pub async fn preview(on: &Janitor, deadline: &Deadline) -> Vec<(&'static str, anyhow::Result<Removable>)> {
    let config = &on.config;
    let (output_days, archive_days) = (config.output_retention_days, config.archive_retention_days);
    let rows = expired_rows(&on.store, config.run_retention_days, output_days).await;
    let (workers, keys, runs) = match rows {
        Ok((workers, keys, runs)) => (Ok(workers), Ok(keys), Ok(runs)),
        Err(error) => {
            let fault = || Err(anyhow::anyhow!("{error:#}"));
            (fault(), fault(), fault())
        }
    };
    vec![
        ("containers", containers(on).await),
        ("cgroups", stale_cgroups::find(&on.engine, &on.cgroups).await.map(|found| Removable::counted(found.len()))),
        ("workers", workers),
        ("idempotency_keys", keys),
        ("output", output(&on.store, &on.blobs, output_days, deadline).await),
        ("artifacts", artifacts(&on.store, &on.blobs, deadline).await),
        ("runs", runs),
        ("archives", archives(&on.store, &on.blobs, archive_days, deadline).await),
        ("wardens", wardens(on).await),
        ("images", images(on).await),
    ]
}

async fn containers(on: &Janitor) -> anyhow::Result<Removable> {
    let orphans = janitor::find_orphans(&on.engine, &on.store, &on.clock).await?;
    Ok(Removable::counted(orphans.len()))
}

async fn wardens(on: &Janitor) -> anyhow::Result<Removable> {
    let mut found = Removable::blobs();
    if on.config.warden_store_dir.as_os_str().is_empty() {
        return Ok(found);
    }
    let own = on.engine.warden.clone();
    for copy in tokio::task::spawn_blocking(move || warden_store::find_unused(&own)).await?? {
        found.add(copy.bytes);
    }
    Ok(found)
}

async fn images(on: &Janitor) -> anyhow::Result<Removable> {
    let mut found = Removable::blobs();
    for image in schedule::find_dangling_images(&on.engine, &on.clock).await? {
        found.add(image.bytes);
    }
    Ok(found)
}

/// Counts the rows of workers, idempotency keys and runs that have expired.
///
/// # Errors
/// If Postgres does not answer.
pub async fn expired_rows(
    store: &Store,
    run_days: u32,
    output_days: u32,
) -> anyhow::Result<(Removable, Removable, Removable)> {
    // A run stays until its output has expired, so the longer of both times counts.
    let run_days = if run_days == 0 { 0 } else { run_days.max(output_days) };
    let limit = i64::try_from(MAX_OBJECTS)?;
    let expired = store.count_expired(retention::KEEP_KEYS_DAYS, run_days, limit).await?;
    Ok((Removable::rows(expired.workers), Removable::rows(expired.idempotency_keys), Removable::rows(expired.runs)))
}

/// Counts the runs whose output has expired, and its bytes.
///
/// # Errors
/// If Postgres or the blob store does not answer.
pub async fn output(store: &Store, blobs: &Blobs, days: u32, deadline: &Deadline) -> anyhow::Result<Removable> {
    let mut found = Removable::blobs();
    if days == 0 {
        return Ok(found);
    }
    let mut mark = store.output_mark().await?;
    loop {
        let page = store.expired_output(days, mark).await?;
        let Some(last) = page.last() else { return Ok(found) };
        mark = OutputMark { finished_at: last.finished_at, run_id: last.id };
        for run in &page {
            if found.is_full(deadline) {
                return Ok(found);
            }
            let mut bytes = 0;
            for attempt in 1..=u32::try_from(run.attempt).unwrap_or(0) {
                bytes += blobs.info(&blob_key(run.id, attempt)).await?.map_or(0, |blob| blob.bytes);
            }
            found.add(bytes);
        }
    }
}

/// Counts the blobs of artifacts that no run names, and their bytes. Those of runs whose output has expired are still named;
/// they count once their output is deleted.
///
/// # Errors
/// If Postgres or the blob store does not answer.
pub async fn artifacts(store: &Store, blobs: &Blobs, deadline: &Deadline) -> anyhow::Result<Removable> {
    let (mut found, mut last) = (Removable::blobs(), None);
    loop {
        let page = store.old_artifacts(last.as_ref()).await?;
        let Some(end) = page.last() else { return Ok(found) };
        for old in page.iter().filter(|old| !old.is_named) {
            if found.is_full(deadline) {
                return Ok(found);
            }
            let blob = blobs.info(&blob_key_of_artifact(&old.sha256)).await?;
            found.add(blob.map_or(0, |blob| blob.bytes));
        }
        if found.is_full(deadline) {
            return Ok(found);
        }
        last = Some(end.clone());
    }
}

/// Counts the archives whose last use is more than `days` ago, and their bytes.
///
/// # Errors
/// If Postgres or the blob store does not answer.
pub async fn archives(store: &Store, blobs: &Blobs, days: u32, deadline: &Deadline) -> anyhow::Result<Removable> {
    let (mut found, mut last) = (Removable::blobs(), None);
    if days == 0 {
        return Ok(found);
    }
    let youngest = deadline.clock().wall() - retention::MAX_SUBMISSION_TIME;
    loop {
        let page = store.expired_archives(days, last.as_ref()).await?;
        let Some(end) = page.last() else { return Ok(found) };
        for archive in &page {
            if found.is_full(deadline) {
                return Ok(found);
            }
            match blobs.archive_info(&archive.sha256).await? {
                Some(blob) if blob.written_at >= youngest => {}
                blob => found.add(blob.map_or(0, |blob| blob.bytes)),
            }
        }
        last = Some(end.clone());
    }
}
