//! Verdicts and failures from reports, by whose fault they are.

use super::*;
use assize_domain::verdict::{Marking, TestRule, Visibility};
use assize_protocol::progress::ReportedStatus;

fn rules(format: Format, integrity: Integrity) -> ReportRules {
    let results = Results { max_kib: 64, ..Results::of_format(format, "/workspace/results".to_owned()) };
    ReportRules { results, integrity }
}

fn out_of_ten() -> ReportRules {
    let mut rules = rules(Format::Gradescope, Integrity::Isolated);
    rules.results.max_score = Some(10.0);
    rules.results.on_driver_failure = OnDriverFailure::ScoreZero;
    rules
}

fn written(bytes: &str, code: i32) -> CellReport {
    CellReport {
        results: bytes.as_bytes().to_vec(),
        files: Vec::new(),
        status: ResultsStatus::Read { bytes: bytes.len() as u64 },
        tests: Some(StageExit::Exited { code }),
        interrupted: None,
        went_down: None,
        reported: ReportedTests::default(),
    }
}

fn none(status: ResultsStatus, exit: Option<StageExit>) -> CellReport {
    CellReport {
        results: Vec::new(),
        files: Vec::new(),
        status,
        tests: exit,
        interrupted: None,
        went_down: None,
        reported: ReportedTests::default(),
    }
}

fn code(rules: &ReportRules, report: &CellReport) -> FailureCode {
    rules.judge(report).unwrap_err().code
}

