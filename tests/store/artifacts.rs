//! The files that runs hand out: written with the end or not at all, and deleted when no run names them.

use std::sync::Arc;
use std::time::Duration;

use assize::intake::blob::Blobs;
use assize::maintenance::retention;
use assize_domain::artifact::{Artifact, LeftOut, LeftOutArtifact, Origin, RunArtifacts, blob_key};
use assize_domain::run::{Failure, FailureCode, Lease, Status};
use assize_domain::verdict::{Integrity, Visibility, from_exit_code};
use assize_host::clock::{Clock, Deadline};
use assize_store::{Store, StoreError};
use sqlx::PgPool;
use uuid::Uuid;

use crate::locks;
use crate::rows::{self, Run, run_in};

/// A blob store in a folder of its own.
struct Folder {
    blobs: Blobs,
    root: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        Self { blobs: Blobs::open(&format!("file:{}", root.path().display())).unwrap(), root }
    }

    fn has(&self, sha256: &str) -> bool {
        self.root.path().join(blob_key(sha256)).is_file()
    }

    /// Stores a file as a worker does: first its row, then its blob.
    async fn put(&self, store: &Store, sha256: &str) {
        let mut content = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut content, b"before after").unwrap();
        store.use_artifacts(&[sha256.to_owned()]).await.unwrap();
        self.blobs.put_artifact(sha256, &Arc::new(content), 7, 5).await.unwrap();
    }
}

fn soon() -> Deadline {
    Deadline::after(&Clock::system(), Duration::from_secs(20))
}

fn file(name: &str, origin: Origin, sha256: &str) -> Artifact {
    Artifact {
        name: name.to_owned(),
        origin,
        sha256: sha256.to_owned(),
        bytes: 5,
        media_type: "text/plain; charset=utf-8".to_owned(),
        visibility: Visibility::Hidden,
    }
}

fn with_files(files: Vec<Artifact>) -> RunArtifacts {
    RunArtifacts { files, left_out: LeftOut::default() }
}

async fn complete(store: &Store, lease: Lease, artifacts: &RunArtifacts) -> Result<(), StoreError> {
    store.complete_run(lease, &from_exit_code(0, Integrity::Isolated), None, artifacts).await
}

/// A run that has ended and handed out this file.
async fn ended(pool: &PgPool, store: &Store, sha256: &str) -> Run {
    let run = run_in(pool, Status::Parsing).await;
    let handed_out = with_files(vec![file("workspace/a.txt", Origin::Driver, sha256)]);
    complete(store, rows::lease(pool, run.id).await, &handed_out).await.unwrap();
    run
}

async fn age_blobs(pool: &PgPool, hours: i32) {
    sqlx::query("UPDATE artifact_blobs SET last_used_at = clock_timestamp() - make_interval(hours => $1)")
        .bind(hours)
        .execute(pool)
        .await
        .unwrap();
}

