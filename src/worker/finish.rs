//! The end of an attempt: written once, under its lease.

use super::attempt::{Attempt, Stop, patiently};
use crate::observe::event;
use crate::output::blob_key;
use crate::run::retry::{self, Next};
use crate::run::{Failure, Outcome};
use crate::store::StoreError;
use crate::verdict::Verdict;

/// Keeps the output, then writes the end. Readers take the blob of an ended attempt as whole, so it
/// comes first.
pub async fn finish(mut attempt: Attempt<'_>, ended: Result<Verdict, Stop>) {
    let outcome = match ended {
        Ok(verdict) => Outcome::Completed(Box::new(verdict)),
        Err(Stop::Failed(failure)) => Outcome::Failed(Box::new(failure)),
        Err(Stop::LeaseLost(why)) => return event::lease_lost(&attempt.subject, attempt.status, &why),
    };
    let output = attempt.output.take_blob();
    if !output.is_empty() {
        let key = blob_key(attempt.claim.id, u32::try_from(attempt.claim.attempt).unwrap_or(0));
        if let Err(error) = attempt.worker.blobs.put_output(&key, output).await {
            tracing::warn!(runId = %attempt.claim.id, %error, "the output was not kept; readers see what Redis has");
        }
    }
    let written = patiently(async || match &outcome {
        Outcome::Completed(verdict) => complete(&attempt, verdict).await,
        Outcome::Failed(failure) => fail(&attempt, failure).await,
    })
    .await;
    if let Err(error) = written {
        event::lease_lost(&attempt.subject, attempt.status, &error.to_string());
    }
    attempt.announce();
}

async fn complete(attempt: &Attempt<'_>, verdict: &Verdict) -> Result<(), StoreError> {
    attempt.worker.store.complete_run(attempt.lease, verdict).await?;
    event::run_completed(&attempt.subject, attempt.taken(), verdict.score, verdict.max_score);
    Ok(())
}

async fn fail(attempt: &Attempt<'_>, failure: &Failure) -> Result<(), StoreError> {
    let (store, taken) = (&attempt.worker.store, attempt.taken());
    let why = failure.evidence.message.as_str();
    match retry::after(failure.code, attempt.claim.attempt) {
        Next::Retry { .. } => {
            store.requeue_run(attempt.lease, attempt.status, failure).await?;
            event::run_requeued(&attempt.subject, taken, failure.code, why);
        }
        Next::End => {
            store.fail_run(attempt.lease, attempt.status, failure).await?;
            event::run_failed(&attempt.subject, taken, failure.evidence.stage, failure.code, why);
        }
    }
    Ok(())
}
