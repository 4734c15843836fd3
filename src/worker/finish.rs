//! The end of an attempt: written once, under its lease, and its cells gone.

use super::attempt::{Attempt, Stop, patiently};
use super::cells::Cells;
use crate::observe::event;
use crate::output::blob_key;
use crate::run::retry::{self, MAX_CRASHES, Next};
use crate::run::{Failure, FailureCode, Status};
use crate::store::StoreError;
use crate::store::takeover::Position;
use crate::verdict::Verdict;

/// Keeps the output, writes the end, and destroys the cells.
///
/// Readers take the blob of an ended attempt as whole, so it comes before the end. A run that will be
/// tried again loses its cells before it is queued: the next attempt may begin at once.
pub async fn finish(mut attempt: Attempt<'_>, cells: Cells<'_>, ended: Result<Verdict, Stop>) {
    match ended {
        Ok(verdict) => {
            attempt.worker.breaker.succeeded();
            keep_output(&mut attempt).await;
            tokio::join!(complete(&attempt, &verdict), cells.destroy(true));
        }
        Err(Stop::Failed(failure)) => {
            attempt.worker.breaker.failed(failure.code);
            keep_output(&mut attempt).await;
            match next(&attempt, &failure) {
                Next::End => {
                    tokio::join!(fail(&attempt, &failure), cells.destroy(false));
                }
                Next::Retry { .. } => {
                    cells.destroy(false).await;
                    requeue(&attempt, &failure).await;
                }
            }
        }
        Err(Stop::Left) => {
            event::run_left(&attempt.subject, attempt.status);
            cells.leave().await;
        }
        Err(Stop::LeaseLost(why)) => {
            event::lease_lost(&attempt.subject, attempt.status, &why);
            // Who took the run over in this attempt has its cells too.
            if attempt.goes_on_elsewhere().await { cells.leave().await } else { cells.destroy(false).await }
        }
    }
    attempt.announce();
}

fn next(attempt: &Attempt<'_>, failure: &Failure) -> Next {
    if attempt.claim.crashes >= MAX_CRASHES { Next::End } else { retry::after(failure.code, attempt.claim.attempt) }
}

async fn keep_output(attempt: &mut Attempt<'_>) {
    let output = attempt.output.take_blob();
    if output.is_empty() {
        return;
    }
    let key = blob_key(attempt.claim.id, u32::try_from(attempt.claim.attempt).unwrap_or(0));
    if let Err(error) = attempt.worker.blobs.put_output(&key, output).await {
        tracing::warn!(runId = %attempt.claim.id, %error, "the output was not kept; readers see what Redis has");
    }
}

async fn complete(attempt: &Attempt<'_>, verdict: &Verdict) {
    let store = &attempt.worker.store;
    let done = |at: Position| at.is(attempt.lease, Status::Completed).then_some(());
    match patiently(store, attempt.lease, done, || store.complete_run(attempt.lease, verdict)).await {
        Ok(()) => event::run_completed(&attempt.subject, attempt.taken(), verdict.score, verdict.max_score),
        Err(error) => lost(attempt, &error),
    }
}

async fn fail(attempt: &Attempt<'_>, failure: &Failure) {
    let store = &attempt.worker.store;
    let write = || store.fail_run(attempt.lease, attempt.status, failure);
    let done = |at: Position| at.is(attempt.lease, failure.code.status()).then_some(());
    match patiently(store, attempt.lease, done, write).await {
        Ok(()) => event::run_failed(
            &attempt.subject,
            attempt.taken(),
            failure.evidence.stage,
            failure.code,
            &failure.evidence.message,
        ),
        Err(error) => lost(attempt, &error),
    }
}

async fn requeue(attempt: &Attempt<'_>, failure: &Failure) {
    let (store, taken, why) = (&attempt.worker.store, attempt.taken(), failure.evidence.message.as_str());
    let delay = retry::delay(failure.code, attempt.claim.attempt, rand::random());
    let write = || store.requeue_run(attempt.lease, attempt.status, failure, delay);
    let done = |at: Position| {
        let aborted = at.is(attempt.lease, Status::Aborted).then_some(Status::Aborted);
        aborted.or((at.attempt > attempt.lease.attempt).then_some(Status::Queued))
    };
    match patiently(store, attempt.lease, done, write).await {
        Ok(Status::Aborted) => {
            event::run_failed(&attempt.subject, taken, None, FailureCode::Cancelled, why);
        }
        Ok(_) => event::run_requeued(&attempt.subject, taken, failure.code, why),
        Err(error) => lost(attempt, &error),
    }
}

fn lost(attempt: &Attempt<'_>, error: &StoreError) {
    event::lease_lost(&attempt.subject, attempt.status, &error.to_string());
}
