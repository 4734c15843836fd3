//! How a stage or a cell ended, and whose fault that is.

use std::path::Path;

use assize_protocol::event::{EndStatus, StageEnded};
use assize_protocol::plan::Stage;

use super::Conversation;
use crate::egress::{HeardOf, Tunnels};
use crate::worker::attempt::{Attempt, Stop};
use crate::worker::fetch::git::{Seen, judge};
use assize_cell::Role;
use assize_cell::spec::{TMP, WORKSPACE};
use assize_domain::run::outcome::{StageLimits, stage_failure};
use assize_domain::run::{Cause, Failure, FailureCode, StageName};
use assize_observe::metrics;

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
            failure.evidence.last_output = attempt.output.last_lines(stage);
            if went_down {
                self.went_down = Some(failure);
            } else {
                let heard = self.take_heard(ended.stage).await;
                let away = heard.outage.as_ref().or(heard.forbidden.as_ref());
                if let (FailureCode::InstallFailed | FailureCode::BuildFailed, Some(away)) = (failure.code, away)
                    && self.role != Role::Fetch
                {
                    // What the network or the operator's settings did costs the project nothing.
                    failure.code = FailureCode::RegistryUnreachable;
                    failure.evidence.message = format!("{}; {away}", failure.evidence.message);
                }
                let failure = self.blame(failure, heard);
                if !self.may_go_on(&failure) {
                    return Err(Stop::Failed(failure));
                }
                self.interrupted = Some(failure);
            }
        }
        self.take_heard(ended.stage).await;
        if stage == StageName::Tests {
            self.tests = Some(ended.exit);
        }
        Ok(())
    }

    /// Whether an interrupted driver is heard out: its report, as far as it came, is worth what it says.
    pub fn may_go_on(&self, failure: &Failure) -> bool {
        self.role == Role::Driver && self.scores_zero && failure.code.cause() == Cause::Submission
    }

    /// In the driver's cell only time can be the project's fault: the rest is the grader's own code, unless its template
    /// says that it runs the project's. In the subject's cell everything can be that the project's code is able to bring
    /// about. Where a repository is fetched, it is the repository's or its host's.
    pub(super) fn blame(&self, mut failure: Failure, heard: HeardOf) -> Failure {
        if self.role == Role::Fetch {
            let tunnels = self.tunnels.as_ref();
            let (HeardOf { outage, stall, .. }, spent) = (heard, tunnels.and_then(Tunnels::spent));
            let first_words = String::from_utf8_lossy(&self.first_words).into_owned();
            return judge(failure, &Seen { outage, stall, spent, first_words });
        }
        let time = matches!(failure.code, FailureCode::StageTimeout | FailureCode::GlobalTimeout);
        let is_ours = failure.code.cause() == Cause::Infrastructure;
        if self.role == Role::Subject && failure.code == FailureCode::DriverFailed && self.is_in_reach() {
            failure.code = FailureCode::TestsInterrupted;
        }
        if self.role == Role::Driver && !self.scores_zero && !time && !is_ours {
            failure.evidence.message = format!("the driver failed: {}", failure.evidence.message);
            failure.code = FailureCode::DriverFailed;
        }
        failure
    }

    /// Whether the project can keep the tests stage from being started: its code has run in this cell, or the program is
    /// looked for where its files are. What lies in the image it cannot touch.
    fn is_in_reach(&self) -> bool {
        let tests = self.plan.stages.iter().find(|stage| stage.name == StageName::Tests.as_str());
        self.has_run || tests.is_some_and(is_of_the_project)
    }

    pub(super) fn refused(&self, status: EndStatus, at_us: u64) -> Failure {
        // The first input of a subject is the project; all others are ours.
        let project = |input: u8| self.role == Role::Subject && input == 0;
        if self.role == Role::Subject
            && let EndStatus::Rejected { input, reason } = &status
            && *input > 0
            && at_us.saturating_sub(self.began_us) >= self.plan.global_timeout_ms.saturating_mul(1000)
        {
            // Whatever came before took the time: the project, or what its code did.
            let seconds = self.plan.global_timeout_ms / 1000;
            let message = format!("the run took longer than its {seconds} s: {reason}");
            return Failure::new(FailureCode::GlobalTimeout, message);
        }
        // Where the tests are handed in after the project's code ran, it may have left no room for them.
        let ours = if self.role == Role::Subject && self.has_run {
            FailureCode::TestsInterrupted
        } else {
            FailureCode::TemplateInvalid
        };
        match status {
            EndStatus::Rejected { input, reason } if project(input) => {
                Failure::new(FailureCode::ArchiveRejected, reason)
            }
            EndStatus::Rejected { reason, .. } => {
                Failure::new(ours, format!("the tests could not be unpacked: {reason}"))
            }
            EndStatus::DiskFull { input, path } if project(input) => Failure::new(
                FailureCode::OutOfDisk,
                format!("the archive does not fit into {path} ({} MiB)", self.limits.workspace_mib),
            ),
            EndStatus::DiskFull { path, .. } => Failure::new(ours, format!("the tests do not fit into {path}")),
            // Only what ran before in this cell can have done that.
            EndStatus::Spoiled { reason, .. } => {
                Failure::new(FailureCode::TestsInterrupted, format!("the tests could not be handed in: {reason}"))
            }
            EndStatus::Done => Failure::new(FailureCode::CellLost, "the cell ended"),
            EndStatus::Fault { error } => Failure::new(FailureCode::CellLost, error),
        }
    }
}

/// Whether the program of a stage is looked for in a folder that the project can write to.
fn is_of_the_project(stage: &Stage) -> bool {
    let is_theirs = |path: &str| {
        let image_only = path.starts_with('/') && !path.split('/').any(|name| name == "..");
        !image_only || [WORKSPACE, TMP].iter().any(|folder| Path::new(path).starts_with(folder))
    };
    let Some(program) = stage.command.first() else { return false };
    if program.contains('/') {
        return is_theirs(program);
    }
    stage.env.get("PATH").is_some_and(|path| path.split(':').any(|folder| !folder.is_empty() && is_theirs(folder)))
}

#[cfg(test)]
mod tests {
    use assize_protocol::plan::OutputLimits;

    use super::*;

    fn stage(program: &str, path: &str) -> Stage {
        Stage {
            name: StageName::Tests.as_str().to_owned(),
            command: vec![program.to_owned()],
            cwd: WORKSPACE.to_owned(),
            env: [("PATH".to_owned(), path.to_owned())].into(),
            timeout_ms: 1,
            output: OutputLimits { head: 1, tail: 1, limit: 1 },
            ready: None,
            egress: None,
            scratch: None,
        }
    }

    #[test]
    fn a_program_is_the_projects_where_the_project_can_put_it() {
        let usual = crate::worker::plan::PATH;
        for (program, path, is_theirs) in [
            ("pytest", usual, false),
            ("/usr/bin/pytest", usual, false),
            ("/grader/run", usual, false),
            ("./gradlew", usual, true),
            ("bin/run", usual, true),
            ("/workspace/gradlew", usual, true),
            ("/tmp/tests", usual, true),
            ("/usr/../workspace/x", usual, true),
            ("jest", "/workspace/node_modules/.bin:/usr/bin", true),
            ("jest", "node_modules/.bin:/usr/bin", true),
            ("jest", "/usr/local/bin:/usr/bin:", false),
        ] {
            assert_eq!(is_of_the_project(&stage(program, path)), is_theirs, "{program} in {path}");
        }
    }
}
