//! Slots bound what runs at one time; berths are replaced and nobody notices.

use std::collections::HashSet;

use futures_util::future::join_all;

use crate::site::{Setup, Site, containers};

const TIMES: &str = "date +%s.%N; sleep 0.3; date +%s.%N";

async fn berths(site: &Site) -> HashSet<String> {
    containers(&site.instance).await.into_iter().filter_map(|container| container.id).collect()
}

#[tokio::test]
async fn two_half_slots_never_hold_three_runs_and_worn_berths_are_replaced() {
    let settings = vec![("worker_slots", "1".to_owned())];
    let worker_arguments = vec!["--max-runs-per-berth", "2"];
    let site = Site::start(Setup { settings, worker_arguments, ..Setup::default() });
    let first = berths(&site).await;
    assert_eq!(first.len(), 2, "a berth for each half-slot");
    let mut submitted = Vec::new();
    for _ in 0..6 {
        submitted.push(site.submit("long", &[("run.sh", TIMES)]).await);
    }
    let mut moments = Vec::new();
    for run in join_all(submitted.into_iter().map(|run| site.ended(run))).await {
        assert_eq!((run["score"].as_f64(), run["attempt"].as_i64()), (Some(1.0), Some(1)), "{run}");
        let text = site.text(crate::harness::id_of(&run), "").await;
        let times: Vec<f64> = text.lines().map(|line| line.parse().unwrap()).collect();
        moments.extend([(times[0], 1), (times[1], -1)]);
    }
    moments.sort_by(|one, other| one.0.total_cmp(&other.0));
    let most = moments
        .iter()
        .scan(0, |running, (_, change)| {
            *running += change;
            Some(*running)
        })
        .max();
    assert_eq!(most, Some(2), "two at once, and never more: {moments:?}");
    // Three runs or so each: every first berth has gone.
    site.until("worn berths are replaced", async || {
        let now = berths(&site).await;
        now.len() == 2 && now.is_disjoint(&first)
    })
    .await;
}
