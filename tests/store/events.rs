//! Every move leaves one event, and nothing else does.

use std::time::Duration;

use assize_domain::egress::{ConnectionOutcome, ConnectionRecord, EgressRecord};
use assize_domain::run::{Failure, FailureCode, StageName, Status};
use assize_domain::verdict::{Integrity, from_exit_code};
use assize_store::Store;
use sqlx::PgPool;
use uuid::Uuid;

use crate::rows::{self, WORKER, run_in};

const ONE: assize_store::queue::Wanted = rows::wanted(4, 4, 1);

/// From, to, phase, attempt and code of each event, in order.
type Events = Vec<(Option<Status>, Status, Option<StageName>, i32, Option<FailureCode>)>;

async fn read_events(store: &Store, run: Uuid) -> Events {
    let events = store.events_of_run(run, 0).await.unwrap();
    assert!(events.windows(2).all(|pair| pair[0].id < pair[1].id && pair[0].at <= pair[1].at));
    events
        .into_iter()
        .map(|event| (event.from_status, event.to_status, event.phase, event.attempt, event.failure_code))
        .collect()
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn the_events_tell_the_whole_story_of_a_run(pool: PgPool) {
    use Status::{Completed, Parsing, Preparing, Queued, Running};
    let store = Store::on(pool.clone());
    let run = run_in(&pool, Queued).await;

    let first = store.claim_runs(WORKER, ONE).await.unwrap().remove(0).lease();
    store.start_run(first, StageName::Install).await.unwrap();
    let lost = Failure::new(FailureCode::CellLost, "the cell is gone");
    store.requeue_run(first, Running, &lost, Duration::ZERO).await.unwrap();
    let second = store.claim_runs(WORKER, ONE).await.unwrap().remove(0).lease();
    store.start_run(second, StageName::Install).await.unwrap();
    store.enter_phase(second, StageName::Tests).await.unwrap();
    store.enter_phase(second, StageName::Tests).await.unwrap();
    store.renew_leases(WORKER, &[run.id]).await.unwrap();
    store.parse_run(second).await.unwrap();
    store
        .complete_run(
            second,
            &from_exit_code(0, Integrity::Isolated),
            None,
            &assize_domain::artifact::RunArtifacts::default(),
        )
        .await
        .unwrap();

    let (install, tests) = (Some(StageName::Install), Some(StageName::Tests));
    let expected: Events = vec![
        (None, Queued, None, 1, None),
        (Some(Queued), Preparing, None, 1, None),
        (Some(Preparing), Running, install, 1, None),
        (Some(Running), Queued, None, 1, Some(FailureCode::CellLost)),
        (Some(Queued), Preparing, None, 2, None),
        (Some(Preparing), Running, install, 2, None),
        (Some(Running), Running, tests, 2, None),
        (Some(Running), Parsing, tests, 2, None),
        (Some(Parsing), Completed, tests, 2, None),
    ];
    assert_eq!(read_events(&store, run.id).await, expected);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_reader_goes_on_after_the_last_event_it_saw(pool: PgPool) {
    let store = Store::on(pool.clone());
    let run = run_in(&pool, Status::Queued).await;
    let other = run_in(&pool, Status::Queued).await;
    store.cancel_run(run.organization, run.id).await.unwrap();
    store.cancel_run(other.organization, other.id).await.unwrap();

    let all = store.events_of_run(run.id, 0).await.unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(store.events_of_run(run.id, all[0].id).await.unwrap(), all[1..]);
    assert!(store.events_of_run(run.id, all[1].id).await.unwrap().is_empty());
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_move_that_is_rolled_back_leaves_no_event(pool: PgPool) {
    let store = Store::on(pool.clone());
    let run = run_in(&pool, Status::Running).await;
    let before = rows::snapshot(&pool, run.id).await;

    let count = "SELECT count(*) FROM run_events WHERE run_id = $1";
    let mut transaction = pool.begin().await.unwrap();
    sqlx::query("UPDATE project_evaluation_runs SET status = 'parsing' WHERE id = $1")
        .bind(run.id)
        .execute(&mut *transaction)
        .await
        .unwrap();
    let inside: i64 = sqlx::query_scalar(count).bind(run.id).fetch_one(&mut *transaction).await.unwrap();
    assert_eq!(inside, 2, "the event is there as soon as the move is");
    assert_eq!(store.events_of_run(run.id, 0).await.unwrap().len(), 1, "nobody else sees it before the move");
    transaction.rollback().await.unwrap();

    assert_eq!(rows::snapshot(&pool, run.id).await, before);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn heartbeats_and_requests_to_cancel_leave_no_event(pool: PgPool) {
    let store = Store::on(pool.clone());
    let run = run_in(&pool, Status::Running).await;
    for _ in 0..3 {
        assert_eq!(store.renew_leases(WORKER, &[run.id]).await.unwrap().len(), 1);
        store.cancel_run(run.organization, run.id).await.unwrap();
    }
    assert_eq!(store.events_of_run(run.id, 0).await.unwrap().len(), 1);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn heartbeats_write_to_no_index(pool: PgPool) {
    // With room left on its page, the row's new version is a heap-only tuple.
    let run = run_in(&pool, Status::Running).await;
    let mut transaction = pool.begin().await.unwrap();
    let heartbeats: i64 = 5;
    for _ in 0..heartbeats {
        sqlx::query(include_str!("../../crates/store/sql/queries/renew_leases.sql"))
            .bind(WORKER)
            .bind([run.id])
            .execute(&mut *transaction)
            .await
            .unwrap();
    }
    let (updated, heap_only): (i64, i64) = sqlx::query_as(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'project_evaluation_runs'",
    )
    .fetch_one(&mut *transaction)
    .await
    .unwrap();
    assert_eq!((updated, heap_only), (heartbeats, heartbeats));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn what_a_stage_connected_to_is_an_event_and_no_move(pool: PgPool) {
    let store = Store::on(pool.clone());
    let run = run_in(&pool, Status::Running).await;
    let lease = rows::lease(&pool, run.id).await;
    let before = store.events_of_run(run.id, 0).await.unwrap();
    let connection = ConnectionRecord {
        id: 3,
        host: "packages.example".to_owned(),
        port: 443,
        address: Some(([1, 1, 1, 1], 443).into()),
        up: 10,
        down: 20,
        ms: 5,
        outcome: ConnectionOutcome::Closed,
        reason: None,
    };
    let recorded = EgressRecord { egress: vec![connection], unlisted: 7 };
    store.record_egress(lease, &recorded).await.unwrap();
    assert_eq!(store.events_of_run(run.id, 0).await.unwrap(), before, "readers of moves do not see it");

    let late = assize_domain::run::Lease { epoch: lease.epoch - 1, ..lease };
    store.record_egress(late, &recorded).await.unwrap_err();
    let query = "SELECT from_status, to_status, evidence FROM run_events WHERE run_id = $1 AND evidence IS NOT NULL";
    let written: Vec<(String, String, serde_json::Value)> =
        sqlx::query_as(query).bind(run.id).fetch_all(&pool).await.unwrap();
    let [(from, to, evidence)] = written.as_slice() else { panic!("a late writer wrote: {written:?}") };
    assert_eq!((from.as_str(), to.as_str()), ("running", "running"));
    let wanted = serde_json::json!({
        "egress": [{
            "id": 3, "host": "packages.example", "port": 443, "address": "1.1.1.1:443", "up": 10, "down": 20, "ms": 5,
            "outcome": "closed"
        }],
        "unlisted": 7
    });
    assert_eq!(*evidence, wanted);
}
