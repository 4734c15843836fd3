//! A failure and its evidence, and the rules that turn a cell's report into a failure.

use assize_protocol::event::{StageEnded, StageExit};
use serde::{Deserialize, Serialize};

use super::{FailureCode, StageName};

/// A failure code with its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Failure {
    /// Reason of the failure.
    pub code: FailureCode,
    /// What was observed.
    pub evidence: Evidence,
}

impl Failure {
    /// A failure whose only evidence is a message.
    #[must_use]
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, evidence: Evidence { message: message.into(), ..Evidence::default() } }
    }
}

/// The evidence of a failure, which must suffice to explain it to the author of the project.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Evidence {
    /// What was wrong, the limit and the value.
    pub message: String,
    /// The stage in which the run failed, if it failed in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageName>,
    /// Exit code of the stage's first process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Signal that ended the stage's first process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The last lines of the stage's output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_output: Option<String>,
}

/// The host's counters of a cell. They outrank what the processes of the cell report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CellCounters {
    /// Processes that the kernel killed for memory.
    pub oom_kills: u64,
    /// How often the cell's own memory limit refused memory; `None` if unknown.
    pub memory_limit_hits: Option<u64>,
    /// Whether each of those hits was a kill (cgroups version 2), or may have had no effect (version 1).
    pub hits_are_kills: bool,
    /// Whether the total of all cells refused memory since this cell began.
    pub total_was_hit: bool,
    /// Forks that the pids limit refused.
    pub pids_refused: u64,
    /// Peak memory of the cell, in bytes; 0 if unknown.
    pub peak_memory_bytes: u64,
}

impl CellCounters {
    /// Whether the kernel killed a process for memory that other cells used: all cells together were at their total, or
    /// the host had no memory left, while this cell was below its own limit. Where cgroups version 1 does not show
    /// which, the result is in the project's favour.
    #[must_use]
    pub const fn killed_for_others(&self) -> bool {
        if self.oom_kills == 0 {
            return false;
        }
        match self.memory_limit_hits {
            Some(0) => true,
            Some(_) => self.total_was_hit && !self.hits_are_kills,
            None => self.total_was_hit,
        }
    }
}

/// The limits that failure messages name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageLimits {
    /// Time limit of the stage, in ms.
    pub timeout_ms: u64,
    /// Time limit of all stages together, in ms.
    pub global_timeout_ms: u64,
    /// Memory of the cell, in bytes.
    pub memory_bytes: u64,
    /// Processes and threads of the cell.
    pub pids: u64,
    /// Limit of stdout and stderr together, in bytes.
    pub output_bytes: u64,
}

/// Returns the failure that follows from the end of `stage`; `None` if the run goes on.
///
/// The checks are in the order of trust: first the kernel's counters (a stage can exit with 0 although a process was
/// killed for memory), then the warden's own limits, then exit codes. The exit code of a `tests` stage does not matter:
/// its results decide. A service may only end because it was stopped.
#[must_use]
pub fn stage_failure(
    stage: StageName,
    ended: &StageEnded,
    counters: CellCounters,
    limits: StageLimits,
) -> Option<Failure> {
    let mib = limits.memory_bytes / (1024 * 1024);
    let (code, message) = if counters.killed_for_others() {
        (
            FailureCode::CellLost,
            format!("the host had no more memory for all cells, and killed a process of one below its own {mib} MiB"),
        )
    } else if counters.oom_kills > 0 {
        (
            FailureCode::OutOfMemory,
            format!("the cell used more than its {mib} MiB of memory and the kernel killed a process"),
        )
    } else {
        match &ended.exit {
            StageExit::Stopped => return None,
            StageExit::Exited { code: 0 } if stage != StageName::Start => return None,
            StageExit::GlobalTimedOut => (
                FailureCode::GlobalTimeout,
                format!("the run took longer than its {} s", limits.global_timeout_ms / 1000),
            ),
            StageExit::TimedOut if stage == StageName::Start => (
                FailureCode::StartTimeout,
                format!("the service did not answer within {} s of its start", limits.timeout_ms / 1000),
            ),
            StageExit::TimedOut => (
                FailureCode::StageTimeout,
                format!("the {stage} stage took longer than its {} s", limits.timeout_ms / 1000),
            ),
            StageExit::OutputLimit => (
                FailureCode::OutputLimit,
                format!("the {stage} stage wrote {} bytes, the limit is {}", ended.output_bytes, limits.output_bytes),
            ),
            exit => {
                if let Some(path) = &ended.disk_full {
                    (FailureCode::OutOfDisk, format!("{path} was full when the {stage} stage failed"))
                } else if counters.pids_refused > 0 {
                    let refused = counters.pids_refused;
                    (
                        FailureCode::TooManyProcesses,
                        format!("the cell's limit is {} processes, {refused} forks were refused", limits.pids),
                    )
                } else if stage == StageName::Tests && !matches!(exit, StageExit::NotStarted { .. }) {
                    return None;
                } else {
                    (failed(stage), format!("the {stage} stage {}", describe(exit, stage)))
                }
            }
        }
    };
    let (exit_code, signal) = match ended.exit {
        StageExit::Exited { code } => (Some(code), None),
        StageExit::Signalled { signal } => (None, Some(signal)),
        _ => (None, None),
    };
    Some(Failure { code, evidence: Evidence { message, stage: Some(stage), exit_code, signal, last_output: None } })
}

