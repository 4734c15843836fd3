//! Every write of a worker to a run: fenced by attempt, epoch and state, and worth exactly one row.

use std::time::Duration;

use sqlx::types::Json;
use uuid::Uuid;

use super::{Store, StoreError};
use crate::types::Text;
use assize_domain::artifact::{LeftOut, RunArtifacts};
use assize_domain::egress::EgressRecord;
use assize_domain::run::{Evidence, Failure, FailureCode, Lease, StageName, Status};
use assize_domain::verdict::Verdict;
use assize_signing::Envelope;

/// A lease that was renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewed {
    pub id: Uuid,
    pub attempt: i32,
    pub lease_epoch: i64,
    /// Someone wants the run to stop.
    pub cancel_requested: bool,
}

/// What a repository gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    pub sha256: String,
    /// Of the archive.
    pub bytes: i64,
    /// Files and folders in it.
    pub entries: i64,
    /// What the scan found in it.
    pub contents: serde_json::Value,
    /// What the ref named: 40 or 64 hexadecimal digits.
    pub commit: String,
    /// Signed, unless signing is off.
    pub receipt: Option<Envelope>,
}

/// The archive that a submission has, and the commit that it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub archive_sha256: String,
    pub commit: String,
}

/// One fenced statement: exactly one row, or the lease is lost.
macro_rules! fenced {
    ($store:ident, $name:literal, $file:literal, $lease:ident $(, $argument:expr)*) => {{
        let done = $store
            .timed(
                $name,
                sqlx::query_file!($file, $lease.run_id, $lease.attempt, $lease.epoch $(, $argument)*)
                    .execute(&$store.pool),
            )
            .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::LeaseLost { query: $name }) }
    }};
}

/// As `fenced`, for a statement with several parts that returns the run which it has ended.
macro_rules! fenced_end {
    ($store:ident, $name:literal, $file:literal, $lease:ident $(, $argument:expr)*) => {{
        let ended = $store
            .timed(
                $name,
                sqlx::query_file_scalar!($file, $lease.run_id, $lease.attempt, $lease.epoch $(, $argument)*)
                    .fetch_optional(&$store.pool),
            )
            .await?;
        ended.map(drop).ok_or(StoreError::LeaseLost { query: $name })
    }};
}

/// What the row says of files that were left out; nothing if there are none.
fn left_out(artifacts: &RunArtifacts) -> Option<Json<&LeftOut>> {
    (artifacts.left_out.count > 0).then_some(Json(&artifacts.left_out))
}

impl Store {
    /// Renews these leases of this worker in one statement, by the database's clock. A lease that is
    /// not in the answer is lost.
    pub async fn renew_leases(&self, worker: &str, runs: &[Uuid]) -> Result<Vec<Renewed>, StoreError> {
        self.timed(
            "renew_leases",
            sqlx::query_file_as!(Renewed, "sql/queries/renew_leases.sql", worker, runs).fetch_all(&self.pool),
        )
        .await
    }

    /// Which of these runs are active, and in which attempt.
    pub async fn active_attempts(&self, runs: &[Uuid]) -> Result<Vec<(Uuid, i32)>, StoreError> {
        let rows = self
            .timed("active_attempts", sqlx::query_file!("sql/queries/active_attempts.sql", runs).fetch_all(&self.pool))
            .await?;
        Ok(rows.into_iter().map(|row| (row.id, row.attempt)).collect())
    }

    /// Whether this lease still holds; it is as good as renewed.
    pub async fn confirm_lease(&self, lease: Lease) -> Result<(), StoreError> {
        fenced!(self, "confirm_lease", "sql/queries/confirm_lease.sql", lease)
    }

    /// preparing -> running, in its first stage.
    pub async fn start_run(&self, lease: Lease, phase: StageName) -> Result<(), StoreError> {
        fenced!(self, "start_run", "sql/queries/start_run.sql", lease, phase.as_str())
    }

    /// The run, preparing, has its repository fetched.
    pub async fn enter_fetch(&self, lease: Lease) -> Result<(), StoreError> {
        fenced!(self, "enter_fetch", "sql/queries/enter_fetch.sql", lease)
    }

