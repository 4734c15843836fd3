//! The command that runs cases, with programs of another warden's cell.

use std::fmt::Write;

use assize_protocol::cases::{Case, Compare, Suite, Visibility};
use assize_protocol::event::StageExit;
use assize_protocol::plan::ResultsFile;
use assize_protocol::progress::{FD, FD_VARIABLE};
use serde_json::Value;

use crate::cell::{Cell, Story};
use crate::exec::{Subject, calling};

const OK: StageExit = StageExit::Exited { code: 0 };

fn case(name: &str, command: &str) -> Case {
    Case {
        name: name.to_owned(),
        points: 1.0,
        visibility: Visibility::Visible,
        command: ["sh", "-c", command].map(str::to_owned).into(),
        timeout_ms: 300,
        memory_bytes: None,
        has_input: false,
        compare: Some(Compare::Exact),
        files: Vec::new(),
    }
}

/// Runs cases that all expect the same output.
fn run_suite(cases: Vec<Case>, checker: &[&str], expected: &str) -> (Story, Vec<Value>) {
    let subject = Subject::start(Cell::start(), "echo built > a", true);
    let cell = Cell::start();
    for case in &cases {
        let folder = cell.path().join("cases").join(&case.name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("out"), expected).unwrap();
        std::fs::write(folder.join("in"), "the input").unwrap();
    }
    let checker = checker.iter().map(|word| (*word).to_owned()).collect();
    let suite = Suite { cases, checker, checker_timeout_s: 1 };
    std::fs::write(cell.path().join("cases.json"), serde_json::to_vec(&suite).unwrap()).unwrap();
    let report = cell.path().join("report.json").display().to_string();
    let mut plan = calling(&cell, "", subject.port, subject.secret.clone());
    plan.results = Some(ResultsFile { path: report.clone(), max_bytes: 1 << 20 });
    let folder = cell.path().display().to_string();
    plan.stages[0].command =
        [env!("CARGO_BIN_EXE_warden"), "cases", &folder, &report, "10000"].map(str::to_owned).into();
    plan.stages[0].env.insert("TMPDIR".to_owned(), folder);
    plan.stages[0].env.insert(FD_VARIABLE.to_owned(), FD.to_string());
    plan.stages[0].progress = true;
    let story = cell.run(&plan);
    let tests = match serde_json::from_slice::<Value>(&story.results()) {
        Ok(report) => report["tests"].as_array().unwrap().clone(),
        Err(_) => Vec::new(),
    };
    (story, tests)
}

#[test]
fn each_case_has_its_test_and_its_points() {
    let mut cases = vec![
        case("right", "echo fine"),
        case("wrong", "echo other"),
        case("exits", "echo fine; exit 3"),
        case("dies", "kill -11 $$"),
        case("endless", "sleep 60"),
        case("floods", "yes"),
    ];
    cases.push(Case { command: vec!["./missing".to_owned()], ..case("missing", "") });
    cases.push(Case { has_input: true, ..case("reads", "[ \"$(cat)\" = 'the input' ] && echo fine") });
    cases.push(Case { points: 2.5, ..case("worth", "echo fine") });
    let (story, tests) = run_suite(cases, &[], "fine\n");
    assert_eq!(story.exits(), [OK], "{}", story.text());
    let mut text = String::new();
    for test in &tests {
        let line = test["output"].as_str().unwrap_or_default().lines().last().unwrap_or_default();
        writeln!(text, "{} {} {line}", test["name"].as_str().unwrap(), test["score"]).unwrap();
    }
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..6].iter().filter(|line| line.contains(" 0.0 ")).count(), 5, "{text}");
    for (line, words) in [
        (0, "right 1.0 "),
        (1, "+other"),
        (2, "exited with code 3"),
        (3, "ended by signal 11"),
        (4, "longer than its 300 ms"),
        (5, "wrote too much"),
        (6, "missing 0.0 the program could not be started"),
        (7, "reads 1.0 "),
        (8, "worth 2.5 "),
    ] {
        assert!(lines[line].contains(words), "{words}: {text}");
    }
    let progress: Vec<Value> = story.progress().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |value: &Value, key: &str| value[key].as_str().unwrap().to_owned();
    let reported: Vec<_> = progress.iter().map(|line| (of(line, "test"), of(line, "status"))).collect();
    let expected: Vec<_> = tests.iter().map(|test| (of(test, "name"), of(test, "status"))).collect();
    assert_eq!(reported, expected);
}

