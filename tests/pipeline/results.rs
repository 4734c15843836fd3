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
        let report = std::fs::read(repository("crates/domain/tests/data/verdict").join(file)).unwrap();
        (reported(&site, format, &report).await, report)
    }))
    .await;
    for ((run, report), (format, file, score, max_score)) in runs.into_iter().zip(cases) {
        assert_eq!(run["status"], "completed", "{file}: {run}");
        let seen = site.verdict(id_of(&run)).await;
        // The pure reading of the same bytes, which has tests of its own.
        let format = serde_json::from_value(format.into()).unwrap();
        let limits = assize_domain::verdict::Limits::default();
        let read =
            assize_domain::verdict::parse(format, &report, assize_domain::verdict::Integrity::Shared, &limits).unwrap();
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
        ("true", "tests_interrupted", "the tests ended without writing /workspace/results"),
        ("ln -s /etc/passwd results", "report_spoiled", "is a symbolic link"),
        ("ln -s /no/such results", "report_spoiled", "is a symbolic link"),
        ("mkfifo results", "report_spoiled", "is a FIFO"),
        ("mkdir results", "report_spoiled", "is a folder"),
        ("echo '1..1' > other; ln other results", "report_spoiled", "has 2 names"),
        ("head -c 65537 /dev/zero > results", "report_spoiled", "has 65537 bytes or more, the limit is 65536"),
        ("truncate -s 1M results", "report_spoiled", "the limit is 65536"),
        // Longer than any file of a cell may be: it is not made at all.
        ("truncate -s 8G results", "report_spoiled", "the report is empty"),
        ("head -c 4096 /dev/urandom > results", "report_spoiled", "cannot be read"),
        (": > results", "report_spoiled", "cannot be read"),
    ];
    let runs = join_all(cases.map(async |(script, ..)| site.run("junit", &[("run.sh", script)]).await)).await;
    for (run, (script, code, why)) in runs.iter().zip(cases) {
        assert_eq!(failure(run), ("failed", code, "submission"), "{script}: {run}");
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
    assert_eq!(run["failure"]["cause"], "submission", "{run}");
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
                assert_eq!(failure(run), ("failed", "report_spoiled", "submission"), "{end}: {run}");
                assert!(message(run).contains(why), "{}", message(run));
            }
            None => assert_eq!(run["status"], "completed", "{template} {report:?} {end}: {run}"),
        }
    }
}

/// FAILURES 13.
#[tokio::test]
async fn every_report_needs_as_many_tests_as_the_template_expects() {
    let site = shared();
    let cases = [
        ("1..1\nok 1\n", Some("it has 1 tests, the template expects 2")),
        ("1..3\nok 1\nok 2\nok 3\n", Some("it has 3 tests, the template expects 2")),
        ("1..2\nok 1\nnot ok 2\n", None),
        ("1..2\nnot ok 1\nnot ok 2\n", None),
        // Nothing is gained by less, and it is no 0 either.
        ("1..1\nnot ok 1\n", Some("it has 1 tests, the template expects 2")),
        ("1..0 # SKIP nothing to see\n", Some("it has 0 tests, the template expects 2")),
    ];
    let runs = join_all(cases.map(async |(report, _)| claimed(&site, "tap-of-two", report, "exit 0").await)).await;
    for (run, (report, why)) in runs.iter().zip(cases) {
        match why {
            Some(why) => {
                assert_eq!(failure(run), ("failed", "report_spoiled", "submission"), "{report:?}: {run}");
                assert!(message(run).contains(why), "{}", message(run));
            }
            None => assert_eq!(run["status"], "completed", "{report:?}: {run}"),
        }
    }
}

/// A script that writes two reports of one test and one of another.
const THREE: &str = "mkdir r; report() { echo \"<testsuite><testcase classname='$1' name='t'>$2</testcase></testsuite>\" > r/$1.xml; }; \
    report c; report a; report b '<failure/>'; echo no > r/notes.txt; ";

#[tokio::test]
async fn several_files_are_one_verdict() {
    let site = shared();
    let run = site.run("junit-files", &[("run.sh", THREE)]).await;
    assert_eq!((run["score"].as_f64(), run["max_score"].as_f64()), (Some(2.0), Some(3.0)), "{run}");
    let verdict = site.verdict(id_of(&run)).await;
    let names: Vec<&str> =
        verdict["tests"].as_array().unwrap().iter().filter_map(|test| test["name"].as_str()).collect();
    assert_eq!(names, ["a.t", "b.t", "c.t"]);
}

