//! Pages of runs: each row once, newest first, whatever the page size and however many rows tie.

use assize_domain::run::Status;
use assize_store::Store;
use assize_store::runs::{After, RunRow};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sqlx::PgPool;
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::rows::{self, columns, with};

/// State, and second of submission: few of them, so that many tie.
type Kind = (Status, i64);

fn kinds() -> impl Strategy<Value = Vec<Kind>> {
    let status = prop::sample::select(vec![Status::Queued, Status::Completed, Status::Failed]);
    prop::collection::vec((status, 0_i64..4), 0..25)
}

async fn insert(pool: &PgPool, organization: Uuid, submission: Uuid, kind: Kind) {
    let submitted_at = format!("timestamptz '2026-01-01 00:00:00.123456Z' + {} * interval '1 second'", kind.1);
    rows::insert(pool, organization, submission, with(columns(kind.0), "submitted_at", &submitted_at)).await.unwrap();
}

async fn all_pages(store: &Store, organization: Uuid, status: Option<Status>, limit: i64) -> Vec<RunRow> {
    let mut all = Vec::new();
    let mut after = After::TOP;
    loop {
        let page = store.list_runs(organization, status, after, limit).await.unwrap();
        let Some(last) = page.last() else {
            return all;
        };
        assert!(i64::try_from(page.len()).unwrap() <= limit);
        after = After { submitted_at: last.submitted_at, id: last.id };
        all.extend(page);
    }
}

async fn check(pool: PgPool, kinds: Vec<Kind>, limit: i64) {
    let store = Store::on(pool.clone());
    let (organization, other) = (rows::organization(&pool).await, rows::organization(&pool).await);
    let submission = rows::submission(&pool, organization).await;
    let foreign = rows::submission(&pool, other).await;
    for kind in &kinds {
        insert(&pool, organization, submission, *kind).await;
        insert(&pool, other, foreign, *kind).await;
    }
    let mut expected: Vec<(String, chrono::DateTime<chrono::Utc>, Uuid)> =
        sqlx::query_as("SELECT status, submitted_at, id FROM project_evaluation_runs WHERE organization_id = $1")
            .bind(organization)
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(expected.len(), kinds.len());

    expected.sort_by_key(|row| std::cmp::Reverse(row.2));
    let ids = |rows: &[RunRow]| rows.iter().map(|row| row.id).collect::<Vec<_>>();
    let listed = all_pages(&store, organization, None, limit).await;
    assert_eq!(ids(&listed), expected.iter().map(|row| row.2).collect::<Vec<_>>());

    expected.sort_by_key(|row| std::cmp::Reverse((row.1, row.2)));
    for status in Status::ALL {
        let listed = all_pages(&store, organization, Some(*status), limit).await;
        assert!(listed.iter().all(|row| row.status == *status));
        let of_status = expected.iter().filter(|row| row.0 == status.as_str());
        assert_eq!(ids(&listed), of_status.map(|row| row.2).collect::<Vec<_>>(), "{status}");
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn every_run_is_on_exactly_one_page(pool: PgPool) {
    let handle = Handle::current();
    let tried = tokio::task::spawn_blocking(move || {
        let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
        TestRunner::new(config).run(&(kinds(), 1_i64..8), |(kinds, limit)| {
            handle.block_on(check(pool.clone(), kinds, limit));
            Ok(())
        })
    });
    tried.await.unwrap().unwrap();
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn runs_that_come_meanwhile_move_no_page(pool: PgPool) {
    let store = Store::on(pool.clone());
    let organization = rows::organization(&pool).await;
    let submission = rows::submission(&pool, organization).await;
    for second in 0..6 {
        insert(&pool, organization, submission, (Status::Completed, second)).await;
    }
    for status in [None, Some(Status::Completed)] {
        let before = all_pages(&store, organization, status, 100).await;
        let first = store.list_runs(organization, status, After::TOP, 3).await.unwrap();
        insert(&pool, organization, submission, (Status::Completed, 60)).await;
        let after = After { submitted_at: first[2].submitted_at, id: first[2].id };
        let second = store.list_runs(organization, status, after, 3).await.unwrap();
        let seen: Vec<_> = first.iter().chain(&second).map(|row| row.id).collect();
        assert_eq!(seen, before.iter().take(6).map(|row| row.id).collect::<Vec<_>>());
    }
}
