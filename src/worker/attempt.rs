//! One attempt at one run: its lease, where it is, and what it has written.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::Worker;
use super::leases::Interrupted;
use super::output::{self, OutputLog};
use super::statement::EndedStages;
use crate::admission::Resumed;
use crate::intake::blob::BlobError;
use crate::redis::Share;
use crate::template::Template;
use assize_cell::EngineError;
use assize_cell::stream::StreamError;
use assize_domain::egress::EgressRecord;
use assize_domain::run::{Failure, FailureCode, Lease, StageName, Status};
use assize_host::clock;
use assize_observe::event::{self, Subject};
use assize_store::queue::Claim;
use assize_store::takeover::Position;
use assize_store::{Store, StoreError};

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
    /// It goes on without us: this worker stops, and its successor adopts it.
    Left,
}

impl Stop {
    /// Someone wants the run to stop.
    pub fn cancelled() -> Self {
        Self::Failed(Failure::new(FailureCode::Cancelled, "cancelled while it was running"))
    }
}

/// An attempt under way.
pub struct Attempt<'a> {
    pub worker: &'a Worker,
    pub claim: Claim,
    pub lease: Lease,
    /// Where the row is, as this attempt left it: what every write is fenced by.
    pub status: Status,
    /// The stage that the row names. One that an adopted run had entered before is not entered again.
    pub phase: Option<StageName>,
    /// Set if another worker began this attempt.
    pub resumed: Option<Resumed>,
    pub subject: Subject,
    pub output: OutputLog,
    /// How its stages ended, for the statement of its end.
    pub stages: EndedStages,
    /// Someone wants the run to stop.
    pub cancelled: CancellationToken,
    begun: Instant,
}

impl<'a> Attempt<'a> {
    /// The template of this run, as this worker has it.
    pub fn template(&self) -> Result<&'a Template, Stop> {
        let worker: &'a Worker = self.worker;
        worker.templates.get(&self.claim.template).ok_or_else(|| {
            let (wanted, names) = (&self.claim.template, worker.templates.names());
            let message = format!("this worker has no template {wanted:?}, it has: {names}");
            Stop::Failed(Failure::new(FailureCode::TemplateInvalid, message))
        })
    }

    /// Takes over a claimed run; the second value ends when the run should not go on.
    pub async fn begin(worker: &'a Worker, claim: Claim, resumed: Option<Resumed>) -> (Self, Interrupted) {
        let subject = Subject {
            run_id: claim.id,
            submission_id: claim.project_submission_id,
            organization_id: claim.organization_id,
            template: claim.template.clone(),
        };
        let lease = claim.lease();
        let interrupted = worker.leases.hold(lease);
        let (status, phase) = match resumed {
            None => {
                let waited = (claim.started_at - claim.submitted_at).to_std().unwrap_or_default();
                event::run_claimed(&subject, claim.attempt, waited);
                (Status::Preparing, None)
            }
            Some(Resumed { status, phase, .. }) => {
                event::run_adopted(&subject, status, claim.attempt, claim.crashes);
                (status, phase)
            }
        };
        let seen =
            if resumed.is_some() { output::seen(&worker.redis, claim.id, claim.attempt).await } else { Vec::new() };
        let mut attempt = Self {
            output: OutputLog::begin(worker.redis.clone(), Share::of(&worker.config), claim.id, claim.attempt, seen),
            stages: EndedStages::default(),
            cancelled: interrupted.cancelled.clone(),
            begun: clock::monotonic(),
            worker,
            claim,
            lease,
            status,
            phase,
            resumed,
            subject,
        };
        attempt.announce();
        (attempt, interrupted)
    }

    /// Since the claim.
    pub fn taken(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The run goes on to a stage: preparing -> running with the first of its own. Replaying the journal of an
    /// adopted run, the stages that the row knows of are passed by.
    pub async fn enter(&mut self, stage: StageName) -> Result<(), Stop> {
        if self.phase.is_some_and(|phase| phase >= stage) {
            return Ok(());
        }
        let (store, lease) = (&self.worker.store, self.lease);
        let status = if stage == StageName::Fetch { Status::Preparing } else { Status::Running };
        let done = |at: Position| (at.is(lease, status) && at.phase == Some(stage)).then_some(());
        if stage == StageName::Fetch {
            patiently(store, lease, done, || store.enter_fetch(lease)).await?;
        } else if self.status == Status::Preparing {
            patiently(store, lease, done, || store.start_run(lease, stage)).await?;
        } else {
            patiently(store, lease, done, || store.enter_phase(lease, stage)).await?;
        }
        (self.status, self.phase) = (status, Some(stage));
        event::stage_entered(&self.subject, stage, status, self.taken());
        self.announce();
        Ok(())
    }

    /// Writes down what a stage connected to. A record that Postgres cannot take now is not worth the run.
    pub async fn record_egress(&self, recorded: &EgressRecord) -> Result<(), Stop> {
        event::egress(&self.subject, self.phase, self.status, recorded);
        if self.status == Status::Parsing {
            return Ok(());
        }
        match self.worker.store.record_egress(self.lease, recorded).await {
            Ok(()) => Ok(()),
            Err(error @ StoreError::LeaseLost { .. }) => Err(error.into()),
            Err(error) => {
                tracing::warn!(run = %self.lease.run_id, %error, "connections of a run were not written down");
                Ok(())
            }
        }
    }

    /// running -> parsing.
    pub async fn begin_parsing(&mut self) -> Result<(), Stop> {
        if self.status == Status::Parsing {
            return Ok(());
        }
        let (store, lease) = (&self.worker.store, self.lease);
        let done = |at: Position| at.is(lease, Status::Parsing).then_some(());
        patiently(store, lease, done, || store.parse_run(lease)).await?;
        self.status = Status::Parsing;
        event::run_parsing(&self.subject, self.taken());
        self.announce();
        Ok(())
    }

    /// Whether this very attempt is now another worker's, and its cells with it. If Postgres cannot be
    /// asked: yes, for whoever gets the lease decides, and that may be this worker again.
    pub async fn goes_on_elsewhere(&self) -> bool {
        match self.worker.store.run_position(self.claim.id).await {
            Ok(Some(at)) => at.attempt == self.lease.attempt && at.status.is_active(),
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// Tells readers to look, without waiting for Redis.
    pub fn announce(&mut self) {
        self.output.announce();
    }
}

/// Repeats a fenced write while Postgres is away. A reply may be lost after the write was made; the
/// next try then finds the row moved on, and `done` says whether that was our own doing.
///
/// # Errors
/// What the last try said: [`StoreError::LeaseLost`] at once, [`StoreError::Unavailable`] after
/// [`PATIENCE`].
pub async fn patiently<T, F>(
    store: &Store,
    lease: Lease,
    done: impl Fn(Position) -> Option<T>,
    mut write: impl FnMut() -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let begun = clock::monotonic();
    let mut is_in_doubt = false;
    loop {
        let written = match write().await {
            Err(StoreError::LeaseLost { query }) if is_in_doubt => {
                let at = store.run_position(lease.run_id).await;
                at.and_then(|at| at.and_then(&done).ok_or(StoreError::LeaseLost { query }))
            }
            written => written,
        };
        match written {
            Err(StoreError::Unavailable { .. }) if begun.elapsed() < PATIENCE => {
                is_in_doubt = true;
                tokio::time::sleep(PAUSE).await;
            }
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
        if matches!(error, EngineError::Unwanted) {
            return Self::LeaseLost(error.to_string());
        }
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
