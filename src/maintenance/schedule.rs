//! The schedule of the janitor's jobs. apalis-cron reports when a job is due; the job does its work once and
//! returns.
//!
//! A job that fails, panics or hangs is logged and tried again when it is due next, and delays no other job. A
//! metric of its own shows the time of its last success, and is 0 before the first (FAILURES 25).

use std::sync::Arc;
use std::time::Duration;

use apalis::prelude::{Data, WorkerBuilder};
use apalis_cron::timezone::Utc;
use apalis_cron::{CronScheduler, Tick};
use assize_cell::Engine;
use assize_cell::counters::Cgroups;
use assize_cell::images::DanglingImage;
use assize_cell::slice::Slice;
use assize_cell::warden_store;
use assize_config::Config;
use assize_host::clock::{Clock, Deadline};
use assize_observe::metrics;
use assize_store::Store;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::{janitor, retention, stale_cgroups};
use crate::intake::blob::Blobs;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Delay before a schedule that ended by itself is restarted.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// Delay between the first turns of two jobs, so that a starting worker has connections left for its runs.
const START_GAP: Duration = Duration::from_millis(200);

/// An image that is younger than this, in seconds, may be part of a build that is still running.
const MAX_BUILD_TIME_S: i64 = 3_600;

/// The services that the janitor's jobs work with.
#[derive(Debug, Clone)]
pub struct Janitor {
    pub clock: Clock,
    pub store: Store,
    pub engine: Engine,
    pub blobs: Blobs,
    pub cgroups: Cgroups,
    pub slice: Slice,
    pub config: Config,
}

/// The work of a job. It gets a deadline for new steps and returns how many things it removed.
type Work = Arc<dyn Fn(Deadline) -> BoxFuture<'static, anyhow::Result<u64>> + Send + Sync>;

/// Work that is repeated at fixed times.
#[derive(Clone)]
pub struct Job {
    /// What the job removes; its name in metrics and logs.
    what: &'static str,
    /// The job runs at the start of the worker and at every multiple of this since 1970, so that restarts do not
    /// shift it.
    interval: Duration,
    /// The job runs this much after each multiple, so that not all jobs begin at once.
    offset: Duration,
    /// The job begins no new step after half of this time and is cut off after all of it. It is less than
    /// `interval`, so that a job never runs twice at one time.
    timeout: Duration,
    work: Work,
}

impl Job {
    /// A job that calls `work` at every multiple of `interval`, shifted by `offset`.
    pub fn new<F>(
        what: &'static str,
        interval: Duration,
        offset: Duration,
        work: impl Fn(Deadline) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = anyhow::Result<u64>> + Send + 'static,
    {
        let timeout = (interval * 3 / 4).min(10 * MINUTE);
        Self { what, interval, offset, timeout, work: Arc::new(move |deadline| Box::pin(work(deadline))) }
    }
}

impl Janitor {
    /// All jobs of the janitor.
    #[must_use]
    pub fn jobs(self) -> Vec<Job> {
        let janitor = Arc::new(self);
        let job = |what, interval, offset, work: fn(Arc<Self>, Deadline) -> BoxFuture<'static, anyhow::Result<u64>>| {
            let janitor = Arc::clone(&janitor);
            Job::new(what, interval, offset, move |deadline| work(Arc::clone(&janitor), deadline))
        };
        vec![
            // FAILURES 8 allows no container that is older than 60 s. A sweep asks the engine for one list.
            job("containers", Duration::from_secs(30), Duration::ZERO, |on, _| {
                Box::pin(async move { janitor::sweep(&on.engine, &on.store, &on.clock).await })
            }),
            job("cgroups", 5 * MINUTE, MINUTE, |on, _| {
                Box::pin(async move {
                    let removed = stale_cgroups::sweep(&on.engine, &on.cgroups).await;
                    // Somebody may have removed the parent cgroup or changed its totals.
                    on.slice.set().await.map_err(anyhow::Error::msg)?;
                    removed
                })
            }),
            job("workers", HOUR, 5 * MINUTE, |on, _| {
                Box::pin(async move { Ok(on.store.forget_dead_workers().await?) })
            }),
            job("idempotency_keys", HOUR, 10 * MINUTE, |on, deadline| {
                Box::pin(async move { retention::keys(&on.store, &deadline).await })
            }),
            job("output", HOUR, 20 * MINUTE, |on, deadline| {
                Box::pin(async move {
                    retention::output(&on.store, &on.blobs, on.config.output_retention_days, &deadline).await
                })
            }),
            job("artifacts", HOUR, 35 * MINUTE, |on, deadline| {
                Box::pin(async move {
                    retention::adopt_untracked_artifacts(&on.store, &on.blobs, &deadline).await?;
                    retention::artifacts(&on.store, &on.blobs, &deadline).await
                })
            }),
            job("runs", HOUR, 30 * MINUTE, |on, deadline| {
                let Config { run_retention_days, output_retention_days, .. } = on.config;
                Box::pin(async move {
                    retention::runs(&on.store, run_retention_days, output_retention_days, &deadline).await
                })
            }),
            job("archives", HOUR, 40 * MINUTE, |on, deadline| {
                Box::pin(async move {
                    let days = on.config.archive_retention_days;
                    if days > 0 {
                        retention::adopt_untracked_archives(&on.store, &on.blobs, &deadline).await?;
                    }
                    retention::archives(&on.store, &on.blobs, days, &deadline).await
                })
            }),
            job("wardens", DAY, 4 * HOUR, |on, _| {
                Box::pin(async move {
                    if on.config.warden_store_dir.as_os_str().is_empty() {
                        return Ok(0);
                    }
                    let own = on.engine.warden.clone();
                    Ok(tokio::task::spawn_blocking(move || warden_store::sweep(&own)).await??)
                })
            }),
            job("images", DAY, 3 * HOUR, |on, _| {
                Box::pin(async move { remove_dangling_images(&on.engine, &on.clock).await })
            }),
        ]
    }
}

