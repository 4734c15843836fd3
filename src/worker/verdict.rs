//! The verdict: made from the report of the cell that decides.

use assize_domain::run::{Cause, Failure, FailureCode, StageName};
use assize_domain::verdict::{self, FileError, Format, Integrity, Verdict};
use assize_protocol::event::{ResultsStatus, StageExit};

use super::attempt::Attempt;
use super::cell_session::{CellReport, ReceivedFile, ReportedTests};
use super::report_consistency::{abnormal_end, contradiction, progress_contradiction};
use super::stop::Stop;
use crate::template::{OnDriverFailure, Results, Template};

/// Reads the results and judges them. The judgement is pure code.
pub async fn parse(attempt: &mut Attempt<'_>, report: CellReport) -> Result<Verdict, Stop> {
    let template = attempt.template()?;
    attempt.begin_parsing().await?;
    let exit = report.tests.clone();
    let rules = ReportRules::of_template(&template);
    let bad_report = FailureCode::bad_report(rules.integrity);
    let judging = tokio::task::spawn_blocking(move || rules.judge(&report));
    let mut failure = match judging.await {
        Ok(Ok(verdict)) => return Ok(verdict),
        Ok(Err(failure)) => failure,
        // Another worker would panic over this report too.
        Err(error) if error.is_panic() => {
            Failure::new(bad_report, format!("reading the report failed ({error}); report this as a bug"))
        }
        Err(error) => Failure::new(FailureCode::WorkerLost, format!("reading the results failed: {error}")),
    };
    if failure.evidence.stage.is_some() {
        return Err(Stop::Failed(failure));
    }
    failure.evidence.stage = Some(StageName::Tests);
    match exit {
        Some(StageExit::Exited { code }) => failure.evidence.exit_code = Some(code),
        Some(StageExit::Signalled { signal }) => failure.evidence.signal = Some(signal),
        _ => {}
    }
    failure.evidence.last_output = attempt.output.last_lines(StageName::Tests);
    Err(Stop::Failed(failure))
}

/// Reads the files of a report as a run does whose tests exited with code 0, without a cell.
///
/// # Errors
/// The failure that such a run ends with.
pub fn read_report(results: &Results, integrity: Integrity, files: Vec<(String, Vec<u8>)>) -> Result<Verdict, Failure> {
    let mut report = CellReport {
        results: Vec::new(),
        files: Vec::new(),
        status: ResultsStatus::None,
        tests: Some(StageExit::Exited { code: 0 }),
        interrupted: None,
        went_down: None,
        reported: ReportedTests::default(),
    };
    for (name, bytes) in files {
        report.files.push(ReceivedFile { name, from: report.results.len() });
        report.results.extend(bytes);
    }
    report.status = ResultsStatus::Read { bytes: report.results.len() as u64 };
    ReportRules { results: results.clone(), integrity }.judge(&report)
}

/// The rules of a template for reports.
struct ReportRules {
    results: Results,
    integrity: Integrity,
}

impl ReportRules {
    fn of_template(template: &Template) -> Self {
        Self { results: template.results.clone(), integrity: template.integrity() }
    }

    /// The verdict of a report. A driver that reports nothing because its service went down is not to blame.
    fn judge(&self, report: &CellReport) -> Result<Verdict, Failure> {
        self.judge_report(report).map_err(|failure| match &report.went_down {
            Some(down) if failure.code.cause() == Cause::Grader => {
                let mut down = Failure::clone(down);
                down.evidence.message =
                    format!("{}; its driver could not test it: {}", down.evidence.message, failure.evidence.message);
                down
            }
            _ => failure,
        })
    }

    /// The verdict of a report by itself. If the tests ran beside the project's code, that code may have caused any fault
    /// of the report, so the project is to blame. If a driver ran them, the driver is to blame.
    fn judge_report(&self, report: &CellReport) -> Result<Verdict, Failure> {
        if self.results.on_driver_failure == OnDriverFailure::ScoreZero {
            return self.judge_interrupted(report);
        }
        let verdict = self.read(report)?;
        if self.results.format == Format::ExitCode {
            return Ok(verdict);
        }
        let fault = contradiction(&verdict, report.tests.as_ref(), &self.results);
        let checked = match fault {
            Some(fault) => Err(fault),
            None => self.results.scale().hold(verdict).map_err(|error| error.to_string()),
        };
        checked.map_err(|why| self.unbelievable(&why))
    }

