//! The stages of a run, in one cell or two.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use super::attempt::{Attempt, Stop};
use super::cells::{Cells, Ready};
use super::conversation::{Conversation, Report, Step};
use super::plan;
use crate::intake::blob::BlobError;
use crate::template::{OnDriverFailure, Template};
use assize_cell::Role;
use assize_domain::run::{Failure, FailureCode};

/// Runs the subject's stages and, if another cell decides, the driver's against it.
///
/// What comes back is the report of the cell that decides.
pub async fn execute(attempt: &mut Attempt<'_>, cells: &mut Cells<'_>, subject: Ready) -> Result<Report, Stop> {
    let template = attempt.template()?;
    let plan = plan::subject(template, &attempt.worker.config);
    let mut inputs = Vec::new();
    if subject.seen.is_none() {
        let archive = attempt.claim.archive_sha256.as_deref();
        let missing = || Stop::Failed(Failure::new(FailureCode::WorkerLost, "the submission has no archive"));
        inputs.push(attempt.worker.blobs.archive(archive.ok_or_else(missing)?).await?);
        inputs.extend((template.driver.is_none() && !template.bundle.is_empty()).then(|| piece(&template.bundle)));
        inputs.extend((inputs.len() < plan.inputs.len()).then(|| piece(&attempt.worker.exit.certificates())));
    }
    let cancelled = attempt.cancelled.clone();
    let rules = attempt.worker.exit.rules(template, &attempt.worker.config);
    let mut subject = Conversation::begin(Role::Subject, subject, plan, template.limits, inputs, rules, cancelled);
    loop {
        let heard = subject.next().await;
        match subject.take(attempt, heard).await? {
            Step::Going | Step::Piece(_) => {}
            Step::Ready if template.driver.is_some() => break,
            Step::Ready => {}
            Step::Ended(report) => return Ok(report),
        }
    }
    judge(attempt, cells, template, &mut subject).await
}

/// Runs the driver beside a subject that is up; only the driver's report counts.
async fn judge(
    attempt: &mut Attempt<'_>,
    cells: &mut Cells<'_>,
    template: &Template,
    subject: &mut Conversation,
) -> Result<Report, Stop> {
    let Some(spec) = &template.driver else { return Err(Stop::LeaseLost("no driver".to_owned())) };
    let plan = plan::driver(template, spec, &attempt.worker.config);
    let cell = cells.driver(attempt, template, &plan).await?;
    let inputs = if plan.inputs.is_empty() { Vec::new() } else { vec![piece(&template.bundle)] };
    let (rules, cancelled) = (attempt.worker.exit.none(), attempt.cancelled.clone());
    let scores_zero = template.results.on_driver_failure == OnDriverFailure::ScoreZero;
    let driver = Conversation::begin(Role::Driver, cell, plan, spec.limits, inputs, rules, cancelled);
    let mut driver = driver.scoring_zero(scores_zero);
    let (mut subject_talks, mut went_down) = (true, None);
    loop {
        tokio::select! {
            heard = driver.next() => {
                let step = match driver.take(attempt, heard).await {
                    // It cannot be heard out any more: what it has written is lost.
                    Err(Stop::Failed(failure)) if driver.may_go_on(&failure) => {
                        Step::Ended(Report::of_interrupted(failure))
                    }
                    step => step?,
                };
                if let Step::Ended(mut report) = step {
                    if subject_talks {
                        subject.hear_out(attempt).await;
                    }
                    report.went_down = went_down.or_else(|| subject.take_went_down());
                    return Ok(report);
                }
            }
            heard = subject.next(), if subject_talks => {
                if let Step::Ended(report) = subject.take(attempt, heard).await? {
                    (subject_talks, went_down) = (false, report.went_down);
                }
            }
        }
    }
}

/// An input that is in memory.
pub fn piece(bytes: &Bytes) -> BoxStream<'static, Result<Bytes, BlobError>> {
    let bytes = bytes.clone();
    futures_util::stream::once(async move { Ok(bytes) }).boxed()
}
