//! A worker that stops in good order.

use std::time::Duration;

use futures_util::future::join_all;
use uuid::Uuid;

use crate::site::{Setup, Site, containers};

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