    /// The verdict of a driver that the project may have interrupted.
    fn judge_interrupted(&self, report: &CellReport) -> Result<Verdict, Failure> {
        let scale = self.results.scale();
        let exit = || abnormal_end(report.tests.as_ref()).map(|ended| format!("the tests {ended}"));
        // An exit code may only be the number of tests that failed.
        let is_by_itself = matches!(report.tests, Some(StageExit::Exited { .. }));
        let interruption = report.interrupted.as_ref().map(|failure| failure.evidence.message.clone());
        let interruption = interruption.or_else(|| if is_by_itself { None } else { exit() });
        let whole = |why: &str| format!("the driver was interrupted: {why}");
        let verdict = match self.read(report) {
            Ok(verdict) if self.results.format == Format::ExitCode => return Ok(verdict),
            Ok(verdict) => verdict,
            Err(failure) => {
                let what = failure.evidence.message;
                let why = interruption.map_or_else(|| what.clone(), |why| format!("{why}; {what}"));
                return Ok(scale.nothing(self.integrity, &whole(&why)));
            }
        };
        let interruption = interruption.or_else(|| contradiction(&verdict, report.tests.as_ref(), &self.results));
        let lacks = || "it ended before it had written all of its tests".to_owned();
        let interruption = interruption.or_else(|| scale.lacks(&verdict).then(|| exit().unwrap_or_else(lacks)));
        let checked = match interruption {
            Some(why) => scale.hold_partial(verdict, &whole(&why)),
            None => scale.hold(verdict),
        };
        // The project may also have caused a report that states the impossible.
        Ok(checked.unwrap_or_else(|error| {
            let why = self.unbelievable(&error.to_string()).evidence.message;
            scale.nothing(self.integrity, &whole(&why))
        }))
    }

    /// The report as it is written, or why it cannot be read.
    fn read(&self, report: &CellReport) -> Result<Verdict, Failure> {
        let (format, integrity) = (self.results.format, self.integrity);
        if format == Format::ExitCode {
            return self.exit_code(report);
        }
        let path = self.results.path.as_deref().unwrap_or_default();
        match &report.status {
            ResultsStatus::Read { .. } => {}
            ResultsStatus::Missing { .. } | ResultsStatus::None => {
                let mut message = format!("the tests ended without writing {path}");
                if let Some(ended) = abnormal_end(report.tests.as_ref()) {
                    message.push_str(&format!(": they {ended}"));
                }
                if let ResultsStatus::Missing { reason: Some(reason) } = &report.status {
                    message.push_str(&format!(": {reason}"));
                }
                return Err(Failure::new(FailureCode::no_report(integrity), message));
            }
            ResultsStatus::Refused { reason } => {
                let message = format!("{path} cannot be used: {reason}");
                return Err(Failure::new(FailureCode::bad_report(integrity), message));
            }
        }
        let (bytes, reader) = (report.results.as_slice(), self.results.reader(integrity));
        let parsed = match (self.results.has_pattern(), self.results.on_driver_failure) {
            // Nobody knows how many tests belong into one of several files.
            (true, _) => reader.read_files(&report.files()),
            (false, OnDriverFailure::Fail) => reader.read(bytes).map_err(FileError::from),
            (false, OnDriverFailure::ScoreZero) => reader.read_partial(bytes).map_err(FileError::from),
        };
        let parsed = parsed.map_err(|error| {
            Failure::new(FailureCode::bad_report(integrity), format!("{path} cannot be read: {error}"))
        })?;
        self.check_progress(report, &parsed)?;
        Ok(self.results.marking.apply(parsed, self.results.max_score))
    }

    /// What a driver has written that was interrupted may be older than what it reported last.
    fn check_progress(&self, report: &CellReport, parsed: &Verdict) -> Result<(), Failure> {
        let is_whole = report.interrupted.is_none() && abnormal_end(report.tests.as_ref()).is_none();
        if self.results.on_driver_failure == OnDriverFailure::ScoreZero && !is_whole {
            return Ok(());
        }
        let found = progress_contradiction(parsed, &report.reported, &self.results.marking);
        found.map_or(Ok(()), |why| Err(self.unbelievable(&why)))
    }

    fn exit_code(&self, report: &CellReport) -> Result<Verdict, Failure> {
        let code = match report.tests {
            // Tests that were interrupted have not ended by themselves, whatever their exit code.
            _ if report.interrupted.is_some() => None,
            Some(StageExit::Exited { code }) => Some(code),
            // A shell reports a signal in this way.
            Some(StageExit::Signalled { signal }) => Some(128 + signal),
            _ => None,
        };
        code.map(|code| verdict::from_exit_code(code, self.integrity)).ok_or_else(|| {
            let code = match self.integrity {
                Integrity::Shared => FailureCode::TestsInterrupted,
                Integrity::Isolated => FailureCode::DriverFailed,
            };
            Failure::new(code, "the tests stage did not end by itself, so that there is no exit code of it")
        })
    }

    fn unbelievable(&self, why: &str) -> Failure {
        let path = self.results.path.as_deref().unwrap_or_default();
        Failure::new(FailureCode::bad_report(self.integrity), format!("{path} cannot be believed: {why}"))
    }
}

#[cfg(test)]
mod tests {
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
        let part =
            r#"{"tests": [{"name": "a", "score": 4, "max_score": 4}, {"name": "b", "score": 0, "max_score": 2}]}"#;
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
}
