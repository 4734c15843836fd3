//! Which job of the janitor runs when. apalis-cron says when it is time; a job does its work once and
//! returns.
//!
//! A job that fails, panics or hangs is logged and tried again at its next time, and stops no other. That
//! it does not succeed shows in its own metric, which is 0 until it has succeeded once (FAILURES 25).

use std::sync::Arc;
use std::time::{Duration, Instant};

use apalis::prelude::{Data, WorkerBuilder};
use apalis_cron::timezone::Utc;
use apalis_cron::{CronScheduler, Tick};
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::{janitor, leftovers, retention};
use crate::intake::blob::Blobs;
use assize_cell::Engine;
use assize_cell::counters::Cgroups;
use assize_cell::slice::Slice;
use assize_config::Config;
use assize_host::clock;
use assize_observe::metrics;
use assize_store::Store;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Before a schedule that ended by itself begins anew.
const RESTART: Duration = Duration::from_secs(1);

/// Between the first turns of two jobs, so that a worker that starts has connections left for its runs.
const GAP: Duration = Duration::from_millis(200);

/// An image that was made within this time may be part of a build that goes on.
const BEING_BUILT_S: i64 = 3_600;

/// What the jobs work with.
#[derive(Debug, Clone)]
pub struct Janitor {
    pub store: Store,
    pub engine: Engine,
    pub blobs: Blobs,
    pub cgroups: Cgroups,
    pub slice: Slice,
    pub config: Config,
}

/// What a job does: until about then, and says how much it removed.
type Work = Arc<dyn Fn(Instant) -> BoxFuture<'static, anyhow::Result<u64>> + Send + Sync>;

/// Something that is done once in a while.
#[derive(Clone)]
pub struct Job {
    /// What it removes; its name in metrics and logs.
    what: &'static str,
    /// At the start, and at every multiple of it since 1970, so that restarts do not shift it.
    every: Duration,
    /// So much after that, so that not all jobs begin at once.
    after: Duration,
    /// It begins nothing new after half of it, and is cut off after all of it. Less than `every`, so that
    /// it never runs twice at one time.
    patience: Duration,
    work: Work,
}

impl Job {
    /// A job that calls `work` that often.
    pub fn new<F>(
        what: &'static str,
        every: Duration,
        after: Duration,
        work: impl Fn(Instant) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = anyhow::Result<u64>> + Send + 'static,
    {
        let patience = (every * 3 / 4).min(10 * MINUTE);
        Self { what, every, after, patience, work: Arc::new(move |until| Box::pin(work(until))) }
    }
}

impl Janitor {
    /// All jobs.
    #[must_use]
    pub fn jobs(self) -> Vec<Job> {
        let janitor = Arc::new(self);
        let job = |what, every, after, work: fn(Arc<Self>, Instant) -> BoxFuture<'static, anyhow::Result<u64>>| {
            let janitor = Arc::clone(&janitor);
            Job::new(what, every, after, move |until| work(Arc::clone(&janitor), until))
        };
        vec![
            // FAILURES 8 wants none older than 60 s. A look is a list of the engine and a probe for each cell.
            job("containers", Duration::from_secs(30), Duration::ZERO, |on, _| {
                Box::pin(async move { janitor::sweep(&on.engine, &on.store).await })
            }),
            job("cgroups", 5 * MINUTE, MINUTE, |on, _| {
                Box::pin(async move {
                    let removed = leftovers::sweep(&on.engine, &on.cgroups).await;
                    // Whoever removed the parent or changed its totals: they hold again.
                    on.slice.set().await.map_err(anyhow::Error::msg)?;
                    removed
                })
            }),
            job("workers", HOUR, 5 * MINUTE, |on, _| {
                Box::pin(async move { Ok(on.store.forget_dead_workers().await?) })
            }),
            job("idempotency_keys", HOUR, 10 * MINUTE, |on, until| {
                Box::pin(async move { retention::keys(&on.store, until).await })
            }),
            job("output", HOUR, 20 * MINUTE, |on, until| {
                Box::pin(
                    async move { retention::output(&on.store, &on.blobs, on.config.keep_output_days, until).await },
                )
            }),
            job("runs", HOUR, 30 * MINUTE, |on, until| {
                let Config { keep_runs_days, keep_output_days, .. } = on.config;
                Box::pin(async move { retention::runs(&on.store, keep_runs_days, keep_output_days, until).await })
            }),
            job("archives", HOUR, 40 * MINUTE, |on, until| {
                Box::pin(async move {
                    let days = on.config.keep_archives_days;
                    if days > 0 {
                        retention::strays(&on.store, &on.blobs, until).await?;
                    }
                    retention::archives(&on.store, &on.blobs, days, until).await
                })
            }),
            job("images", DAY, 3 * HOUR, |on, _| Box::pin(async move { images(&on.engine).await })),
        ]
    }
}

