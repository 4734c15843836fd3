//! The operators' commands as an operator meets them: the real binary on a real database.

use std::process::{Command, Output};

use assize_domain::run::Status;
use assize_store::Store;
use assize_store::workers::WorkerReport;
use serde_json::Value;
use sqlx::{ConnectOptions, PgPool};

use crate::rows::{self, WORKER, wanted};

/// The binary, for the database of one test. No Redis answers.
struct Operator {
    database_url: String,
    folder: tempfile::TempDir,
}

struct Printed {
    code: i32,
    out: String,
    err: String,
}

impl Operator {
    fn on(pool: &PgPool) -> Self {
        Self { database_url: pool.connect_options().to_url_lossy().to_string(), folder: tempfile::tempdir().unwrap() }
    }

    async fn run(&self, arguments: &[&str]) -> Printed {
        let mut command = Command::new(env!("CARGO_BIN_EXE_assize"));
        command.args(arguments).current_dir(self.folder.path()).env("NO_COLOR", "1");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ASSIZE_") {
                command.env_remove(name);
            }
        }
        command.env("ASSIZE_DATABASE_URL", &self.database_url).env("ASSIZE_REDIS_URL", "redis://127.0.0.1:1");
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let Output { status, stdout, stderr } = ended;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Printed { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let printed = self.run(&[arguments, &["--json"]].concat()).await;
        assert_eq!(printed.code, 0, "{}", printed.err);
        serde_json::from_str(&printed.out).unwrap_or_else(|error| panic!("{error}: {}", printed.out))
    }
}

