//! The end of an attempt: written once, under its lease, and its cells gone.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::attempt::{Attempt, Stop, patiently};
use super::cells::Cells;
use super::{pulse, statement};
use assize_domain::output::blob_key;
use assize_domain::run::retry::{self, MAX_CRASHES, Next};
use assize_domain::run::{Failure, FailureCode, StageName, Status};
use assize_domain::verdict::Verdict;
use assize_observe::event;
use assize_signing::Envelope;
use assize_signing::statement::{OutputStatement, Sha256Digest};
use assize_store::takeover::Position;

/// Keeps the output, writes the end, and then destroys the cells.
///
/// Readers take the blob of an ended attempt as whole, so it comes before the end. The cells come after:
/// until the end is written, whoever takes the run over may need them, and if Postgres stays away for
/// longer than [`patiently`] waits, that is this very worker.
pub async fn finish(mut attempt: Attempt<'_>, mut cells: Cells<'_>, ended: Result<Verdict, Stop>) {
    let exits = ended.is_ok();
    let written = match ended {
        Ok(verdict) => {
            attempt.worker.breaker.succeeded();
            let envelope = sign(&mut attempt, &mut cells, Ok(&verdict)).await;
            complete(&attempt, &verdict, envelope.as_ref()).await
        }
        Err(Stop::Failed(failure)) => {
            // A repository's host that is away says nothing of this worker, and anybody can name one.
            if failure.evidence.stage != Some(StageName::Fetch) {
                attempt.worker.breaker.failed(failure.code, &attempt.subject);
            }
            if failure.code == FailureCode::DockerUnavailable {
                pulse::look(attempt.worker).await;
            }
            // What failed here may go well elsewhere by now, and this half of the output must not replace
            // the whole that is kept there.
            let confirmed = if failure.code.is_transient() { confirm(&attempt).await } else { Ok(()) };
            match confirmed {
                Err(why) => Err(why),
                Ok(()) => match next(&attempt, &failure) {
                    Next::End => {
                        let envelope = sign(&mut attempt, &mut cells, Err(&failure)).await;
                        fail(&attempt, &failure, envelope.as_ref()).await
                    }
                    Next::Retry { .. } => {
                        keep_output(&mut attempt).await;
                        requeue(&attempt, &failure).await
                    }
                },
            }
        }
        Err(Stop::Left) => {
            event::run_left(&attempt.subject, attempt.status);
            return cells.leave().await;
        }
        Err(Stop::LeaseLost(why)) => Err(why),
    };
    attempt.announce();
    if written.is_ok() && attempt.output.is_kept {
        attempt.output.is_over();
    }
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

/// While Postgres is away nobody can say; without an answer the run is the watchdog's.
async fn confirm(attempt: &Attempt<'_>) -> Result<(), String> {
    let (store, lease) = (&attempt.worker.store, attempt.lease);
    let confirmed = patiently(store, lease, |_| None, || store.confirm_lease(lease)).await;
    confirmed.map_err(|error| error.to_string())
}

/// Keeps the output and signs the end, beside one another where they can be.
async fn sign(attempt: &mut Attempt<'_>, cells: &mut Cells<'_>, ended: Result<&Verdict, &Failure>) -> Option<Envelope> {
    let is_signed = attempt.worker.signer.is_some();
    let images = async { if is_signed { cells.images().await } else { Vec::new() } };
    let (images, output) = tokio::join!(images, keep_output(attempt));
    statement::sign(attempt, images, output, ended)
}

/// What was kept; `None` if it could not be.
async fn keep_output(attempt: &mut Attempt<'_>) -> Option<OutputStatement> {
    let output = attempt.output.take_blob();
    let bytes = output.len() as u64;
    let digesting = tokio::task::spawn_blocking({
        let output = output.clone();
        move || hex::encode(Sha256::digest(&output))
    });
    let kept = async { if output.is_empty() { true } else { store_output(attempt, output).await } };
    let (kept, sha256) = tokio::join!(kept, digesting);
    attempt.output.is_kept = kept;
    let sha256 = sha256.ok()?;
    kept.then_some(OutputStatement { digest: Sha256Digest { sha256 }, bytes })
}

async fn store_output(attempt: &Attempt<'_>, output: Bytes) -> bool {
    let key = blob_key(attempt.claim.id, u32::try_from(attempt.claim.attempt).unwrap_or(0));
    if let Err(error) = attempt.worker.blobs.put_output(&key, output).await {
        tracing::warn!(runId = %attempt.claim.id, %error, "the output was not kept; readers see what Redis has");
        return false;
    }
    true
}

async fn complete(attempt: &Attempt<'_>, verdict: &Verdict, envelope: Option<&Envelope>) -> Result<(), String> {
    let (store, lease) = (&attempt.worker.store, attempt.lease);
    let done = |at: Position| at.is(lease, Status::Completed).then_some(());
    let write = || store.complete_run(lease, verdict, envelope);
    patiently(store, lease, done, write).await.map_err(|error| error.to_string())?;
    event::run_completed(&attempt.subject, attempt.taken(), verdict.score, verdict.max_score);
    Ok(())
}

async fn fail(attempt: &Attempt<'_>, failure: &Failure, envelope: Option<&Envelope>) -> Result<(), String> {
    let (store, lease) = (&attempt.worker.store, attempt.lease);
    let done = |at: Position| at.is(lease, failure.code.status()).then_some(());
    let write = || store.fail_run(lease, attempt.status, failure, envelope);
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
