//! A late writer changes nothing: every write names run, attempt, epoch and state.

use std::time::Duration;

use assize_domain::artifact::RunArtifacts;
use assize_domain::run::{Failure, FailureCode, Lease, StageName, Status};
use assize_domain::verdict::{Integrity, from_exit_code};
use assize_store::{Store, StoreError};
use futures_util::future::join_all;
use sqlx::PgPool;
use uuid::Uuid;

use crate::locks;
use crate::rows::{self, WORKER, columns, run_in, run_with, with};

const ROOM: assize_store::queue::Wanted = rows::wanted(4, 4, 1);

/// Every fenced write, and the states in which a run takes it.
#[derive(Debug, Clone, Copy)]
enum Write {
    EnterFetch,
    Start,
    EnterPhase,
    Parse,
    Complete,
    Fail(Status),
    Requeue(Status),
}

const ACTIVE: [Status; 3] = [Status::Preparing, Status::Running, Status::Parsing];

fn writes() -> Vec<Write> {
    let mut all = vec![Write::EnterFetch, Write::Start, Write::EnterPhase, Write::Parse, Write::Complete];
    all.extend(ACTIVE.map(Write::Fail));
    all.extend(ACTIVE.map(Write::Requeue));
    all
}

impl Write {
    const fn taken_in(self) -> Status {
        match self {
            Self::EnterFetch | Self::Start => Status::Preparing,
            Self::EnterPhase | Self::Parse => Status::Running,
            Self::Complete => Status::Parsing,
            Self::Fail(from) | Self::Requeue(from) => from,
        }
    }

    async fn make(self, store: &Store, lease: Lease) -> Result<(), StoreError> {
        let failure = Failure::new(FailureCode::CellLost, "the cell is gone");
        match self {
            Self::EnterFetch => store.enter_fetch(lease).await,
            Self::Start => store.start_run(lease, StageName::Install).await,
            Self::EnterPhase => store.enter_phase(lease, StageName::Tests).await,
            Self::Parse => store.parse_run(lease).await,
            Self::Complete => {
                store.complete_run(lease, &from_exit_code(0, Integrity::Isolated), None, &RunArtifacts::default()).await
            }
            Self::Fail(from) => store.fail_run(lease, from, &failure, None, &RunArtifacts::default()).await,
            Self::Requeue(from) => store.requeue_run(lease, from, &failure, Duration::ZERO).await.map(drop),
        }
    }
}

