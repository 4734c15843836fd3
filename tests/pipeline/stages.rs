//! What a stage comes to: exit codes, time limits, programs that cannot be started.

use futures_util::future::join_all;

use crate::site::{Site, failure, message, shared};

/// A template, the project's files, the status and the failure code that they must end with.
pub type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);

/// Runs side by side; each must fail as it is told, by the project's own fault.
pub async fn fail_each(site: &Site, cases: &[Case<'_>]) -> Vec<serde_json::Value> {
    let runs = join_all(cases.iter().map(|(template, files, ..)| site.run(template, files))).await;
    for (run, (template, files, status, code)) in runs.iter().zip(cases) {
        assert_eq!(failure(run), (*status, *code, "submission"), "{template} {files:?}: {run}");
        assert!(run["failure"]["transient"] == false && run["attempt"] == 1, "{run}");
        assert!(run["score"].is_null() && !message(run).is_empty(), "{run}");
    }
    runs
}

#[tokio::test]
async fn an_exit_code_is_a_verdict_and_failing_tests_are_a_completed_run() {
    let site = shared();
    for (script, score) in [("exit 0", 1.0), ("exit 3", 0.0), ("kill -9 $$", 0.0)] {
        let run = site.run("script", &[("run.sh", script)]).await;
        assert_eq!((run["status"].as_str(), run["score"].as_f64()), (Some("completed"), Some(score)), "{run}");
        assert!(run["max_score"] == 1.0 && run["failure"].is_null(), "{run}");
        let id = crate::harness::id_of(&run);
        assert_eq!(site.verdict(id).await["integrity"], "shared");
        assert_eq!(site.states(id).await, ["queued", "preparing", "running", "parsing", "completed"]);
        site.until("its cells are gone", async || site.cells(Some(id)).await.is_empty()).await;
    }
}

#[tokio::test]
async fn a_stage_that_fails_ends_the_run_by_its_own_name() {
    let site = shared();
    let fine = ("install.sh", "echo installed");
    let runs = fail_each(
        &site,
        &[
            ("staged", &[("install.sh", "echo no such package >&2; exit 7")], "failed", "install_failed"),
            ("staged", &[fine, ("build.sh", "kill -11 $$")], "failed", "build_failed"),
        ],
    )
    .await;
    let evidence = &runs[0]["failure"]["evidence"];
    assert_eq!((evidence["stage"].as_str(), evidence["exit_code"].as_i64()), (Some("install"), Some(7)));
    assert_eq!(evidence["last_output"], "no such package");
    assert_eq!(runs[1]["failure"]["evidence"]["signal"], 11);
    assert_eq!(runs[1]["phase"], "build");
    let whole = [fine, ("build.sh", "echo built"), ("run.sh", "echo tested")];
    let run = site.run("staged", &whole).await;
    assert_eq!(run["score"], 1.0, "{run}");
    assert_eq!(site.text(crate::harness::id_of(&run), "").await, "installed\nbuilt\ntested\n");
}

/// FAILURES 12.
#[tokio::test]
async fn no_process_outlives_its_time_however_it_resists() {
    let site = shared();
    let runs = fail_each(
        &site,
        &[
            ("script", &[("run.sh", "sleep 60")], "timed_out", "stage_timeout"),
            ("script", &[("run.sh", "trap '' TERM; while :; do :; done")], "timed_out", "stage_timeout"),
            ("script", &[("run.sh", "kill -STOP $$")], "timed_out", "stage_timeout"),
            ("script", &[("run.sh", "setsid sh -c 'trap \"\" TERM; sleep 60' & wait")], "timed_out", "stage_timeout"),
            ("hasty", &[("run.sh", "sleep 60")], "timed_out", "global_timeout"),
        ],
    )
    .await;
    assert_eq!(message(&runs[0]), "the tests stage took longer than its 2 s");
    assert_eq!(message(&runs[4]), "the run took longer than its 1 s");
}

#[tokio::test]
async fn a_daemon_that_a_stage_leaves_behind_does_not_keep_the_run() {
    let site = shared();
    let script = "(setsid sh -c 'trap \"\" TERM HUP; sleep 60' &) ; echo left";
    let run = site.run("script", &[("run.sh", script)]).await;
    assert_eq!((run["status"].as_str(), run["score"].as_f64()), (Some("completed"), Some(1.0)), "{run}");
}

#[tokio::test]
async fn a_program_that_the_kernel_refuses_is_a_failed_stage_that_says_why() {
    let site = shared();
    let runs = fail_each(
        &site,
        &[
            ("program", &[("program", "\u{7f}ELF is what I am not")], "failed", "build_failed"),
            ("program", &[("other", "")], "failed", "build_failed"),
            ("program", &[("program", "#!/no/such/interpreter\n")], "failed", "build_failed"),
        ],
    )
    .await;
    for run in &runs {
        assert!(message(run).starts_with("the build stage could not be started: "), "{run}");
    }
}

#[tokio::test]
async fn every_class_is_run_and_kept_with_its_weight() {
    let site = shared();
    for (template, class, half_slots) in [("script", "A", 1), ("frontend", "B", 2), ("browser", "C", 4)] {
        let run = site.run(template, &[("run.sh", "exit 0")]).await;
        assert_eq!((run["status"].as_str(), run["class"].as_str()), (Some("completed"), Some(class)), "{run}");
        let query = "SELECT half_slots FROM project_evaluation_runs WHERE id = $1";
        let id = crate::harness::id_of(&run);
        let kept: i32 = sqlx::query_scalar(query).bind(id).fetch_one(&mut site.database().await).await.unwrap();
        assert_eq!(kept, half_slots);
    }
}
