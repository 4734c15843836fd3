//! Measures how fast work continues after a failure: four scripted cases, each with a limit.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use assize::embedded::ServerKind;
use assize_host::clock::{Clock, Stopwatch};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::history;
use crate::installation::Installation;
use crate::load::Load;

/// A measured time, and its limit.
#[derive(Debug, Clone)]
pub struct Figure {
    pub name: &'static str,
    /// The measured time; `None` if the runs never changed their state.
    pub seconds: Option<f64>,
    pub bar_s: f64,
}

impl Figure {
    pub fn met(&self) -> bool {
        self.seconds.is_some_and(|seconds| seconds <= self.bar_s)
    }
}

/// The longest wait until a run changes its state.
const MOVE_TIMEOUT: Duration = Duration::from_secs(75);

/// Measures all four cases.
pub async fn measure(installation: &mut Installation, load: &Load) -> Result<Vec<Figure>> {
    Ok(vec![
        worker_restarted(installation, load).await.context("worker restarted")?,
        worker_gone(installation, load).await.context("worker gone")?,
        redis_wiped(installation, load).await.context("Redis wiped")?,
        postgres_restarted(installation, load).await.context("Postgres restarted")?,
    ])
}

/// Kills the only worker and restarts it at once. Measures the time until each of its runs has changed its state.
async fn worker_restarted(installation: &mut Installation, load: &Load) -> Result<Figure> {
    only_one_worker(installation).await?;
    let runs = running(installation, load, 2).await?;
    installation.workers[0].kill(Duration::ZERO).await?;
    installation.workers[0].up().await?;
    let seconds = moved(installation, &runs, Clock::system().wall()).await?;
    ended(load, &runs).await?;
    installation.ready(&installation.workers[0]).await?;
    Ok(Figure { name: "worker_killed_and_restarted_runs_move_s", seconds, bar_s: 5.0 })
}

/// Kills one worker of two without a restart. Measures the time until each of its runs has changed its state.
async fn worker_gone(installation: &mut Installation, load: &Load) -> Result<Figure> {
    let runs = running(installation, load, 2).await?;
    let other = installation.worker(&[]).await?;
    let gone = installation.workers.remove(0);
    let active = history::active(&installation.pool).await?;
    ensure!(runs.iter().all(|(_, run)| active.iter().any(|(id, _)| id == run)), "the runs ended before the kill");
    gone.kill_for_good().await?;
    let since = Clock::system().wall();
    installation.retired.push(gone);
    installation.workers.push(other);
    let seconds = moved(installation, &runs, since).await?;
    ended(load, &runs).await?;
    Ok(Figure { name: "worker_gone_runs_move_by_another_s", seconds, bar_s: 35.0 })
}

/// Kills Redis, which loses its memory. Measures the time until a run that is submitted meanwhile is claimed, and one that
/// is submitted right after the restart.
async fn redis_wiped(installation: &mut Installation, load: &Load) -> Result<Figure> {
    installation.signal(ServerKind::Redis, rustix::process::Signal::KILL);
    let mut runs = vec![load.single("pass").await?];
    let since = Clock::system().wall();
    tokio::time::sleep(Duration::from_secs(1)).await;
    installation.embedded.start_again(ServerKind::Redis).await?;
    let first = moved(installation, &runs, since).await?;
    installation.flush_redis().await?;
    let again = vec![load.single("pass").await?];
    let since = Clock::system().wall();
    let second = moved(installation, &again, since).await?;
    runs.extend(again);
    ended(load, &runs).await?;
    let seconds = first.zip(second).map(|(first, second)| first.max(second));
    Ok(Figure { name: "redis_wiped_queued_work_moves_s", seconds, bar_s: 15.0 })
}

/// Kills Postgres. Measures the time from the moment that it answers again until the active runs have changed their
/// state.
async fn postgres_restarted(installation: &mut Installation, load: &Load) -> Result<Figure> {
    let runs = running(installation, load, 2).await?;
    installation.kill_and_start(ServerKind::Postgres, Duration::from_millis(500)).await?;
    let seconds = moved(installation, &runs, Clock::system().wall()).await?;
    ended(load, &runs).await?;
    Ok(Figure { name: "postgres_restarted_work_resumes_s", seconds, bar_s: 10.0 })
}

async fn only_one_worker(installation: &mut Installation) -> Result<()> {
    while installation.workers.len() > 1
        && let Some(worker) = installation.workers.pop()
    {
        worker.stop(installation.shape.drained()).await?;
        installation.retired.push(worker);
    }
    installation.ready(&installation.workers[0]).await
}

/// Starts runs of several seconds, and waits until each is in its first stage.
async fn running(installation: &Installation, load: &Load, count: usize) -> Result<Vec<(u64, Uuid)>> {
    let mut runs = Vec::new();
    for _ in 0..count {
        runs.push(load.single("long").await?);
    }
    let query = "SELECT count(*) FROM project_evaluation_runs WHERE status = 'running' AND phase = 'install'";
    let begun = Stopwatch::start();
    while usize::try_from(history::count(&installation.pool, query).await?).unwrap_or(0) < count {
        ensure!(begun.elapsed() < MOVE_TIMEOUT, "the runs do not start");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    Ok(runs)
}

/// Returns the seconds from `since` until the last of these runs had changed its state.
async fn moved(installation: &Installation, runs: &[(u64, Uuid)], since: DateTime<Utc>) -> Result<Option<f64>> {
    let ids: Vec<Uuid> = runs.iter().map(|(_, run)| *run).collect();
    let begun = Stopwatch::start();
    while begun.elapsed() < MOVE_TIMEOUT {
        let seen = history::moved(&installation.pool, &ids, since).await?;
        if seen.len() == ids.len() {
            let last = seen.iter().map(|(_, at)| *at).max().unwrap_or(since);
            return Ok(Some((last - since).as_seconds_f64()));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(None)
}

async fn ended(load: &Load, runs: &[(u64, Uuid)]) -> Result<()> {
    for (number, run) in runs {
        // The audit reports a run that does not end.
        load.end_of(*number, *run, MOVE_TIMEOUT).await.ok();
    }
    Ok(())
}
