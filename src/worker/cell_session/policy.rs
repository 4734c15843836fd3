//! What differs between the cells of a run: how much the worker trusts them, and whose fault their failures are.
//!
//! In the driver's cell only a time limit can be the project's fault, because all other code there is the grader's,
//! unless its template says that the driver runs the project's code. In the subject's cell everything that the
//! project's code can bring about is the project's fault. The policy of the cell that fetches a repository is with
//! the code of the fetch.

use std::path::Path;
use std::time::Duration;

use assize_cell::Role;
use assize_cell::spec::{TMP, WORKSPACE};
use assize_domain::run::{Cause, Failure, FailureCode, StageName};
use assize_protocol::event::{EndStatus, Output};
use assize_protocol::plan::{Plan, Stage};

use crate::egress::HeardOf;

/// The decisions of a session that depend on what its cell is for.
pub trait SessionPolicy: Send {
    /// What the cell is for.
    fn role(&self) -> Role;

    /// Whether the session may resume the cell from its journal after the stream broke.
    fn may_resume(&self) -> bool {
        true
    }

    /// Whether pieces of the results go to the caller as they come, instead of into the report.
    fn forwards_results(&self) -> bool {
        false
    }

    /// Sees each piece of output before it is logged.
    fn observe_output(&mut self, _output: &Output) {}

    /// Is called when a stage has ended without a failure, or with one that is tolerated.
    fn stage_ended(&mut self) {}

    /// The failure of a cell whose deadline has passed, if its journal need not be read first.
    fn deadline_elapsed(&self) -> Option<Failure> {
        None
    }

    /// Whether this failure only interrupts the cell: its report counts as far as it came.
    fn tolerates(&self, _failure: &Failure) -> bool {
        false
    }

    /// Attributes a failure to whoever could have caused it, by its code.
    fn attribute(&self, failure: Failure, context: &FailureContext<'_>) -> Failure;

    /// The failure of a cell that ended before its plan was done.
    fn rejection(&self, status: EndStatus, _context: &RejectionContext) -> Failure {
        grader_rejection(status, FailureCode::TemplateInvalid)
    }
}

/// What was observed when a cell failed.
#[derive(Debug, Clone)]
pub struct FailureContext<'a> {
    pub plan: &'a Plan,
    /// Problems of the hosts that the stage asked for.
    pub hosts: HeardOf,
    /// The bytes that the stage might transfer, if it has used them up.
    pub spent: Option<u64>,
    /// A stage had started, so code of the project may have run.
    pub has_run: bool,
}

impl<'a> FailureContext<'a> {
    /// The context of a plan of which nothing else was observed.
    pub fn for_plan(plan: &'a Plan) -> Self {
        Self { plan, hosts: HeardOf::default(), spent: None, has_run: false }
    }
}

/// What was observed when a cell ended before its plan was done.
#[derive(Debug, Clone, Copy)]
pub struct RejectionContext {
    /// A stage had started, so code of the project may have run.
    pub has_run: bool,
    /// Time since the cell's hello.
    pub elapsed: Duration,
    /// The time that the whole plan may take.
    pub global_timeout: Duration,
    /// The size of the workspace, in MiB.
    pub workspace_mib: u64,
}

/// The policy of the cell that runs the project.
#[derive(Debug, Clone, Copy, Default)]
pub struct SubjectPolicy;

/// The policy of the cell that tests the project from outside.
#[derive(Debug, Clone, Copy, Default)]
pub struct DriverPolicy {
    /// The template says that an interrupted driver scores zero instead of failing.
    pub scores_zero: bool,
}

impl SessionPolicy for SubjectPolicy {
    fn role(&self) -> Role {
        Role::Subject
    }

    fn attribute(&self, mut failure: Failure, context: &FailureContext<'_>) -> Failure {
        let host_problem = context.hosts.outage.as_ref().or(context.hosts.forbidden.as_ref());
        if let (FailureCode::InstallFailed | FailureCode::BuildFailed, Some(problem)) = (failure.code, host_problem) {
            // An outage of the network and a setting of the operator are not the project's fault.
            failure.code = FailureCode::RegistryUnreachable;
            failure.evidence.message = format!("{}; {problem}", failure.evidence.message);
        }
        if failure.code == FailureCode::DriverFailed && tests_are_in_reach(context) {
            failure.code = FailureCode::TestsInterrupted;
        }
        failure
    }

