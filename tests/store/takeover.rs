//! Leases are renewed, or taken over; never both, and never twice.

use std::time::Duration;

use assize_domain::artifact::RunArtifacts;
use assize_domain::run::{Failure, FailureCode, Lease, StageName, Status};
use assize_store::runs::Cancelled;
use assize_store::takeover::{ActiveLease, TakeoverReason};
use assize_store::{Store, StoreError};
use sqlx::PgPool;

use crate::rows::{self, WORKER, age_lease, columns, run_in, run_with, with};

const STALE: Duration = Duration::from_secs(30);
const ACTIVE: [Status; 3] = [Status::Preparing, Status::Running, Status::Parsing];
const NEXT: &str = "worker-2";

/// The only lease there is.
async fn only_lease(store: &Store) -> ActiveLease {
    let mut leases = store.active_leases(STALE).await.unwrap();
    assert_eq!(leases.len(), 1, "{leases:?}");
    leases.remove(0)
}

/// The watchdog's two steps in one.
async fn take_stale(store: &Store) -> Vec<Lease> {
    let mut taken = Vec::new();
    for lost in store.active_leases(STALE).await.unwrap().iter().filter(|lease| lease.is_stale) {
        taken.extend(store.adopt_run(lost, TakeoverReason::Stale(STALE), true, NEXT).await.unwrap());
    }
    taken.iter().map(assize_store::queue::Claim::lease).collect()
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_stale_lease_is_taken_over_where_the_run_is(pool: PgPool) {
    let store = Store::on(pool.clone());
    for status in ACTIVE {
        let run = run_in(&pool, status).await;
        let before = rows::snapshot(&pool, run.id).await;
        age_lease(&pool, run.id, 31).await;
        assert_eq!(store.stale_runs(STALE.as_secs_f64()).await.unwrap(), 1);
        let lost = only_lease(&store).await;
        assert!(lost.is_stale && !lost.is_released && lost.status == status);

        let claim = store.adopt_run(&lost, TakeoverReason::Stale(STALE), true, NEXT).await.unwrap().unwrap();
        assert_eq!((claim.id, claim.attempt, claim.lease_epoch, claim.crashes), (run.id, 1, 2, 1));
        assert_eq!(claim.project_submission_id, run.submission);
        let row = rows::snapshot(&pool, run.id).await;
        for same in ["status", "attempt", "phase", "events", "started_at"] {
            assert_eq!(row[same], before[same], "{status}: {same}");
        }
        assert_eq!(row["worker_id"], NEXT);
        assert_eq!(store.stale_runs(STALE.as_secs_f64()).await.unwrap(), 0);
        let ended = Failure::new(FailureCode::CellLost, "gone");
        store.fail_run(claim.lease(), status, &ended, None, &RunArtifacts::default()).await.unwrap();
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn the_old_holder_is_shut_out_by_the_epoch(pool: PgPool) {
    // FAILURES 3.
    let store = Store::on(pool.clone());
    let run = run_in(&pool, Status::Parsing).await;
    let old = rows::lease(&pool, run.id).await;
    age_lease(&pool, run.id, 31).await;
    let taken = take_stale(&store).await;
    assert_eq!(taken.len(), 1);
    assert!(store.renew_leases(WORKER, &[run.id]).await.unwrap().is_empty(), "it hears of it with its heartbeat");
    let verdict = assize_domain::verdict::from_exit_code(0, assize_domain::verdict::Integrity::Isolated);
    let late = store.complete_run(old, &verdict, None, &RunArtifacts::default()).await;
    assert!(matches!(late, Err(StoreError::LeaseLost { .. })), "{late:?}");
    store.complete_run(taken[0], &verdict, None, &RunArtifacts::default()).await.unwrap();
    assert_eq!(rows::snapshot(&pool, run.id).await["status"], "completed");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn whoever_let_go_has_not_crashed(pool: PgPool) {
    let store = Store::on(pool.clone());
    let run = run_in(&pool, Status::Running).await;
    assert_eq!(store.release_leases("worker-3").await.unwrap(), 0, "only its own");
    assert_eq!(store.release_leases(WORKER).await.unwrap(), 1);
    let lost = only_lease(&store).await;
    assert!(lost.is_released && lost.is_stale);
    let claim = store.adopt_run(&lost, TakeoverReason::Gone, false, NEXT).await.unwrap().unwrap();
    assert_eq!((claim.id, claim.crashes), (run.id, 0));
    assert!(!only_lease(&store).await.is_released);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn what_was_let_go_no_late_renewal_takes_back(pool: PgPool) {
    let store = Store::on(pool.clone());
    let run = run_in(&pool, Status::Running).await;
    store.release_leases(WORKER).await.unwrap();
    assert!(store.renew_leases(WORKER, &[run.id]).await.unwrap().is_empty());
    let late = store.confirm_lease(rows::lease(&pool, run.id).await).await;
    assert!(matches!(late, Err(StoreError::LeaseLost { .. })), "{late:?}");
    assert!(only_lease(&store).await.is_released);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn the_worker_that_would_end_a_run_that_kills_workers_may_die_too(pool: PgPool) {
    // FAILURES 7.
    let store = Store::on(pool.clone());
    run_in(&pool, Status::Preparing).await;
    for (times, crashes) in [(1, 1), (2, 2), (3, 3), (4, 3), (5, 3)] {
        let lost = only_lease(&store).await;
        let claim = store.adopt_run(&lost, TakeoverReason::Gone, true, NEXT).await.unwrap().unwrap();
        assert_eq!(claim.crashes, crashes, "after {times}");
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn only_stale_leases_are_stale(pool: PgPool) {
    let store = Store::on(pool.clone());
    let mut before = Vec::new();
    for status in Status::ALL {
        let run = run_in(&pool, *status).await;
        if status.is_active() {
            age_lease(&pool, run.id, 25).await;
        }
        before.push(rows::snapshot(&pool, run.id).await);
    }
    // A worker whose clock is an hour ahead has no say: the row has the database's time (FAILURES 4).
    assert!(take_stale(&store).await.is_empty());
    for lost in store.active_leases(STALE).await.unwrap() {
        assert!(store.adopt_run(&lost, TakeoverReason::Stale(STALE), true, NEXT).await.unwrap().is_none());
    }
    for row in before {
        let id = row["id"].as_str().unwrap().parse().unwrap();
        assert_eq!(rows::snapshot(&pool, id).await, row);
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn only_the_holder_renews_and_only_what_it_still_knows(pool: PgPool) {
    let store = Store::on(pool.clone());
    let (known, forgotten) = (run_in(&pool, Status::Running).await, run_in(&pool, Status::Running).await);
    for run in [known, forgotten] {
        age_lease(&pool, run.id, 31).await;
    }
    assert!(store.renew_leases(NEXT, &[known.id, forgotten.id]).await.unwrap().is_empty());
    let renewed = store.renew_leases(WORKER, &[known.id]).await.unwrap();
    assert_eq!(renewed.len(), 1);
    assert_eq!((renewed[0].id, renewed[0].attempt, renewed[0].lease_epoch), (known.id, 1, 1));
    assert!(!renewed[0].cancel_requested);

    let taken = take_stale(&store).await;
    assert_eq!(taken.iter().map(|lease| lease.run_id).collect::<Vec<_>>(), [forgotten.id]);
    assert!(store.renew_leases(WORKER, &[forgotten.id]).await.unwrap().is_empty(), "what was taken is not renewed");

    store.cancel_run(known.organization, known.id).await.unwrap();
    assert!(store.renew_leases(WORKER, &[known.id]).await.unwrap()[0].cancel_requested);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn what_happens_between_the_watchdogs_look_and_its_grasp_counts(pool: PgPool) {
    // FAILURES 2.
    let store = Store::on(pool.clone());
    for between in ["renewed", "in another stage", "moved on", "completed", "taken by another", "requeued"] {
        let run = run_in(&pool, Status::Running).await;
        age_lease(&pool, run.id, 31).await;
        let lost = only_lease(&store).await;
        let lease = lost.lease();
        match between {
            "renewed" => drop(store.renew_leases(WORKER, &[run.id]).await.unwrap()),
            "in another stage" => store.enter_phase(lease, StageName::Build).await.unwrap(),
            "moved on" => store.parse_run(lease).await.unwrap(),
            "completed" => {
                store.parse_run(lease).await.unwrap();
                let verdict = assize_domain::verdict::from_exit_code(0, assize_domain::verdict::Integrity::Isolated);
                store.complete_run(lease, &verdict, None, &RunArtifacts::default()).await.unwrap();
            }
            "taken by another" => {
                store.adopt_run(&lost, TakeoverReason::Stale(STALE), true, "worker-3").await.unwrap().unwrap();
            }
            _ => {
                let lost = Failure::new(FailureCode::CellLost, "gone");
                store.requeue_run(lease, Status::Running, &lost, Duration::ZERO).await.unwrap();
            }
        }
        let before = rows::snapshot(&pool, run.id).await;
        // A dead holder needs no stale lease; one that only looks dead does.
        let grounds = if between == "renewed" { TakeoverReason::Stale(STALE) } else { TakeoverReason::Gone };
        assert!(store.adopt_run(&lost, grounds, true, NEXT).await.unwrap().is_none(), "{between}");
        assert_eq!(rows::snapshot(&pool, run.id).await, before, "{between}");
        sqlx::query("DELETE FROM run_events").execute(&pool).await.unwrap();
        sqlx::query("DELETE FROM project_evaluation_runs").execute(&pool).await.unwrap();
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_lease_is_renewed_or_taken_and_only_once(pool: PgPool) {
    let store = Store::on(pool.clone());
    for _ in 0..25 {
        let run = run_in(&pool, Status::Running).await;
        age_lease(&pool, run.id, 31).await;
        let ids = [run.id];
        let (renewed, taken, again) =
            tokio::join!(store.renew_leases(WORKER, &ids), take_stale(&store), take_stale(&store));
        let renewed = renewed.unwrap().len();
        assert_eq!(renewed + taken.len() + again.len(), 1, "renewed {renewed}, taken {taken:?} and {again:?}");
        let worker = if renewed == 1 { WORKER } else { NEXT };
        assert_eq!(rows::snapshot(&pool, run.id).await["worker_id"], worker);
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_failed_attempt_of_a_run_that_was_to_stop_is_not_followed_by_another(pool: PgPool) {
    // FAILURES 27.
    let store = Store::on(pool.clone());
    for status in ACTIVE {
        let run = run_in(&pool, status).await;
        assert_eq!(store.cancel_run(run.organization, run.id).await.unwrap(), Cancelled::Requested);
        let lease = rows::lease(&pool, run.id).await;
        let lost = Failure::new(FailureCode::CellLost, "the cell is gone");
        let went = store.requeue_run(lease, status, &lost, Duration::from_secs(5)).await.unwrap();
        assert_eq!(went, Status::Aborted);
        let row = rows::snapshot(&pool, run.id).await;
        assert_eq!((&row["failure_code"], &row["cause"]), (&"cancelled".into(), &"platform".into()));
        assert_eq!(row["attempt"], 1);
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_retry_waits_and_may_be_cancelled_meanwhile(pool: PgPool) {
    let store = Store::on(pool.clone());
    let run = run_in(&pool, Status::Running).await;
    let lost = Failure::new(FailureCode::CellLost, "the cell is gone");
    let lease = rows::lease(&pool, run.id).await;
    assert_eq!(
        store.requeue_run(lease, Status::Running, &lost, Duration::from_secs(60)).await.unwrap(),
        Status::Queued
    );
    assert_eq!(waits(&pool, run.id).await, Some(60));
    store.cancel_run(run.organization, run.id).await.unwrap();
    assert_eq!(rows::snapshot(&pool, run.id).await["status"], "aborted");
    assert_eq!(waits(&pool, run.id).await, None);
}

/// Seconds until the run may be claimed.
async fn waits(pool: &PgPool, run: uuid::Uuid) -> Option<i64> {
    let query = "SELECT round(extract(epoch FROM not_before - clock_timestamp()))::bigint
        FROM project_evaluation_runs WHERE id = $1";
    sqlx::query_scalar(query).bind(run).fetch_one(pool).await.unwrap()
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_writer_in_doubt_can_look_where_the_run_is(pool: PgPool) {
    // FAILURES 6.
    let store = Store::on(pool.clone());
    let held = with(with(columns(Status::Running), "attempt", "2"), "lease_epoch", "5");
    let run = run_with(&pool, held).await;
    let lease = rows::lease(&pool, run.id).await;
    store.parse_run(lease).await.unwrap();
    let at = store.run_position(run.id).await.unwrap().unwrap();
    assert!(at.is(lease, Status::Parsing) && !at.is(lease, Status::Running));
    assert!(!at.is(Lease { epoch: 6, ..lease }, Status::Parsing));
    assert_eq!(store.run_position(uuid::Uuid::now_v7()).await.unwrap(), None);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_lease_is_confirmed_to_its_holder_alone(pool: PgPool) {
    // FAILURES 3: asked between the creation of a cell and its start.
    let store = Store::on(pool.clone());
    for status in ACTIVE {
        let run = run_in(&pool, status).await;
        let lease = rows::lease(&pool, run.id).await;
        age_lease(&pool, run.id, 31).await;
        store.confirm_lease(lease).await.unwrap();
        assert!(!only_lease(&store).await.is_stale, "it is as good as renewed");
        age_lease(&pool, run.id, 31).await;
        let taken = take_stale(&store).await[0];
        let late = store.confirm_lease(lease).await;
        assert!(matches!(late, Err(StoreError::LeaseLost { .. })), "{late:?}");
        store.confirm_lease(taken).await.unwrap();
        store
            .fail_run(taken, status, &Failure::new(FailureCode::CellLost, "gone"), None, &RunArtifacts::default())
            .await
            .unwrap();
        assert!(store.confirm_lease(taken).await.is_err(), "it has ended");
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn workers_say_that_they_live_until_they_stop(pool: PgPool) {
    use assize_store::workers::WorkerReport;
    let store = Store::on(pool.clone());
    let says = |state| WorkerReport { id: WORKER, half_slots: 4, state, detail: "", unenforced: &[] };
    store.report_worker(says("claiming")).await.unwrap();
    store.report_worker(says("draining")).await.unwrap();
    let seen: Vec<(String, String)> = sqlx::query_as("SELECT id, state FROM workers").fetch_all(&pool).await.unwrap();
    assert_eq!(seen, [(WORKER.to_owned(), "draining".to_owned())]);
    assert_eq!(store.forget_dead_workers().await.unwrap(), 0);
    let unenforced = ["pids".to_owned(), "memory".to_owned()];
    for id in [WORKER, "another"] {
        store.report_worker(WorkerReport { id, unenforced: &unenforced, ..says("claiming") }).await.unwrap();
    }
    assert_eq!(store.unenforced_limits().await.unwrap(), ["memory", "pids"]);
    store.forget_worker("another").await.unwrap();
    sqlx::query("UPDATE workers SET seen_at = seen_at - interval '31 s'").execute(&pool).await.unwrap();
    assert!(store.unenforced_limits().await.unwrap().is_empty(), "a worker that died says nothing any more");
    sqlx::query("UPDATE workers SET seen_at = seen_at - interval '2 hours'").execute(&pool).await.unwrap();
    assert_eq!(store.forget_dead_workers().await.unwrap(), 1);
    store.report_worker(says("claiming")).await.unwrap();
    store.forget_worker(WORKER).await.unwrap();
    assert_eq!(store.forget_dead_workers().await.unwrap(), 0);
}
