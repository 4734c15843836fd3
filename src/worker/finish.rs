//! The end of an attempt: written once, under its lease, and its cells gone.

use super::attempt::{Attempt, Stop, patiently};
use super::breaker;
use super::cells::Cells;
use crate::observe::event;
use crate::output::blob_key;
use crate::run::retry::{self, MAX_CRASHES, Next};
use crate::run::{Failure, FailureCode, StageName, Status};
use crate::store::StoreError;
use crate::store::takeover::Position;
use crate::verdict::Verdict;

/// Keeps the output, writes the end, and then destroys the cells.
///
/// Readers take the blob of an ended attempt as whole, so it comes before the end. The cells come after:
/// until the end is written, whoever takes the run over may need them, and if Postgres stays away for
/// longer than [`patiently`] waits, that is this very worker.
pub async fn finish(mut attempt: Attempt<'_>, cells: Cells<'_>, ended: Result<Verdict, Stop>) {
    let exits = ended.is_ok();
    let written = match ended {
        Ok(verdict) => {
            attempt.worker.breaker.succeeded();
            keep_output(&mut attempt).await;
            complete(&attempt, &verdict).await
        }
        Err(Stop::Failed(failure)) => {
            // A repository's host that is away says nothing of this worker, and anybody can name one.
            if failure.evidence.stage != Some(StageName::Fetch) {
                attempt.worker.breaker.failed(failure.code);
            }
            if failure.code == FailureCode::DockerUnavailable {
                breaker::look_at_engine(attempt.worker).await;
            }
            // What failed here may go well elsewhere by now, and this half of the output must not replace
            // the whole that is kept there.
            let (store, lease) = (&attempt.worker.store, attempt.lease);
            if failure.code.is_transient()
                && let Err(error @ StoreError::LeaseLost { .. }) = store.confirm_lease(lease).await
            {
                Err(error.to_string())
            } else {
                keep_output(&mut attempt).await;
                match next(&attempt, &failure) {
                    Next::End => fail(&attempt, &failure).await,
                    Next::Retry { .. } => requeue(&attempt, &failure).await,
                }
            }
        }
        Err(Stop::Left) => {
            event::run_left(&attempt.subject, attempt.status);
            return cells.leave().await;
        }
        Err(Stop::LeaseLost(why)) => Err(why),
    };
    attempt.announce();
    if let Err(why) = written {
        event::lease_lost(&attempt.subject, attempt.status, &why);
        // Who took the run over in this attempt has its cells too.
        if attempt.goes_on_elsewhere().await {
            return cells.leave().await;
        }
    }
    cells.destroy(exits).await;
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

async fn complete(attempt: &Attempt<'_>, verdict: &Verdict) -> Result<(), String> {
    let (store, lease) = (&attempt.worker.store, attempt.lease);
    let done = |at: Position| at.is(lease, Status::Completed).then_some(());
    patiently(store, lease, done, || store.complete_run(lease, verdict)).await.map_err(|error| error.to_string())?;
    event::run_completed(&attempt.subject, attempt.taken(), verdict.score, verdict.max_score);
    Ok(())
}

async fn fail(attempt: &Attempt<'_>, failure: &Failure) -> Result<(), String> {
    let (store, lease) = (&attempt.worker.store, attempt.lease);
    let done = |at: Position| at.is(lease, failure.code.status()).then_some(());
    let write = || store.fail_run(lease, attempt.status, failure);
    patiently(store, lease, done, write).await.map_err(|error| error.to_string())?;
    let Failure { code, evidence } = failure;
    event::run_failed(&attempt.subject, attempt.taken(), evidence.stage, *code, &evidence.message);
    Ok(())
}

async fn requeue(attempt: &Attempt<'_>, failure: &Failure) -> Result<(), String> {
    let (store, lease) = (&attempt.worker.store, attempt.lease);
    let delay = retry::delay(failure.code, lease.attempt, rand::random());
    let done = |at: Position| {
        let aborted = at.is(lease, Status::Aborted).then_some(Status::Aborted);
        aborted.or((at.attempt > lease.attempt).then_some(Status::Queued))
    };
    let write = || store.requeue_run(lease, attempt.status, failure, delay);
    let went = patiently(store, lease, done, write).await.map_err(|error| error.to_string())?;
    let (taken, why) = (attempt.taken(), failure.evidence.message.as_str());
    if went == Status::Aborted {
        event::run_failed(&attempt.subject, taken, None, FailureCode::Cancelled, why);
    } else {
        event::run_requeued(&attempt.subject, taken, failure.code, why);
    }
    Ok(())
}
