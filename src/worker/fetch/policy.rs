//! The policy of the cell that fetches a repository.

use assize_cell::Role;
use assize_domain::run::{Failure, FailureCode};
use assize_protocol::event::{Output, Stream};

use super::git::{self, FetchEvidence, STDERR_PREFIX_BYTES};
use crate::worker::cell_session::{FailureContext, SessionPolicy};

/// Attributes failures of Git to the repository or to its host.
#[derive(Debug, Default)]
pub struct FetchPolicy {
    /// The beginning of what the stage wrote to stderr.
    stderr_prefix: Vec<u8>,
    /// The stage is over. Its archive follows, whose length and time the repository's host decides.
    has_fetched: bool,
}

impl SessionPolicy for FetchPolicy {
    fn role(&self) -> Role {
        Role::Fetch
    }

    /// The journal of a fetch may have been rotated, and a fetch that is repeated loses nothing of the project.
    fn may_resume(&self) -> bool {
        false
    }

    fn forwards_results(&self) -> bool {
        true
    }

    fn observe_output(&mut self, output: &Output) {
        if output.stream == Stream::Stderr {
            let room = STDERR_PREFIX_BYTES.saturating_sub(self.stderr_prefix.len()).min(output.bytes.len());
            self.stderr_prefix.extend_from_slice(output.bytes.get(..room).unwrap_or_default());
        }
    }

    fn stage_ended(&mut self) {
        self.has_fetched = true;
    }

    fn deadline_elapsed(&self) -> Option<Failure> {
        Some(if self.has_fetched {
            let message = "the repository's archive did not come out of its cell in time; make it smaller";
            Failure::new(FailureCode::FetchFailed, message)
        } else {
            let message = "the cell did not stop fetching at its time limit and was destroyed";
            Failure::new(FailureCode::CellLost, message)
        })
    }

    fn attribute(&self, failure: Failure, context: &FailureContext<'_>) -> Failure {
        let stderr_prefix = String::from_utf8_lossy(&self.stderr_prefix).into_owned();
        let (outage, stall) = (context.hosts.outage.clone(), context.hosts.stall.clone());
        git::classify_failure(failure, &FetchEvidence { outage, stall, spent: context.spent, stderr_prefix })
    }
}
