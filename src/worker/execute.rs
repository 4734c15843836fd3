//! Runs the stages of a run, in one cell or two.

use assize_domain::run::FailureCode;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use super::attempt::Attempt;
use super::cell_session::{CellReport, CellSession, DriverPolicy, SessionProgress, SubjectPolicy};
use super::cells::{Cells, StartedCell};
use super::stop::Stop;
use super::{parameters, plan};
use crate::intake::blob::BlobError;
use crate::template::{OnDriverFailure, Template};

/// Runs the subject's stages and, if the template has a driver, the driver against the subject.
///
/// Returns the report of the cell that decides: the driver, or without one the subject.
pub async fn execute(
    attempt: &mut Attempt<'_>,
    cells: &mut Cells<'_>,
    subject: StartedCell,
) -> Result<CellReport, Stop> {
    let template = &*attempt.template()?;
    let plan = plan::subject(template, &attempt.worker.config);
    let mut inputs = Vec::new();
    if subject.adopted.is_none() {
        let archive = attempt.claim.archive_sha256.as_deref();
        let missing = || Stop::failed(FailureCode::WorkerLost, "the submission has no archive");
        inputs.push(attempt.worker.blobs.archive(archive.ok_or_else(missing)?).await?);
        if template.driver.is_none() && !template.bundle.is_empty() {
            inputs.push(in_memory(&parameters::grader_archive(template, &attempt.claim)?));
        }
        inputs.extend((inputs.len() < plan.inputs.len()).then(|| in_memory(&attempt.worker.egress.certificates())));
    }
    let rules = attempt.worker.egress.rules_for(template, &attempt.worker.config);
    let mut subject = CellSession::begin(SubjectPolicy, subject, plan, template.limits, inputs, rules, attempt);
    loop {
        let event = subject.next().await;
        match subject.handle(attempt, event).await {
            Ok(SessionProgress::Continue | SessionProgress::ResultsPiece(_)) => {}
            Ok(SessionProgress::Ready) if template.driver.is_some() => break,
            Ok(SessionProgress::Ready) => {}
            Ok(SessionProgress::Ended(report)) => return Ok(report),
            Err(stop) => {
                subject.drain_after_failure(attempt).await;
                return Err(stop);
            }
        }
    }
    run_driver(attempt, cells, template, &mut subject).await
}

/// Runs the driver beside a subject that is ready. Only the driver's report counts.
async fn run_driver(
    attempt: &mut Attempt<'_>,
    cells: &mut Cells<'_>,
    template: &Template,
    subject: &mut CellSession,
) -> Result<CellReport, Stop> {
    let Some(spec) = &template.driver else {
        return Err(Stop::failed(FailureCode::TemplateInvalid, "the template has no driver"));
    };
    let plan = plan::driver(template, spec, subject.take_secret(), &attempt.worker.config);
    let cell = cells.driver(attempt, template, &plan).await?;
    let inputs = match cell.adopted {
        None => vec![in_memory(&parameters::grader_archive(template, &attempt.claim)?)],
        Some(_) => Vec::new(),
    };
    let rules = attempt.worker.egress.no_egress();
    let scores_zero = template.results.on_driver_failure == OnDriverFailure::ScoreZero;
    let policy = DriverPolicy { scores_zero };
    let mut driver = CellSession::begin(policy, cell, plan, spec.limits, inputs, rules, attempt);
    let (mut subject_runs, mut went_down) = (true, None);
    loop {
        tokio::select! {
            event = driver.next() => {
                let progress = match driver.handle(attempt, event).await {
                    // The driver's cell can report nothing any more: its results are lost.
                    Err(Stop::Failed(failure)) if driver.tolerates(&failure) => {
                        SessionProgress::Ended(CellReport::interrupted_by(failure))
                    }
                    Ok(progress) => progress,
                    Err(stop) => {
                        driver.drain_after_failure(attempt).await;
                        if driver.has_failed() && subject_runs && subject.hands_out() {
                            subject.stop_and_drain(attempt).await;
                        }
                        return Err(stop);
                    }
                };
                if let SessionProgress::Ended(mut report) = progress {
                    if subject_runs {
                        subject.stop_and_drain(attempt).await;
                    }
                    report.went_down = went_down.or_else(|| subject.take_went_down());
                    return Ok(report);
                }
            }
            event = subject.next(), if subject_runs => {
                match subject.handle(attempt, event).await {
                    Ok(SessionProgress::Ended(report)) => (subject_runs, went_down) = (false, report.went_down),
                    Ok(_) => {}
                    Err(stop) => {
                        subject.drain_after_failure(attempt).await;
                        return Err(stop);
                    }
                }
            }
        }
    }
}

/// An input whose bytes are in memory.
pub fn in_memory(bytes: &Bytes) -> BoxStream<'static, Result<Bytes, BlobError>> {
    let bytes = bytes.clone();
    futures_util::stream::once(async move { Ok(bytes) }).boxed()
}