async fn rows_of(pool: &PgPool, run: Uuid) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM run_artifacts WHERE run_id = $1").bind(run).fetch_one(pool).await.unwrap()
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn files_are_written_with_the_end_of_their_run(pool: PgPool) {
    let store = Store::on(pool.clone());
    let [one, two] = ["a".repeat(64), "b".repeat(64)];
    store.use_artifacts(&[two.clone(), one.clone(), one.clone()]).await.unwrap();
    let first = LeftOutArtifact { name: "x".to_owned(), origin: Origin::Subject, reason: "is a link".to_owned() };
    let handed_out = RunArtifacts {
        files: vec![
            file("workspace/b.txt", Origin::Subject, &one),
            file("workspace/ä/b.txt", Origin::Driver, &two),
            file("workspace/b.txt", Origin::Driver, &two),
        ],
        left_out: LeftOut { count: 12, first: vec![first] },
    };
    let completed = run_in(&pool, Status::Parsing).await;
    complete(&store, rows::lease(&pool, completed.id).await, &handed_out).await.unwrap();
    let failed = run_in(&pool, Status::Running).await;
    let failure = Failure::new(FailureCode::StageTimeout, "too long");
    let lease = rows::lease(&pool, failed.id).await;
    store.fail_run(lease, Status::Running, &failure, None, &handed_out).await.unwrap();
    for run in [completed, failed] {
        let seen = store.read_artifacts(run.organization, run.id).await.unwrap().unwrap();
        let [a, b, c] = [&handed_out.files[2], &handed_out.files[1], &handed_out.files[0]];
        assert_eq!(seen.files.iter().collect::<Vec<_>>(), [a, b, c], "by origin and name");
        assert_eq!(seen.left_out, handed_out.left_out);
        let find = async |name, origin| {
            store.find_artifact(run.organization, run.id, name, origin).await.unwrap().map(|found| found.sha256)
        };
        assert_eq!(find("workspace/b.txt", None).await, Some(two.clone()), "the driver's takes precedence");
        assert_eq!(find("workspace/b.txt", Some(Origin::Subject)).await, Some(one.clone()));
        assert_eq!(find("workspace/ä/b.txt", Some(Origin::Subject)).await, None);
        assert_eq!(store.read_artifacts(Uuid::now_v7(), run.id).await.unwrap(), None, "of another organisation");
        assert_eq!(store.find_artifact(Uuid::now_v7(), run.id, "workspace/b.txt", None).await.unwrap(), None);
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_late_writer_hands_out_nothing(pool: PgPool) {
    let store = Store::on(pool.clone());
    let sha256 = "a".repeat(64);
    store.use_artifacts(std::slice::from_ref(&sha256)).await.unwrap();
    let run = run_in(&pool, Status::Parsing).await;
    let lease = rows::lease(&pool, run.id).await;
    let handed_out = with_files(vec![file("workspace/a.txt", Origin::Driver, &sha256)]);
    let old = Lease { epoch: lease.epoch - 1, ..lease };
    assert!(matches!(complete(&store, old, &handed_out).await, Err(StoreError::LeaseLost { .. })));
    let failure = Failure::new(FailureCode::StageTimeout, "too long");
    let late = store.fail_run(old, Status::Parsing, &failure, None, &handed_out).await;
    assert!(matches!(late, Err(StoreError::LeaseLost { .. })));
    assert_eq!(rows_of(&pool, run.id).await, 0);
    complete(&store, lease, &RunArtifacts::default()).await.unwrap();
    assert!(matches!(complete(&store, lease, &handed_out).await, Err(StoreError::LeaseLost { .. })), "it has ended");
    assert_eq!(rows_of(&pool, run.id).await, 0);
    let left_out: Option<serde_json::Value> =
        sqlx::query_scalar("SELECT artifacts_left_out FROM project_evaluation_runs WHERE id = $1")
            .bind(run.id)
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(left_out, None);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_blob_stays_while_one_run_names_it(pool: PgPool) {
    let (store, folder) = (Store::on(pool.clone()), Folder::new());
    let (shared, orphan) = ("a".repeat(64), "b".repeat(64));
    folder.put(&store, &shared).await;
    folder.put(&store, &orphan).await;
    let (one, two) = (ended(&pool, &store, &shared).await, ended(&pool, &store, &shared).await);
    assert_eq!(retention::artifacts(&store, &folder.blobs, &soon()).await.unwrap(), 0, "a run may be about to name it");
    age_blobs(&pool, 25).await;
    assert_eq!(retention::artifacts(&store, &folder.blobs, &soon()).await.unwrap(), 1, "of a run that never ended");
    assert_eq!((folder.has(&shared), folder.has(&orphan)), (true, false));
    store.delete_artifacts(&[one.id]).await.unwrap();
    assert_eq!(retention::artifacts(&store, &folder.blobs, &soon()).await.unwrap(), 0);
    assert!(folder.has(&shared));
    store.delete_artifacts(&[two.id]).await.unwrap();
    assert_eq!(retention::artifacts(&store, &folder.blobs, &soon()).await.unwrap(), 1);
    assert!(!folder.has(&shared));
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM artifact_blobs").fetch_one(&pool).await.unwrap();
    assert_eq!(rows, 0);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn files_go_with_the_output_and_with_the_run(pool: PgPool) {
    let (store, folder) = (Store::on(pool.clone()), Folder::new());
    let sha256 = "a".repeat(64);
    folder.put(&store, &sha256).await;
    let mut runs = Vec::new();
    for days in [40, 20] {
        let run = ended(&pool, &store, &sha256).await;
        // What ended stays as it ended, but for this test.
        sqlx::raw_sql("ALTER TABLE project_evaluation_runs DISABLE TRIGGER runs_ended").execute(&pool).await.unwrap();
        sqlx::query("UPDATE project_evaluation_runs SET finished_at = now() - make_interval(days => $2) WHERE id = $1")
            .bind(run.id)
            .bind(days)
            .execute(&pool)
            .await
            .unwrap();
        runs.push(run.id);
    }
    assert_eq!(retention::output(&store, &folder.blobs, 30, &soon()).await.unwrap(), 1);
    assert_eq!((rows_of(&pool, runs[0]).await, rows_of(&pool, runs[1]).await), (0, 1));
    retention::runs(&store, 10, 0, &soon()).await.unwrap();
    assert_eq!(rows_of(&pool, runs[1]).await, 0);
    age_blobs(&pool, 25).await;
    assert_eq!(retention::artifacts(&store, &folder.blobs, &soon()).await.unwrap(), 1);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_blob_is_stored_again_or_deleted_and_never_both(pool: PgPool) {
    let (store, folder) = (Store::on(pool.clone()), Folder::new());
    let sha256 = "a".repeat(64);
    folder.put(&store, &sha256).await;
    age_blobs(&pool, 25).await;
    // Stored first: it is no longer old.
    store.use_artifacts(std::slice::from_ref(&sha256)).await.unwrap();
    assert!(store.lock_unnamed_artifact(&sha256).await.unwrap().is_none());
    age_blobs(&pool, 25).await;
    // Locked first: whoever stores it waits, and writes the blob afterwards.
    let unnamed = store.lock_unnamed_artifact(&sha256).await.unwrap().unwrap();
    assert!(store.lock_unnamed_artifact(&sha256).await.unwrap().is_none(), "nor does a second janitor get it");
    let storing = {
        let (store, sha256) = (store.clone(), sha256.clone());
        tokio::spawn(async move { store.use_artifacts(&[sha256]).await })
    };
    locks::someone_waits(&pool).await;
    folder.blobs.delete(&blob_key(&sha256)).await.unwrap();
    unnamed.forget().await.unwrap();
    storing.await.unwrap().unwrap();
    folder.put(&store, &sha256).await;
    ended(&pool, &store, &sha256).await;
    age_blobs(&pool, 25).await;
    assert!(store.lock_unnamed_artifact(&sha256).await.unwrap().is_none(), "a run names it");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_blob_without_a_row_is_found_and_ages(pool: PgPool) {
    let (store, folder) = (Store::on(pool.clone()), Folder::new());
    // Of the part of the store that is searched in this hour.
    let hour = Clock::system().wall().timestamp() / 3_600;
    let sha256 = format!("{:02x}{}", (hour * 11).rem_euclid(256), "0".repeat(62));
    folder.put(&store, &sha256).await;
    sqlx::query("DELETE FROM artifact_blobs").execute(&pool).await.unwrap();
    assert_eq!(retention::adopt_untracked_artifacts(&store, &folder.blobs, &soon()).await.unwrap(), 1);
    assert_eq!(retention::adopt_untracked_artifacts(&store, &folder.blobs, &soon()).await.unwrap(), 0);
    age_blobs(&pool, 25).await;
    assert_eq!(retention::artifacts(&store, &folder.blobs, &soon()).await.unwrap(), 1);
    assert!(!folder.has(&sha256));
}
