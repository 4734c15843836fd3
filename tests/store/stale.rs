//! Leases are renewed, or they become stale and are freed; never both.

use std::time::Duration;

use assize::run::retry::MAX_RETRIES;
use assize::run::{Evidence, FailureCode, Status};
use assize::store::Store;
use assize::store::leases::Freed;
use assize::store::runs::Cancelled;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::rows::{self, WORKER, age_lease, columns, run_in, run_with, with};

const STALE: Duration = Duration::from_secs(30);
const ACTIVE: [Status; 3] = [Status::Preparing, Status::Running, Status::Parsing];

async fn free(store: &Store) -> Vec<Freed> {
    let evidence = Evidence { message: "its worker has gone silent".to_owned(), ..Evidence::default() };
    store.free_stale_leases(STALE, MAX_RETRIES, &evidence).await.unwrap()
}

#[sqlx::test(migrations = "sql/migrations")]
async fn a_stale_lease_goes_back_to_the_queue(pool: PgPool) {
    let store = Store::on(pool.clone());
    for status in ACTIVE {
        let run = run_in(&pool, status).await;
        age_lease(&pool, run.id, 31).await;
        assert_eq!(store.stale_runs(STALE.as_secs_f64()).await.unwrap(), 1);
        let begun = store.read_run(run.organization, run.id).await.unwrap().unwrap().started_at;

        let freed = free(&store).await;
        assert_eq!(freed.len(), 1, "{status}");
        assert_eq!((freed[0].id, freed[0].status), (run.id, Status::Queued));
        assert_eq!(freed[0].failure_code, Some(FailureCode::WorkerLost));
        assert_eq!(freed[0].started_at, begun, "of the attempt that was lost");
        assert_eq!(freed[0].project_submission_id, run.submission);
        let row = rows::snapshot(&pool, run.id).await;
        assert_eq!((&row["attempt"], &row["events"]), (&2.into(), &2.into()), "{status}");
        assert!(row["worker_id"].is_null() && row["started_at"].is_null() && row["phase"].is_null());
        assert_eq!(store.stale_runs(STALE.as_secs_f64()).await.unwrap(), 0);
        store.cancel_run(run.organization, run.id).await.unwrap();
    }
}

#[sqlx::test(migrations = "sql/migrations")]
async fn a_run_that_lost_its_worker_in_every_attempt_fails(pool: PgPool) {
    // FAILURES 7.
    let store = Store::on(pool.clone());
    for status in ACTIVE {
        let last = (MAX_RETRIES + 1).to_string();
        let run = run_with(&pool, with(columns(status), "attempt", &last)).await;
        age_lease(&pool, run.id, 31).await;
        let freed = free(&store).await;
        assert_eq!((freed[0].id, freed[0].status), (run.id, Status::Failed));
        let row = rows::snapshot(&pool, run.id).await;
        assert_eq!((&row["failure_code"], &row["cause"]), (&"worker_lost".into(), &"infrastructure".into()));
        assert_eq!(row["evidence"]["message"], "its worker has gone silent");
        assert_eq!(row["attempt"], MAX_RETRIES + 1);
    }
}

#[sqlx::test(migrations = "sql/migrations")]
async fn a_stale_run_that_was_to_stop_is_aborted(pool: PgPool) {
    // FAILURES 27.
    let store = Store::on(pool.clone());
    for status in ACTIVE {
        let run = run_in(&pool, status).await;
        assert_eq!(store.cancel_run(run.organization, run.id).await.unwrap(), Cancelled::Requested);
        age_lease(&pool, run.id, 31).await;
        let freed = free(&store).await;
        assert_eq!((freed[0].id, freed[0].status), (run.id, Status::Aborted));
        let row = rows::snapshot(&pool, run.id).await;
        assert_eq!((&row["failure_code"], &row["cause"]), (&"cancelled".into(), &"platform".into()));
    }
}

#[sqlx::test(migrations = "sql/migrations")]
async fn only_stale_leases_are_freed(pool: PgPool) {
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
    assert!(free(&store).await.is_empty());
    for row in before {
        let id = row["id"].as_str().unwrap().parse().unwrap();
        assert_eq!(rows::snapshot(&pool, id).await, row);
    }
}

