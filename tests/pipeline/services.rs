//! Services that another cell judges.

use futures_util::future::join_all;

use crate::harness::id_of;
use crate::site::{failure, message, shared};
use crate::stages::fail_each;
use crate::templates::{APP, judged};

#[tokio::test]
async fn only_the_drivers_results_count_and_they_are_isolated() {
    let site = shared();
    // The project writes results of its own, in the place where the driver's would be.
    let forged = format!("open('results.json', 'w').write('{{\"score\": 9, \"max_score\": 9}}')\n{APP}");
    let judge = "json.dump({'score': 2, 'max_score': 5}, open('/workspace/results.json', 'w'))";
    let run = site.run("service", &[("app.py", &forged), ("judge.py", judge)]).await;
    assert_eq!((run["score"].as_f64(), run["max_score"].as_f64()), (Some(2.0), Some(5.0)), "{run}");
    assert_eq!(site.verdict(id_of(&run)).await["integrity"], "isolated");
    assert_eq!(site.states(id_of(&run)).await, ["queued", "preparing", "running", "parsing", "completed"]);
}

#[tokio::test]
async fn a_service_that_does_not_come_up_says_how() {
    let site = shared();
    let runs = fail_each(
        &site,
        &[
            ("service", &[("app.py", "raise SystemExit(4)")], "failed", "start_failed"),
            ("service", &[("app.py", "print('done')")], "failed", "start_failed"),
            ("service", &[("app.py", "import time; time.sleep(60)")], "timed_out", "start_timeout"),
        ],
    )
    .await;
    assert_eq!(message(&runs[0]), "the start stage exited with code 4; a service must keep running");
    assert_eq!(message(&runs[2]), "the service did not answer within 2 s of its start");
    assert_eq!(runs[1]["failure"]["evidence"]["last_output"], "done");
}

#[tokio::test]
async fn a_service_that_dies_after_it_was_up_costs_what_the_tests_say() {
    let site = shared();
    let app = APP
        .replace("import http.server", "import http.server, os, threading")
        .replace("http.server.test(", "threading.Timer(1, lambda: os._exit(3)).start()\nhttp.server.test(");
    let judge = "time.sleep(1.3)\n\
        try: urllib.request.urlopen(url); up = 1\n\
        except OSError: up = 0\n\
        json.dump({'score': up, 'max_score': 1}, open('/workspace/results.json', 'w'))";
    let run = site.run("service", &[("app.py", &app), ("judge.py", judge)]).await;
    assert_eq!((run["status"].as_str(), run["score"].as_f64()), (Some("completed"), Some(0.0)), "{run}");
}

#[tokio::test]
async fn a_service_that_takes_its_driver_down_with_it_has_failed_by_itself() {
    let site = shared();
    let app = "import http.server, os\n\
        class Handler(http.server.SimpleHTTPRequestHandler):\n    def do_GET(self): os._exit(3)\n\
        http.server.test(HandlerClass=Handler, port=8000, bind='127.0.0.1')\n";
    let run = site.run("page-unsaid", &[("app.py", app)]).await;
    assert_eq!(failure(&run), ("failed", "start_failed", "submission"), "{run}");
    assert!(message(&run).contains("the start stage exited with code 3"), "{}", message(&run));
    assert!(
        message(&run).contains("its driver could not test it: the tests ended without writing"),
        "{}",
        message(&run)
    );
}

#[tokio::test]
async fn what_fails_in_the_drivers_cell_is_the_graders_fault() {
    let site = shared();
    let cases = [
        ("bytearray(200 << 20)", "driver_failed", "the driver failed: the cell used more than its 48 MiB of memory"),
        ("os._exit(3)", "results_missing", "the tests ended without writing /workspace/results.json"),
        ("os.kill(os.getpid(), 9)", "results_missing", "the tests ended without writing"),
        ("open('/workspace/results.json', 'w').write('{')", "results_invalid", "cannot be read"),
        ("os.symlink('/etc/passwd', '/workspace/results.json')", "results_invalid", "is a symbolic link"),
        (
            "n = 0\nwhile True: n += 1; open(f'/workspace/{n}', 'w')",
            "driver_failed",
            "the driver failed: /workspace was full",
        ),
    ];
    let runs =
        join_all(cases.map(async |(judge, ..)| site.run("page-unsaid", &[("app.py", APP), ("judge.py", judge)]).await))
            .await;
    for (run, (judge, code, why)) in runs.iter().zip(cases) {
        assert_eq!(failure(run), ("failed", code, "grader"), "{judge}: {run}");
        assert!(message(run).starts_with(why) || message(run).contains(why), "{judge}: {}", message(run));
    }
}

