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
mod tests;
