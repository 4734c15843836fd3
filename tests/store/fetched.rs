//! What a repository gave: written once for each submission, by whoever holds the run.

use assize_domain::run::{Lease, Status};
use assize_store::run_writes::{Fetched, Kept};
use assize_store::{Store, StoreError};
use sqlx::PgPool;
use uuid::Uuid;

use crate::rows::{self, Run, columns};

/// A run that prepares, of a submission by a repository's address.
async fn preparing(pool: &PgPool, submission: Option<Run>) -> (Run, Lease) {
    let run = match submission {
        Some(other) => {
            rows::insert(pool, other.organization, other.submission, columns(Status::Preparing)).await.unwrap()
        }
        None => {
            let run = rows::run_in(pool, Status::Preparing).await;
            let query = "UPDATE project_submissions SET archive_sha256 = NULL, archive_bytes = NULL,
                archive_entries = NULL, repository_url = 'https://a.b/c', repository_ref = 'main' WHERE id = $1";
            sqlx::query(query).bind(run.submission).execute(pool).await.unwrap();
            run
        }
    };
    (run, rows::lease(pool, run.id).await)
}

fn fetched(digit: char) -> Fetched {
    let commit = digit.to_string().repeat(40);
    Fetched {
        sha256: digit.to_string().repeat(64),
        bytes: 7,
        entries: 2,
        contents: contents(digit),
        commit,
        receipt: None,
    }
}

fn contents(digit: char) -> serde_json::Value {
    serde_json::json!({"top": digit.to_string()})
}

fn kept(digit: char) -> Kept {
    let Fetched { sha256, commit, .. } = fetched(digit);
    Kept { archive_sha256: sha256, commit }
}

async fn archives(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar("SELECT sha256 FROM archives ORDER BY sha256").fetch_all(pool).await.unwrap()
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn the_first_commit_of_a_submission_stays(pool: PgPool) {
    let store = Store::on(pool.clone());
    let (first, lease) = preparing(&pool, None).await;
    let (_, other) = preparing(&pool, Some(first)).await;
    let known = archives(&pool).await;
    assert_eq!(store.keep_fetched(lease, &fetched('b')).await.unwrap(), kept('b'));
    // A reply that was lost, and another run of the submission whose fetch found the branch moved on.
    assert_eq!(store.keep_fetched(lease, &fetched('b')).await.unwrap(), kept('b'));
    assert_eq!(store.keep_fetched(other, &fetched('c')).await.unwrap(), kept('b'));
    let row = store.read_submission(first.organization, first.submission).await.unwrap().unwrap();
    assert_eq!((row.archive_bytes, row.archive_entries), (Some(7), Some(2)));
    assert_eq!(row.archive_contents, Some(contents('b')));
    assert_eq!((row.archive_sha256, row.repository_commit), (Some("b".repeat(64)), Some("b".repeat(40))));
    let new: Vec<_> = archives(&pool).await.into_iter().filter(|sha256| !known.contains(sha256)).collect();
    assert_eq!(new, ["b".repeat(64)], "it ages as all archives do");
}

/// FAILURES 3.
#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn who_lost_the_run_gives_its_submission_nothing(pool: PgPool) {
    let store = Store::on(pool.clone());
    let (run, lease) = preparing(&pool, None).await;
    for late in [
        Lease { epoch: lease.epoch + 1, ..lease },
        Lease { attempt: lease.attempt + 1, ..lease },
        Lease { run_id: Uuid::now_v7(), ..lease },
    ] {
        let written = store.keep_fetched(late, &fetched('b')).await;
        assert!(matches!(written, Err(StoreError::LeaseLost { .. })), "{late:?}: {written:?}");
    }
    let row = store.read_submission(run.organization, run.submission).await.unwrap().unwrap();
    assert_eq!((row.archive_sha256, row.repository_commit), (None, None));
    // Nor does anybody who has gone past preparing, or whose submission came with its archive.
    for status in Status::ALL {
        let other = rows::run_in(&pool, *status).await;
        let written = store.keep_fetched(rows::lease(&pool, other.id).await, &fetched('b')).await;
        assert!(matches!(written, Err(StoreError::LeaseLost { .. })), "{status}: {written:?}");
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_claim_says_what_is_to_be_fetched_and_what_was(pool: PgPool) {
    let store = Store::on(pool.clone());
    let (run, lease) = preparing(&pool, None).await;
    let again = rows::insert(&pool, run.organization, run.submission, columns(Status::Queued)).await.unwrap();
    let claim = store.claim_runs("worker-2", rows::wanted(4, 1000, 1)).await.unwrap().remove(0);
    let source = (claim.repository_url.as_deref(), claim.repository_ref.as_deref());
    assert_eq!((claim.id, source), (again.id, (Some("https://a.b/c"), Some("main"))));
    assert_eq!(claim.archive_sha256, None);
    store.keep_fetched(lease, &fetched('b')).await.unwrap();
    let third = rows::insert(&pool, run.organization, run.submission, columns(Status::Queued)).await.unwrap();
    let claim = store.claim_runs("worker-2", rows::wanted(4, 1000, 1)).await.unwrap().remove(0);
    assert_eq!((claim.id, claim.archive_sha256), (third.id, Some("b".repeat(64))));
}