    /// Gives the submission of a run that prepares what was fetched for it, unless it has that by now. What
    /// it has afterwards: all runs of a submission work on the same commit.
    pub async fn keep_fetched(&self, lease: Lease, fetched: &Fetched) -> Result<Kept, StoreError> {
        let kept = self
            .timed(
                "keep_fetched",
                sqlx::query_file_as!(
                    Kept,
                    "sql/queries/keep_fetched.sql",
                    lease.run_id,
                    lease.attempt,
                    lease.epoch,
                    fetched.sha256,
                    fetched.bytes,
                    fetched.entries,
                    fetched.commit,
                    fetched.receipt.as_ref().map(Json) as _,
                    fetched.contents
                )
                .fetch_optional(&self.pool),
            )
            .await?;
        kept.ok_or(StoreError::LeaseLost { query: "keep_fetched" })
    }

    /// The run, running, goes on to another stage.
    pub async fn enter_phase(&self, lease: Lease, phase: StageName) -> Result<(), StoreError> {
        fenced!(self, "enter_phase", "sql/queries/enter_phase.sql", lease, phase.as_str())
    }

    /// Writes down what a stage connected to. Repeated, it stands there twice, by the same ids.
    pub async fn record_egress(&self, lease: Lease, recorded: &EgressRecord) -> Result<(), StoreError> {
        fenced!(self, "record_egress", "sql/queries/record_egress.sql", lease, Json(recorded) as _)
    }

    /// running -> parsing.
    pub async fn parse_run(&self, lease: Lease) -> Result<(), StoreError> {
        fenced!(self, "parse_run", "sql/queries/parse_run.sql", lease)
    }

    /// parsing -> completed, with its verdict, the signed statement of it, and the files that it handed out.
    pub async fn complete_run(
        &self,
        lease: Lease,
        verdict: &Verdict,
        envelope: Option<&Envelope>,
        artifacts: &RunArtifacts,
    ) -> Result<(), StoreError> {
        fenced_end!(
            self,
            "complete_run",
            "sql/queries/complete_run.sql",
            lease,
            Json(verdict) as _,
            verdict.score,
            verdict.max_score,
            envelope.map(Json) as _,
            Json(&artifacts.files) as _,
            left_out(artifacts) as _
        )
    }

    /// From `from` to the end that the failure's code has, with the signed statement of it, and the files that the run
    /// handed out.
    pub async fn fail_run(
        &self,
        lease: Lease,
        from: Status,
        failure: &Failure,
        envelope: Option<&Envelope>,
        artifacts: &RunArtifacts,
    ) -> Result<(), StoreError> {
        let code: FailureCode = failure.code;
        let evidence: Json<&Evidence> = Json(&failure.evidence);
        fenced_end!(
            self,
            "fail_run",
            "sql/queries/fail_run.sql",
            lease,
            from.as_str(),
            code.status().as_str(),
            code.cause().as_str(),
            code.as_str(),
            evidence as _,
            envelope.map(Json) as _,
            Json(&artifacts.files) as _,
            left_out(artifacts) as _
        )
    }

    /// From `from` back to the queue with the next attempt, to be claimed after `delay`; or to its end,
    /// if someone asked for it. Where it went.
    pub async fn requeue_run(
        &self,
        lease: Lease,
        from: Status,
        failure: &Failure,
        delay: Duration,
    ) -> Result<Status, StoreError> {
        let evidence: Json<&Evidence> = Json(&failure.evidence);
        let message = format!("cancelled when its attempt had failed: {}", failure.evidence.message);
        let cancelled = Json(Evidence { message, ..Evidence::default() });
        let went = self
            .timed(
                "requeue_run",
                sqlx::query_file_scalar!(
                    "sql/queries/requeue_run.sql",
                    lease.run_id,
                    lease.attempt,
                    lease.epoch,
                    from.as_str(),
                    failure.code.as_str(),
                    evidence as _,
                    delay.as_secs_f64(),
                    cancelled as _
                )
                .fetch_optional(&self.pool),
            )
            .await?;
        went.map(Status::from).ok_or(StoreError::LeaseLost { query: "requeue_run" })
    }
}
