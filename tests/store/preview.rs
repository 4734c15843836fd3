//! A preview of the janitor finds what its jobs then remove.

use std::path::Path;
use std::time::{Duration, SystemTime};

use assize::intake::blob::Blobs;
use assize::maintenance::preview::{self, Removable};
use assize::maintenance::retention;
use assize_domain::output::blob_key;
use assize_domain::run::Status;
use assize_host::clock::{Clock, Deadline};
use assize_store::Store;
use sqlx::PgPool;

use crate::rows::{Run, columns, run_in, run_with, with};

fn soon() -> Deadline {
    Deadline::after(&Clock::system(), Duration::from_secs(20))
}

fn open(folder: &Path) -> Blobs {
    Blobs::open(&format!("file:{}", folder.display())).unwrap()
}

const fn blobs(objects: u64, bytes: u64) -> Removable {
    Removable { objects, bytes: Some(bytes), is_cut: false }
}

async fn ended(pool: &PgPool, days: i32) -> Run {
    let at = format!("clock_timestamp() - interval '{days} days'");
    run_with(pool, with(columns(Status::Completed), "finished_at", &at)).await
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn archives_that_would_go_are_counted_with_their_bytes(pool: PgPool) {
    let (store, folder) = (Store::on(pool.clone()), tempfile::tempdir().unwrap());
    let found = open(folder.path());
    for (letter, days, is_old) in [("a", 40, true), ("b", 20, true), ("c", 40, false), ("d", 41, true)] {
        let sha256 = letter.repeat(64);
        sqlx::query("INSERT INTO archives VALUES ($1, clock_timestamp() - make_interval(days => $2))")
            .bind(&sha256)
            .bind(days)
            .execute(&pool)
            .await
            .unwrap();
        let mut content = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut content, b"seven b").unwrap();
        found.put_archive(&sha256, &content.into(), 7).await.unwrap();
        if is_old {
            let file = folder.path().join(format!("archives/{}/{sha256}.zip", &sha256[..2]));
            #[expect(clippy::disallowed_methods, reason = "the file system's clock, not the service's")]
            let then = SystemTime::now() - Duration::from_secs(7_200);
            std::fs::File::options().write(true).open(file).unwrap().set_modified(then).unwrap();
        }
    }
    let preview = async |days| preview::archives(&store, &found, days, &soon()).await.unwrap();
    assert_eq!(preview(0).await, blobs(0, 0), "0 is for ever");
    assert_eq!(preview(30).await, blobs(2, 14), "the third was written within the hour");
    assert_eq!(preview(30).await, blobs(2, 14), "looking removes nothing");
    assert_eq!(retention::archives(&store, &found, 30, &soon()).await.unwrap(), 2);
    assert_eq!(preview(30).await, blobs(0, 0));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn output_that_would_go_is_counted_by_runs_with_its_bytes(pool: PgPool) {
    let (store, folder) = (Store::on(pool.clone()), tempfile::tempdir().unwrap());
    let found = open(folder.path());
    for days in [40, 35, 10] {
        let run = ended(&pool, days).await;
        found.put_output(&blob_key(run.id, 1), "four".into()).await.unwrap();
    }
    run_in(&pool, Status::Running).await;
    assert_eq!(preview::output(&store, &found, 30, &soon()).await.unwrap(), blobs(2, 8));
    let over = Deadline::after(&Clock::system(), Duration::ZERO);
    assert!(preview::output(&store, &found, 30, &over).await.unwrap().is_cut, "a count without time says so");
    assert_eq!(retention::output(&store, &found, 30, &soon()).await.unwrap(), 2);
    assert_eq!(preview::output(&store, &found, 30, &soon()).await.unwrap(), blobs(0, 0));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn artifacts_that_no_run_names_are_counted(pool: PgPool) {
    let (store, folder) = (Store::on(pool.clone()), tempfile::tempdir().unwrap());
    let found = open(folder.path());
    for letter in ["a", "b"] {
        let mut content = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut content, b"five!").unwrap();
        store.use_artifacts(&[letter.repeat(64)]).await.unwrap();
        found.put_artifact(&letter.repeat(64), &content.into(), 0, 5).await.unwrap();
    }
    sqlx::query(
        "UPDATE artifact_blobs SET last_used_at = last_used_at - interval '25 h' WHERE sha256 = repeat('a', 64)",
    )
    .execute(&pool)
    .await
    .unwrap();
    assert_eq!(preview::artifacts(&store, &found, &soon()).await.unwrap(), blobs(1, 5));
    assert_eq!(retention::artifacts(&store, &found, &soon()).await.unwrap(), 1);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn rows_that_would_go_are_counted(pool: PgPool) {
    let store = Store::on(pool.clone());
    for days in [100, 50, 20] {
        let run = ended(&pool, days).await;
        sqlx::query(
            "INSERT INTO idempotency_keys VALUES ($1, 'key', sha256('x'), $2, now() - make_interval(days => $3 / 10))",
        )
        .bind(run.organization)
        .bind(run.submission)
        .bind(days)
        .execute(&pool)
        .await
        .unwrap();
    }
    sqlx::query(
        "INSERT INTO workers (id, half_slots, state, seen_at) VALUES ('killed', 2, 'claiming', now() - interval '2 h')",
    )
    .execute(&pool)
    .await
    .unwrap();
    let count = async |run_days, output_days| {
        let (workers, keys, runs) = preview::expired_rows(&store, run_days, output_days).await.unwrap();
        [workers, keys, runs].map(|rows| rows.objects)
    };
    assert_eq!(count(0, 0).await, [1, 1, 0], "0 days keep runs for ever");
    assert_eq!(count(30, 0).await, [1, 1, 2]);
    assert_eq!(count(30, 60).await, [1, 1, 1], "a run stays until its output has expired");
    assert_eq!((retention::keys(&store, &soon()).await.unwrap(), count(30, 0).await[1]), (1, 0));
    assert_eq!((retention::runs(&store, 30, 0, &soon()).await.unwrap(), count(30, 0).await[2]), (2, 0));
}