fn is_lost(result: &Result<(), StoreError>) -> bool {
    matches!(result, Err(StoreError::LeaseLost { .. }))
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_late_writer_changes_nothing(pool: PgPool) {
    // FAILURES 3.
    let store = Store::on(pool.clone());
    for write in writes() {
        let held = with(with(columns(write.taken_in()), "attempt", "2"), "lease_epoch", "5");
        let run = run_with(&pool, held).await;
        let lease = rows::lease(&pool, run.id).await;
        let before = rows::snapshot(&pool, run.id).await;
        let late = [
            Lease { epoch: lease.epoch - 1, ..lease },
            Lease { epoch: lease.epoch + 1, ..lease },
            Lease { attempt: lease.attempt - 1, ..lease },
            Lease { attempt: lease.attempt + 1, ..lease },
            Lease { run_id: Uuid::now_v7(), ..lease },
        ];
        for lease in late {
            let written = write.make(&store, lease).await;
            assert!(is_lost(&written), "{write:?} with {lease:?}: {written:?}");
        }
        assert_eq!(rows::snapshot(&pool, run.id).await, before, "{write:?}");
        write.make(&store, lease).await.unwrap();
        assert_ne!(rows::snapshot(&pool, run.id).await, before, "{write:?}");
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_write_from_another_state_changes_nothing(pool: PgPool) {
    let store = Store::on(pool.clone());
    for write in writes() {
        for status in Status::ALL.iter().filter(|status| **status != write.taken_in()) {
            let run = run_with(&pool, with(columns(*status), "lease_epoch", "1")).await;
            let before = rows::snapshot(&pool, run.id).await;
            let written = write.make(&store, rows::lease(&pool, run.id).await).await;
            assert!(is_lost(&written), "{write:?} in {status}: {written:?}");
            assert_eq!(rows::snapshot(&pool, run.id).await, before, "{write:?} in {status}");
        }
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_run_is_completed_once(pool: PgPool) {
    let store = Store::on(pool.clone());
    let run = run_in(&pool, Status::Parsing).await;
    let lease = rows::lease(&pool, run.id).await;
    store.complete_run(lease, &from_exit_code(0, Integrity::Isolated), None, &RunArtifacts::default()).await.unwrap();
    let before = rows::snapshot(&pool, run.id).await;

    let again =
        store.complete_run(lease, &from_exit_code(1, Integrity::Isolated), None, &RunArtifacts::default()).await;
    assert!(is_lost(&again), "{again:?}");
    let failure = Failure::new(FailureCode::ResultsInvalid, "on second thoughts");
    let failed = store.fail_run(lease, Status::Parsing, &failure, None, &RunArtifacts::default()).await;
    assert!(is_lost(&failed), "{failed:?}");
    assert_eq!(rows::snapshot(&pool, run.id).await, before);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn of_many_ends_at_once_one_is_kept(pool: PgPool) {
    let store = Store::on(pool.clone());
    for _ in 0..10 {
        let run = run_in(&pool, Status::Parsing).await;
        let lease = rows::lease(&pool, run.id).await;
        let ends = (0..8).map(|code| {
            let store = &store;
            async move {
                if code % 2 == 0 {
                    store
                        .complete_run(lease, &from_exit_code(code, Integrity::Isolated), None, &RunArtifacts::default())
                        .await
                } else {
                    let failure = Failure::new(FailureCode::ResultsInvalid, "unreadable");
                    store.fail_run(lease, Status::Parsing, &failure, None, &RunArtifacts::default()).await
                }
            }
        });
        let ends = join_all(ends).await;
        assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 1, "{ends:?}");
        assert!(ends.iter().filter(|end| end.is_err()).all(is_lost), "{ends:?}");
        assert_eq!(rows::snapshot(&pool, run.id).await["events"], 2);
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_writer_that_waited_for_the_requeue_changes_nothing(pool: PgPool) {
    let store = Store::on(pool.clone());
    let run = run_in(&pool, Status::Parsing).await;
    let lease = rows::lease(&pool, run.id).await;
    let mut transaction = pool.begin().await.unwrap();
    sqlx::query(include_str!("../../crates/store/sql/queries/requeue_run.sql"))
        .bind(run.id)
        .bind(lease.attempt)
        .bind(lease.epoch)
        .bind("parsing")
        .bind("worker_lost")
        .bind(serde_json::json!({ "message": "gone" }))
        .bind(0.0)
        .bind(serde_json::json!({ "message": "cancelled" }))
        .execute(&mut *transaction)
        .await
        .unwrap();

    let late = {
        let store = store.clone();
        tokio::spawn(async move {
            store.complete_run(lease, &from_exit_code(0, Integrity::Isolated), None, &RunArtifacts::default()).await
        })
    };
    locks::someone_waits(&pool).await;
    transaction.commit().await.unwrap();

    let late = late.await.unwrap();
    assert!(is_lost(&late), "{late:?}");
    assert_eq!(rows::snapshot(&pool, run.id).await["status"], "queued");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_requeued_run_keeps_why_and_comes_back_with_a_new_lease(pool: PgPool) {
    let store = Store::on(pool.clone());
    for from in ACTIVE {
        let run = run_in(&pool, from).await;
        let lease = rows::lease(&pool, run.id).await;
        let failure = Failure::new(FailureCode::HostOutOfDisk, "0 bytes are left on /var");
        store.requeue_run(lease, from, &failure, Duration::ZERO).await.unwrap();

        let row = store.read_run(run.organization, run.id).await.unwrap().unwrap();
        assert_eq!((row.status, row.attempt, row.started_at, row.phase), (Status::Queued, 2, None, None));
        assert_eq!(row.failure_code, Some(FailureCode::HostOutOfDisk));
        assert_eq!(row.evidence.unwrap().0, failure.evidence);
        let (attempt, code, message): (i32, String, String) = sqlx::query_as(
            "SELECT attempt, failure_code, evidence->>'message' FROM run_events
             WHERE run_id = $1 AND to_status = 'queued' AND from_status = $2",
        )
        .bind(run.id)
        .bind(from.as_str())
        .fetch_one(&pool)
        .await
        .unwrap();
        assert_eq!((attempt, code.as_str(), message.as_str()), (1, "host_out_of_disk", "0 bytes are left on /var"));

        let claim = store.claim_runs("worker-2", ROOM).await.unwrap().remove(0);
        assert_eq!((claim.id, claim.attempt), (run.id, 2));
        assert!(claim.lease_epoch > lease.epoch);
        let row = store.read_run(run.organization, run.id).await.unwrap().unwrap();
        assert_eq!(row.failure_code, None, "what failed before is on the event, no longer on the run");
        assert!(row.evidence.is_none());
        store.fail_run(claim.lease(), Status::Preparing, &failure, None, &RunArtifacts::default()).await.unwrap();
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_failure_ends_a_run_as_its_code_says(pool: PgPool) {
    let store = Store::on(pool.clone());
    for code in FailureCode::ALL {
        let run = run_in(&pool, Status::Running).await;
        let failure = Failure::new(*code, "why");
        store
            .fail_run(rows::lease(&pool, run.id).await, Status::Running, &failure, None, &RunArtifacts::default())
            .await
            .unwrap();
        let row = rows::snapshot(&pool, run.id).await;
        assert_eq!(row["status"], code.status().as_str(), "{code}");
        assert_eq!(row["cause"], code.cause().as_str(), "{code}");
        assert_eq!(row["failure_code"], code.as_str());
        assert_eq!(row["worker_id"], WORKER, "who had it last stays known");
    }
}