const fn failed(stage: StageName) -> FailureCode {
    match stage {
        StageName::Fetch => FailureCode::FetchFailed,
        StageName::Install => FailureCode::InstallFailed,
        StageName::Build => FailureCode::BuildFailed,
        StageName::Start => FailureCode::StartFailed,
        StageName::Tests => FailureCode::DriverFailed,
    }
}

fn describe(exit: &StageExit, stage: StageName) -> String {
    let service = if stage == StageName::Start { "; a service must keep running" } else { "" };
    match exit {
        StageExit::Exited { code } => format!("exited with code {code}{service}"),
        StageExit::Signalled { signal } => format!("was ended by signal {signal}{service}"),
        StageExit::NotStarted { error } => format!("could not be started: {error}"),
        StageExit::TimedOut | StageExit::GlobalTimedOut => "ran out of time".to_owned(),
        StageExit::OutputLimit => "wrote too much".to_owned(),
        StageExit::Stopped => "was stopped".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assize_protocol::progress::DroppedLines;

    const LIMITS: StageLimits = StageLimits {
        timeout_ms: 5_000,
        global_timeout_ms: 60_000,
        memory_bytes: 128 << 20,
        pids: 64,
        output_bytes: 1_000,
    };

    fn ended(exit: StageExit) -> StageEnded {
        StageEnded {
            stage: 0,
            exit,
            ready: false,
            started_us: 0,
            at_us: 0,
            output_bytes: 2_000,
            output_dropped: 0,
            cpu_ms: 0,
            max_rss_kib: 0,
            disk_full: None,
            oom_kills: 0,
            memory_limit_hits: None,
            pids_refused: 0,
            lines_dropped: DroppedLines::default(),
        }
    }

    fn code_of(stage: StageName, exit: StageExit, counters: CellCounters) -> Option<FailureCode> {
        stage_failure(stage, &ended(exit), counters, LIMITS).map(|failure| failure.code)
    }

    #[test]
    fn the_oom_killer_outranks_exit_code_0() {
        // FAILURES 11.
        let counters = CellCounters { oom_kills: 1, ..CellCounters::default() };
        for stage in StageName::ALL {
            assert_eq!(code_of(*stage, StageExit::Exited { code: 0 }, counters), Some(FailureCode::OutOfMemory));
        }
    }

    #[test]
    fn a_kill_for_what_others_used_is_not_the_projects_fault() {
        // FAILURES 21, 30.
        let kill = CellCounters { oom_kills: 1, memory_limit_hits: Some(3), ..CellCounters::default() };
        let below = CellCounters { memory_limit_hits: Some(0), ..kill };
        let both = CellCounters { total_was_hit: true, ..kill };
        let exact = CellCounters { hits_are_kills: true, ..both };
        let unknown = CellCounters { memory_limit_hits: None, ..both };
        let none = CellCounters { oom_kills: 0, ..both };
        for (counters, code) in [
            (kill, Some(FailureCode::OutOfMemory)),
            (below, Some(FailureCode::CellLost)),
            (both, Some(FailureCode::CellLost)),
            (exact, Some(FailureCode::OutOfMemory)),
            (unknown, Some(FailureCode::CellLost)),
            (none, None),
        ] {
            assert_eq!(code_of(StageName::Build, StageExit::Exited { code: 0 }, counters), code, "{counters:?}");
        }
    }

    #[test]
    fn failing_tests_are_not_a_failed_run() {
        assert_eq!(code_of(StageName::Tests, StageExit::Exited { code: 1 }, CellCounters::default()), None);
    }

    #[test]
    fn tests_that_cannot_be_started_are_the_graders_fault() {
        let exit = StageExit::NotStarted { error: "no such program".to_owned() };
        let code = code_of(StageName::Tests, exit, CellCounters::default());
        assert_eq!(code, Some(FailureCode::DriverFailed));
    }

    #[test]
    fn a_service_that_exits_with_0_has_failed() {
        let code = code_of(StageName::Start, StageExit::Exited { code: 0 }, CellCounters::default());
        assert_eq!(code, Some(FailureCode::StartFailed));
    }

    #[test]
    fn a_full_disk_explains_a_failed_stage() {
        let mut ended = ended(StageExit::Exited { code: 1 });
        ended.disk_full = Some("/workspace".to_owned());
        let failure = stage_failure(StageName::Build, &ended, CellCounters::default(), LIMITS).unwrap();
        assert_eq!(failure.code, FailureCode::OutOfDisk);
        assert!(failure.evidence.message.contains("/workspace"));
    }

    #[test]
    fn a_message_names_the_limit_and_the_value() {
        let failure =
            stage_failure(StageName::Build, &ended(StageExit::OutputLimit), CellCounters::default(), LIMITS).unwrap();
        assert_eq!(failure.evidence.message, "the build stage wrote 2000 bytes, the limit is 1000");
    }

    #[test]
    fn each_way_to_run_out_of_time_has_its_code() {
        let none = CellCounters::default();
        assert_eq!(code_of(StageName::Start, StageExit::TimedOut, none), Some(FailureCode::StartTimeout));
        assert_eq!(code_of(StageName::Tests, StageExit::TimedOut, none), Some(FailureCode::StageTimeout));
        assert_eq!(code_of(StageName::Build, StageExit::GlobalTimedOut, none), Some(FailureCode::GlobalTimeout));
    }
}
