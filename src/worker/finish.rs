//! The end of an attempt: it is written once, under the attempt's lease, and the attempt's cells are removed.

use assize_domain::artifact::RunArtifacts;
use assize_domain::output::blob_key;
use assize_domain::run::retry::{self, MAX_CRASHES, Next};
use assize_domain::run::{Failure, FailureCode, StageName, Status};
use assize_domain::verdict::Verdict;
use assize_observe::event;
use assize_signing::Envelope;
use assize_signing::statement::{OutputStatement, Sha256Digest};
use assize_store::takeover::RunSnapshot;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::attempt::Attempt;
use super::cells::Cells;
use super::fenced_write::retry_fenced_write;
use super::stop::Stop;
use super::{engine_health, statement};

/// Stores the output and the artifacts, writes the end, and then destroys the cells.
///
/// Readers assume that the blob of an ended attempt is complete, so it is stored before the end is written. The cells
/// are destroyed last: until the end is written, a worker that takes the run over may need them. If Postgres is
/// unavailable for longer than [`retry_fenced_write`] waits, that is this worker itself.
pub async fn finish(mut attempt: Attempt<'_>, mut cells: Cells<'_>, ended: Result<Verdict, Stop>) {
    let cells_exit = ended.is_ok();
    let written = match ended {
        Ok(verdict) => {
            attempt.worker.breaker.succeeded();
            let (envelope, artifacts) = sign(&mut attempt, &mut cells, Ok(&verdict)).await;
            complete(&attempt, &verdict, envelope.as_ref(), &artifacts).await
        }
        Err(Stop::Failed(failure)) => {
            // An unavailable repository host is no fault of this worker, and anybody can name such a host.
            if failure.evidence.stage != Some(StageName::Fetch) {
                attempt.worker.breaker.failed(failure.code, &attempt.identity);
            }
            if failure.code == FailureCode::DockerUnavailable {
                engine_health::check_engine(attempt.worker).await;
            }
            // Another worker may have completed this attempt by now. The partial output of this worker must not replace
            // the complete output that is stored there.
            let confirmed = if failure.code.is_transient() { confirm(&attempt).await } else { Ok(()) };
            match confirmed {
                Err(why) => Err(why),
                Ok(()) => match next(&attempt, &failure) {
                    Next::End => {
                        let (envelope, artifacts) = sign(&mut attempt, &mut cells, Err(&failure)).await;
                        fail(&attempt, &failure, envelope.as_ref(), &artifacts).await
                    }
                    Next::Retry { .. } => {
                        store_output(&mut attempt).await;
                        requeue(&attempt, &failure).await
                    }
                },
            }
        }
        Err(Stop::HandedOver) => {
            event::run_left(&attempt.identity, attempt.status);
            return cells.hand_over().await;
        }
        Err(Stop::LeaseLost(why)) => Err(why),
    };
    attempt.announce();
    if written.is_ok() && attempt.output.is_stored {
        attempt.output.drop_live();
    }
    if let Err(why) = written {
        event::lease_lost(&attempt.identity, attempt.status, &why);
        // A worker that has taken the run over in this attempt uses its cells.
        if attempt.is_adopted_elsewhere().await {
            return cells.hand_over().await;
        }
    }
    cells.destroy(cells_exit).await;
}

fn next(attempt: &Attempt<'_>, failure: &Failure) -> Next {
    if attempt.claim.crashes >= MAX_CRASHES { Next::End } else { retry::after(failure.code, attempt.claim.attempt) }
}

/// Confirms that this worker still has the lease. Without an answer the run is left to the watchdog.
async fn confirm(attempt: &Attempt<'_>) -> Result<(), String> {
    let (clock, store, lease) = (&attempt.worker.clock, &attempt.worker.store, attempt.lease);
    let confirmed = retry_fenced_write(clock, store, lease, |_| None, || store.confirm_lease(lease)).await;
    confirmed.map_err(|error| error.to_string())
}