#[test]
fn nothing_of_a_hidden_case_is_shown() {
    let hidden = |name: &str, command: &str| Case { visibility: Visibility::Hidden, ..case(name, command) };
    let cases = vec![
        hidden("canary-name", "echo canary-seen; echo canary-error >&2"),
        hidden("canary-dead", "echo canary-seen; exit 3"),
        case("shown", "echo other"),
    ];
    let (story, tests) = run_suite(cases, &[], "canary-expected\n");
    assert!(!story.text().contains("canary"), "{}", story.text());
    assert_eq!(story.progress(), "{\"test\":\"shown\",\"status\":\"failed\"}\n");
    for test in &tests[..2] {
        assert_eq!((test["visibility"].as_str(), &test["output"]), (Some("hidden"), &Value::Null), "{test}");
    }
    assert!(tests[2]["output"].as_str().unwrap().contains("-canary-expected\n+other"), "{}", tests[2]);
}

#[test]
fn a_checker_decides_and_its_faults_are_the_graders() {
    let checked = |line: &str| {
        let cases = vec![Case { compare: Some(Compare::Checker), has_input: true, ..case("a", "echo seen") }];
        let (story, tests) = run_suite(cases, &["sh", "-c", line, "checker"], "expected\n");
        (story.exits()[0].clone(), tests, story.text())
    };
    let reads = "[ \"$(cat $1 $2 $3)\" = \"the inputexpected\nseen\" ]";
    assert_eq!(checked(reads).1[0]["score"], 1.0);
    let (exit, tests, _) = checked("echo nearly; exit 1");
    assert_eq!((exit, &tests[0]["score"], &tests[0]["output"]), (OK, &Value::from(0.0), &Value::from("nearly\n")));
    for (line, words) in [
        ("exit 2", "ended with code 2; it must end with 0 for right"),
        ("kill -9 $$", "was ended by signal 9"),
        ("sleep 60 & sleep 60", "took longer than its 1 s"),
        ("exec sleep 60", "took longer than its 1 s"),
        ("exec yes", "was ended by signal 13"),
    ] {
        let (exit, tests, text) = checked(line);
        assert_eq!((exit, tests.len()), (StageExit::Exited { code: 1 }, 0), "{line}: there is no report");
        assert!(text.contains(words), "{line}: {text}");
    }
}

#[test]
fn the_time_of_the_stage_ends_the_cases_and_not_the_report() {
    let cases = (0..100).map(|at| Case { timeout_ms: 2_000, ..case(&format!("c{at:03}"), "sleep 60") }).collect();
    let (story, tests) = run_suite(cases, &[], "");
    assert_eq!((story.exits(), tests.len()), (vec![OK], 100));
    assert!(tests[99]["output"].as_str().unwrap().contains("it was not run"), "{}", tests[99]);
}

/// Each in a new copy of the workspace, with the report and all.
#[test]
fn five_hundred_cases_end_within_ten_seconds() {
    let cases = (0..500).map(|at| Case { command: vec!["true".to_owned()], ..case(&format!("c{at}"), "") }).collect();
    let (story, tests) = run_suite(cases, &[], "");
    assert_eq!(story.exits(), [OK], "the time limit of the stage is 10 s");
    assert_eq!(tests.iter().filter(|test| test["score"] == 1.0).count(), 500);
    let ended = &story.ended()[0];
    println!("500 cases took {} ms", (ended.at_us - ended.started_us) / 1000);
}

#[test]
fn long_differences_do_not_make_a_report_too_long() {
    let line = "i=0; while [ $i -lt 400 ]; do echo '\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"'; i=$((i+1)); done";
    let cases = (0..300).map(|at| Case { timeout_ms: 5_000, ..case(&format!("c{at}"), line) }).collect();
    let (story, tests) = run_suite(cases, &[], "x\n");
    assert_eq!((story.exits(), tests.len()), (vec![OK], 300));
    assert!(story.results().len() < 600 << 10, "{}", story.results().len());
    assert!(tests[299]["output"].as_str().unwrap().contains("left out"), "{}", tests[299]);
}
