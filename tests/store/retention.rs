//! What is kept goes when its time is over, and not before.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use assize::intake::blob::Blobs;
use assize::maintenance::retention;
use assize_domain::output::blob_key;
use assize_domain::run::Status;
use assize_host::clock::{Clock, Deadline, Stopwatch};
use assize_store::Store;
use assize_store::retention::OutputMark;
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::locks;
use crate::rows::{self, Run, columns, insert, run_in, run_with, with};

const DAY: Duration = Duration::from_secs(86_400);

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

    fn archive(&self, sha256: &str) -> PathBuf {
        self.root.path().join(format!("archives/{}/{sha256}.zip", &sha256[..2]))
    }

    /// An archive that was written so long ago.
    async fn put(&self, sha256: &str, age: Duration) {
        let mut content = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut content, b"zip").unwrap();
        self.blobs.put_archive(sha256, &content.into(), 3).await.unwrap();
        set_age(&self.archive(sha256), age);
    }
}

fn set_age(path: &Path, age: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the file system's clock, not the service's")]
    let then = SystemTime::now() - age;
    std::fs::File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

async fn count(pool: &PgPool, table: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {table}"))).fetch_one(pool).await.unwrap()
}

async fn age_archives(pool: &PgPool, days: i32) {
    sqlx::query("UPDATE archives SET last_used_at = clock_timestamp() - make_interval(days => $1)")
        .bind(days)
        .execute(pool)
        .await
        .unwrap();
}

/// An archive that no submission refers to any more.
async fn archive(pool: &PgPool, sha256: &str, days: i32) {
    sqlx::query("INSERT INTO archives VALUES ($1, clock_timestamp() - make_interval(days => $2))")
        .bind(sha256)
        .bind(days)
        .execute(pool)
        .await
        .unwrap();
}

/// A run that ended so many days ago, with a key of its submission.
async fn ended(pool: &PgPool, status: Status, days: i32) -> Run {
    let at = format!("clock_timestamp() - interval '{days} days'");
    let run = run_with(pool, with(columns(status), "finished_at", &at)).await;
    sqlx::query("INSERT INTO idempotency_keys VALUES ($1, 'key', sha256('x'), $2)")
        .bind(run.organization)
        .bind(run.submission)
        .execute(pool)
        .await
        .unwrap();
    run
}

fn soon() -> Deadline {
    Deadline::after(&Clock::system(), Duration::from_secs(20))
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_submission_is_a_use_of_its_archive(pool: PgPool) {
    let run = run_in(&pool, Status::Completed).await;
    age_archives(&pool, 40).await;
    rows::submission(&pool, run.organization).await;
    let fresh = "SELECT count(*) FROM archives WHERE last_used_at > clock_timestamp() - interval '1 minute'";
    assert_eq!(sqlx::query_scalar::<_, i64>(fresh).fetch_one(&pool).await.unwrap(), 1);
    assert_eq!(count(&pool, "archives").await, 1, "both have the same content");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_archive_goes_when_its_last_use_is_long_ago(pool: PgPool) {
    let (store, folder) = (Store::on(pool.clone()), Folder::new());
    let [old, used, young] = ["a".repeat(64), "b".repeat(64), "c".repeat(64)];
    for (sha256, used_days, age) in [(&old, 31, 40 * DAY), (&used, 29, 40 * DAY), (&young, 31, 50 * DAY / 1440)] {
        folder.put(sha256, age).await;
        archive(&pool, sha256, used_days).await;
    }
    assert_eq!(retention::archives(&store, &folder.blobs, 0, &soon()).await.unwrap(), 0, "0 is for ever");
    assert_eq!(retention::archives(&store, &folder.blobs, 30, &soon()).await.unwrap(), 1);
    let there = [&old, &used, &young].map(|sha256| folder.archive(sha256).exists());
    assert_eq!(there, [false, true, true], "the last was written 50 minutes ago: its row is about to come");
    assert_eq!(count(&pool, "archives").await, 2);
    // One whose blob is gone, as after a crash between the two, is forgotten all the same.
    set_age(&folder.archive(&young), DAY);
    std::fs::remove_file(folder.archive(&young)).unwrap();
    assert_eq!(retention::archives(&store, &folder.blobs, 30, &soon()).await.unwrap(), 1);
    assert_eq!(count(&pool, "archives").await, 1);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_archive_that_a_run_still_needs_stays(pool: PgPool) {
    let store = Store::on(pool.clone());
    let age = "clock_timestamp() - interval '40 days'";
    for status in Status::ALL.iter().filter(|status| !status.is_terminal()) {
        let run = run_with(&pool, with(columns(*status), "created_at", age)).await;
        age_archives(&pool, 40).await;
        assert!(store.lock_expired_archive(30, None).await.unwrap().is_none(), "{status}");
        sqlx::query("DELETE FROM run_events").execute(&pool).await.unwrap();
        sqlx::query("DELETE FROM project_evaluation_runs WHERE id = $1").bind(run.id).execute(&pool).await.unwrap();
        assert!(store.lock_expired_archive(30, None).await.unwrap().is_some());
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_archive_is_used_again_or_deleted_and_never_both(pool: PgPool) {
    let store = Store::on(pool.clone());
    let sha256 = "a".repeat(64);
    archive(&pool, &sha256, 40).await;
    // Used first: it is no longer old.
    store.use_archive(&sha256).await.unwrap();
    assert!(store.lock_expired_archive(30, None).await.unwrap().is_none());
    age_archives(&pool, 40).await;
    // Locked first: whoever wants to use it waits.
    let expired = store.lock_expired_archive(30, None).await.unwrap().unwrap();
    assert!(store.lock_expired_archive(30, None).await.unwrap().is_none(), "nor does a second janitor get it");
    let reusing = {
        let (store, sha256) = (store.clone(), sha256.clone());
        tokio::spawn(async move { store.use_archive(&sha256).await })
    };
    locks::someone_waits(&pool).await;
    expired.forget().await.unwrap();
    reusing.await.unwrap().unwrap();
    assert_eq!(count(&pool, "archives").await, 1, "a new row, and fresh");
    assert!(store.lock_expired_archive(30, None).await.unwrap().is_none());
    sqlx::query("DELETE FROM archives").execute(&pool).await.unwrap();
    // A janitor that gives up lets go.
    archive(&pool, &sha256, 40).await;
    drop(store.lock_expired_archive(30, None).await.unwrap().unwrap());
    // The rollback goes to Postgres behind the drop.
    let again = async { while store.lock_expired_archive(30, None).await.unwrap().is_none() {} };
    tokio::time::timeout(std::time::Duration::from_secs(10), again).await.unwrap();
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_archive_whose_submission_was_never_written_goes_too(pool: PgPool) {
    let (store, folder) = (Store::on(pool.clone()), Folder::new());
    // In each of the parts: which are looked at depends on the hour.
    for shard in 0..=255_u8 {
        folder.put(&format!("{shard:02x}{}", "0".repeat(62)), 40 * DAY).await;
    }
    let found = retention::adopt_untracked_archives(&store, &folder.blobs, &soon()).await.unwrap();
    assert_eq!((found, count(&pool, "archives").await), (11, 11));
    assert_eq!(
        retention::adopt_untracked_archives(&store, &folder.blobs, &soon()).await.unwrap(),
        0,
        "they are known now"
    );
    assert_eq!(retention::archives(&store, &folder.blobs, 30, &soon()).await.unwrap(), 0, "and age from now on");
    age_archives(&pool, 31).await;
    assert_eq!(retention::archives(&store, &folder.blobs, 30, &soon()).await.unwrap(), 11);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn output_goes_by_the_end_of_its_run(pool: PgPool) {
    let (store, folder) = (Store::on(pool.clone()), Folder::new());
    let old = ended(&pool, Status::Completed, 31).await;
    let young = ended(&pool, Status::Failed, 29).await;
    let active = run_in(&pool, Status::Running).await;
    for run in [old, young, active] {
        folder.blobs.put_output(&blob_key(run.id, 1), "text".into()).await.unwrap();
    }
    assert_eq!(retention::output(&store, &folder.blobs, 0, &soon()).await.unwrap(), 0, "0 is for ever");
    assert_eq!(retention::output(&store, &folder.blobs, 30, &soon()).await.unwrap(), 1);
    let mut there = Vec::new();
    for run in [old, young, active] {
        there.push(folder.blobs.output(&blob_key(run.id, 1)).await.is_ok());
    }
    assert_eq!(there, [false, true, true]);
    assert!(!folder.root.path().join(format!("output/{}", old.id)).exists(), "its folder is gone too");
    assert_eq!(retention::output(&store, &folder.blobs, 30, &soon()).await.unwrap(), 0, "once");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn output_of_every_attempt_goes_page_by_page(pool: PgPool) {
    let (store, folder) = (Store::on(pool.clone()), Folder::new());
    let organization = rows::organization(&pool).await;
    let submission = rows::submission(&pool, organization).await;
    let mut runs = Vec::new();
    for number in 0..250 {
        // All of them ended at one time, and fill more than a page.
        let at = "date_trunc('day', clock_timestamp()) - interval '31 days'";
        let columns = with(columns(Status::Completed), "finished_at", at);
        let run = insert(&pool, organization, submission, with(columns, "attempt", "2")).await.unwrap();
        if number % 50 == 0 {
            for attempt in 1..=2 {
                folder.blobs.put_output(&blob_key(run.id, attempt), "text".into()).await.unwrap();
            }
        }
        runs.push(run.id);
    }
    assert_eq!(retention::output(&store, &folder.blobs, 30, &soon()).await.unwrap(), 250);
    for run in runs {
        assert!(
            folder.blobs.output(&blob_key(run, 1)).await.is_err()
                && folder.blobs.output(&blob_key(run, 2)).await.is_err()
        );
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn old_runs_go_with_all_that_hangs_on_them(pool: PgPool) {
    let store = Store::on(pool.clone());
    for status in [Status::Completed, Status::Failed, Status::TimedOut, Status::Aborted] {
        ended(&pool, status, 366).await;
    }
    let young = ended(&pool, Status::Completed, 364).await;
    let again = ended(&pool, Status::Completed, 366).await;
    let second = insert(&pool, again.organization, again.submission, columns(Status::Running)).await.unwrap();
    let before = (rows::snapshot(&pool, young.id).await, rows::snapshot(&pool, second.id).await);

    assert_eq!(retention::runs(&store, 0, 0, &soon()).await.unwrap(), 0, "0 is for ever");
    assert_eq!(retention::runs(&store, 365, 0, &soon()).await.unwrap(), 5);
    let left: Vec<Uuid> =
        sqlx::query_scalar("SELECT id FROM project_evaluation_runs ORDER BY id").fetch_all(&pool).await.unwrap();
    assert_eq!(left, [young.id, second.id]);
    assert_eq!((rows::snapshot(&pool, young.id).await, rows::snapshot(&pool, second.id).await), before);
    for (table, rows) in [("project_submissions", 2), ("idempotency_keys", 2), ("run_events", 2)] {
        assert_eq!(count(&pool, table).await, rows, "{table}");
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_run_stays_until_its_output_has_gone(pool: PgPool) {
    let (store, folder) = (Store::on(pool.clone()), Folder::new());
    ended(&pool, Status::Completed, 20).await;
    ended(&pool, Status::Completed, 40).await;
    assert_eq!(retention::runs(&store, 10, 30, &soon()).await.unwrap(), 0);
    retention::output(&store, &folder.blobs, 30, &soon()).await.unwrap();
    assert_eq!(retention::runs(&store, 10, 30, &soon()).await.unwrap(), 1);
    assert_eq!(count(&pool, "project_evaluation_runs").await, 1);
    // Of two that ended at one time, the mark may be at the first.
    let organization = rows::organization(&pool).await;
    let submission = rows::submission(&pool, organization).await;
    let at = "date_trunc('day', clock_timestamp()) - interval '39 days'";
    for _ in 0..2 {
        insert(&pool, organization, submission, with(columns(Status::Failed), "finished_at", at)).await.unwrap();
    }
    let next = store.expired_output(30, store.output_mark().await.unwrap()).await.unwrap();
    assert_eq!(next.len(), 2);
    store.mark_output(OutputMark { finished_at: next[0].finished_at, run_id: next[0].id }).await.unwrap();
    assert_eq!(retention::runs(&store, 10, 30, &soon()).await.unwrap(), 1);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn nobody_who_writes_a_run_waits_for_a_deletion(pool: PgPool) {
    let store = Store::on(pool.clone());
    let (old, active) = (ended(&pool, Status::Completed, 366).await, run_in(&pool, Status::Running).await);
    let mut deleting = pool.begin().await.unwrap();
    sqlx::query(include_str!("../../crates/store/sql/queries/delete_old_runs.sql"))
        .bind(365)
        .bind(false)
        .execute(&mut *deleting)
        .await
        .unwrap();
    let work = async {
        store.renew_leases(rows::WORKER, &[active.id]).await.unwrap();
        store.parse_run(rows::lease(&pool, active.id).await).await.unwrap();
        rows::submission(&pool, old.organization).await;
        store.read_run(old.organization, old.id).await.unwrap()
    };
    assert!(tokio::time::timeout(Duration::from_secs(2), work).await.unwrap().is_some(), "until it is committed");
    deleting.commit().await.unwrap();
    assert_eq!(count(&pool, "project_evaluation_runs").await, 1);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_key_can_be_used_anew_after_a_week(pool: PgPool) {
    let store = Store::on(pool.clone());
    let (old, young) = (ended(&pool, Status::Completed, 1).await, ended(&pool, Status::Completed, 1).await);
    for (run, days) in [(old, 8), (young, 6)] {
        sqlx::query(
            "UPDATE idempotency_keys SET created_at = now() - make_interval(days => $2) WHERE organization_id = $1",
        )
        .bind(run.organization)
        .bind(days)
        .execute(&pool)
        .await
        .unwrap();
    }
    assert_eq!(retention::keys(&store, &soon()).await.unwrap(), 1);
    assert!(store.first_use(old.organization, "key").await.unwrap().is_none());
    assert!(store.first_use(young.organization, "key").await.unwrap().is_some());
    assert_eq!(count(&pool, "project_submissions").await, 2);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn only_active_runs_have_an_active_attempt(pool: PgPool) {
    let store = Store::on(pool.clone());
    let (mut all, mut active) = (vec![Uuid::now_v7()], Vec::new());
    for status in Status::ALL {
        let run = run_with(&pool, with(columns(*status), "attempt", "2")).await;
        all.push(run.id);
        if status.is_active() {
            active.push((run.id, 2));
        }
    }
    let mut seen = store.active_attempts(&all).await.unwrap();
    seen.sort_unstable();
    active.sort_unstable();
    assert_eq!(seen, active);
}

/// An archive that another organisation handed in before is written like any other: one that was found would be kept
/// sooner, and whoever measures that would know that somebody else has it.
#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_archive_that_is_known_is_written_once_more(pool: PgPool) {
    use std::os::unix::fs::MetadataExt;
    let (store, folder) = (Store::on(pool.clone()), Folder::new());
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, b"zip").unwrap();
    let sha256 = "c".repeat(64);
    let spooled = assize::intake::spool::Spooled { file: std::sync::Arc::new(file), bytes: 3, sha256: sha256.clone() };
    let mut seen = Vec::new();
    for _ in 0..3 {
        assize::intake::keep::keep(&store, &folder.blobs, &spooled).await.unwrap();
        let metadata = std::fs::metadata(folder.archive(&sha256)).unwrap();
        let row: (String,) = sqlx::query_as("SELECT xmin::text FROM archives").fetch_one(&pool).await.unwrap();
        seen.push((metadata.ctime_nsec(), metadata.ino(), row.0));
        assert_eq!(std::fs::read(folder.archive(&sha256)).unwrap(), b"zip");
    }
    let differ = |a: &(i64, u64, String), b: &(i64, u64, String)| (a.0, a.1) != (b.0, b.1) && a.2 != b.2;
    assert!(differ(&seen[0], &seen[1]) && differ(&seen[1], &seen[2]), "file and row are written each time: {seen:?}");
    // A janitor that is deleting it is waited for, and the blob is there afterwards.
    age_archives(&pool, 40).await;
    set_age(&folder.archive(&sha256), 40 * DAY);
    let expired = store.lock_expired_archive(30, None).await.unwrap().unwrap();
    let keeping = {
        let (store, blobs, spooled) = (store.clone(), folder.blobs.clone(), spooled.clone());
        tokio::spawn(async move { assize::intake::keep::keep(&store, &blobs, &spooled).await })
    };
    locks::someone_waits(&pool).await;
    folder.blobs.delete_archive(&sha256, Clock::system().wall()).await.unwrap();
    expired.forget().await.unwrap();
    keeping.await.unwrap().unwrap();
    assert!(folder.archive(&sha256).is_file());
}

/// A measurement, in pairs: 1 MiB that nobody has, and the same once more, as another organisation would hand it in.
#[sqlx::test(migrations = "crates/store/sql/migrations")]
#[ignore = "says how long things take, and judges nothing"]
async fn how_long_a_known_archive_takes(pool: PgPool) {
    use std::io::Write;
    let (store, folder) = (Store::on(pool.clone()), Folder::new());
    let (mut unknown, mut known) = (Vec::new(), Vec::new());
    for number in 0_u64..200 {
        let bytes: Vec<u8> = number.to_le_bytes().repeat((1 << 20) / 8);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let spooled = assize::intake::spool::Spooled {
            file: std::sync::Arc::new(file),
            bytes: bytes.len() as u64,
            sha256: hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&bytes)),
        };
        for times in [&mut unknown, &mut known] {
            let begun = Stopwatch::start();
            assize::intake::keep::keep(&store, &folder.blobs, &spooled).await.unwrap();
            times.push(begun.elapsed());
        }
    }
    let shorter = unknown.iter().zip(&known).filter(|(unknown, known)| known < unknown).count();
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    println!("unknown {:?}, known {:?}; the known one took less in {shorter} of 200", median(unknown), median(known));
}
