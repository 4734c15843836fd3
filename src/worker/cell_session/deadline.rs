//! The deadlines that the worker enforces on a cell, and what it does when one has passed.

use std::time::{Duration, Instant};

use assize_cell::Cell;
use assize_domain::run::FailureCode;
use assize_host::clock::Clock;
use assize_protocol::artifacts::TIMEOUT_MS;
use assize_protocol::plan::Plan;

use super::CellSession;
use super::phase::Phase;
use crate::worker::attempt::Attempt;
use crate::worker::stop::Stop;

/// How much later than the warden the worker gives up on a stage: room for the stage's grace and the warden's report.
pub const SLACK: Duration = Duration::from_secs(10);

/// How long a cell may take to report its end after it was asked to stop and its grace has passed. The journal of a
/// cell must be read within the same time.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// The time that the whole plan may take.
pub const fn global(plan: &Plan) -> Duration {
    Duration::from_millis(plan.global_timeout_ms)
}

/// The time after which a cell that has sent no end is stuck, from its hello.
pub const fn outside(plan: &Plan) -> Duration {
    global(plan).saturating_add(hand_out(plan)).saturating_add(SLACK)
}

/// The time that the warden may take for the artifacts.
pub const fn hand_out(plan: &Plan) -> Duration {
    if plan.artifacts.is_some() { Duration::from_millis(TIMEOUT_MS) } else { Duration::ZERO }
}

/// The time between TERM and KILL.
pub const fn grace(plan: &Plan) -> Duration {
    Duration::from_millis(plan.grace_ms)
}

/// The instant at which `limit` has passed since the cell's time `at_us`.
pub fn after(clock: &Clock, at_us: u64, limit: Duration) -> Instant {
    clock.monotonic() + limit.saturating_sub(clock.since_us(at_us))
}

impl CellSession {
    /// Sets the deadline of the next event. A session that is stopping has its deadline already. An event that the
    /// journal shows late ends a resync, because it has a deadline of its own.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        match self.phase {
            Phase::Stopping => return,
            Phase::Resyncing { .. } => self.phase = Phase::Running,
            Phase::Delivering(_) | Phase::Undelivered | Phase::Running => {}
        }
        self.deadline = deadline;
    }

    /// The worker's deadline has passed, and the warden did not report that its own had. Before the project is
    /// blamed the session reads the journal, because the stream may be stuck and not the cell.
    pub(super) async fn deadline_elapsed(&mut self, attempt: &Attempt<'_>) -> Result<(), Stop> {
        if !self.phase.has_plan() {
            return Err(Stop::failed(FailureCode::CellLost, "the cell did not take its project in"));
        }
        if let Some(failure) = self.policy.deadline_elapsed() {
            return Err(Stop::Failed(failure));
        }
        if let Phase::Resyncing { expired } = self.phase {
            return Err(Stop::failed(expired, "the cell did not stop at its time limit and was destroyed"));
        }
        let is_global = self.deadline >= self.global_deadline;
        let expired = if is_global { FailureCode::GlobalTimeout } else { FailureCode::StageTimeout };
        self.phase = Phase::Resyncing { expired };
        let received = self.output.heard;
        let (Cell { input, output, .. }, state) = attempt.worker.engine.resume(&self.id).await?;
        self.output = output.after(received);
        self.reopen(&attempt.worker.clock, input);
        self.observed.oom_killed |= state.oom_killed;
        self.deadline = attempt.worker.clock.monotonic() + STOP_TIMEOUT;
        Ok(())
    }
}
