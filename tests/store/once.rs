//! What is asked for twice is made once.

use assize_signing::PrivateKey;
use assize_store::Store;
use assize_store::submissions::{Idempotency, Inserted, NewSource, NewSubmission};
use futures_util::future::join_all;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::rows;

async fn submit(store: &Store, organization: Uuid, key: Option<&str>, request: u8) -> (Uuid, Inserted) {
    let id = Uuid::now_v7();
    let request_sha256 = [request; 32];
    let new = NewSubmission {
        id,
        run_id: Uuid::now_v7(),
        organization_id: organization,
        user: "user",
        template: "trivial",
        half_slots: 2,
        source: NewSource::Archive { sha256: &"a".repeat(64), bytes: 1, entries: 1, contents: &serde_json::json!({}) },
        metadata: &json!({ "attempt": 1 }),
        idempotency: key.map(|key| Idempotency { key, request_sha256: &request_sha256 }),
        receipt: None,
    };
    (id, store.insert_submission(&new).await.unwrap())
}

/// Submissions, runs and idempotency keys.
async fn counts(pool: &PgPool) -> (i64, i64, i64) {
    sqlx::query_as(
        "SELECT (SELECT count(*) FROM project_submissions), (SELECT count(*) FROM project_evaluation_runs),
             (SELECT count(*) FROM idempotency_keys)",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn one_key_used_by_many_at_once_makes_one_submission(pool: PgPool) {
    let wide = rows::wider(&pool, 8).await;
    let store = Store::on(wide.clone());
    for round in 1..=10 {
        let organization = rows::organization(&pool).await;
        let done = join_all((0..8).map(|_| submit(&store, organization, Some("key"), 1))).await;
        let made: Vec<_> = done.iter().filter(|(_, done)| matches!(done, Inserted::New { .. })).collect();
        assert_eq!(made.len(), 1, "{done:?}");
        let repeated = Inserted::Repeated { submission_id: made[0].0 };
        assert_eq!(done.iter().filter(|(_, done)| *done == repeated).count(), 7, "{done:?}");
        assert_eq!(counts(&pool).await, (round, round, round));
    }
    wide.close().await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn one_key_with_two_requests_is_a_conflict(pool: PgPool) {
    let store = Store::on(pool.clone());
    let organization = rows::organization(&pool).await;
    let (first, _) = submit(&store, organization, Some("key"), 1).await;
    assert_eq!(submit(&store, organization, Some("key"), 2).await.1, Inserted::Conflict);
    assert_eq!(
        submit(&store, organization, Some("key"), 1).await.1,
        Inserted::Repeated { submission_id: first },
        "the conflict did not take the key"
    );
    assert_eq!(counts(&pool).await, (1, 1, 1));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn two_requests_that_race_for_one_key_have_one_winner(pool: PgPool) {
    let wide = rows::wider(&pool, 8).await;
    let store = Store::on(wide.clone());
    let organization = rows::organization(&pool).await;
    let done = join_all((0..8).map(|request| submit(&store, organization, Some("key"), request))).await;
    wide.close().await;
    assert_eq!(done.iter().filter(|(_, done)| matches!(done, Inserted::New { .. })).count(), 1, "{done:?}");
    assert_eq!(done.iter().filter(|(_, done)| *done == Inserted::Conflict).count(), 7, "{done:?}");
    assert_eq!(counts(&pool).await, (1, 1, 1));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_key_belongs_to_its_organization_and_no_key_is_no_limit(pool: PgPool) {
    let store = Store::on(pool.clone());
    let (one, other) = (rows::organization(&pool).await, rows::organization(&pool).await);
    for (organization, key) in [(one, Some("key")), (other, Some("key")), (one, None), (one, None)] {
        let (_, done) = submit(&store, organization, key, 1).await;
        assert!(matches!(done, Inserted::New { .. }), "{done:?}");
    }
    assert_eq!(counts(&pool).await, (4, 4, 2));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_submission_that_is_refused_leaves_its_key_free(pool: PgPool) {
    let store = Store::on(pool.clone());
    let organization = rows::organization(&pool).await;
    let new = NewSubmission {
        id: Uuid::now_v7(),
        run_id: Uuid::now_v7(),
        organization_id: organization,
        user: "user",
        template: "trivial",
        half_slots: 3,
        source: NewSource::Archive { sha256: &"a".repeat(64), bytes: 1, entries: 1, contents: &serde_json::json!({}) },
        metadata: &json!({}),
        idempotency: Some(Idempotency { key: "key", request_sha256: &[1; 32] }),
        receipt: None,
    };
    store.insert_submission(&new).await.unwrap_err();
    assert_eq!(counts(&pool).await, (0, 0, 0), "all or nothing");
    assert!(matches!(submit(&store, organization, Some("key"), 1).await.1, Inserted::New { .. }));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn one_name_asked_for_by_many_at_once_is_one_organization(pool: PgPool) {
    let wide = rows::wider(&pool, 8).await;
    let store = Store::on(wide.clone());
    for round in 0..20 {
        let name = format!("school-{round}");
        let ids = join_all((0..8).map(|_| store.ensure_organization(&name))).await;
        let ids: Vec<_> = ids.into_iter().map(Result::unwrap).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(store.ensure_organization(&name).await.unwrap(), ids[0], "and stays it");
    }
    wide.close().await;
}

/// An API and a worker start side by side with the same new key, and each makes it known.
#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_key_that_many_make_known_at_once_is_known_to_all(pool: PgPool) {
    let wide = rows::wider(&pool, 8).await;
    let store = Store::on(wide.clone());
    for round in 1..=200 {
        let key = PrivateKey::generate().public();
        for registered in join_all((0..8).map(|_| store.ensure_signing_key(key))).await {
            assert_eq!(registered.unwrap().retired_at, None, "of round {round}");
        }
        assert_eq!(store.list_signing_keys().await.unwrap().len(), round);
    }
    wide.close().await;
}
