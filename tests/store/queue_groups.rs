//! The queue in groups: every run is in one group of each kind, and waits for what the API says that it waits for.

use std::collections::BTreeMap;

use assize_domain::queue::{AdmissionCaps, WaitingFor};
use assize_domain::run::{FailureCode, Status};
use assize_store::Store;
use assize_store::queue::{QueueGroup, Wanted, WantedGroups};
use assize_store::workers::WorkerReport;
use sqlx::PgPool;
use uuid::Uuid;

use crate::rows::{self, WORKER, Waiter, columns, run_with, with};

const CAPS: AdmissionCaps =
    AdmissionCaps { total_half_slots: 40, browser: 40, api: 1, per_org: 3, per_user: 1, heavy_reserve_after_s: 1e9 };

fn groups_of<'a>(groups: &'a [QueueGroup], kind: &str) -> Vec<(&'a str, i64)> {
    groups.iter().filter(|group| group.kind == kind).map(|group| (group.name.as_str(), group.runs)).collect()
}

fn wanted_groups(reason: &str) -> WantedGroups<'_> {
    WantedGroups { caps: CAPS, reason, max_runs: 1000, max_groups: 10 }
}

/// Runs of four organisations, of which as many are active as the caps allow.
async fn fill(pool: &PgPool, store: &Store) -> Vec<(Uuid, Uuid)> {
    let worker = WorkerReport { id: WORKER, half_slots: 40, state: "claiming", detail: "", unenforced: &[] };
    store.report_worker(worker).await.unwrap();
    let mut waiters = Vec::new();
    let mut add = |organization, user, half_slots: &[i32]| {
        waiters.extend(half_slots.iter().map(|half_slots| Waiter { organization, user, half_slots: *half_slots }));
    };
    add(rows::organization(pool).await, "ada", &[2; 4]);
    for _ in 0..2 {
        let organization = rows::organization(pool).await;
        for user in ["ada", "bob", "eve", "joe"] {
            add(organization, user, &[2, 2]);
        }
    }
    let organization = rows::organization(pool).await;
    for user in ["ada", "bob", "eve"] {
        add(organization, user, &[1]);
    }
    let ids = rows::enqueue(pool, &waiters).await;
    let wanted = Wanted { worker_half_slots: 40, worker_capacity: 40, caps: CAPS, most: 16 };
    assert!(store.claim_runs(WORKER, wanted).await.unwrap().len() >= 5);
    let later = "UPDATE project_evaluation_runs SET not_before = clock_timestamp() + interval '1 h' WHERE id IN (
        SELECT id FROM project_evaluation_runs WHERE status = 'queued' ORDER BY id LIMIT 2)";
    sqlx::query(later).execute(pool).await.unwrap();
    ids.into_iter().zip(waiters.iter().map(|waiter| waiter.organization)).collect()
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn the_reasons_are_those_of_the_single_runs(pool: PgPool) {
    let store = Store::on(pool.clone());
    let mut singly: BTreeMap<String, i64> = BTreeMap::new();
    for (run, organization) in fill(&pool, &store).await {
        if let Some(facts) = store.explain_queued(organization, run, &CAPS).await.unwrap() {
            *singly.entry(facts.explain(run, &CAPS).waiting_for.to_string()).or_default() += 1;
        }
    }
    let groups = store.queue_groups(wanted_groups("slots")).await.unwrap();
    let reasons: BTreeMap<String, i64> =
        groups_of(&groups, "reason").into_iter().map(|(name, runs)| (name.to_owned(), runs)).collect();
    assert_eq!(reasons, singly);
    for name in ["user_cap", "org_cap", "api_cap", "retry_backoff"] {
        assert!(reasons.contains_key(name), "the test has no {name}: {reasons:?}");
    }
    let all = singly.values().sum::<i64>();
    assert_eq!(groups_of(&groups, "all"), [("", all)]);
    for kind in ["template", "organization"] {
        let of_kind = groups_of(&groups, kind);
        assert_eq!(of_kind.iter().map(|(_, runs)| runs).sum::<i64>(), all, "{kind}: {of_kind:?}");
        assert!(of_kind.windows(2).all(|pair| pair[0].1 >= pair[1].1), "the largest first: {of_kind:?}");
    }
    assert_eq!(groups_of(&groups, "organization").len(), 4);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn what_keeps_all_workers_from_claiming_comes_before_caps(pool: PgPool) {
    let store = Store::on(pool.clone());
    fill(&pool, &store).await;
    let groups = store.queue_groups(wanted_groups(WaitingFor::NoWorker.as_str())).await.unwrap();
    let reasons = groups_of(&groups, "reason");
    assert_eq!(reasons.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["no_worker", "retry_backoff"]);
    assert_eq!(reasons[1].1, 2);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_empty_queue_is_one_empty_group_and_a_long_one_is_cut(pool: PgPool) {
    let store = Store::on(pool.clone());
    let groups = store.queue_groups(wanted_groups("slots")).await.unwrap();
    assert_eq!(groups.iter().map(|group| (group.kind.as_str(), group.runs)).collect::<Vec<_>>(), [("all", 0)]);
    assert_eq!(groups[0].oldest_wait_s, None);
    for _ in 0..3 {
        let organization = rows::organization(&pool).await;
        rows::queue(&pool, organization, &[2; 5]).await;
    }
    let cut = WantedGroups { max_runs: 12, max_groups: 2, ..wanted_groups("slots") };
    let groups = store.queue_groups(cut).await.unwrap();
    assert_eq!((groups_of(&groups, "all")[0].1, groups_of(&groups, "organization").len()), (12, 2));
    let oldest = groups[0].oldest_wait_s.unwrap();
    assert!((86_000.0..86_500.0).contains(&oldest), "they were submitted a day ago: {oldest}");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn ends_of_the_last_minutes_are_counted_by_code(pool: PgPool) {
    let store = Store::on(pool.clone());
    rows::run_in(&pool, Status::Completed).await;
    for minutes in [1, 14, 16] {
        let at = format!("clock_timestamp() - interval '{minutes} min'");
        run_with(&pool, with(columns(Status::Failed), "finished_at", &at)).await;
    }
    rows::run_in(&pool, Status::Running).await;
    let ends = store.recent_ends(900.0).await.unwrap();
    let seen: Vec<_> = ends.iter().map(|end| (end.status, end.failure_code, end.runs)).collect();
    let failed = (Status::Failed, Some(FailureCode::BuildFailed), 2);
    assert_eq!(seen, [failed, (Status::Completed, None, 1)]);
}
