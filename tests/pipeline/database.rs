//! The way to the database: roles with least rights, poolers, and a database that comes later than its clients.

use assize_host::clock::Stopwatch;

use crate::harness::id_of;
use crate::harness::pgbouncer::{PgBouncer, is_safe_in_transaction_mode};
use crate::harness::processes::{Process, assize};
use crate::site::{Setup, Site, postgres_socket, repository, shared, with_database};
use crate::start::refused;

fn setup() -> Setup {
    Setup {
        settings: vec![("worker_slots", "2".to_owned())],
        templates_dir: Some(repository("templates")),
        ..Setup::default()
    }
}

/// A run that passes, one that fails, one that is cancelled while it waits, and one while it runs.
async fn evaluate(site: &Site) {
    let passed = site.run("trivial", &[("run.sh", "exit 0")]).await;
    assert_eq!((passed["status"].as_str(), passed["score"].as_f64()), (Some("completed"), Some(1.0)), "{passed}");
    let failed = site.run("trivial", &[("run.sh", "exit 1")]).await;
    assert_eq!((failed["status"].as_str(), failed["score"].as_f64()), (Some("completed"), Some(0.0)), "{failed}");
    let run = site.submit("trivial", &[("run.sh", "sleep 30")]).await;
    site.reached(run, "running").await;
    assert_eq!(site.cancel(run).await, 202);
    let cancelled = site.ended(run).await;
    assert_eq!(cancelled["status"], "aborted", "{cancelled}");
    let listed = crate::harness::json(site.get("/v1/runs?limit=10").send().await.unwrap()).await;
    assert_eq!(listed["runs"].as_array().map(Vec::len), Some(3), "{listed}");
    let verdict = site.verdict(id_of(&passed)).await;
    assert_eq!(verdict["score"], 1.0, "{verdict}");
}

#[tokio::test]
async fn with_least_rights_every_run_ends_as_it_should() {
    let mut site = Site::start(Setup { roles: true, ..setup() });
    evaluate(&site).await;
    // A queued run is ended by the API itself.
    let mut worker = site.take_worker();
    worker.terminate();
    worker.exit(std::time::Duration::from_secs(20));
    let worker_output = worker.output();
    let run = site.submit("trivial", &[("run.sh", "exit 0")]).await;
    assert_eq!(site.cancel(run).await, 202);
    assert_eq!(site.read(run).await["status"], "aborted");
    for text in [site.api.output(), worker_output] {
        assert!(!text.contains("permission denied"), "{text}");
    }
}

#[tokio::test]
async fn through_a_pooler_in_session_mode_every_run_ends_as_it_should() {
    let pooler = PgBouncer::start("session", postgres_socket().parent().unwrap(), "");
    let site = Site::start(Setup { postgres_folder: Some(pooler.folder().to_owned()), ..setup() });
    evaluate(&site).await;
}

#[tokio::test]
async fn a_pooler_in_transaction_mode_is_used_if_it_is_safe_and_refused_otherwise() {
    let is_safe = is_safe_in_transaction_mode();
    let extra = if is_safe { "max_prepared_statements = 200" } else { "" };
    let pooler = PgBouncer::start("transaction", postgres_socket().parent().unwrap(), extra);
    if is_safe {
        let site = Site::start(Setup { postgres_folder: Some(pooler.folder().to_owned()), ..setup() });
        return evaluate(&site).await;
    }
    let site = shared();
    let database = site.database_url.split('?').next().and_then(|url| url.rsplit('/').next()).unwrap().to_owned();
    for process in ["api", "worker"] {
        let (code, said) = refused(&site, process, &[("database_url", &pooler.url(&database))]).await;
        assert_eq!(code, Some(2), "{process}: {said}");
        let last = said.lines().last().unwrap_or_default();
        for word in ["mixes up prepared statements", pooler.folder().to_str().unwrap(), "pool_mode"] {
            assert!(last.contains(word), "{process} does not say {word:?}: {said}");
        }
    }
}

#[tokio::test]
async fn a_role_that_is_not_let_in_ends_the_start_at_once() {
    let site = shared();
    let url = with_database(&site.database_url, "no_such_database");
    for process in ["api", "worker"] {
        let (code, said) = refused(&site, process, &[("database_url", &url)]).await;
        assert_eq!(code, Some(2), "{process}: {said}");
        assert!(said.contains("no_such_database") && said.contains("database_url"), "{said}");
    }
}

#[tokio::test]
async fn a_process_that_starts_waits_for_its_database() {
    let site = shared();
    let folder = tempfile::tempdir().unwrap();
    let url = site
        .database_url
        .replace(&postgres_socket().parent().unwrap().display().to_string(), &folder.path().display().to_string());
    let mut settings = site.settings.clone();
    settings.push(("database_url".to_owned(), url));
    let begun = Stopwatch::start();
    let api = Process::start("assize api", assize(&settings).args(["api", "--lifeline"]));
    api.wait_for("waiting for Postgres");
    std::os::unix::fs::symlink(postgres_socket(), folder.path().join(".s.PGSQL.5432")).unwrap();
    let port = api.port_on([127, 0, 0, 1]);
    let ready = reqwest::get(format!("http://127.0.0.1:{port}/readyz")).await.unwrap();
    assert_eq!(ready.status(), 200);
    assert!(begun.elapsed().as_secs() < 30);
}

#[tokio::test]
async fn a_process_that_waits_for_its_database_can_be_stopped() {
    let site = shared();
    for process in ["api", "worker"] {
        let mut settings = site.settings.clone();
        settings
            .push(("database_url".to_owned(), "postgres://nobody@localhost/none?host=/nonexistent-socket".to_owned()));
        let mut started = Process::start(process, assize(&settings).args([process, "--lifeline"]));
        started.wait_for("waiting for Postgres");
        started.terminate();
        let code = tokio::task::spawn_blocking(move || started.exit(std::time::Duration::from_secs(10)).code());
        assert_eq!(code.await.unwrap(), Some(0), "{process}");
    }
}
