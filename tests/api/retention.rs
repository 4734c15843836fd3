//! An archive that is submitted while the janitor deletes it because of its age.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use assize::maintenance::retention;
use assize_host::clock::{Clock, Deadline};
use sqlx::PgPool;

use crate::harness::locks::someone_waits;
use crate::harness::{DEADLINE, Server, good_form, json};

/// A submission of long ago: nobody waits for its run any more, and its archive is 40 days old.
async fn of_long_ago(server: &Server, pool: &PgPool) -> (String, PathBuf) {
    let submitted = json(server.submit(good_form()).send().await.unwrap()).await;
    let sha256 = submitted["submission"]["archive_sha256"].as_str().unwrap().to_owned();
    let lease = server.running().await;
    server.complete(lease).await;
    age(pool).await;
    let path = server.folder().join(format!("blobs/archives/{}/{sha256}.zip", &sha256[..2]));
    age_blob(&path);
    (sha256, path)
}

async fn age(pool: &PgPool) {
    sqlx::query("UPDATE archives SET last_used_at = now() - interval '40 days'").execute(pool).await.unwrap();
}

fn age_blob(path: &Path) {
    #[expect(clippy::disallowed_methods, reason = "the file system's clock, not the service's")]
    let then = SystemTime::now() - Duration::from_secs(40 * 86_400);
    std::fs::File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn one_that_is_being_deleted_is_stored_anew(pool: PgPool) {
    let server = Server::start(pool.clone()).await;
    let (sha256, path) = of_long_ago(&server, &pool).await;
    let expired = server.store.lock_expired_archive(30, None).await.unwrap().unwrap();
    assert_eq!(expired.sha256, sha256);
    let submitting = tokio::spawn(server.submit(good_form()).send());
    someone_waits(&pool).await;
    // The worst moment: the submission has seen the blob.
    assert!(server.blobs.delete_archive(&sha256, Clock::system().wall()).await.unwrap() && !path.exists());
    expired.forget().await.unwrap();
    assert_eq!(submitting.await.unwrap().unwrap().status(), 202);
    assert!(path.exists());
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn one_that_was_handed_in_again_is_not_deleted(pool: PgPool) {
    let server = Server::start(pool.clone()).await;
    let (_, path) = of_long_ago(&server, &pool).await;
    assert_eq!(server.submit(good_form()).send().await.unwrap().status(), 202);
    let lease = server.running().await;
    server.complete(lease).await;
    let until = Deadline::after(&Clock::system(), DEADLINE);
    assert_eq!(retention::archives(&server.store, &server.blobs, 30, &until).await.unwrap(), 0);
    assert!(path.exists());
    // And without that it is; handing it in again has written the blob anew.
    age(&pool).await;
    age_blob(&path);
    assert_eq!(retention::archives(&server.store, &server.blobs, 30, &until).await.unwrap(), 1);
    assert!(!path.exists());
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn submissions_and_deletions_at_once_lose_nothing(pool: PgPool) {
    let server = Server::start(pool.clone()).await;
    let (_, path) = of_long_ago(&server, &pool).await;
    for _ in 0..30 {
        let until = Deadline::after(&Clock::system(), DEADLINE);
        let (submitted, again, deleted) = tokio::join!(
            server.submit(good_form()).send(),
            server.submit(good_form()).send(),
            retention::archives(&server.store, &server.blobs, 30, &until)
        );
        assert!(submitted.unwrap().status() == 202 && again.unwrap().status() == 202);
        deleted.unwrap();
        assert!(path.exists(), "a run that exists finds its archive");
        // Nobody waits for the runs, so that the archive may go next time.
        sqlx::query("TRUNCATE run_artifacts, run_events, project_evaluation_runs").execute(&pool).await.unwrap();
        age(&pool).await;
        age_blob(&path);
    }
}
