//! The metrics of a started API and a started worker, compared with what rules, boards and documents name.

use std::collections::BTreeSet;

use assize::installation::{Settings, keys};
use uuid::Uuid;

use super::processes::{Process, assize, check_warden};
use super::{database, names, promtool, root};

/// An API and a worker that serve `/metrics`. They end with the test.
struct Installation {
    api: Process,
    worker: Process,
    _folder: tempfile::TempDir,
}

impl Installation {
    fn start(database_url: &str, instance: &str) -> Self {
        check_warden();
        let folder = tempfile::tempdir().unwrap();
        let templates = folder.path().join("templates/trivial");
        std::fs::create_dir_all(&templates).unwrap();
        std::fs::copy(root("templates/trivial/template.toml"), templates.join("template.toml")).unwrap();
        let redis_url = std::env::var("REDIS_URL").expect("REDIS_URL names a Redis for tests");
        let settings = Settings::in_folder(folder.path())
            .ignoring_host_load()
            .with("instance", instance)
            .with("database_url", database_url)
            .with("redis_url", redis_url)
            .with("templates_dir", folder.path().join("templates").display())
            // The address distinguishes the two listeners of one process.
            .with("api_listen", "127.0.0.1:0")
            .with("api_metrics_listen", "127.0.0.2:0")
            .with("worker_metrics_listen", "127.0.0.2:0")
            .with("worker_slots", 1);
        keys::ensure_signing_key(&Settings::signing_key_file(folder.path())).unwrap();
        let settings: Vec<_> = settings.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let api = Process::start("assize api", assize(&settings).args(["api", "--lifeline"]));
        let worker = Process::start("assize worker", assize(&settings).args(["worker", "--lifeline"]));
        worker.wait_for("worker ready");
        Self { api, worker, _folder: folder }
    }
}

async fn metrics_of(process: &Process) -> String {
    let port = process.port_on([127, 0, 0, 2]);
    reqwest::get(format!("http://127.0.0.2:{port}/metrics")).await.unwrap().text().await.unwrap()
}

/// The names of the families, from their lines of type.
fn families(text: &str) -> BTreeSet<String> {
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    names.filter(|name| name.starts_with("assize_")).map(str::to_owned).collect()
}

/// The value of a series without labels.
fn value<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}: {text}"));
    line.trim()
}

#[tokio::test]
async fn rules_boards_and_documents_name_the_metrics_that_exist_and_all_of_them() {
    let instance = format!("t{}", Uuid::now_v7().simple());
    let (url, _key) = database::make(format!("assize_{instance}")).await;
    let installation = Installation::start(&url, &instance);
    let (api, worker) = (metrics_of(&installation.api).await, metrics_of(&installation.worker).await);
    drop(installation);
    database::delete(&url).await;

    // Nobody asked the API whether it is ready, and the worker has no run.
    assert!(api.contains("assize_dependency_up{dependency=\"postgres\"} 1\n"), "{api}");
    assert_ne!(value(&worker, "assize_heartbeat_last_success_timestamp_seconds"), "0");
    for text in [&api, &worker] {
        assert_ne!(value(text, "assize_process_start_timestamp_seconds"), "0");
        let printed = promtool::passes(&["check", "metrics"], text);
        assert!(printed.trim().is_empty(), "{printed}");
    }
    let exist: BTreeSet<String> = families(&api).union(&families(&worker)).cloned().collect();
    assert!(exist.len() > 30, "{exist:?}");
    let mut wrong = Vec::new();
    let named = names::metrics_by_file();
    for (path, metrics) in &named {
        let unknown = metrics.iter().filter(|name| !exist.contains(*name) && !names::TEXTFILE.contains(&name.as_str()));
        wrong.extend(unknown.map(|name| format!("{path} names {name}, which no process serves")));
    }
    let shown: BTreeSet<&String> =
        named.iter().filter(|(path, _)| !path.starts_with("docs/")).flat_map(|(_, metrics)| metrics).collect();
    let documented = &named["docs/operations.md"];
    for name in &exist {
        if !shown.contains(name) {
            wrong.push(format!("no rule and no board uses {name}"));
        }
        if !documented.contains(name) {
            wrong.push(format!("docs/operations.md does not list {name}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
