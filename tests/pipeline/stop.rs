//! A worker that stops, in good order or not: no run is lost, scored twice or leaked.

use std::time::Duration;

use futures_util::future::join_all;
use uuid::Uuid;

use crate::site::{Setup, Site, containers, failure};

fn site(slots: u32) -> Site {
    Site::start(Setup { settings: vec![("worker_slots", slots.to_string())], ..Setup::default() })
}

async fn submitted(site: &Site, count: usize, script: &str) -> Vec<Uuid> {
    let mut runs = Vec::new();
    for _ in 0..count {
        runs.push(site.submit("long", &[("run.sh", script)]).await);
    }
    runs
}

async fn statuses(site: &Site, runs: &[Uuid]) -> Vec<String> {
    let seen = join_all(runs.iter().map(|run| site.read(*run))).await;
    seen.iter().map(|run| run["status"].as_str().unwrap().to_owned()).collect()
}

/// The watchdog takes a lease that was not renewed for 30 s; nobody waits for that here.
async fn let_leases_go_stale(site: &Site) {
    let query = "UPDATE project_evaluation_runs SET heartbeat_at = heartbeat_at - interval '1 hour'
        WHERE status IN ('preparing', 'running', 'parsing')";
    sqlx::query(query).execute(&mut site.database().await).await.unwrap();
}

/// FAILURES 10.
#[tokio::test]
async fn on_sigterm_what_runs_ends_nothing_new_begins_and_nothing_stays() {
    let mut site = site(1);
    let runs = submitted(&site, 5, "sleep 1.5; exit 0").await;
    for run in &runs[..2] {
        site.reached(*run, "running").await;
    }
    let mut worker = site.take_worker();
    worker.terminate();
    let code = tokio::task::spawn_blocking(move || worker.exit(Duration::from_secs(10)).code()).await.unwrap();
    assert_eq!(code, Some(0));
    assert_eq!(statuses(&site, &runs).await, ["completed", "completed", "queued", "queued", "queued"]);
    let left = containers(&site.instance).await;
    assert!(left.is_empty(), "berths too are gone: {left:?}");
    for run in &runs[..2] {
        assert_eq!(site.read(*run).await["attempt"], 1);
    }
}

#[tokio::test]
async fn after_drain_timeout_the_worker_leaves_and_its_successor_takes_over() {
    let settings = vec![("worker_slots", "1".to_owned()), ("drain_timeout_s", "1".to_owned())];
    let mut site = Site::start(Setup { settings, ..Setup::default() });
    let run = submitted(&site, 1, "sleep 4; exit 0").await[0];
    site.reached(run, "running").await;
    let mut worker = site.take_worker();
    worker.terminate();
    let code = tokio::task::spawn_blocking(move || worker.exit(Duration::from_secs(10)).code()).await.unwrap();
    assert_eq!(code, Some(0));
    let_leases_go_stale(&site).await;
    site.start_worker();
    let ended = site.ended(run).await;
    assert_eq!((ended["attempt"].as_i64(), ended["score"].as_f64()), (Some(2), Some(1.0)), "{ended}");
    site.until("no cell is left", async || site.cells(None).await.is_empty()).await;
}

/// FAILURES 8.
#[tokio::test]
async fn after_kill_9_every_run_ends_once_and_no_container_is_left() {
    let mut site = site(1);
    let runs = submitted(&site, 2, "sleep 2; exit 0").await;
    for run in &runs {
        site.reached(*run, "running").await;
    }
    let orphans = site.cells(None).await;
    assert_eq!(orphans.len(), 2);
    site.take_worker().kill();
    // The leases hold: the successor leaves the runs alone, and their cells and berths to who adopts them.
    site.start_worker();
    let left = site.cells(None).await;
    assert!(orphans.iter().all(|id| left.contains(id)), "{left:?}");
    assert_eq!(containers(&site.instance).await.len(), 6, "theirs, and the successor's berths");
    assert_eq!(statuses(&site, &runs).await, ["running", "running"]);
    // Its watchdog looks every 5 s.
    let_leases_go_stale(&site).await;
    for run in &runs {
        let ended = site.ended(*run).await;
        assert_eq!((ended["attempt"].as_i64(), ended["score"].as_f64()), (Some(2), Some(1.0)), "{ended}");
        let expected = ["queued", "preparing", "running", "queued", "preparing", "running", "parsing", "completed"];
        assert_eq!(site.states(*run).await, expected, "one verdict");
        let lost = site.events(*run).await.into_iter().find_map(|(attempt, _, code)| Some((attempt, code?)));
        assert_eq!(lost, Some((1, "worker_lost".to_owned())));
    }
    site.until("no cell is left", async || site.cells(None).await.is_empty()).await;
}

/// FAILURES 7.
#[tokio::test]
async fn a_run_whose_worker_dies_each_time_fails_after_three_attempts() {
    let mut site = site(1);
    let run = submitted(&site, 1, "sleep 10").await[0];
    for attempt in 1..=3 {
        site.until("it runs", async || {
            let seen = site.read(run).await;
            seen["status"] == "running" && seen["attempt"] == attempt
        })
        .await;
        site.take_worker().kill();
        let_leases_go_stale(&site).await;
        site.start_worker();
    }
    let ended = site.ended(run).await;
    assert_eq!(failure(&ended), ("failed", "worker_lost", "infrastructure"), "{ended}");
    assert_eq!(ended["attempt"], 3);
}