    /// The first input of a subject is the project; all others are the grader's. If the grader's tests are unpacked
    /// after the project's code ran, that code may have left no room or no time for them.
    fn rejection(&self, status: EndStatus, context: &RejectionContext) -> Failure {
        match status {
            EndStatus::Rejected { input: 0, reason } => Failure::new(FailureCode::ArchiveRejected, reason),
            EndStatus::DiskFull { input: 0, path } => Failure::new(
                FailureCode::OutOfDisk,
                format!("the archive does not fit into {path} ({} MiB)", context.workspace_mib),
            ),
            EndStatus::Rejected { reason, .. } if context.elapsed >= context.global_timeout => {
                let seconds = context.global_timeout.as_secs();
                Failure::new(FailureCode::GlobalTimeout, format!("the run took longer than its {seconds} s: {reason}"))
            }
            status if context.has_run => grader_rejection(status, FailureCode::TestsInterrupted),
            status => grader_rejection(status, FailureCode::TemplateInvalid),
        }
    }
}

impl SessionPolicy for DriverPolicy {
    fn role(&self) -> Role {
        Role::Driver
    }

    fn tolerates(&self, failure: &Failure) -> bool {
        self.scores_zero && failure.code.cause() == Cause::Submission
    }

    fn attribute(&self, mut failure: Failure, _: &FailureContext<'_>) -> Failure {
        let is_time = matches!(failure.code, FailureCode::StageTimeout | FailureCode::GlobalTimeout);
        let is_infrastructure = failure.code.cause() == Cause::Infrastructure;
        if !self.scores_zero && !is_time && !is_infrastructure {
            failure.evidence.message = format!("the driver failed: {}", failure.evidence.message);
            failure.code = FailureCode::DriverFailed;
        }
        failure
    }
}

/// The failure of a cell that ended before its plan was done, where the project is not among its inputs. `code` says
/// whose fault it is that an input could not be unpacked.
fn grader_rejection(status: EndStatus, code: FailureCode) -> Failure {
    match status {
        EndStatus::Rejected { reason, .. } => Failure::new(code, format!("the tests could not be unpacked: {reason}")),
        EndStatus::DiskFull { path, .. } => Failure::new(code, format!("the tests do not fit into {path}")),
        // Only code that ran before in this cell can have caused this.
        EndStatus::Spoiled { reason, .. } => {
            Failure::new(FailureCode::TestsInterrupted, format!("the tests could not be handed in: {reason}"))
        }
        EndStatus::Done => Failure::new(FailureCode::CellLost, "the cell ended"),
        EndStatus::Fault { error } => Failure::new(FailureCode::CellLost, error),
    }
}

/// Whether the project can prevent the tests stage from being started: its code has run in this cell, or the program
/// of the stage is looked up where the project's files are. The project cannot change the files of the image.
fn tests_are_in_reach(context: &FailureContext<'_>) -> bool {
    let tests = context.plan.stages.iter().find(|stage| stage.name == StageName::Tests.as_str());
    context.has_run || tests.is_some_and(runs_project_files)
}

/// Whether the program of a stage is looked up in a folder that the project can write to.
fn runs_project_files(stage: &Stage) -> bool {
    let is_writable = |path: &str| {
        let image_only = path.starts_with('/') && !path.split('/').any(|name| name == "..");
        !image_only || [WORKSPACE, TMP].iter().any(|folder| Path::new(path).starts_with(folder))
    };
    let Some(program) = stage.command.first() else { return false };
    if program.contains('/') {
        return is_writable(program);
    }
    stage.env.get("PATH").is_some_and(|path| path.split(':').any(|folder| !folder.is_empty() && is_writable(folder)))
}

#[cfg(test)]
mod tests;
