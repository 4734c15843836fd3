//! Results as a project's tests leave them: good in every format, and bad in every way.

use futures_util::future::join_all;
use serde_json::Value;

use crate::harness::{id_of, json, zips};
use crate::site::{Site, failure, message, repository, shared};

/// A run whose tests stage leaves this report.
async fn reported(site: &Site, format: &str, report: &[u8]) -> Value {
    let archive = zips::zip(&[("run.sh", b"cp report results"), ("report", report)]);
    site.ended(site.submit_archive(format, archive).await).await
}

#[tokio::test]
async fn every_format_becomes_the_verdict_that_its_report_says() {
    let site = shared();
    let cases = [
        ("gradescope", "gradescope/full.json", 8.5, 10.0),
        ("gradescope", "gradescope/total.json", 44.0, 50.0),
        ("junit", "junit/pytest.xml", 3.0, 7.0),
        ("tap", "tap/perl.tap", f64::NAN, f64::NAN),
        ("ctrf", "ctrf/playwright.json", 2.0, 4.0),
    ];
    let runs = join_all(cases.map(async |(format, file, ..)| {
        let report = std::fs::read(repository("tests/data/verdict").join(file)).unwrap();
        (reported(&site, format, &report).await, report)
    }))
    .await;
    for ((run, report), (format, file, score, max_score)) in runs.into_iter().zip(cases) {
        assert_eq!(run["status"], "completed", "{file}: {run}");
        let seen = site.verdict(id_of(&run)).await;
        // The pure reading of the same bytes, which has tests of its own.
        let format = serde_json::from_value(format.into()).unwrap();
        let limits = assize::verdict::Limits::default();
        let read = assize::verdict::parse(format, &report, assize::verdict::Integrity::Shared, &limits).unwrap();
        assert_eq!(seen["tests"], serde_json::to_value(&read.tests).unwrap(), "{file}");
        assert_eq!((run["score"].as_f64(), run["max_score"].as_f64()), (Some(read.score), Some(read.max_score)));
        if !score.is_nan() {
            assert_eq!((read.score, read.max_score), (score, max_score), "{file}");
        }
        let path = format!("/v1/runs/{}/verdict?format=gradescope", id_of(&run));
        let gradescope = json(site.get(&path).send().await.unwrap()).await;
        assert_eq!(gradescope["score"], run["score"], "{file}");
    }
}

/// FAILURES 28.
#[tokio::test]
async fn one_bad_byte_does_not_discard_a_report() {
    let site = shared();
    let run = reported(&site, "tap", b"1..2\nok 1 - caf\xe9\nok 2 - fine\n").await;
    assert_eq!((run["score"].as_f64(), run["max_score"].as_f64()), (Some(2.0), Some(2.0)), "{run}");
    assert_eq!(site.verdict(id_of(&run)).await["tests"][0]["name"], "caf\u{fffd}");
}

/// FAILURES 14.
#[tokio::test]
async fn results_that_are_no_plain_small_file_are_never_read() {
    let site = shared();
    let cases = [
        ("true", "results_missing", "the tests ended without writing /workspace/results"),
        ("ln -s /etc/passwd results", "results_invalid", "is a symbolic link"),
        ("ln -s /no/such results", "results_invalid", "is a symbolic link"),
        ("mkfifo results", "results_invalid", "is a FIFO"),
        ("mkdir results", "results_invalid", "is a folder"),
        ("echo '1..1' > other; ln other results", "results_invalid", "has 2 names"),
        ("head -c 65537 /dev/zero > results", "results_invalid", "has 65537 bytes or more, the limit is 65536"),
        ("truncate -s 1M results", "results_invalid", "the limit is 65536"),
        // Longer than any file of a cell may be: it is not made at all.
        ("truncate -s 8G results", "results_invalid", "the report is empty"),
        ("head -c 4096 /dev/urandom > results", "results_invalid", "cannot be read"),
        (": > results", "results_invalid", "cannot be read"),
    ];
    let runs = join_all(cases.map(async |(script, ..)| site.run("junit", &[("run.sh", script)]).await)).await;
    for (run, (script, code, why)) in runs.iter().zip(cases) {
        assert_eq!(failure(run), ("failed", code, "grader"), "{script}: {run}");
        assert!(message(run).contains(why), "{script}: {}", message(run));
    }
}

