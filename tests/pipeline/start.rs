//! What is missing at the start is named, with what to do about it, and soon.

use std::path::Path;
use std::time::Duration;

use crate::harness::processes::{Process, assize};
use crate::site::{Setup, Site, failure, message, repository, shared};
use crate::templates;

/// A process that cannot work says so within this time.
const SOON: Duration = Duration::from_secs(10);

const NOWHERE: &str = "postgres://nobody@localhost/none?host=/nonexistent-socket";

/// Starts a process of the site with other settings; its exit code and what it said.
pub async fn refused(site: &Site, process: &'static str, changes: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut settings: Vec<_> = site.settings.clone();
    settings.extend(changes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    let mut started = Process::start(process, assize(&settings).args([process, "--lifeline"]));
    tokio::task::spawn_blocking(move || (started.exit(SOON).code(), started.output())).await.unwrap()
}

fn template_with(folder: &Path, from: &str, to: &str) {
    templates::write(folder);
    let file = folder.join("script/template.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(file, text.replace(from, to)).unwrap();
}

#[tokio::test]
async fn what_is_missing_at_the_start_is_named_with_what_to_do() {
    let site = shared();
    let (no_image, bad_template) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    template_with(no_image.path(), "assize/base:1", "assize/no-such:1");
    template_with(bad_template.path(), "class = \"A\"", "class = \"A\"\nsurprise = 1");
    let (no_image, bad_template) = (no_image.path().to_str().unwrap(), bad_template.path().to_str().unwrap());
    /// A command, its environment, its exit code, and what its error must say.
    type Case<'a> = (&'static str, &'a [(&'a str, &'a str)], i32, &'a [&'a str]);
    let cases: [Case<'_>; 17] = [
        ("api", &[("database_url", NOWHERE), ("database_wait_s", "0")], 5, &["Postgres", "database_url"]),
        ("worker", &[("database_url", NOWHERE), ("database_wait_s", "0")], 5, &["Postgres", "database_url"]),
        ("worker", &[("docker_host", "unix:///nonexistent/docker.sock")], 5, &["Docker engine", "docker_host"]),
        ("worker", &[("templates_dir", no_image)], 2, &["no image assize/no-such:1", "make images"]),
        ("worker", &[("warden_path", "/nonexistent/warden")], 2, &["/nonexistent/warden", "warden_path"]),
        ("api", &[("templates_dir", "/nonexistent")], 2, &["/nonexistent", "set templates_dir"]),
        ("worker", &[("templates_dir", "/nonexistent")], 2, &["/nonexistent", "set templates_dir"]),
        ("api", &[("templates_dir", bad_template)], 2, &["script", "surprise"]),
        ("worker", &[("worker_slot", "1")], 2, &["unknown setting", "did you mean worker_slots?"]),
        ("api", &[("redis_url", "nonsense")], 2, &["redis_url"]),
        ("worker", &[("redis_url", "nonsense")], 2, &["redis_url"]),
        ("api", &[("api_listen", "203.0.113.1:1")], 2, &["cannot listen on 203.0.113.1:1", "set api_listen"]),
        ("api", &[("trusted_proxies", "nonsense")], 2, &["trusted_proxies", "nonsense"]),
        ("worker", &[("blob_url", "nonsense")], 2, &["blob_url"]),
        ("api", &[("signing_key_file", "/nonexistent/key")], 2, &["/nonexistent/key", "assize key signing create"]),
        ("worker", &[("signing_key_file", "/nonexistent/key")], 2, &["/nonexistent/key", "assize key signing create"]),
        ("worker", &[("signing_key_file", "/etc/hostname")], 2, &["/etc/hostname", "chmod 600"]),
    ];
    for (process, changes, code, words) in cases {
        let (seen, said) = refused(&site, process, changes).await;
        assert_eq!(seen, Some(code), "{process} with {changes:?}: {said}");
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        for word in words {
            assert!(said.contains(word), "{process} with {changes:?} does not say {word:?}: {said}");
        }
        assert!(!last.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{said}");
    }
}

#[tokio::test]
async fn a_database_without_the_schema_is_refused_with_the_command_that_makes_it() {
    let site = shared();
    let mut database = site.database().await;
    let name = format!("{}_empty", site.instance);
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut database).await.unwrap();
    let url = crate::site::with_database(&site.database_url, &name);
    let mut seen = Vec::new();
    for process in ["api", "worker"] {
        seen.push(refused(&site, process, &[("database_url", &url)]).await);
    }
    sqlx::query(sqlx::AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)")))
        .execute(&mut database)
        .await
        .unwrap();
    for (code, said) in seen {
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("assize migrate"), "{said}");
    }
}

#[tokio::test]
async fn a_template_that_the_worker_does_not_have_is_the_graders_fault() {
    let mut site = Site::start(Setup { settings: vec![("worker_slots", "1".to_owned())], ..Setup::default() });
    site.take_worker();
    std::fs::remove_dir_all(site.templates_dir.join("roomy")).unwrap();
    site.start_worker();
    let run = site.run("roomy", &[("run.sh", "exit 0")]).await;
    assert_eq!(failure(&run), ("failed", "template_invalid", "grader"), "{run}");
    assert!(message(&run).contains("\"roomy\"") && message(&run).contains("script"), "{run}");
    assert_eq!(site.states(crate::harness::id_of(&run)).await, ["queued", "preparing", "failed"]);
}

#[tokio::test]
async fn without_redis_at_the_start_both_processes_work() {
    let settings = vec![("worker_slots", "1".to_owned())];
    let redis_url = Some("redis://127.0.0.1:1".to_owned());
    let site =
        Site::start(Setup { redis_url, settings, templates_dir: Some(repository("templates")), ..Setup::default() });
    let run = site.run("trivial", &[("run.sh", "exit 0")]).await;
    assert_eq!(run["score"], 1.0, "{run}");
}
