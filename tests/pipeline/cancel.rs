//! FAILURES 27: a cancel ends a run in exactly one state, wherever it meets it.

use std::time::Duration;

use assize_host::clock::Stopwatch;
use sqlx::Connection;
use uuid::Uuid;

use crate::adoption::hold_verdicts;
use crate::harness::processes::RedisServer;
use crate::harness::zips;
use crate::site::{Setup, Site, failure, shared};
use crate::templates;

/// How long a cancelled run's cells may stay.
const GONE: Duration = Duration::from_secs(5);

/// Renewals of leases carry cancels when nothing else does: 5 s, and as much again for a busy host.
const HEARTBEAT: Duration = Duration::from_secs(10);

async fn cancelled(site: &Site, run: Uuid, within: Duration) {
    let begun = Stopwatch::start();
    assert_eq!(site.cancel(run).await, 202);
    let ended = site.ended(run).await;
    assert!(begun.elapsed() < within, "{:?}", begun.elapsed());
    assert_eq!(failure(&ended), ("aborted", "cancelled", "platform"), "{ended}");
    site.until("its cells are gone", async || site.cells(Some(run)).await.is_empty()).await;
    assert!(begun.elapsed() < within + GONE, "{:?}", begun.elapsed());
    let states = site.states(run).await;
    let ends = ["completed", "failed", "timed_out", "aborted"];
    assert_eq!(states.iter().filter(|state| ends.contains(&state.as_str())).count(), 1, "{states:?}");
    assert_eq!(states.last().unwrap(), "aborted");
    assert_eq!(site.events(run).await.last().unwrap().0, 1, "a cancel is no second attempt");
}

#[tokio::test]
async fn a_queued_run_is_cancelled_before_it_ever_starts() {
    // Two half-slots: a run of class C waits for ever.
    let site = Site::start(Setup { settings: vec![("worker_slots", "1".to_owned())], ..Setup::default() });
    let run = site.submit("browser", &[("run.sh", "exit 0")]).await;
    let other = site.run("script", &[("run.sh", "exit 0")]).await;
    assert_eq!(other["score"], 1.0, "a run that does not fit blocks no other: {other}");
    cancelled(&site, run, GONE).await;
    assert_eq!(site.states(run).await, ["queued", "aborted"]);
}

#[tokio::test]
async fn a_run_in_preparation_is_cancelled() {
    let site = shared();
    let run = site.submit_archive("slow", zips::stored("big", 12 << 20)).await;
    site.reached(run, "preparing").await;
    cancelled(&site, run, GONE).await;
    assert_eq!(site.states(run).await, ["queued", "preparing", "aborted"]);
}

#[tokio::test]
async fn a_running_run_is_cancelled_even_if_it_ignores_sigterm() {
    let site = shared();
    let run = site.submit("long", &[("run.sh", "trap '' TERM; echo on; while :; do sleep 1; done")]).await;
    site.reached(run, "running").await;
    cancelled(&site, run, GONE).await;
    assert_eq!(site.states(run).await, ["queued", "preparing", "running", "aborted"]);
    assert_eq!(site.cancel(run).await, 200, "what has ended stays as it ended");
    assert_eq!(site.states(run).await.len(), 4);
}

/// It may tidy up, and what it says last is kept.
#[tokio::test]
async fn a_cancelled_process_has_a_grace() {
    let site = shared();
    let script = "trap 'echo tidied up; exit 0' TERM; echo begins; while :; do sleep 0.1; done";
    let run = site.submit("long", &[("run.sh", script)]).await;
    site.until("it begins", async || site.text(run, "").await.contains("begins")).await;
    cancelled(&site, run, GONE).await;
    let text = site.text(run, "").await;
    assert!(text.contains("begins\n") && text.contains("tidied up\n"), "{text}");
}

#[tokio::test]
async fn a_run_is_cancelled_while_its_driver_tests() {
    let site = shared();
    let judge = templates::judged("print('judging', flush=True); time.sleep(2.5)");
    let run = site.submit("service", &[("app.py", templates::APP), ("judge.py", &judge)]).await;
    site.until("it is judged", async || site.text(run, "").await.contains("judging")).await;
    cancelled(&site, run, GONE).await;
}

/// Whoever comes first has the row; the other finds the run ended.
#[tokio::test]
async fn a_cancel_that_meets_the_verdict_leaves_it_as_it_is() {
    let site = Site::start(Setup { settings: vec![("worker_slots", "1".to_owned())], ..Setup::default() });
    let lock = hold_verdicts(&site).await;
    let run = site.submit("script", &[("run.sh", "exit 0")]).await;
    site.reached(run, "parsing").await;
    let waiting = async || {
        let query = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        sqlx::query_scalar::<_, i64>(query).fetch_one(&mut site.database().await).await.unwrap()
    };
    site.until("the verdict is being written", async || waiting().await >= 1).await;
    let release = async {
        site.until("the cancel waits for the row", async || waiting().await >= 2).await;
        lock.close().await.unwrap();
    };
    let (cancelled, ()) = tokio::join!(site.cancel(run), release);
    assert_eq!(cancelled, 200, "it had ended before");
    let ended = site.ended(run).await;
    assert_eq!((&ended["status"], &ended["score"]), (&"completed".into(), &1.0.into()), "{ended}");
    assert_eq!(site.states(run).await.last().unwrap(), "completed");
}

#[tokio::test]
async fn without_redis_a_cancel_arrives_with_the_next_heartbeat() {
    let mut redis = RedisServer::start();
    let settings = vec![("worker_slots", "1".to_owned())];
    let site = Site::start(Setup { redis_url: Some(redis.url()), settings, ..Setup::default() });
    let run = site.submit("long", &[("run.sh", "sleep 14")]).await;
    site.reached(run, "running").await;
    redis.kill();
    cancelled(&site, run, HEARTBEAT).await;
}