#[tokio::test]
async fn one_of_several_files_that_is_bad_or_missing_is_no_verdict() {
    let site = shared();
    let cases = [
        ("mv r/b.xml r/b.txt", "report_spoiled", "it has 2 tests, the template expects 3"),
        ("rm -r r", "tests_interrupted", "ended without writing /workspace/r/*.xml"),
        ("rm r/*.xml", "tests_interrupted", "ended without writing /workspace/r/*.xml"),
        ("ln -sf /etc/passwd r/b.xml", "report_spoiled", "(\"b.xml\") is a symbolic link"),
        ("rm r/b.xml; mkfifo r/b.xml", "report_spoiled", "(\"b.xml\") is a FIFO"),
        ("rm r/b.xml; mkdir r/b.xml", "report_spoiled", "(\"b.xml\") is a folder"),
        ("mv r q; ln -s q r", "report_spoiled", "lies behind r, which is a link"),
        ("echo '<testsuite>' > r/b.xml", "report_spoiled", "b.xml: the report is truncated"),
        (
            "head -c 65000 /dev/zero > r/d.xml; head -c 65000 /dev/zero > r/e.xml",
            "report_spoiled",
            "the limit is 65536",
        ),
    ];
    let runs =
        join_all(cases.map(async |(script, ..)| {
            site.run("junit-files", &[("run.sh", &format!("{THREE} {script}; exit 0"))]).await
        }))
        .await;
    for (run, (script, code, why)) in runs.iter().zip(cases) {
        assert_eq!(failure(run), ("failed", code, "submission"), "{script}: {run}");
        assert!(message(run).contains(why), "{script}: {}", message(run));
    }
}

/// The cell has no room for a second copy, so the warden holds none.
#[tokio::test]
async fn a_report_of_sixteen_mebibytes_is_read_through_a_small_cell() {
    let site = shared();
    let write = |bytes: u32| {
        format!(
            "printf '<testsuite><testcase name=\"a\"/><testcase name=\"b\"><failure>' > results; \
             head -c {bytes} /dev/zero | tr '\\0' x >> results; echo '</failure></testcase></testsuite>' >> results"
        )
    };
    let run = site.run("junit-long", &[("run.sh", &write(16_700_000))]).await;
    assert_eq!((run["score"].as_f64(), run["max_score"].as_f64()), (Some(1.0), Some(2.0)), "{run}");
    let verdict = site.verdict(id_of(&run)).await;
    assert!(verdict["tests"][1]["message"].as_str().unwrap().len() <= 16 * 1024);
    let run = site.run("junit-long", &[("run.sh", &write(16_800_000))]).await;
    assert_eq!(failure(&run), ("failed", "report_spoiled", "submission"), "{run}");
    assert!(message(&run).contains("the limit is 16777216"), "{}", message(&run));
}

#[tokio::test]
async fn text_about_the_whole_submission_is_in_every_form_of_the_verdict() {
    let site = shared();
    let report = r#"{"score": 1, "max_score": 2, "output": "Did not compile:\nstack.c:12", "leaderboard": [Infinity]}"#;
    let run = claimed(&site, "gradescope", report, "exit 0").await;
    assert_eq!(site.verdict(id_of(&run)).await["output"], "Did not compile:\nstack.c:12", "{run}");
    for format in ["gradescope", "junit"] {
        let path = format!("/v1/runs/{}/verdict?format={format}", id_of(&run));
        let text = site.get(&path).send().await.unwrap().text().await.unwrap();
        assert!(text.contains("Did not compile:"), "{format}: {text}");
    }
    let path = format!("/v1/runs/{}/verdict?format=dsse", id_of(&run));
    let envelope = json(site.get(&path).send().await.unwrap()).await;
    let payload = envelope["payload"].as_str().unwrap();
    let signed = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, payload).unwrap();
    let signed: Value = serde_json::from_slice(&signed).unwrap();
    assert_eq!(signed["predicate"]["verdict"]["output"], "Did not compile:\nstack.c:12");
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
    assert_eq!(failure(&run), ("failed", "report_spoiled", "submission"), "{run}");
}