/// A driver whose template says that the project can interrupt it.
#[tokio::test]
async fn what_interrupts_a_driver_that_may_score_zero_costs_what_it_had_not_written() {
    let site = shared();
    let half =
        "json.dump({'tests': [{'name': 'a', 'score': 1, 'max_score': 1}]}, open('/workspace/results.json', 'w'))\n";
    let cases = [
        ("bytearray(200 << 20)", "the cell used more than its 48 MiB of memory"),
        ("time.sleep(60)", "the tests stage took longer than its 10 s"),
        ("while True: print('x' * 65536)", "the tests stage wrote"),
        ("n = 0\nwhile True: n += 1; open(f'/workspace/{n}', 'w')", "/workspace was full"),
        ("os._exit(3)", "the tests exited with code 3"),
        ("os._exit(0)", "it ended before it had written all of its tests"),
        ("os.kill(os.getpid(), 9)", "the tests were ended by signal 9"),
    ];
    let judged = async |judge: &str| site.run("page", &[("app.py", APP), ("judge.py", judge)]).await;
    let partly = join_all(cases.map(async |(end, _)| judged(&format!("{half}{end}")).await)).await;
    let barely = join_all(cases.map(async |(end, _)| judged(end).await)).await;
    for (runs, score) in [(partly, 1.0), (barely, 0.0)] {
        for (run, (end, why)) in runs.iter().zip(cases) {
            let seen = (run["status"].as_str(), run["score"].as_f64(), run["max_score"].as_f64());
            assert_eq!(seen, (Some("completed"), Some(score), Some(4.0)), "{end}: {run}");
            let verdict = site.verdict(id_of(run)).await;
            let told = verdict["tests"].as_array().unwrap().last().unwrap()["message"].as_str().unwrap();
            // Without a report it says that first, where its end was its own.
            let is_told = told.contains(why) || score == 0.0 && told.contains("ended without writing");
            assert!(told.starts_with("the driver was interrupted: ") && is_told, "{end}: {told}");
        }
    }
    // One that nothing happened to is judged as any other.
    let whole =
        "json.dump({'tests': [{'name': 'a', 'score': 2, 'max_score': 2}] * 2}, open('/workspace/results.json', 'w'))";
    let run = judged(whole).await;
    assert_eq!((run["score"].as_f64(), run["max_score"].as_f64()), (Some(4.0), Some(4.0)), "{run}");
    assert_eq!(site.verdict(id_of(&run)).await["tests"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_service_that_answers_without_end_times_out_by_its_own_fault() {
    let site = shared();
    let runs = fail_each(
        &site,
        &[("service", &[("app.py", APP), ("judge.py", "time.sleep(60)")], "timed_out", "stage_timeout")],
    )
    .await;
    assert_eq!(message(&runs[0]), "the tests stage took longer than its 3 s");
}

/// Both listen on the same port at the same time, and neither meets the other.
#[tokio::test]
async fn two_runs_at_once_have_a_loopback_each() {
    let site = shared();
    let judge = judged(
        "time.sleep(1)\nmine = urllib.request.urlopen(url + '/name').read()\n\
         want = urllib.request.urlopen(url + '/judge.py').read().split(b'# ')[-1].strip()\nassert mine == want",
    );
    let one = async |name: &str| {
        let judge = format!("{judge}# {name}\n");
        site.run("service", &[("app.py", APP), ("judge.py", &judge), ("name", name)]).await
    };
    let (first, second) = tokio::join!(one("first"), one("second"));
    for run in [&first, &second] {
        assert_eq!((run["status"].as_str(), run["score"].as_f64()), (Some("completed"), Some(1.0)), "{run}");
    }
    let time =
        |run: &serde_json::Value, key: &str| chrono::DateTime::parse_from_rfc3339(run[key].as_str().unwrap()).unwrap();
    assert!(time(&first, "started_at") < time(&second, "finished_at"));
    assert!(time(&second, "started_at") < time(&first, "finished_at"), "they did not run side by side");
}