/// Stores the output and the artifacts, and signs the end of the attempt; the images are read in the meantime.
async fn sign(
    attempt: &mut Attempt<'_>,
    cells: &mut Cells<'_>,
    ended: Result<&Verdict, &Failure>,
) -> (Option<Envelope>, RunArtifacts) {
    let is_signed = attempt.worker.signer.is_some();
    let images = async { if is_signed { cells.images().await } else { Vec::new() } };
    let stored = async {
        let output = store_output(attempt).await;
        (output, attempt.artifacts.store(&attempt.worker.store, &attempt.worker.blobs).await)
    };
    let (images, (output, artifacts)) = tokio::join!(images, stored);
    let envelope = statement::sign(attempt, images, output, &artifacts, ended);
    (envelope, artifacts)
}

/// Stores the output. Returns its digest, or `None` if it could not be stored.
async fn store_output(attempt: &mut Attempt<'_>) -> Option<OutputStatement> {
    let output = attempt.output.take_blob();
    let bytes = output.len() as u64;
    let digesting = tokio::task::spawn_blocking({
        let output = output.clone();
        move || hex::encode(Sha256::digest(&output))
    });
    let storing = async { if output.is_empty() { true } else { put_blob(attempt, output).await } };
    let (stored, sha256) = tokio::join!(storing, digesting);
    attempt.output.is_stored = stored;
    let sha256 = sha256.ok()?;
    stored.then_some(OutputStatement { digest: Sha256Digest { sha256 }, bytes })
}

async fn put_blob(attempt: &Attempt<'_>, output: Bytes) -> bool {
    let key = blob_key(attempt.claim.id, u32::try_from(attempt.claim.attempt).unwrap_or(0));
    if let Err(error) = attempt.worker.blobs.put_output(&key, output).await {
        tracing::warn!(runId = %attempt.claim.id, %error, "the output was not stored; readers get what Redis still has");
        return false;
    }
    true
}

async fn complete(
    attempt: &Attempt<'_>,
    verdict: &Verdict,
    envelope: Option<&Envelope>,
    artifacts: &RunArtifacts,
) -> Result<(), String> {
    let (clock, store, lease) = (&attempt.worker.clock, &attempt.worker.store, attempt.lease);
    let was_written = |row: RunSnapshot| row.is(lease, Status::Completed).then_some(());
    let write = || store.complete_run(lease, verdict, envelope, artifacts);
    retry_fenced_write(clock, store, lease, was_written, write).await.map_err(|error| error.to_string())?;
    event::run_completed(&attempt.identity, attempt.elapsed(), verdict.score, verdict.max_score);
    Ok(())
}

async fn fail(
    attempt: &Attempt<'_>,
    failure: &Failure,
    envelope: Option<&Envelope>,
    artifacts: &RunArtifacts,
) -> Result<(), String> {
    let (clock, store, lease) = (&attempt.worker.clock, &attempt.worker.store, attempt.lease);
    let was_written = |row: RunSnapshot| row.is(lease, failure.code.status()).then_some(());
    let write = || store.fail_run(lease, attempt.status, failure, envelope, artifacts);
    retry_fenced_write(clock, store, lease, was_written, write).await.map_err(|error| error.to_string())?;
    let Failure { code, evidence } = failure;
    event::run_failed(&attempt.identity, attempt.elapsed(), evidence.stage, *code, &evidence.message);
    Ok(())
}

async fn requeue(attempt: &Attempt<'_>, failure: &Failure) -> Result<(), String> {
    let (clock, store, lease) = (&attempt.worker.clock, &attempt.worker.store, attempt.lease);
    let delay = retry::delay(failure.code, lease.attempt, rand::random());
    let was_written = |row: RunSnapshot| {
        let aborted = row.is(lease, Status::Aborted).then_some(Status::Aborted);
        aborted.or((row.attempt > lease.attempt).then_some(Status::Queued))
    };
    let write = || store.requeue_run(lease, attempt.status, failure, delay);
    let new_status =
        retry_fenced_write(clock, store, lease, was_written, write).await.map_err(|error| error.to_string())?;
    let (elapsed, why) = (attempt.elapsed(), failure.evidence.message.as_str());
    if new_status == Status::Aborted {
        event::run_failed(&attempt.identity, elapsed, None, FailureCode::Cancelled, why);
    } else {
        event::run_requeued(&attempt.identity, elapsed, failure.code, why);
    }
    Ok(())
}