/// Removes images that were replaced and that nothing uses.
async fn images(engine: &Engine) -> anyhow::Result<u64> {
    let mut removed = 0;
    for id in engine.dangling_images(clock::wall().timestamp() - BEING_BUILT_S).await? {
        removed += u64::from(engine.remove_image(&id).await?);
    }
    Ok(removed)
}

/// Runs the jobs until `stop`, which cuts off what is being done.
pub async fn run(jobs: Vec<Job>, stop: CancellationToken) {
    let schedules = TaskTracker::new();
    for (number, job) in (0..).zip(jobs) {
        metrics().job_waits(job.what);
        let stop = stop.clone();
        schedules.spawn(async move { stop.run_until_cancelled(keep(job, number * GAP)).await });
    }
    schedules.close();
    schedules.wait().await;
}

/// Does a job in a moment and then whenever it is time, for ever.
async fn keep(job: Job, moment: Duration) {
    tokio::time::sleep(moment).await;
    run_once(&job).await;
    loop {
        let schedule = WorkerBuilder::new(format!("janitor-{}", job.what))
            .backend(CronScheduler::new(Rhythm { every: job.every, after: job.after }))
            .data(job.clone())
            .build(tick)
            .run()
            .await;
        // As when the clock jumps past the time that it waits for.
        tracing::warn!(job = job.what, ended = ?schedule, "a schedule ended by itself and begins anew");
        tokio::time::sleep(RESTART).await;
    }
}

async fn tick(_: Tick, job: Data<Job>) -> Result<(), std::convert::Infallible> {
    run_once(&job).await;
    Ok(())
}

/// Does a job once. Whatever becomes of it ends here.
async fn run_once(job: &Job) {
    let until = clock::monotonic() + job.patience / 2;
    let work = AbortOnDropHandle::new(tokio::spawn((job.work)(until)));
    let ended = tokio::time::timeout(job.patience, work).await;
    let why = match ended {
        Ok(Ok(Ok(removed))) => {
            if removed > 0 {
                tracing::info!(job = job.what, removed, "removed what was no longer wanted");
            }
            return metrics().job_succeeded(job.what, removed);
        }
        Ok(Ok(Err(error))) => format!("{error:#}"),
        Ok(Err(panicked)) => panicked.to_string(),
        Err(_) => format!("it took longer than {} s", job.patience.as_secs()),
    };
    tracing::warn!(job = job.what, why, "a job of the janitor failed; it is tried again at its next time");
}

/// At every multiple of a duration since 1970, and so much later.
#[derive(Debug, Clone)]
struct Rhythm {
    every: Duration,
    after: Duration,
}

impl Rhythm {
    /// In seconds since 1970.
    fn next(&self, now: u64) -> u64 {
        let (every, after) = (self.every.as_secs().max(1), self.after.as_secs());
        (now.saturating_sub(after) / every + 1) * every + after
    }
}

impl apalis_cron::Schedule<Utc> for Rhythm {
    fn next_tick(&mut self, _: &Utc) -> Option<Tick> {
        Some(Tick::new(self.next(u64::try_from(clock::wall().timestamp()).unwrap_or(0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rhythm_does_not_depend_on_when_it_begins() {
        let rhythm = Rhythm { every: Duration::from_secs(300), after: Duration::from_secs(60) };
        for now in 1_000_000_000..1_000_001_000 {
            let next = rhythm.next(now);
            assert!(next > now && next <= now + 300 && next % 300 == 60, "{now} {next}");
        }
    }

    /// FAILURES 25.
    #[tokio::test]
    async fn a_job_that_fails_panics_or_hangs_is_tried_again_and_stops_no_other() {
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let job = |what, end: fn() -> BoxFuture<'static, anyhow::Result<u64>>| {
            let told = told.clone();
            Job::new(what, Duration::from_secs(1), Duration::ZERO, move |_| {
                told.send(what).unwrap();
                end()
            })
        };
        let jobs = vec![
            job("test_works", || Box::pin(async { Ok(2) })),
            job("test_fails", || Box::pin(async { anyhow::bail!("no") })),
            job("test_panics", || Box::pin(async { panic!("at the disco") })),
            job("test_hangs", || Box::pin(std::future::pending())),
        ];
        assert!(jobs.iter().all(|job| job.patience < job.every), "none runs twice at one time");
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(jobs, stop.clone()));
        let mut times = std::collections::BTreeMap::new();
        let enough = async {
            while times.len() < 4 || times.values().any(|times| *times < 3) {
                *times.entry(heard.recv().await.unwrap()).or_insert(0_u32) += 1;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), enough).await.unwrap();
        stop.cancel();
        running.await.unwrap();
        let text = metrics().text();
        for failing in ["test_fails", "test_panics", "test_hangs"] {
            let line = format!("assize_janitor_last_success_timestamp_seconds{{what=\"{failing}\"}} 0");
            assert!(text.lines().any(|seen| seen == line), "{text}");
        }
        assert!(!text.contains("seconds{what=\"test_works\"} 0"), "{text}");
        assert!(text.contains("assize_janitor_removed_total{what=\"test_works\"} "), "{text}");
    }
}
