//! The events of a run. Each is written here, once, as a log line and as a metric.

use std::time::Duration;

use uuid::Uuid;

use crate::metrics;
use assize_domain::egress::EgressRecord;
use assize_domain::queue::ClaimPause;
use assize_domain::run::{FailureCode, StageName, Status};

/// Which run an event is about. The run id is the trace: API, worker and cell labels carry it.
#[derive(Debug, Clone)]
pub struct RunIdentity {
    pub run_id: Uuid,
    pub submission_id: Uuid,
    pub organization_id: Uuid,
    pub template: String,
}

/// A line with the eight fields that every run event has; those without a value are empty.
macro_rules! line {
    ($level:ident, $run:ident, $phase:expr, $status:expr, $duration:expr, $code:expr, $($message:tt)+) => {
        tracing::$level!(
            runId = %$run.run_id,
            submissionId = %$run.submission_id,
            orgId = %$run.organization_id,
            template = $run.template,
            phase = $phase.map_or("", StageName::as_str),
            status = $status.as_str(),
            durationMs = $duration.map_or(0, |taken: Duration| u64::try_from(taken.as_millis()).unwrap_or(u64::MAX)),
            failureCode = $code.map_or("", FailureCode::as_str),
            $($message)+
        )
    };
}

const NO_CODE: Option<FailureCode> = None;
const NO_PHASE: Option<StageName> = None;
const NO_DURATION: Option<Duration> = None;

/// A submission was taken in.
pub fn run_queued(run: &RunIdentity) {
    metrics().runs_queued.increment(1);
    line!(info, run, NO_PHASE, Status::Queued, NO_DURATION, NO_CODE, "run queued");
}

/// What a stage of the run connected to. Hosts stand in the events of the run, not here: a project
/// chooses their names.
pub fn egress(run: &RunIdentity, phase: Option<StageName>, status: Status, recorded: &EgressRecord) {
    let connections = recorded.egress.len() as u64 + recorded.unlisted;
    let reached = recorded.egress.iter().filter(|connection| connection.address.is_some()).count();
    let bytes: u64 = recorded.egress.iter().map(|connection| connection.up + connection.down).sum();
    metrics().egress_connections.increment(connections);
    metrics().egress_bytes.increment(bytes);
    line!(info, run, phase, status, NO_DURATION, NO_CODE, connections, reached, bytes, "egress");
}

/// A worker claimed the run after `waited`.
pub fn run_claimed(run: &RunIdentity, attempt: i32, waited: Duration) {
    metrics().observe_queue_wait(waited);
    line!(info, run, NO_PHASE, Status::Preparing, Some(waited), NO_CODE, attempt, "run claimed");
}

/// A worker goes on with what another, which is gone, had begun; `crashes` workers died with it.
pub fn run_adopted(run: &RunIdentity, status: Status, attempt: i32, crashes: i32) {
    metrics().runs_adopted.increment(1);
    line!(info, run, NO_PHASE, status, NO_DURATION, NO_CODE, attempt, crashes, "run adopted");
}

/// A worker that stops leaves the run to its successor.
pub fn run_left(run: &RunIdentity, status: Status) {
    line!(info, run, NO_PHASE, status, NO_DURATION, NO_CODE, "run left to the next worker");
}

/// The repository of a submission is an archive now, `since` the claim.
pub fn repository_fetched(run: &RunIdentity, since: Duration, commit: &str) {
    let stage = Some(StageName::Fetch);
    line!(info, run, stage, Status::Preparing, Some(since), NO_CODE, commit, "repository fetched");
}

/// A stage began, `since` the claim.
pub fn stage_entered(run: &RunIdentity, stage: StageName, status: Status, since: Duration) {
    line!(info, run, Some(stage), status, Some(since), NO_CODE, "stage entered");
}

/// The results are being read, `since` the claim.
pub fn run_parsing(run: &RunIdentity, since: Duration) {
    line!(info, run, NO_PHASE, Status::Parsing, Some(since), NO_CODE, "run parsing");
}

/// The run ended with a verdict, `taken` after its claim.
pub fn run_completed(run: &RunIdentity, taken: Duration, score: f64, max_score: f64) {
    metrics().run_ended(&run.template, Status::Completed, taken);
    metrics().attempt_completed();
    line!(info, run, NO_PHASE, Status::Completed, Some(taken), NO_CODE, score, max_score, "run completed");
}

/// The run ended without one.
pub fn run_failed(run: &RunIdentity, taken: Duration, stage: Option<StageName>, code: FailureCode, why: &str) {
    metrics().run_ended(&run.template, code.status(), taken);
    metrics().attempt_failed(&run.template, code);
    line!(warn, run, stage, code.status(), Some(taken), Some(code), why, "run ended without a verdict");
}

/// The attempt failed and the run went back to the queue.
pub fn run_requeued(run: &RunIdentity, taken: Duration, code: FailureCode, why: &str) {
    metrics().attempt_failed(&run.template, code);
    line!(warn, run, NO_PHASE, Status::Queued, Some(taken), Some(code), why, "attempt failed, run queued again");
}

/// A worker lost its lease and stopped without writing.
pub fn lease_lost(run: &RunIdentity, status: Status, why: &str) {
    metrics().leases_lost.increment(1);
    line!(warn, run, NO_PHASE, status, NO_DURATION, NO_CODE, why, "lease lost");
}

/// A service that assize stands on went away or came back; logged at the change only.
pub fn dependency(name: &'static str, up: bool, why: &str) {
    if metrics().dependency(name, up) {
        if up {
            tracing::info!(dependency = name, "answers");
        } else {
            tracing::warn!(dependency = name, why, "does not answer");
        }
    }
}

/// A worker pauses its claims for a reason, or lifts that pause (`why` is `None`). Called at a change only.
pub fn claims_paused(reason: ClaimPause, why: Option<&str>) {
    metrics().claims_paused(reason, why.is_some());
    match why {
        Some(why) => tracing::warn!(reason = reason.as_str(), why, "claims are paused"),
        None => tracing::info!(reason = reason.as_str(), "claims are no longer paused for this reason"),
    }
}

/// The worker made and removed a container of its own, or could not.
pub fn worker_probed(went_well: bool) {
    metrics().worker_probed(went_well);
}

/// The API counts requests for itself, because Redis did not answer (`why`), or over all processes again.
/// Called at the change only.
pub fn rate_limits_local(why: Option<&str>) {
    metrics().rate_limits_local(why.is_some());
    match why {
        Some(why) => tracing::warn!(why, "rate limits are counted by this process alone"),
        None => tracing::info!("rate limits are counted over all processes again"),
    }
}

/// A client was refused because there is too much of it, by the named limit.
pub fn refused(limit: &'static str) {
    metrics().refused(limit);
    tracing::debug!(limit, "a client was refused");
}