/// Finds images that were replaced. Removing one fails while a container uses it.
///
/// # Errors
/// If the engine does not answer.
pub async fn find_dangling_images(engine: &Engine, clock: &Clock) -> anyhow::Result<Vec<DanglingImage>> {
    Ok(engine.dangling_images(clock.wall().timestamp() - MAX_BUILD_TIME_S).await?)
}

/// Removes images that were replaced and that no container uses.
async fn remove_dangling_images(engine: &Engine, clock: &Clock) -> anyhow::Result<u64> {
    let mut removed = 0;
    for image in find_dangling_images(engine, clock).await? {
        removed += u64::from(engine.remove_image(&image.id).await?);
    }
    Ok(removed)
}

/// Runs the jobs until `stop`, which cuts off a job that is running.
pub async fn run(clock: Clock, jobs: Vec<Job>, stop: CancellationToken) {
    let schedules = TaskTracker::new();
    for (number, job) in (0..).zip(jobs) {
        metrics().job_waits(job.what);
        let (clock, stop) = (clock.clone(), stop.clone());
        schedules.spawn(async move { stop.run_until_cancelled(repeat(clock, job, number * START_GAP)).await });
    }
    schedules.close();
    schedules.wait().await;
}

/// Runs a job after `delay`, and then whenever it is due.
async fn repeat(clock: Clock, job: Job, delay: Duration) {
    tokio::time::sleep(delay).await;
    run_once(&clock, &job).await;
    loop {
        let schedule = WorkerBuilder::new(format!("janitor-{}", job.what))
            .backend(CronScheduler::new(FixedInterval {
                clock: clock.clone(),
                interval: job.interval,
                offset: job.offset,
            }))
            .data((clock.clone(), job.clone()))
            .build(tick)
            .run()
            .await;
        // This happens when the clock jumps past the time that the schedule waits for.
        tracing::warn!(job = job.what, ended = ?schedule, "a schedule ended by itself and is restarted");
        tokio::time::sleep(RESTART_DELAY).await;
    }
}

async fn tick(_: Tick, job: Data<(Clock, Job)>) -> Result<(), std::convert::Infallible> {
    let (clock, job) = &*job;
    run_once(clock, job).await;
    Ok(())
}

/// Runs every job once, one after the other. Returns the name of each with the number of removed objects, or why it failed.
pub async fn run_each_once(clock: &Clock, jobs: &[Job]) -> Vec<(&'static str, Result<u64, String>)> {
    let mut results = Vec::new();
    for job in jobs {
        results.push((job.what, attempt(clock, job).await));
    }
    results
}

/// Runs a job once and reports its result; no failure reaches the caller.
async fn run_once(clock: &Clock, job: &Job) {
    match attempt(clock, job).await {
        Ok(removed) => {
            if removed > 0 {
                tracing::info!(job = job.what, removed, "a job of the janitor removed what is no longer needed");
            }
            metrics().job_succeeded(job.what, removed);
        }
        Err(why) => {
            tracing::warn!(job = job.what, why, "a job of the janitor failed; it is tried again when it is due next");
        }
    }
}

/// Runs a job within its time limit. Returns the number of removed objects, or why it failed.
async fn attempt(clock: &Clock, job: &Job) -> Result<u64, String> {
    let deadline = Deadline::after(clock, job.timeout / 2);
    let work = AbortOnDropHandle::new(tokio::spawn((job.work)(deadline)));
    match tokio::time::timeout(job.timeout, work).await {
        Ok(Ok(Ok(removed))) => Ok(removed),
        Ok(Ok(Err(error))) => Err(format!("{error:#}")),
        Ok(Err(panicked)) => Err(panicked.to_string()),
        Err(_) => Err(format!("it took longer than {} s", job.timeout.as_secs())),
    }
}

