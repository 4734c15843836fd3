//! The closed list of reasons why a run ends without a verdict.

use serde::{Deserialize, Serialize};

use super::Status;
use crate::names;
use crate::verdict::Integrity;

/// The party that is at fault for a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The submitted project.
    Submission,
    /// The template, its driver or its tests.
    Grader,
    /// The host or a service on it. Never costs a student an attempt.
    Infrastructure,
    /// A person or the platform cancelled the run.
    Platform,
}

names!(Cause, "cause", {
    Submission => "submission",
    Grader => "grader",
    Infrastructure => "infrastructure",
    Platform => "platform",
});

/// Why a run ended without a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// The Docker engine could not be reached or failed.
    DockerUnavailable,
    /// The image of a cell could not be pulled or is missing.
    ImagePullFailed,
    /// A package registry that the template permits could not be reached.
    RegistryUnreachable,
    /// The network between assize and another service failed.
    NetworkError,
    /// A port that the cell needs was in use.
    PortConflict,
    /// The worker stopped, and its lease expired.
    WorkerLost,
    /// The cell disappeared, or the kernel killed a process of it for what other cells used.
    CellLost,
    /// The host had no disk space left.
    HostOutOfDisk,

    /// The repository could not be fetched for a reason of its own.
    FetchFailed,
    /// The archive could not be unpacked within its limits.
    ArchiveRejected,
    /// The stage `install` failed.
    InstallFailed,
    /// The stage `build` failed.
    BuildFailed,
    /// The service of the project ended before or during the tests.
    StartFailed,
    /// The service of the project did not become ready in time.
    StartTimeout,
    /// A stage exceeded its own time limit.
    StageTimeout,
    /// The run exceeded the time limit of all its stages together.
    GlobalTimeout,
    /// The cell exceeded its memory limit.
    OutOfMemory,
    /// The workspace or another file system of the cell was full.
    OutOfDisk,
    /// The cell exceeded its limit of processes and threads.
    TooManyProcesses,
    /// A stage wrote more output than its limit permits.
    OutputLimit,
    /// The tests ran beside the project's code and ended without a report that can be used.
    TestsInterrupted,
    /// The report of tests that ran beside the project's code is not what their runner would have written.
    ReportSpoiled,

    /// The template cannot be used.
    TemplateInvalid,
    /// The driver failed.
    DriverFailed,
    /// The driver ended without a report.
    ResultsMissing,
    /// The report of the driver cannot be used.
    ResultsInvalid,

    /// A person or the platform cancelled the run.
    Cancelled,
}

names!(FailureCode, "failure code", {
    DockerUnavailable => "docker_unavailable",
    ImagePullFailed => "image_pull_failed",
    RegistryUnreachable => "registry_unreachable",
    NetworkError => "network_error",
    PortConflict => "port_conflict",
    WorkerLost => "worker_lost",
    CellLost => "cell_lost",
    HostOutOfDisk => "host_out_of_disk",
    FetchFailed => "fetch_failed",
    ArchiveRejected => "archive_rejected",
    InstallFailed => "install_failed",
    BuildFailed => "build_failed",
    StartFailed => "start_failed",
    StartTimeout => "start_timeout",
    StageTimeout => "stage_timeout",
    GlobalTimeout => "global_timeout",
    OutOfMemory => "out_of_memory",
    OutOfDisk => "out_of_disk",
    TooManyProcesses => "too_many_processes",
    OutputLimit => "output_limit",
    TestsInterrupted => "tests_interrupted",
    ReportSpoiled => "report_spoiled",
    TemplateInvalid => "template_invalid",
    DriverFailed => "driver_failed",
    ResultsMissing => "results_missing",
    ResultsInvalid => "results_invalid",
    Cancelled => "cancelled",
});

impl FailureCode {
    /// The party that is at fault.
    #[must_use]
    pub const fn cause(self) -> Cause {
        use FailureCode::*;
        match self {
            DockerUnavailable | ImagePullFailed | RegistryUnreachable | NetworkError | PortConflict | WorkerLost
            | CellLost | HostOutOfDisk => Cause::Infrastructure,
            FetchFailed | ArchiveRejected | InstallFailed | BuildFailed | StartFailed | StartTimeout | StageTimeout
            | GlobalTimeout | OutOfMemory | OutOfDisk | TooManyProcesses | OutputLimit | TestsInterrupted
            | ReportSpoiled => Cause::Submission,
            TemplateInvalid | DriverFailed | ResultsMissing | ResultsInvalid => Cause::Grader,
            Cancelled => Cause::Platform,
        }
    }

    /// The code for tests that left no report. If the project's code ran in the same cell, the project may have ended
    /// the tests.
    #[must_use]
    pub const fn no_report(integrity: Integrity) -> Self {
        match integrity {
            Integrity::Shared => Self::TestsInterrupted,
            Integrity::Isolated => Self::ResultsMissing,
        }
    }

    /// The code for a report that cannot be used. If the project's code ran in the same cell, the project may have
    /// written the report.
    #[must_use]
    pub const fn bad_report(integrity: Integrity) -> Self {
        match integrity {
            Integrity::Shared => Self::ReportSpoiled,
            Integrity::Isolated => Self::ResultsInvalid,
        }
    }

    /// Whether a retry may succeed: exactly for faults of the infrastructure.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(self.cause(), Cause::Infrastructure)
    }

    /// The terminal state that a run with this code ends in.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::StartTimeout | Self::StageTimeout | Self::GlobalTimeout => Status::TimedOut,
            Self::Cancelled => Status::Aborted,
            _ => Status::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_infrastructure_is_retried() {
        for code in FailureCode::ALL {
            assert_eq!(code.is_transient(), code.cause() == Cause::Infrastructure, "{code}");
        }
    }

    #[test]
    fn every_code_ends_a_run_without_a_verdict() {
        for code in FailureCode::ALL {
            assert!(code.status().is_terminal() && code.status() != Status::Completed, "{code}");
        }
    }

    #[test]
    fn what_the_projects_code_could_have_done_is_never_the_graders_fault() {
        for code in [FailureCode::no_report(Integrity::Shared), FailureCode::bad_report(Integrity::Shared)] {
            assert_eq!((code.cause(), code.status()), (Cause::Submission, Status::Failed), "{code}");
        }
        for code in [FailureCode::no_report(Integrity::Isolated), FailureCode::bad_report(Integrity::Isolated)] {
            assert_eq!(code.cause(), Cause::Grader, "{code}");
        }
    }

    #[test]
    fn a_code_is_spelled_one_way() {
        for code in FailureCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), serde_json::json!(code.as_str()));
            assert_eq!(code.as_str().parse::<FailureCode>(), Ok(*code));
        }
    }
}
