//! Admission: which runs are claimed, and that no cap is ever passed.

use std::collections::{BTreeSet, VecDeque};

use assize_domain::run::{Failure, FailureCode, Status};
use assize_store::Store;
use assize_store::queue::Claim;
use assize_store::runs::Cancelled;
use futures_util::future::join_all;
use sqlx::PgPool;
use uuid::Uuid;

use crate::locks;
use crate::rows::{self, WORKER, wanted};

fn ids(claims: &[Claim]) -> Vec<Uuid> {
    claims.iter().map(|claim| claim.id).collect()
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn the_oldest_are_claimed_first_and_in_order(pool: PgPool) {
    let store = Store::on(pool.clone());
    let organization = rows::organization(&pool).await;
    let queue = rows::queue(&pool, organization, &[2, 1, 4, 1, 2, 2, 4, 1, 1, 2]).await;
    let mut claimed = ids(&store.claim_runs(WORKER, wanted(100, 100, 4)).await.unwrap());
    assert_eq!(claimed, queue[..4]);
    claimed.extend(ids(&store.claim_runs(WORKER, wanted(100, 100, 1)).await.unwrap()));
    claimed.extend(ids(&store.claim_runs(WORKER, wanted(100, 100, 100)).await.unwrap()));
    assert_eq!(claimed, queue);
    assert!(store.claim_runs(WORKER, wanted(100, 100, 100)).await.unwrap().is_empty());
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_heavy_run_at_the_head_does_not_block_light_ones(pool: PgPool) {
    let store = Store::on(pool.clone());
    let organization = rows::organization(&pool).await;
    let queue = rows::queue(&pool, organization, &[4, 4, 2, 2, 1, 1]).await;
    let claimed = store.claim_runs(WORKER, wanted(3, 100, 10)).await.unwrap();
    assert_eq!(ids(&claimed), [queue[2], queue[4]], "three half-slots are one B and one A");
    let claimed = store.claim_runs(WORKER, wanted(100, 4, 10)).await.unwrap();
    assert_eq!(ids(&claimed), [queue[5]], "one half-slot is left under the cap of all workers");
    let claimed = store.claim_runs(WORKER, wanted(4, 100, 10)).await.unwrap();
    assert_eq!(ids(&claimed), [queue[0]]);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn nothing_is_claimed_without_room(pool: PgPool) {
    let store = Store::on(pool.clone());
    rows::run_in(&pool, Status::Running).await;
    let organization = rows::organization(&pool).await;
    let queue = rows::queue(&pool, organization, &[1, 2, 4]).await;
    for none in [wanted(0, 100, 10), wanted(-4, 100, 10), wanted(100, 2, 10), wanted(100, 1, 10), wanted(100, 100, 0)] {
        assert!(store.claim_runs(WORKER, none).await.unwrap().is_empty(), "{none:?}");
    }
    for id in queue {
        assert_eq!(rows::snapshot(&pool, id).await["events"], 1);
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_claim_carries_its_submission_and_a_lease(pool: PgPool) {
    let store = Store::on(pool.clone());
    let organization = rows::organization(&pool).await;
    let queue = rows::queue(&pool, organization, &[1; 20]).await;
    let claims = store.claim_runs(WORKER, wanted(20, 20, 20)).await.unwrap();
    assert_eq!(ids(&claims), queue);
    for (place, claim) in (1..).zip(claims) {
        assert_eq!((claim.archive_bytes, claim.archive_entries), (Some(place), Some(1)));
        assert_eq!(claim.archive_sha256, Some(format!("{place:064x}")));
        assert_eq!((claim.organization_id, claim.template.as_str()), (organization, "trivial"));
        assert_eq!((claim.half_slots, claim.attempt, claim.lease_epoch), (1, 1, 1));
        let row = rows::snapshot(&pool, claim.id).await;
        assert_eq!(row["project_submission_id"], claim.project_submission_id.to_string());
        assert_eq!((&row["status"], &row["worker_id"]), (&"preparing".into(), &WORKER.into()));
        assert_eq!(row["heartbeat_at"].as_str().is_some(), row["started_at"].as_str().is_some());
    }
}

const CAP: i32 = 20;

/// Claims and ends runs until the queue is empty; returns what it claimed.
async fn work(store: Store, pool: PgPool, worker: String, capacity: i32) -> Vec<Uuid> {
    let mut held: VecDeque<Claim> = VecDeque::new();
    let mut seen = Vec::new();
    loop {
        let busy: i32 = held.iter().map(|claim| claim.half_slots).sum();
        let claims = store.claim_runs(&worker, wanted(capacity - busy, CAP, 3)).await.unwrap();
        let (active, queued): (i64, i64) = sqlx::query_as(
            "SELECT coalesce(sum(half_slots) FILTER (WHERE status IN ('preparing', 'running', 'parsing')), 0),
                 count(*) FILTER (WHERE status = 'queued') FROM project_evaluation_runs",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        assert!(active <= i64::from(CAP), "{active} half-slots are active, the cap is {CAP}");
        let idle = claims.is_empty();
        seen.extend(ids(&claims));
        held.extend(claims);
        let busy: i32 = held.iter().map(|claim| claim.half_slots).sum();
        assert!(busy <= capacity, "{worker} holds {busy} half-slots of {capacity}");
        if idle && held.is_empty() && queued == 0 {
            return seen;
        }
        // The oldest ends; when nothing fits, all do.
        let ending = if idle { held.len() } else { 1 };
        for claim in held.drain(..ending) {
            let failure = Failure::new(FailureCode::BuildFailed, "it ends");
            store
                .fail_run(
                    claim.lease(),
                    Status::Preparing,
                    &failure,
                    None,
                    &assize_domain::artifact::RunArtifacts::default(),
                )
                .await
                .unwrap();
        }
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn eight_workers_at_once_pass_no_cap_and_claim_each_run_once(pool: PgPool) {
    let wide = rows::wider(&pool, 8).await;
    let organization = rows::organization(&pool).await;
    let weights: Vec<_> = (0..200).map(|place: usize| [4, 1, 2, 1, 4, 2, 1][place % 7]).collect();
    let queue = rows::queue(&pool, organization, &weights).await;
    let workers = (0..8).map(|number| {
        let (store, pool) = (Store::on(wide.clone()), wide.clone());
        tokio::spawn(work(store, pool, format!("worker-{number}"), 4 + number % 3))
    });
    let claimed: Vec<Uuid> = join_all(workers).await.into_iter().flat_map(Result::unwrap).collect();
    wide.close().await;
    assert_eq!(claimed.len(), queue.len(), "each run is claimed once");
    assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>(), queue.into_iter().collect());
    let claims: i64 = sqlx::query_scalar("SELECT count(*) FROM run_events WHERE to_status = 'preparing'")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(claims, 200);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn claims_that_meet_an_uncommitted_claim_wait_for_their_turn(pool: PgPool) {
    // The cap is full as soon as the first claim commits; the second must see that.
    let store = Store::on(pool.clone());
    let organization = rows::organization(&pool).await;
    rows::queue(&pool, organization, &[4, 4, 4]).await;
    let mut first = pool.begin().await.unwrap();
    let claimed = sqlx::query("SELECT * FROM claim_runs('worker-1', 4, 4, 4, 9, 9, 9, 9, 60, 1)")
        .fetch_all(&mut *first)
        .await
        .unwrap();
    assert_eq!(claimed.len(), 1);
    let second = {
        let store = store.clone();
        tokio::spawn(async move { store.claim_runs("worker-2", wanted(4, 4, 1)).await })
    };
    locks::someone_waits(&pool).await;
    first.commit().await.unwrap();
    assert!(second.await.unwrap().unwrap().is_empty());
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_run_is_cancelled_or_claimed_and_never_lost_between(pool: PgPool) {
    // FAILURES 27.
    let wide = rows::wider(&pool, 6).await;
    let store = Store::on(wide.clone());
    let organization = rows::organization(&pool).await;
    let queue = rows::queue(&pool, organization, &[1; 100]).await;
    let claiming = async {
        let mut claimed = BTreeSet::new();
        for _ in 0..100 {
            claimed.extend(ids(&store.claim_runs(WORKER, wanted(100, 100, 1)).await.unwrap()));
        }
        claimed
    };
    // Both begin at the head, and meet.
    let cancelling = join_all(queue.chunks(34).map(|part| {
        let store = &store;
        async move {
            let mut done = Vec::new();
            for id in part {
                done.push((*id, store.cancel_run(organization, *id).await.unwrap()));
            }
            done
        }
    }));
    let (claimed, cancelled) = tokio::join!(claiming, cancelling);
    wide.close().await;
    for (id, cancelled) in cancelled.into_iter().flatten() {
        let row = rows::snapshot(&pool, id).await;
        match cancelled {
            Cancelled::Ended => {
                assert!(!claimed.contains(&id));
                assert_eq!((&row["status"], &row["events"]), (&"aborted".into(), &2.into()));
            }
            Cancelled::Requested => {
                assert!(claimed.contains(&id));
                assert_eq!((&row["status"], &row["events"]), (&"preparing".into(), &2.into()));
                assert!(row["cancel_requested_at"].is_string());
            }
            Cancelled::Unchanged => panic!("run {id} is {}, and nobody was told to stop it", row["status"]),
        }
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_claim_passes_over_a_run_that_is_being_cancelled(pool: PgPool) {
    let store = Store::on(pool.clone());
    let organization = rows::organization(&pool).await;
    let queue = rows::queue(&pool, organization, &[1, 1]).await;
    let mut cancelling = pool.begin().await.unwrap();
    sqlx::query(include_str!("../../crates/store/sql/queries/cancel_run.sql"))
        .bind(queue[0])
        .bind(organization)
        .bind(serde_json::json!({ "message": "cancelled" }))
        .execute(&mut *cancelling)
        .await
        .unwrap();
    assert_eq!(ids(&store.claim_runs(WORKER, wanted(8, 8, 8)).await.unwrap()), [queue[1]]);
    cancelling.commit().await.unwrap();
    assert!(store.claim_runs(WORKER, wanted(8, 8, 8)).await.unwrap().is_empty());
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_cancel_that_meets_a_claim_or_a_requeue_waits_and_does_not_undo_it(pool: PgPool) {
    let store = Store::on(pool.clone());
    let organization = rows::organization(&pool).await;
    let run = rows::queue(&pool, organization, &[1]).await[0];
    let cancel = || {
        let store = store.clone();
        tokio::spawn(async move { store.cancel_run(organization, run).await.unwrap() })
    };

    let mut claiming = pool.begin().await.unwrap();
    sqlx::query("SELECT * FROM claim_runs('worker-1', 8, 8, 8, 9, 9, 9, 9, 60, 8)")
        .fetch_all(&mut *claiming)
        .await
        .unwrap();
    let cancelled = cancel();
    locks::someone_waits(&pool).await;
    claiming.commit().await.unwrap();
    assert_eq!(cancelled.await.unwrap(), Cancelled::Requested);

    let mut requeueing = pool.begin().await.unwrap();
    sqlx::query(include_str!("../../crates/store/sql/queries/requeue_run.sql"))
        .bind(run)
        .bind(1)
        .bind(1_i64)
        .bind("preparing")
        .bind("cell_lost")
        .bind(serde_json::json!({ "message": "gone" }))
        .bind(0.0)
        .bind(serde_json::json!({ "message": "cancelled" }))
        .execute(&mut *requeueing)
        .await
        .unwrap();
    let cancelled = cancel();
    locks::someone_waits(&pool).await;
    requeueing.commit().await.unwrap();
    assert_eq!(cancelled.await.unwrap(), Cancelled::Unchanged, "the first cancel was heard: it was not queued again");
    assert_eq!(rows::snapshot(&pool, run).await["status"], "aborted");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn another_organization_cancels_nothing(pool: PgPool) {
    let store = Store::on(pool.clone());
    let stranger = rows::organization(&pool).await;
    for status in Status::ALL {
        let run = rows::run_in(&pool, *status).await;
        let before = rows::snapshot(&pool, run.id).await;
        assert_eq!(store.cancel_run(stranger, run.id).await.unwrap(), Cancelled::Unchanged);
        assert_eq!(rows::snapshot(&pool, run.id).await, before);
        assert!(store.read_run(stranger, run.id).await.unwrap().is_none());
        assert!(store.read_verdict(stranger, run.id).await.unwrap().is_none());
        assert!(store.runs_by_ids(stranger, &[run.id]).await.unwrap().is_empty());
    }
}
