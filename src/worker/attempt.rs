//! One attempt at one run: its lease, the state of its row, and the fenced writes that move it on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use assize_domain::egress::EgressRecord;
use assize_domain::run::{FailureCode, Lease, StageName, Status};
use assize_observe::event::{self, RunIdentity};
use assize_store::StoreError;
use assize_store::queue::Claim;
use assize_store::takeover::RunSnapshot;
use tokio_util::sync::CancellationToken;

use super::Worker;
use super::artifacts::Artifacts;
use super::ended_stages::EndedStages;
use super::fenced_write::retry_fenced_write;
use super::output::{self, OutputLog};
use super::stop::Stop;
use crate::admission::Resumed;
use crate::leases::LeaseHold;
use crate::redis::Share;
use crate::template::Template;

/// An attempt that this worker drives.
pub struct Attempt<'a> {
    pub worker: &'a Worker,
    pub claim: Claim,
    pub lease: Lease,
    /// The status of the row as this attempt left it. Every write is fenced by it.
    pub status: Status,
    /// The stage that the row names. A stage that an adopted run had entered before is not entered again.
    pub phase: Option<StageName>,
    /// Set if another worker began this attempt.
    pub resumed: Option<Resumed>,
    pub identity: RunIdentity,
    pub output: OutputLog,
    /// How the stages ended, for the signed statement about the end of the run.
    pub stages: EndedStages,
    /// The files that the cells hand out.
    pub artifacts: Artifacts,
    /// Cancelled when somebody asks for the run to be cancelled.
    pub cancelled: CancellationToken,
    begun: Instant,
    /// Absent if this worker had no such template.
    pub begun_with: Option<Arc<Template>>,
}

impl<'a> Attempt<'a> {
    /// The template of the run, in the version that this worker had when it began to drive the run.
    pub fn template(&self) -> Result<Arc<Template>, Stop> {
        self.begun_with.clone().ok_or_else(|| {
            let (wanted, names) = (&self.claim.template, self.worker.templates.current().names());
            let message = format!("this worker has no template {wanted:?}, it has: {names}");
            Stop::failed(FailureCode::TemplateInvalid, message)
        })
    }

    /// Begins to drive a claimed run. The second value holds its lease and reports when it is lost.
    pub async fn begin(worker: &'a Worker, claim: Claim, resumed: Option<Resumed>) -> (Self, LeaseHold) {
        let identity = RunIdentity {
            run_id: claim.id,
            submission_id: claim.project_submission_id,
            organization_id: claim.organization_id,
            template: claim.template.clone(),
        };
        let lease = claim.lease();
        let hold = worker.leases.hold(lease);
        let (status, phase) = match resumed {
            None => {
                let waited = (claim.started_at - claim.submitted_at).to_std().unwrap_or_default();
                event::run_claimed(&identity, claim.attempt, waited);
                (Status::Preparing, None)
            }
            Some(Resumed { status, phase, .. }) => {
                event::run_adopted(&identity, status, claim.attempt, claim.crashes);
                (status, phase)
            }
        };
        let published = match resumed {
            Some(_) => output::published(&worker.redis, claim.id, claim.attempt).await,
            None => Vec::new(),
        };
        let begun_with = worker.templates.current().get(&claim.template).cloned();
        let visibility = begun_with.as_ref().map(|template| template.artifacts.visibility).unwrap_or_default();
        let mut attempt = Self {
            artifacts: Artifacts::none(worker.config.spool_dir.clone(), visibility),
            output: OutputLog::begin(
                worker.redis.clone(),
                Share::from_config(&worker.config),
                claim.id,
                claim.attempt,
                published,
            ),
            stages: EndedStages::default(),
            cancelled: hold.cancelled.clone(),
            begun: worker.clock.monotonic(),
            begun_with,
            worker,
            claim,
            lease,
            status,
            phase,
            resumed,
            identity,
        };
        attempt.announce();
        (attempt, hold)
    }

    /// The time since the claim.
    pub fn elapsed(&self) -> Duration {
        self.worker.clock.since(self.begun)
    }

    /// Moves the run on to a stage; its first own stage moves it from preparing to running. While the journal of an
    /// adopted run is replayed, the stages that the row names already are skipped.
    pub async fn enter(&mut self, stage: StageName) -> Result<(), Stop> {
        if self.phase.is_some_and(|phase| phase >= stage) {
            return Ok(());
        }
        let (clock, store, lease) = (&self.worker.clock, &self.worker.store, self.lease);
        let status = if stage == StageName::Fetch { Status::Preparing } else { Status::Running };
        let was_written = |row: RunSnapshot| (row.is(lease, status) && row.phase == Some(stage)).then_some(());
        if stage == StageName::Fetch {
            retry_fenced_write(clock, store, lease, was_written, || store.enter_fetch(lease)).await?;
        } else if self.status == Status::Preparing {
            retry_fenced_write(clock, store, lease, was_written, || store.start_run(lease, stage)).await?;
        } else {
            retry_fenced_write(clock, store, lease, was_written, || store.enter_phase(lease, stage)).await?;
        }
        (self.status, self.phase) = (status, Some(stage));
        event::stage_entered(&self.identity, stage, status, self.elapsed());
        self.announce();
        Ok(())
    }

    /// Records the connections of a stage. If Postgres is unavailable the record is lost, and the run continues.
    pub async fn record_egress(&self, recorded: &EgressRecord) -> Result<(), Stop> {
        event::egress(&self.identity, self.phase, self.status, recorded);
        if self.status == Status::Parsing {
            return Ok(());
        }
        match self.worker.store.record_egress(self.lease, recorded).await {
            Ok(()) => Ok(()),
            Err(error @ StoreError::LeaseLost { .. }) => Err(error.into()),
            Err(error) => {
                tracing::warn!(run = %self.lease.run_id, %error, "the connections of a run were not recorded");
                Ok(())
            }
        }
    }

    /// Moves the run from running to parsing.
    pub async fn begin_parsing(&mut self) -> Result<(), Stop> {
        if self.status == Status::Parsing {
            return Ok(());
        }
        let (clock, store, lease) = (&self.worker.clock, &self.worker.store, self.lease);
        let was_written = |row: RunSnapshot| row.is(lease, Status::Parsing).then_some(());
        retry_fenced_write(clock, store, lease, was_written, || store.parse_run(lease)).await?;
        self.status = Status::Parsing;
        event::run_parsing(&self.identity, self.elapsed());
        self.announce();
        Ok(())
    }

    /// Whether another worker drives this attempt now, and its cells with it. Returns true if Postgres is
    /// unavailable: whoever acquires the lease next decides, possibly this worker.
    pub async fn is_adopted_elsewhere(&self) -> bool {
        match self.worker.store.run_position(self.claim.id).await {
            Ok(Some(row)) => row.attempt == self.lease.attempt && row.status.is_active(),
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// Notifies readers of a change, without waiting for Redis.
    pub fn announce(&mut self) {
        self.output.announce();
    }
}