#[test]
fn whoever_could_have_spoilt_a_report_is_blamed_for_it() {
    let refused = || ResultsStatus::Refused { reason: "it is a FIFO".to_owned() };
    let exited = || Some(StageExit::Exited { code: 0 });
    for (report, shared, isolated) in [
        (
            none(ResultsStatus::Missing { reason: None }, exited()),
            FailureCode::TestsInterrupted,
            FailureCode::ResultsMissing,
        ),
        (
            none(ResultsStatus::Missing { reason: None }, None),
            FailureCode::TestsInterrupted,
            FailureCode::ResultsMissing,
        ),
        (none(refused(), exited()), FailureCode::ReportSpoiled, FailureCode::ResultsInvalid),
        (written("{", 0), FailureCode::ReportSpoiled, FailureCode::ResultsInvalid),
        (written("", 0), FailureCode::ReportSpoiled, FailureCode::ResultsInvalid),
        (written(r#"{"score": 3, "max_score": 3}"#, 1), FailureCode::ReportSpoiled, FailureCode::ResultsInvalid),
        (written(r#"{"score": 102, "max_score": 3}"#, 0), FailureCode::ReportSpoiled, FailureCode::ResultsInvalid),
        (written(r#"{"score": 9.5, "max_score": 3}"#, 1), FailureCode::ReportSpoiled, FailureCode::ResultsInvalid),
        (written(r#"{"score": -1, "max_score": 3}"#, 0), FailureCode::ReportSpoiled, FailureCode::ResultsInvalid),
    ] {
        assert_eq!(code(&rules(Format::Gradescope, Integrity::Shared), &report), shared, "{report:?}");
        assert_eq!(code(&rules(Format::Gradescope, Integrity::Isolated), &report), isolated, "{report:?}");
        assert_eq!((shared.cause(), isolated.cause()), (Cause::Submission, Cause::Grader));
    }
}

#[test]
fn tests_that_did_not_end_by_themselves_have_no_exit_code() {
    for exit in [None, Some(StageExit::Stopped)] {
        let report = none(ResultsStatus::None, exit);
        assert_eq!(code(&rules(Format::ExitCode, Integrity::Shared), &report), FailureCode::TestsInterrupted);
        assert_eq!(code(&rules(Format::ExitCode, Integrity::Isolated), &report), FailureCode::DriverFailed);
    }
    let killed = none(ResultsStatus::None, Some(StageExit::Signalled { signal: 9 }));
    assert_eq!(rules(Format::ExitCode, Integrity::Shared).judge(&killed).unwrap().score, 0.0);
}

#[test]
fn a_driver_that_may_score_zero_never_fails_by_an_interruption() {
    let late = || Failure::new(FailureCode::StageTimeout, "the tests stage took longer than its 3 s");
    let timed_out = || Some(Box::new(late()));
    let part = r#"{"tests": [{"name": "a", "score": 4, "max_score": 4}, {"name": "b", "score": 0, "max_score": 2}]}"#;
    let partial = CellReport { interrupted: timed_out(), ..written(part, 0) };
    for (report, score, why) in [
        (partial, 4.0, "took longer than its 3 s"),
        (written(part, 3), 4.0, "exited with code 3"),
        (
            CellReport { interrupted: timed_out(), ..written("{", 0) },
            0.0,
            "took longer than its 3 s; /workspace/results",
        ),
        (CellReport::interrupted_by(late()), 0.0, "took longer than its 3 s"),
        (
            none(ResultsStatus::Missing { reason: None }, Some(StageExit::Signalled { signal: 9 })),
            0.0,
            "were ended by signal 9",
        ),
        (
            none(ResultsStatus::Missing { reason: None }, Some(StageExit::Exited { code: 0 })),
            0.0,
            "ended without writing",
        ),
        (none(ResultsStatus::Refused { reason: "it is a folder".to_owned() }, None), 0.0, "it is a folder"),
    ] {
        let verdict = out_of_ten().judge(&report).unwrap_or_else(|failure| panic!("{report:?}: {failure:?}"));
        assert_eq!((verdict.score, verdict.max_score), (score, 10.0), "{report:?}");
        let message = verdict.tests.last().and_then(|test| test.message.clone()).unwrap_or_default();
        assert!(message.starts_with("the driver was interrupted: ") && message.contains(why), "{message}");
    }
    // The report of an interrupted driver is checked against the scale all the same.
    let above = out_of_ten().judge(&written(r#"{"score": 102, "max_score": 10}"#, 0)).unwrap();
    assert_eq!((above.score, above.max_score), (0.0, 10.0));
    let whole = out_of_ten().judge(&written(r#"{"score": 10, "max_score": 10}"#, 0)).unwrap();
    assert!(whole.all_passed() && whole.tests.is_empty(), "{whole:?}");
    // An exit code that only reports failed tests is no interruption.
    let failing = out_of_ten().judge(&written(r#"{"score": 7, "max_score": 10}"#, 3)).unwrap();
    assert!(failing.tests.is_empty(), "{failing:?}");
    let full = out_of_ten().judge(&written(r#"{"score": 10, "max_score": 10}"#, 3)).unwrap();
    assert!(full.score == 10.0 && !full.all_passed(), "{full:?}");
}

#[test]
fn a_report_that_contradicts_the_progress_is_no_verdict() {
    let report = |status: &str, code: i32| {
        let text = format!(r#"{{"tests": [{{"name": "a", "score": 0, "max_score": 10, "status": "{status}"}}]}}"#);
        let last = [("a".to_owned(), ReportedStatus::Passed)].into();
        CellReport { reported: ReportedTests { last, ..ReportedTests::default() }, ..written(&text, code) }
    };
    for (integrity, expected) in
        [(Integrity::Shared, FailureCode::ReportSpoiled), (Integrity::Isolated, FailureCode::ResultsInvalid)]
    {
        let rules = rules(Format::Gradescope, integrity);
        assert_eq!(code(&rules, &report("failed", 0)), expected);
        assert_eq!(code(&rules, &report("failed", 1)), expected);
    }
    // A driver that rewrites its report after each test and dies in between has written the old one.
    let died = out_of_ten().judge(&report("failed", 1)).unwrap();
    assert_eq!((died.score, died.max_score), (0.0, 10.0));
    assert_eq!(died.tests[0].message, None, "{died:?}");
    let whole = out_of_ten().judge(&report("failed", 0)).unwrap();
    let message = whole.tests.last().and_then(|test| test.message.clone()).unwrap_or_default();
    assert!(message.contains("the tests reported \"a\" as passed"), "{message}");
}

#[test]
fn the_points_of_a_template_hold_before_its_scale() {
    let rule = |pattern: &str, points: f64| TestRule {
        pattern: pattern.to_owned(),
        points,
        visibility: Visibility::Hidden,
        name: None,
    };
    let mut rules = rules(Format::Tap, Integrity::Isolated);
    let marking = Marking::new(vec![rule("small", 1.0), rule("large", 9.0)], Format::Tap).unwrap();
    (rules.results.marking, rules.results.max_score, rules.results.expect_tests) = (marking, Some(10.0), Some(2));
    let verdict = rules.judge(&written("1..2\nnot ok 1 - small\nok 2 - large\n", 1)).unwrap();
    assert_eq!((verdict.score, verdict.max_score), (9.0, 10.0));
    assert!(verdict.tests.iter().all(|test| test.visibility == Visibility::Hidden));
    assert_eq!(code(&rules, &written("1..2\nok 1 - large\nok 2 - large\n", 0)), FailureCode::ResultsInvalid);
    assert_eq!(code(&rules, &written("1..1\nok 1 - large\n", 0)), FailureCode::ResultsInvalid);
    // What an interrupted driver left is out of the same maximum.
    rules.results.on_driver_failure = OnDriverFailure::ScoreZero;
    for (report, score) in [("1..2\nok 1 - small\n", 1.0), ("ok 1 - large\n", 9.0), ("", 0.0)] {
        let verdict = rules.judge(&written(report, 9)).unwrap();
        assert_eq!((verdict.score, verdict.max_score), (score, 10.0), "{report:?}");
    }
}

#[test]
fn a_driver_whose_service_went_down_is_not_to_blame() {
    let down = || Some(Box::new(Failure::new(FailureCode::StartFailed, "the start stage exited with code 3")));
    let rules = rules(Format::Gradescope, Integrity::Isolated);
    let missing = none(ResultsStatus::Missing { reason: None }, Some(StageExit::Exited { code: 1 }));
    assert_eq!(code(&rules, &missing), FailureCode::ResultsMissing);
    let failure = rules.judge(&CellReport { went_down: down(), ..missing }).unwrap_err();
    assert_eq!(failure.code, FailureCode::StartFailed);
    let message = failure.evidence.message;
    assert!(message.contains("exited with code 3; its driver could not test it: the tests ended"), "{message}");
    // A report that there is counts: the tests show what it cost.
    let report = CellReport { went_down: down(), ..written(r#"{"score": 1, "max_score": 3}"#, 0) };
    assert_eq!(rules.judge(&report).unwrap().score, 1.0);
}

#[test]
fn an_interrupted_driver_that_reports_by_its_exit_code_scores_zero() {
    let mut rules = rules(Format::ExitCode, Integrity::Isolated);
    rules.results.on_driver_failure = OnDriverFailure::ScoreZero;
    let full = Failure::new(FailureCode::OutOfMemory, "the cell used more than its 48 MiB of memory");
    let report = CellReport {
        interrupted: Some(Box::new(full)),
        ..none(ResultsStatus::None, Some(StageExit::Exited { code: 0 }))
    };
    let verdict = rules.judge(&report).unwrap();
    assert_eq!((verdict.score, verdict.max_score), (0.0, 1.0));
}