#[tokio::test]
async fn results_written_after_the_tests_ended_do_not_count() {
    let site = shared();
    let script = "(setsid sh -c 'trap \"\" TERM HUP; while :; do echo \"1..1\nok 1\" > results; done' &); \
        rm -f results; mkdir -p gone; exit 0";
    let run = site.run("gradescope", &[("run.sh", script)]).await;
    // Whatever the daemon left, it was dead when the file was read, and it is no valid report.
    assert_eq!(run["failure"]["cause"], "grader", "{run}");
}

/// A run of a template that expects two tests, whose runner ends as the script does.
async fn claimed(site: &Site, template: &str, report: &str, end: &str) -> Value {
    let script = format!("cp report results; {end}");
    site.run(template, &[("run.sh", &script), ("report", report)]).await
}

/// FAILURES 13: what the warden saw of the tests outranks what their report says.
#[tokio::test]
async fn a_report_that_contradicts_the_exit_code_is_no_verdict() {
    let site = shared();
    let passed = "1..2\nok 1\nok 2\n";
    let cases = [
        ("tap", passed, "exit 1", Some("all 2 tests passed, but the tests exited with code 1")),
        ("tap", passed, "kill -9 $$", Some("were ended by signal 9")),
        ("tap", passed, "exit 0", None),
        ("tap", "1..2\nok 1\nnot ok 2\n", "exit 1", None),
        // A runner that exits with 0 whenever it ran.
        ("tap", "1..2\nok 1\nnot ok 2\n", "exit 0", None),
        ("tap-any-code", passed, "exit 3", None),
    ];
    let runs =
        join_all(cases.map(async |(template, report, end, _)| claimed(&site, template, report, end).await)).await;
    for (run, (template, report, end, why)) in runs.iter().zip(cases) {
        match why {
            Some(why) => {
                assert_eq!(failure(run), ("failed", "results_invalid", "grader"), "{end}: {run}");
                assert!(message(run).contains(why), "{}", message(run));
            }
            None => assert_eq!(run["status"], "completed", "{template} {report:?} {end}: {run}"),
        }
    }
}

/// FAILURES 13.
#[tokio::test]
async fn points_need_as_many_tests_as_the_template_expects() {
    let site = shared();
    let cases = [
        ("1..1\nok 1\n", Some("it has 1 tests, the template expects 2")),
        ("1..3\nok 1\nok 2\nok 3\n", Some("it has 3 tests, the template expects 2")),
        ("1..2\nok 1\nnot ok 2\n", None),
        ("1..1\nnot ok 1\n", None),
    ];
    let runs = join_all(cases.map(async |(report, _)| claimed(&site, "tap-of-two", report, "exit 0").await)).await;
    for (run, (report, why)) in runs.iter().zip(cases) {
        match why {
            Some(why) => {
                assert_eq!(failure(run), ("failed", "results_invalid", "grader"), "{report:?}: {run}");
                assert!(message(run).contains(why), "{}", message(run));
            }
            None => assert_eq!(run["status"], "completed", "{report:?}: {run}"),
        }
    }
}

/// What a shared verdict is worth stands in it.
#[tokio::test]
async fn a_verdict_of_tests_inside_the_project_says_shared() {
    let site = shared();
    let run = claimed(&site, "tap-of-two", "1..2\nok 1\nok 2\n", "exit 0").await;
    assert_eq!(site.verdict(id_of(&run)).await["integrity"], "shared", "{run}");
}

/// FAILURES 13: the report is what it was when the last process of the project was gone.
#[tokio::test]
async fn a_report_is_read_when_no_process_of_the_project_is_left() {
    let site = shared();
    // It counts in the file as long as it lives, in a session of its own, and ignores what can be ignored.
    let counter = "setsid sh -c 'trap \"\" TERM HUP INT; n=0; while :; do n=$((n+1)); echo $n > count; done' & ";
    let script =
        format!("({counter}) ; while [ ! -s count ]; do :; done; printf '1..2\\nok 1\\nok 2\\n' > results; exit 0");
    let run = site.run("tap-of-two", &[("run.sh", &script)]).await;
    assert_eq!((run["score"].as_f64(), run["failure"]["code"].as_str()), (Some(2.0), None), "{run}");
    // Whichever of the two is read, it contradicts the exit code.
    let writer = "setsid sh -c 'trap \"\" TERM HUP INT; while :; do printf \"1..2\\nok 1\\nok 2\\n\" > new; mv new results; \
                  printf \"1..2\\nok 1 - a\\nok 2 - b\\n\" > new; mv new results; done' & ";
    let script = format!("({writer}) ; while [ ! -s results ]; do :; done; exit 1");
    let run = site.run("tap-of-two", &[("run.sh", &script)]).await;
    assert_eq!(failure(&run), ("failed", "results_invalid", "grader"), "{run}");
}
