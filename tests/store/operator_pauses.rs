//! Pauses that an operator sets: nothing is claimed once they are written, whatever the workers know.

use assize_domain::queue::OperatorPauses;
use assize_domain::run::Status;
use assize_store::Store;
use assize_store::operator_pauses::PausedWorkers;
use assize_store::workers::{WorkerReport, WorkerRow};
use sqlx::PgPool;

use crate::locks;
use crate::rows::{self, NO_CAPS, WORKER, wanted};

fn report(id: &str) -> WorkerReport<'_> {
    WorkerReport { id, half_slots: 8, state: "claiming", detail: "", unenforced: &[] }
}

async fn claimed(store: &Store, worker: &str) -> usize {
    store.claim_runs(worker, wanted(100, 100, 1)).await.unwrap().len()
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_pause_holds_back_every_worker_and_a_drain_one(pool: PgPool) {
    let store = Store::on(pool.clone());
    let organization = rows::organization(&pool).await;
    rows::queue(&pool, organization, &[1; 10]).await;
    store.pause_claims(PausedWorkers::Every, "new disks").await.unwrap();
    assert_eq!((claimed(&store, WORKER).await, claimed(&store, "another").await), (0, 0));
    store.pause_claims(PausedWorkers::One(WORKER), "").await.unwrap();
    assert!(store.resume_claims(PausedWorkers::Every).await.unwrap());
    assert_eq!((claimed(&store, WORKER).await, claimed(&store, "another").await), (0, 1));
    assert!(store.resume_claims(PausedWorkers::One(WORKER)).await.unwrap());
    assert!(!store.resume_claims(PausedWorkers::One(WORKER)).await.unwrap(), "there is none any more");
    assert_eq!((claimed(&store, WORKER).await, claimed(&store, "another").await), (1, 1));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_pause_waits_for_claims_that_have_begun(pool: PgPool) {
    let store = Store::on(pool.clone());
    let organization = rows::organization(&pool).await;
    rows::queue(&pool, organization, &[1; 2]).await;
    let mut claim = pool.begin().await.unwrap();
    let begun = "SELECT count(*) FROM claim_runs('worker-1', 1, 100, 100, 100, 100, 100, 100, 1e9, 1)";
    assert_eq!(sqlx::query_scalar::<_, i64>(begun).fetch_one(&mut *claim).await.unwrap(), 1);
    let pausing = {
        let store = store.clone();
        tokio::spawn(async move { store.pause_claims(PausedWorkers::Every, "").await })
    };
    locks::someone_waits(&pool).await;
    claim.commit().await.unwrap();
    pausing.await.unwrap().unwrap();
    assert_eq!(claimed(&store, WORKER).await, 0);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_worker_learns_of_its_pauses_when_it_reports(pool: PgPool) {
    let store = Store::on(pool.clone());
    assert_eq!(store.report_worker(report(WORKER)).await.unwrap(), OperatorPauses::default());
    store.pause_claims(PausedWorkers::Every, "new disks").await.unwrap();
    store.pause_claims(PausedWorkers::One(WORKER), "first").await.unwrap();
    store.pause_claims(PausedWorkers::One(WORKER), "second").await.unwrap();
    let every_worker = Some("new disks".to_owned());
    let seen = store.report_worker(report(WORKER)).await.unwrap();
    assert_eq!(seen, OperatorPauses { every_worker: every_worker.clone(), this_worker: Some("second".to_owned()) });
    let seen = store.report_worker(report("another")).await.unwrap();
    assert_eq!(seen, OperatorPauses { every_worker, this_worker: None });
    let pause = store.operator_pause().await.unwrap().unwrap();
    assert_eq!(pause.reason, "new disks");
    assert!(pause.since <= store.now().await.unwrap());
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_worker_of_an_earlier_version_obeys_and_is_listed(pool: PgPool) {
    let store = Store::on(pool.clone());
    let organization = rows::organization(&pool).await;
    rows::queue(&pool, organization, &[1]).await;
    // The statements of version 0013.
    sqlx::query(
        "INSERT INTO workers (id, half_slots, state, detail, unenforced) VALUES ('old', 4, 'claiming', '', '{}')
         ON CONFLICT (id) DO UPDATE SET half_slots = excluded.half_slots, state = excluded.state,
             detail = excluded.detail, unenforced = excluded.unenforced, seen_at = clock_timestamp()",
    )
    .execute(&pool)
    .await
    .unwrap();
    store.pause_claims(PausedWorkers::One("old"), "").await.unwrap();
    let claim = "SELECT count(*) FROM claim_runs('old', 4, 4, 100, 100, 100, 100, 100, 60, 4)";
    assert_eq!(sqlx::query_scalar::<_, i64>(claim).fetch_one(&pool).await.unwrap(), 0);
    let workers = store.list_workers().await.unwrap();
    assert_eq!((workers[0].id.as_str(), workers[0].version.as_str()), ("old", ""));
    store.resume_claims(PausedWorkers::One("old")).await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>(claim).fetch_one(&pool).await.unwrap(), 1);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn workers_are_listed_with_what_is_active_on_them(pool: PgPool) {
    let store = Store::on(pool.clone());
    for id in [WORKER, "another", "killed", "forgotten"] {
        store.report_worker(report(id)).await.unwrap();
    }
    for (id, ago) in [("killed", "59 min"), ("forgotten", "61 min")] {
        let aged = format!("UPDATE workers SET seen_at = seen_at - interval '{ago}' WHERE id = '{id}'");
        sqlx::query(sqlx::AssertSqlSafe(aged)).execute(&pool).await.unwrap();
    }
    for status in [Status::Preparing, Status::Running, Status::Parsing, Status::Completed, Status::Queued] {
        rows::run_in(&pool, status).await;
    }
    store.pause_claims(PausedWorkers::One("another"), "new disks").await.unwrap();
    let listed = store.list_workers().await.unwrap();
    let seen: Vec<_> = listed
        .iter()
        .map(|row| (row.id.as_str(), row.runs, row.used_half_slots, row.drain_reason.as_deref()))
        .collect();
    assert_eq!(seen, [("another", 0, 0, Some("new disks")), ("killed", 0, 0, None), (WORKER, 3, 6, None)]);
    let WorkerRow { version, half_slots, state, seen_ago_s, .. } = &listed[2];
    assert_eq!((version.as_str(), *half_slots, state.as_str()), (env!("CARGO_PKG_VERSION"), 8, "claiming"));
    assert!((0.0..20.0).contains(seen_ago_s) && listed[1].seen_ago_s > 3_500.0, "{listed:?}");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn the_pause_of_a_worker_goes_with_the_worker(pool: PgPool) {
    let store = Store::on(pool.clone());
    for id in [WORKER, "killed"] {
        store.report_worker(report(id)).await.unwrap();
        store.pause_claims(PausedWorkers::One(id), "").await.unwrap();
    }
    store.pause_claims(PausedWorkers::One("stopped"), "").await.unwrap();
    store.pause_claims(PausedWorkers::Every, "").await.unwrap();
    sqlx::query("UPDATE workers SET seen_at = seen_at - interval '2 hours' WHERE id = 'killed'")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(store.forget_dead_workers().await.unwrap(), 1);
    let left: Vec<String> =
        sqlx::query_scalar("SELECT worker_id FROM operator_pauses ORDER BY 1").fetch_all(&pool).await.unwrap();
    assert_eq!(left, ["", WORKER], "a pause of all workers lasts until it is ended");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn whoever_waits_is_told_of_the_pause_at_once(pool: PgPool) {
    let store = Store::on(pool.clone());
    let run = rows::run_in(&pool, Status::Queued).await;
    store.report_worker(report(WORKER)).await.unwrap();
    let pause =
        async || store.explain_queued(run.organization, run.id, &NO_CAPS).await.unwrap().unwrap().operator_pause;
    assert_eq!(pause().await, None);
    store.pause_claims(PausedWorkers::One(WORKER), "a drain").await.unwrap();
    assert_eq!(pause().await, None);
    store.pause_claims(PausedWorkers::Every, "new disks").await.unwrap();
    assert_eq!(pause().await.as_deref(), Some("new disks"));
}