/// FAILURES 33: with its own code in the cell of the tests, a project that ends them has failed.
#[tokio::test]
async fn tests_that_the_project_ended_are_the_projects_fault() {
    let site = shared();
    let closed = "chmod 000 /workspace; exit 1";
    let cases = [
        ("tap", "exit 0", "tests_interrupted", "ended without writing /workspace/results"),
        ("tap", "kill -9 $$", "tests_interrupted", "they were ended by signal 9"),
        ("tap", closed, "tests_interrupted", "its folder is closed"),
        ("staged", "kill -9 $$", "completed", ""),
    ];
    let all = |script| [("install.sh", ""), ("build.sh", ""), ("run.sh", script)];
    let runs = join_all(cases.map(async |(template, script, ..)| site.run(template, &all(script)).await)).await;
    for (run, (_, script, code, why)) in runs.iter().zip(cases) {
        if code == "completed" {
            assert_eq!((run["status"].as_str(), run["score"].as_f64()), (Some("completed"), Some(0.0)), "{run}");
            continue;
        }
        assert_eq!(failure(run), ("failed", code, "submission"), "{script}: {run}");
        assert!(message(run).contains(why), "{script}: {}", message(run));
        assert_eq!(run["failure"]["evidence"]["stage"], "tests", "{run}");
    }
    assert_eq!(runs[1]["failure"]["evidence"]["signal"], 9, "{}", runs[1]);
    // A folder that the build closed is opened again before the tests.
    let run = site.run("staged", &[("install.sh", ""), ("build.sh", "chmod 000 /workspace"), ("run.sh", "")]).await;
    assert_eq!((run["status"].as_str(), run["score"].as_f64()), (Some("completed"), Some(1.0)), "{run}");
}

/// Points beyond what there is to reach.
#[tokio::test]
async fn a_score_outside_the_templates_scale_is_no_verdict() {
    let site = shared();
    let cases = [
        ("gradescope", "102", "3", Some("it has 102 of 3 points")),
        ("gradescope", "9.5", "3", Some("it has 9.5 of 3 points")),
        ("gradescope", "-1", "3", Some("score is -1")),
        ("gradescope", "3", "3", None),
        ("gradescope-of-ten", "3", "3", Some("its maximum is 3 points, the template's results.max_score is 10")),
        ("gradescope-of-ten", "12.5", "10", Some("it has 12.5 of 10 points and the template allows 2 above")),
        ("gradescope-of-ten", "12", "10", None),
    ];
    let runs = join_all(cases.map(async |(template, score, max_score, _)| {
        let report = format!("{{\"score\": {score}, \"max_score\": {max_score}}}");
        claimed(&site, template, &report, "exit 0").await
    }))
    .await;
    for (run, (template, score, max_score, why)) in runs.iter().zip(cases) {
        match why {
            Some(why) => {
                assert_eq!(failure(run), ("failed", "report_spoiled", "submission"), "{score} of {max_score}: {run}");
                assert!(message(run).contains(why), "{}", message(run));
            }
            None => {
                assert_eq!(run["status"], "completed", "{template}: {run}");
                assert_eq!(run["score"].as_f64(), score.parse().ok(), "{run}");
            }
        }
    }
}

#[tokio::test]
async fn no_zero_of_a_verdict_has_a_sign() {
    let site = shared();
    let report = r#"{"score": -0.0, "tests": [{"name": "a", "score": -0.0, "max_score": 1}]}"#;
    let runs = [
        claimed(&site, "gradescope", report, "exit 0").await,
        claimed(&site, "tap", "1..0 # SKIP nothing to see\n", "exit 0").await,
        claimed(&site, "junit", "<testsuite/>", "exit 0").await,
    ];
    for run in runs {
        assert_eq!(run["status"], "completed", "{run}");
        for format in ["", "?format=gradescope", "?format=junit"] {
            let path = format!("/v1/runs/{}/verdict{format}", id_of(&run));
            let text = site.get(&path).send().await.unwrap().text().await.unwrap();
            let is_signed = [":-0", ": -0", "\"-0"].iter().any(|zero| text.contains(zero));
            assert!(!is_signed, "{text}");
        }
        assert!(!run.to_string().contains(":-0"), "{run}");
    }
}