async fn report(store: &Store, id: &str, half_slots: i32) {
    let report = WorkerReport { id, half_slots, state: "claiming", detail: "", unenforced: &[] };
    store.report_worker(report).await.unwrap();
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_operator_pauses_all_workers_and_lets_them_resume(pool: PgPool) {
    let (store, operator) = (Store::on(pool.clone()), Operator::on(&pool));
    report(&store, WORKER, 8).await;
    rows::run_in(&pool, Status::Running).await;
    rows::run_in(&pool, Status::Queued).await;
    let paused = operator.run(&["pause", "--reason", "new disks"]).await;
    assert_eq!((paused.code, paused.out.as_str()), (0, "claims of all workers are paused; 1 active run goes on\n"));
    assert!(paused.err.contains("the workers notice within 5 s"), "{}", paused.err);
    assert!(store.claim_runs(WORKER, wanted(8, 100, 1)).await.unwrap().is_empty());
    let listed = operator.run(&["workers"]).await;
    assert!(
        listed.out.starts_with("claims of all workers are paused by operator: new disks, since "),
        "{}",
        listed.out
    );
    let queue = operator.json(&["queue"]).await;
    assert_eq!((&queue["paused"]["reason"], &queue["runs"]), (&"new disks".into(), &1.into()));
    assert_eq!(queue["reasons"][0]["name"], "paused");
    assert_eq!(operator.json(&["resume"]).await["resumed"], true);
    assert_eq!(operator.json(&["resume"]).await["resumed"], false, "a second time is no mistake");
    assert_eq!(operator.run(&["resume"]).await.out, "no operator has paused the claims of all workers\n");
    assert_eq!(store.claim_runs(WORKER, wanted(8, 100, 1)).await.unwrap().len(), 1);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_command_that_waits_ends_with_the_last_run_or_with_its_time(pool: PgPool) {
    let (store, operator) = (Store::on(pool.clone()), Operator::on(&pool));
    report(&store, WORKER, 8).await;
    let run = rows::run_in(&pool, Status::Running).await;
    let late = operator.run(&["pause", "--wait", "1"]).await;
    assert_eq!(late.code, 5);
    assert!(late.err.contains("1 run is still active after 1 s; the pause stays"), "{}", late.err);
    assert!(store.operator_pause().await.unwrap().is_some());
    let (waited, ()) = tokio::join!(operator.run(&["drain", WORKER, "--wait", "60"]), async {
        // The run ends once the worker is known to drain.
        while store.list_workers().await.unwrap()[0].drain_reason.is_none() {
            tokio::task::yield_now().await;
        }
        rows::end(&pool, run.id).await;
    });
    assert_eq!((waited.code, waited.out), (0, format!("worker {WORKER} is drained\n")));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_operator_drains_one_worker_by_a_part_of_its_name(pool: PgPool) {
    let (store, operator) = (Store::on(pool.clone()), Operator::on(&pool));
    for id in ["node-1.40-812-99", "node-2.40-813-99"] {
        report(&store, id, 8).await;
    }
    let several = operator.run(&["drain", "node"]).await;
    assert_eq!(several.code, 2);
    assert!(several.err.contains("2 workers have \"node\" in their names"), "{}", several.err);
    let none = operator.run(&["drain", "node-3"]).await;
    assert_eq!(none.code, 2);
    assert!(none.err.contains("`assize workers` lists the workers"), "{}", none.err);
    let drained = operator.json(&["drain", "node-2", "--reason", "new disks"]).await;
    assert_eq!((&drained["worker"], &drained["drained"]), (&"node-2.40-813-99".into(), &true.into()));
    let workers = operator.json(&["workers"]).await;
    let seen: Vec<_> =
        workers["workers"].as_array().unwrap().iter().map(|seen| seen["state"].as_str().unwrap()).collect();
    assert_eq!(seen, ["claiming", "drained"]);
    assert_eq!(workers["workers"][1]["detail"], "drained by operator: new disks");
    assert_eq!(workers["workers"][1]["host"], "node-2");
    operator.run(&["pause"]).await;
    let resumed = operator.run(&["resume"]).await;
    assert!(resumed.err.contains("worker node-2.40-813-99 still drains"), "{}", resumed.err);
    assert_eq!(operator.run(&["resume", "813"]).await.out, "claims of worker node-2.40-813-99 resume\n");
    assert_eq!(operator.run(&["resume", "813"]).await.code, 0, "nothing drains any more");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_reason_that_nobody_could_read_is_refused(pool: PgPool) {
    let operator = Operator::on(&pool);
    for (reason, words) in [("two\nlines", "hidden character U+000A"), (&*"x".repeat(201), "the limit is 200")] {
        let refused = operator.run(&["pause", "--reason", reason]).await;
        assert_eq!(refused.code, 2);
        assert!(refused.err.contains(words), "{}", refused.err);
    }
    assert!(Store::on(pool).operator_pause().await.unwrap().is_none());
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn the_screen_is_printed_once_where_there_is_no_terminal(pool: PgPool) {
    let (store, operator) = (Store::on(pool.clone()), Operator::on(&pool));
    report(&store, WORKER, 8).await;
    for status in [Status::Running, Status::Queued, Status::Completed, Status::Failed, Status::Failed] {
        rows::run_in(&pool, status).await;
    }
    let printed = operator.run(&["top"]).await;
    assert_eq!(printed.code, 0, "{}", printed.err);
    for words in [
        "1 of 4 in use by 1 runs on 1 workers",
        "1 run waits, for ",
        "3 runs in the last 15 min, 1 of them with a verdict",
        "build_failed",
        "stalls  of this host",
        WORKER,
    ] {
        assert!(printed.out.contains(words), "{words:?} is missing:\n{}", printed.out);
    }
    assert!(!printed.out.contains('\u{1b}'), "no terminal, no escape sequences");
    let seen = operator.json(&["top"]).await;
    assert_eq!((&seen["slots"]["used"], &seen["slots"]["all"]), (&1.0.into(), &4.0.into()));
    assert_eq!((&seen["ended"]["failures"]["build_failed"], &seen["queue"]["runs"]), (&2.into(), &1.into()));
    assert_eq!(
        operator.run(&["queue"]).await.out.lines().next(),
        printed.out.lines().find_map(|line| line.strip_prefix("queue   "))
    );
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_installation_without_workers_says_so(pool: PgPool) {
    let operator = Operator::on(&pool);
    let listed = operator.run(&["workers"]).await;
    assert_eq!(listed.code, 0);
    assert_eq!(listed.out, "no worker has reported within the last hour; start one with `assize worker`\n");
    assert_eq!(operator.run(&["queue"]).await.out, "no run waits\n");
    rows::run_in(&pool, Status::Queued).await;
    assert_eq!(operator.json(&["queue"]).await["reasons"][0]["name"], "no_worker");
}

#[sqlx::test(migrations = false)]
async fn a_schema_that_is_too_old_is_named_with_what_to_do(pool: PgPool) {
    let operator = Operator::on(&pool);
    for command in [&["pause"][..], &["resume"], &["drain", "x"], &["workers"], &["queue"], &["top"], &["cleanup"]] {
        let failed = operator.run(command).await;
        assert_eq!(failed.code, 2, "{command:?}");
        assert!(failed.err.contains("run `assize migrate`"), "{command:?}: {}", failed.err);
    }
}
