//! The end of a stage: whether it failed, by the kernel's counters and the warden's report.

use assize_domain::run::outcome::{CellCounters, StageLimits, stage_failure};
use assize_domain::run::{FailureCode, StageName};
use assize_observe::metrics;
use assize_protocol::event::StageEnded;

use super::{CellSession, FailureContext};
use crate::egress::{HeardOf, Tunnels};
use crate::worker::attempt::Attempt;
use crate::worker::stop::Stop;

impl CellSession {
    /// Records the end of a stage, and returns its failure unless the policy tolerates it.
    pub(super) async fn stage_ended(&mut self, attempt: &mut Attempt<'_>, ended: StageEnded) -> Result<(), Stop> {
        let (stage, timeout) = self.stage(ended.stage)?;
        attempt.output.end_stage(stage);
        attempt.stages.push(self.policy.role(), stage, &ended);
        self.end_progress(attempt, ended.stage, ended.lines_dropped);
        let counters = self.counters(attempt, &ended);
        metrics().oom_kills(counters.oom_kills);
        let limits = StageLimits {
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            global_timeout_ms: self.plan.global_timeout_ms,
            memory_bytes: self.limits.memory_mib << 20,
            pids: self.limits.pids,
            output_bytes: self.plan.stages.get(usize::from(ended.stage)).map_or(0, |stage| stage.output.limit),
        };
        if let Some(mut failure) = stage_failure(stage, &ended, counters, limits) {
            failure.evidence.last_output = attempt.output.last_lines(stage);
            // A service that had been ready and went down: its tests show what that costs.
            if ended.ready && failure.code == FailureCode::StartFailed {
                self.observed.went_down = Some(failure);
            } else {
                let hosts = self.take_host_problems(ended.stage).await;
                let context = FailureContext {
                    hosts,
                    spent: self.spent(),
                    has_run: self.observed.has_run,
                    ..FailureContext::for_plan(&self.plan)
                };
                let failure = self.policy.attribute(failure, &context);
                if !self.policy.tolerates(&failure) {
                    self.observed.has_failed = true;
                    return Err(Stop::Failed(failure));
                }
                self.observed.interrupted = Some(failure);
            }
        }
        self.take_host_problems(ended.stage).await;
        if stage == StageName::Tests {
            self.observed.tests = Some(ended.exit);
        }
        Ok(())
    }

    /// The kernel's counters of the cell, completed by what the warden and the engine report.
    fn counters(&self, attempt: &Attempt<'_>, ended: &StageEnded) -> CellCounters {
        let mut counters = attempt.worker.cgroups.read(&self.id);
        // A cell that was adopted after its end has no cgroup any more; its warden had read the counters.
        counters.oom_kills = counters.oom_kills.max(ended.oom_kills);
        counters.memory_limit_hits = counters.memory_limit_hits.max(ended.memory_limit_hits);
        counters.total_was_hit = attempt.worker.cgroups.total_hits() > self.observed.total_hits;
        if counters.memory_limit_hits.is_none() {
            // The engine's flag is the last resort: it is set for every cell when all cells are at their total.
            counters.oom_kills = counters.oom_kills.max(self.observed.oom_killed.into());
        }
        counters.pids_refused = counters.pids_refused.max(ended.pids_refused);
        counters
    }

    /// The problems of the hosts that a stage asked for. A second call for the same stage returns none.
    async fn take_host_problems(&mut self, stage: u8) -> HeardOf {
        match &mut self.tunnels {
            Some(tunnels) => tunnels.take_heard(stage).await,
            None => HeardOf::default(),
        }
    }

    /// The bytes that a stage might transfer, if it has used them up.
    pub(super) fn spent(&self) -> Option<u64> {
        self.tunnels.as_ref().and_then(Tunnels::spent)
    }
}
