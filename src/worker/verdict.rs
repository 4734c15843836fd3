//! From the report of the cell that decides to a verdict.

use warden::event::{ResultsStatus, StageExit};

use super::agreement::contradiction;
use super::attempt::{Attempt, Stop};
use super::conversation::Report;
use crate::run::{Failure, FailureCode};
use crate::verdict::{self, Format, Limits, Verdict};

/// Reads the results; what they are worth is decided by pure code.
pub async fn parse(attempt: &mut Attempt<'_>, report: Report) -> Result<Verdict, Stop> {
    let template = attempt.template()?;
    attempt.begin_parsing().await?;
    let failed = |code, message: String| Stop::Failed(Failure::new(code, message));
    let (format, integrity) = (template.results.format, template.integrity());
    if format == Format::ExitCode {
        let code = match report.tests {
            Some(StageExit::Exited { code }) => code,
            // As a shell reports it.
            Some(StageExit::Signalled { signal }) => 128 + signal,
            seen => {
                return Err(failed(
                    FailureCode::DriverFailed,
                    format!("the tests stage did not end by itself: {seen:?}"),
                ));
            }
        };
        return Ok(verdict::from_exit_code(code, integrity));
    }
    let path = template.results.path.as_deref().unwrap_or_default();
    match report.status {
        ResultsStatus::Read { .. } => {}
        ResultsStatus::Missing | ResultsStatus::None => {
            return Err(failed(FailureCode::ResultsMissing, format!("the tests ended without writing {path}")));
        }
        ResultsStatus::Refused { reason } => {
            return Err(failed(FailureCode::ResultsInvalid, format!("{path} cannot be used: {reason}")));
        }
    }
    let parsing =
        tokio::task::spawn_blocking(move || verdict::parse(format, &report.results, integrity, &Limits::default()));
    match parsing.await {
        Ok(Ok(verdict)) => match contradiction(&verdict, report.tests.as_ref(), &template.results) {
            Some(contradiction) => {
                Err(failed(FailureCode::ResultsInvalid, format!("{path} cannot be believed: {contradiction}")))
            }
            None => Ok(verdict),
        },
        Ok(Err(error)) => Err(failed(FailureCode::ResultsInvalid, format!("{path} cannot be read: {error}"))),
        Err(panic) => Err(failed(FailureCode::WorkerLost, format!("reading the results failed: {panic}"))),
    }
}
