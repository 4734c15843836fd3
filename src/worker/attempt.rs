//! One attempt at one run: its lease, where it is, and what it has written.

use std::time::{Duration, Instant};

use super::Worker;
use super::leases::Interrupted;
use super::output::OutputLog;
use crate::cell::EngineError;
use crate::cell::stream::StreamError;
use crate::clock;
use crate::intake::blob::BlobError;
use crate::observe::event::{self, Subject};
use crate::run::{Failure, FailureCode, Lease, StageName, Status};
use crate::store::StoreError;
use crate::store::queue::Claim;

/// How long a write is repeated while Postgres is away. A lease lives for 30 s after its last
/// renewal; after that the run is the watchdog's.
const PATIENCE: Duration = Duration::from_secs(25);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// Why an attempt does not go on.
#[derive(Debug)]
pub enum Stop {
    /// It ends, or is tried again, with this failure.
    Failed(Failure),
    /// The run is no longer ours: write nothing.
    LeaseLost(String),
}

/// An attempt under way.
pub struct Attempt<'a> {
    pub worker: &'a Worker,
    pub claim: Claim,
    pub lease: Lease,
    /// Where the row is, as this attempt left it: what every write is fenced by.
    pub status: Status,
    pub subject: Subject,
    pub output: OutputLog,
    begun: Instant,
}

impl<'a> Attempt<'a> {
    /// Takes over a claimed run; the second value ends when the run should not go on.
    pub fn begin(worker: &'a Worker, claim: Claim) -> (Self, Interrupted) {
        let subject = Subject {
            run_id: claim.id,
            submission_id: claim.project_submission_id,
            organization_id: claim.organization_id,
            template: claim.template.clone(),
        };
        let waited = (claim.started_at - claim.submitted_at).to_std().unwrap_or_default();
        event::run_claimed(&subject, claim.attempt, waited);
        let lease = claim.lease();
        let interrupted = worker.leases.hold(lease);
        let output = OutputLog::begin(worker.redis.clone(), claim.id, claim.attempt);
        let begun = clock::monotonic();
        let mut attempt = Self { worker, claim, lease, status: Status::Preparing, subject, output, begun };
        attempt.announce();
        (attempt, interrupted)
    }

    /// Since the claim.
    pub fn taken(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The run goes on to a stage: preparing -> running with the first.
    pub async fn enter(&mut self, stage: StageName) -> Result<(), Stop> {
        let store = &self.worker.store;
        if self.status == Status::Preparing {
            patiently(|| store.start_run(self.lease, stage)).await?;
            self.status = Status::Running;
        } else {
            patiently(|| store.enter_phase(self.lease, stage)).await?;
        }
        event::stage_entered(&self.subject, stage, self.taken());
        self.announce();
        Ok(())
    }

    /// running -> parsing.
    pub async fn begin_parsing(&mut self) -> Result<(), Stop> {
        patiently(|| self.worker.store.parse_run(self.lease)).await?;
        self.status = Status::Parsing;
        event::run_parsing(&self.subject, self.taken());
        self.announce();
        Ok(())
    }

    /// Tells readers to look, without waiting for Redis.
    pub fn announce(&mut self) {
        self.output.announce();
    }
}

/// Repeats a fenced write while Postgres is away; the fence makes it safe to repeat.
///
/// # Errors
/// What the last try said: [`StoreError::LeaseLost`] at once, [`StoreError::Unavailable`] after
/// [`PATIENCE`].
pub async fn patiently<F>(mut write: impl FnMut() -> F) -> Result<(), StoreError>
where
    F: Future<Output = Result<(), StoreError>>,
{
    let begun = clock::monotonic();
    loop {
        match write().await {
            Err(StoreError::Unavailable { .. }) if begun.elapsed() < PATIENCE => tokio::time::sleep(PAUSE).await,
            written => return written,
        }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        match error {
            // Fenced writes say so when the run is not ours any more. If Postgres is away, so are
            // our heartbeats: whoever holds the lease when it is back decides.
            StoreError::LeaseLost { .. } | StoreError::Unavailable { .. } => Self::LeaseLost(error.to_string()),
            other => Self::Failed(Failure::new(FailureCode::WorkerLost, other.to_string())),
        }
    }
}

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Self {
        Self::Failed(Failure::new(error.code(), error.to_string()))
    }
}

impl From<BlobError> for Stop {
    fn from(error: BlobError) -> Self {
        Self::Failed(Failure::new(FailureCode::NetworkError, error.to_string()))
    }
}

impl From<StreamError> for Stop {
    fn from(error: StreamError) -> Self {
        let code = match error {
            StreamError::Archive(_) => FailureCode::NetworkError,
            _ => FailureCode::CellLost,
        };
        Self::Failed(Failure::new(code, error.to_string()))
    }
}
