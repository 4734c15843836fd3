//! How a stage or a cell ended, and whose fault that is.

use warden::event::{EndStatus, StageEnded};

use super::Conversation;
use crate::cell::Role;
use crate::egress::{HeardOf, Tunnels};
use crate::observe::metrics;
use crate::run::outcome::{StageLimits, stage_failure};
use crate::run::{Cause, Failure, FailureCode, StageName};
use crate::worker::attempt::{Attempt, Stop};
use crate::worker::fetch::git::{Seen, judge};

impl Conversation {
    /// What became of the hosts that a stage asked for; it is forgotten then.
    async fn take_heard(&mut self, stage: u8) -> HeardOf {
        match &mut self.tunnels {
            Some(tunnels) => tunnels.take_heard(stage).await,
            None => HeardOf::default(),
        }
    }

    pub(super) async fn stage_ended(&mut self, attempt: &mut Attempt<'_>, ended: StageEnded) -> Result<(), Stop> {
        let (stage, timeout) = self.stage(ended.stage)?;
        attempt.output.end_stage(stage);
        attempt.stages.push(self.role, stage, &ended);
        let mut counters = attempt.worker.cgroups.read(&self.id);
        // A cell that was adopted after its end has no cgroup any more; the warden had read it.
        counters.oom_kills = counters.oom_kills.max(ended.oom_kills);
        counters.memory_limit_hits = counters.memory_limit_hits.max(ended.memory_limit_hits);
        counters.total_was_hit = attempt.worker.cgroups.total_hits() > self.total_hits;
        if counters.memory_limit_hits.is_none() {
            // The engine's word is the last resort: it says so of every cell when all are at their total.
            counters.oom_kills = counters.oom_kills.max(self.oom_killed.into());
        }
        counters.pids_refused = counters.pids_refused.max(ended.pids_refused);
        metrics().oom_kills.inc_by(counters.oom_kills);
        let limits = StageLimits {
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            global_timeout_ms: self.plan.global_timeout_ms,
            memory_bytes: self.limits.memory_mib << 20,
            pids: self.limits.pids,
            output_bytes: self.plan.stages.get(usize::from(ended.stage)).map_or(0, |stage| stage.output.limit),
        };
        if let Some(mut failure) = stage_failure(stage, &ended, counters, limits) {
            // A service that was up and went down: the tests show what that cost.
            let went_down = ended.ready && failure.code == FailureCode::StartFailed;
            if !went_down {
                failure.evidence.last_output = attempt.output.last_lines(stage);
                let heard = self.take_heard(ended.stage).await;
                let away = heard.outage.as_ref().or(heard.forbidden.as_ref());
                if let (FailureCode::InstallFailed | FailureCode::BuildFailed, Some(away)) = (failure.code, away)
                    && self.role != Role::Fetch
                {
                    // What the network or the operator's settings did costs the project nothing.
                    failure.code = FailureCode::RegistryUnreachable;
                    failure.evidence.message = format!("{}; {away}", failure.evidence.message);
                }
                return Err(Stop::Failed(self.blame(failure, heard)));
            }
        }
        self.take_heard(ended.stage).await;
        if stage == StageName::Tests {
            self.tests = Some(ended.exit);
        }
        Ok(())
    }

    /// In the driver's cell only time can be the project's fault: the rest is the grader's own code. Where a
    /// repository is fetched, it is the repository's or its host's.
    pub(super) fn blame(&self, mut failure: Failure, heard: HeardOf) -> Failure {
        if self.role == Role::Fetch {
            let tunnels = self.tunnels.as_ref();
            let (HeardOf { outage, stall, .. }, spent) = (heard, tunnels.and_then(Tunnels::spent));
            let first_words = String::from_utf8_lossy(&self.first_words).into_owned();
            return judge(failure, &Seen { outage, stall, spent, first_words });
        }
        let time = matches!(failure.code, FailureCode::StageTimeout | FailureCode::GlobalTimeout);
        let is_ours = failure.code.cause() == Cause::Infrastructure;
        if self.role == Role::Driver && !time && !is_ours {
            failure.evidence.message = format!("the driver failed: {}", failure.evidence.message);
            failure.code = FailureCode::DriverFailed;
        }
        failure
    }

    pub(super) fn refused(&self, status: EndStatus) -> Failure {
        // The first input of a subject is the project; all others are ours.
        let project = |input: u8| self.role == Role::Subject && input == 0;
        match status {
            EndStatus::Rejected { input, reason } if project(input) => {
                Failure::new(FailureCode::ArchiveRejected, reason)
            }
            EndStatus::Rejected { reason, .. } => {
                Failure::new(FailureCode::TemplateInvalid, format!("the tests could not be unpacked: {reason}"))
            }
            EndStatus::DiskFull { input, path } if project(input) => Failure::new(
                FailureCode::OutOfDisk,
                format!("the archive does not fit into {path} ({} MiB)", self.limits.workspace_mib),
            ),
            EndStatus::DiskFull { path, .. } => {
                Failure::new(FailureCode::TemplateInvalid, format!("the tests do not fit into {path}"))
            }
            EndStatus::Done => Failure::new(FailureCode::CellLost, "the cell ended"),
            EndStatus::Fault { error } => Failure::new(FailureCode::CellLost, error),
        }
    }
}