/// A schedule with a tick at every multiple of `interval` since 1970, shifted by `offset`.
#[derive(Debug, Clone)]
struct FixedInterval {
    clock: Clock,
    interval: Duration,
    offset: Duration,
}

impl FixedInterval {
    /// The next tick after `now`; both in seconds since 1970.
    fn next(&self, now: u64) -> u64 {
        let (interval, offset) = (self.interval.as_secs().max(1), self.offset.as_secs());
        (now.saturating_sub(offset) / interval + 1) * interval + offset
    }
}

impl apalis_cron::Schedule<Utc> for FixedInterval {
    fn next_tick(&mut self, _: &Utc) -> Option<Tick> {
        Some(Tick::new(self.next(u64::try_from(self.clock.wall().timestamp()).unwrap_or(0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::runtime_clock;

    #[tokio::test(start_paused = true)]
    async fn a_job_that_hangs_begins_nothing_after_half_of_its_time_and_is_cut_off_after_all_of_it() {
        let clock = runtime_clock();
        let (begun, (sender, mut passed)) = (clock.monotonic(), tokio::sync::mpsc::unbounded_channel());
        let seen = clock.clone();
        let job = Job::new("test_paused", DAY, Duration::ZERO, move |deadline| {
            let (seen, sender) = (seen.clone(), sender.clone());
            async move {
                while !deadline.has_passed() {
                    tokio::time::sleep(MINUTE).await;
                }
                sender.send(seen.since(begun)).unwrap();
                std::future::pending().await
            }
        });
        run_once(&clock, &job).await;
        assert_eq!((passed.try_recv().ok(), clock.since(begun)), (Some(5 * MINUTE), 10 * MINUTE));
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_tick_follows_the_clock() {
        let clock = runtime_clock();
        let mut schedule = FixedInterval { clock, interval: HOUR, offset: 5 * MINUTE };
        let next =
            |schedule: &mut FixedInterval| format!("{:?}", apalis_cron::Schedule::next_tick(schedule, &Utc).unwrap());
        let first = next(&mut schedule);
        tokio::time::advance(4 * MINUTE).await;
        assert_eq!(next(&mut schedule), first);
        tokio::time::advance(MINUTE).await;
        assert_ne!(next(&mut schedule), first, "five minutes past the hour");
    }

    #[test]
    fn a_fixed_interval_does_not_depend_on_when_it_begins() {
        let schedule = FixedInterval {
            clock: Clock::system(),
            interval: Duration::from_secs(300),
            offset: Duration::from_secs(60),
        };
        for now in 1_000_000_000..1_000_001_000 {
            let next = schedule.next(now);
            assert!(next > now && next <= now + 300 && next % 300 == 60, "{now} {next}");
        }
    }

    /// FAILURES 25.
    #[tokio::test]
    async fn a_job_that_fails_panics_or_hangs_is_tried_again_and_stops_no_other() {
        let (turns, mut turned) = tokio::sync::mpsc::unbounded_channel();
        let job = |what, end: fn() -> BoxFuture<'static, anyhow::Result<u64>>| {
            let turns = turns.clone();
            Job::new(what, Duration::from_secs(1), Duration::ZERO, move |_| {
                turns.send(what).unwrap();
                end()
            })
        };
        let jobs = vec![
            job("test_works", || Box::pin(async { Ok(2) })),
            job("test_fails", || Box::pin(async { anyhow::bail!("no") })),
            job("test_panics", || Box::pin(async { panic!("at the disco") })),
            job("test_hangs", || Box::pin(std::future::pending())),
        ];
        assert!(jobs.iter().all(|job| job.timeout < job.interval), "none runs twice at one time");
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(Clock::system(), jobs, stop.clone()));
        let mut times = std::collections::BTreeMap::new();
        let enough = async {
            while times.len() < 4 || times.values().any(|times| *times < 3) {
                *times.entry(turned.recv().await.unwrap()).or_insert(0_u32) += 1;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), enough).await.unwrap();
        stop.cancel();
        running.await.unwrap();
        let text = metrics().text();
        for failing in ["test_fails", "test_panics", "test_hangs"] {
            let line = format!("assize_janitor_last_success_timestamp_seconds{{task=\"{failing}\"}} 0");
            assert!(text.lines().any(|seen| seen == line), "{text}");
        }
        assert!(!text.contains("seconds{what=\"test_works\"} 0"), "{text}");
        assert!(text.contains("assize_janitor_removed_total{task=\"test_works\"} "), "{text}");
    }
}