#[sqlx::test(migrations = "sql/migrations")]
async fn only_the_holder_renews_and_only_what_it_still_knows(pool: PgPool) {
    let store = Store::on(pool.clone());
    let (known, forgotten) = (run_in(&pool, Status::Running).await, run_in(&pool, Status::Running).await);
    for run in [known, forgotten] {
        age_lease(&pool, run.id, 31).await;
    }
    assert!(store.renew_leases("worker-2", &[known.id, forgotten.id]).await.unwrap().is_empty());
    let renewed = store.renew_leases(WORKER, &[known.id]).await.unwrap();
    assert_eq!(renewed.len(), 1);
    assert_eq!((renewed[0].id, renewed[0].attempt, renewed[0].lease_epoch), (known.id, 1, 1));
    assert!(!renewed[0].cancel_requested);

    let freed = free(&store).await;
    assert_eq!(freed.iter().map(|freed| freed.id).collect::<Vec<_>>(), [forgotten.id]);
    assert!(store.renew_leases(WORKER, &[forgotten.id]).await.unwrap().is_empty(), "a freed lease is not renewed");

    store.cancel_run(known.organization, known.id).await.unwrap();
    assert!(store.renew_leases(WORKER, &[known.id]).await.unwrap()[0].cancel_requested);
}

#[sqlx::test(migrations = "sql/migrations")]
async fn a_renewal_that_has_begun_keeps_its_lease(pool: PgPool) {
    let store = Store::on(pool.clone());
    let run = run_in(&pool, Status::Running).await;
    age_lease(&pool, run.id, 31).await;
    let mut renewal = pool.begin().await.unwrap();
    sqlx::query(include_str!("../../sql/queries/renew_leases.sql"))
        .bind(WORKER)
        .bind([run.id])
        .execute(&mut *renewal)
        .await
        .unwrap();

    assert!(free(&store).await.is_empty(), "its row is being written");
    renewal.commit().await.unwrap();
    assert!(free(&store).await.is_empty(), "it was renewed");
}

#[sqlx::test(migrations = "sql/migrations")]
async fn a_renewal_that_comes_too_late_is_told_so(pool: PgPool) {
    let store = Store::on(pool.clone());
    let run = run_in(&pool, Status::Running).await;
    age_lease(&pool, run.id, 31).await;
    let mut freeing = pool.begin().await.unwrap();
    sqlx::query(include_str!("../../sql/queries/free_stale_leases.sql"))
        .bind(STALE.as_secs_f64())
        .bind(MAX_RETRIES)
        .bind(serde_json::json!({ "message": "gone" }))
        .execute(&mut *freeing)
        .await
        .unwrap();
    let renewal = {
        let store = store.clone();
        tokio::spawn(async move { store.renew_leases(WORKER, &[run.id]).await })
    };
    rows::someone_waits(&pool).await;
    freeing.commit().await.unwrap();
    assert!(renewal.await.unwrap().unwrap().is_empty());
    assert_eq!(rows::snapshot(&pool, run.id).await["status"], "queued");
}

/// Stands in for the clock of one session: it answers only when nobody holds the barrier.
const BARRIER: &str = "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql VOLATILE AS $$
    BEGIN
        PERFORM pg_advisory_lock_shared(1);
        PERFORM pg_advisory_unlock_shared(1);
        RETURN pg_catalog.clock_timestamp();
    END $$";

#[sqlx::test(migrations = "sql/migrations")]
async fn a_lease_renewed_after_the_watchdog_saw_it_stale_is_not_freed(pool: PgPool) {
    // FAILURES 2: the watchdog has its snapshot and waits between its SELECT and its UPDATE.
    let store = Store::on(pool.clone());
    for status in ACTIVE {
        let run = run_in(&pool, status).await;
        age_lease(&pool, run.id, 31).await;
    }
    let ids: Vec<_> = sqlx::query_scalar("SELECT id FROM project_evaluation_runs").fetch_all(&pool).await.unwrap();
    sqlx::raw_sql(BARRIER).execute(&pool).await.unwrap();
    let options = (*pool.connect_options()).clone().options([("search_path", "public,pg_catalog")]);
    let watchdog = PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap();

    let mut barrier = pool.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(1)").execute(&mut *barrier).await.unwrap();
    let freeing = {
        let store = Store::on(watchdog.clone());
        tokio::spawn(async move { free(&store).await })
    };
    rows::someone_waits(&pool).await;
    assert_eq!(store.renew_leases(WORKER, &ids).await.unwrap().len(), ACTIVE.len());
    barrier.commit().await.unwrap();

    assert!(freeing.await.unwrap().is_empty());
    watchdog.close().await;
}

#[sqlx::test(migrations = "sql/migrations")]
async fn a_lease_is_renewed_or_freed_and_never_both(pool: PgPool) {
    let store = Store::on(pool.clone());
    for _ in 0..25 {
        let run = run_in(&pool, Status::Running).await;
        age_lease(&pool, run.id, 31).await;
        let ids = [run.id];
        let (renewed, freed, again) = tokio::join!(store.renew_leases(WORKER, &ids), free(&store), free(&store));
        let renewed = renewed.unwrap().len();
        assert_eq!(renewed + freed.len() + again.len(), 1, "renewed {renewed}, freed {freed:?} and {again:?}");
        let status = if renewed == 1 { "running" } else { "queued" };
        assert_eq!(rows::snapshot(&pool, run.id).await["status"], status);
    }
}
