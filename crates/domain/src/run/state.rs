//! The states of a run and the moves between them.
//!
//! The same table stands in the trigger `runs_move` of `crates/store/sql/migrations`; a test tries all 64
//! pairs in both and fails if they differ.

use serde::{Deserialize, Serialize};

use crate::names;

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for a slot.
    Queued,
    /// Has a lease; its cells are being made.
    Preparing,
    /// Its stages run.
    Running,
    /// The results are read into a verdict.
    Parsing,
    /// Ended with a verdict; the score may be 0.
    Completed,
    /// Ended without a verdict.
    Failed,
    /// A stage or the whole ran out of time.
    TimedOut,
    /// Someone cancelled it.
    Aborted,
}

names!(Status, "run status", {
    Queued => "queued",
    Preparing => "preparing",
    Running => "running",
    Parsing => "parsing",
    Completed => "completed",
    Failed => "failed",
    TimedOut => "timed_out",
    Aborted => "aborted",
});

impl Status {
    /// Whether a run in this state may move to `to`.
    ///
    /// `queued` is reached again only by a retry, with the next attempt.
    #[must_use]
    pub const fn may_become(self, to: Self) -> bool {
        use Status::{Aborted, Completed, Failed, Parsing, Preparing, Queued, Running, TimedOut};
        matches!(
            (self, to),
            (Queued, Preparing | Aborted)
                | (Preparing, Running | Failed | TimedOut | Aborted | Queued)
                | (Running, Parsing | Failed | TimedOut | Aborted | Queued)
                | (Parsing, Completed | Failed | TimedOut | Aborted | Queued)
        )
    }

    /// Whether a run in this state has ended for good.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::TimedOut | Self::Aborted)
    }

    /// Whether a worker holds a lease on a run in this state.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Preparing | Self::Running | Self::Parsing)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_status() -> impl Strategy<Value = Status> {
        proptest::sample::select(Status::ALL)
    }

    proptest! {
        #[test]
        fn a_terminal_run_never_moves(from in any_status(), to in any_status()) {
            prop_assert!(!(from.is_terminal() && from.may_become(to)));
        }

        #[test]
        fn no_run_moves_to_where_it_is(status in any_status()) {
            prop_assert!(!status.may_become(status));
        }

        #[test]
        fn every_walk_of_legal_moves_ends_unless_it_retries(steps in prop::collection::vec(any_status(), 0..64)) {
            let mut at = Status::Queued;
            let mut forward = 0;
            for to in steps {
                if at.may_become(to) {
                    forward = if to == Status::Queued { 0 } else { forward + 1 };
                    at = to;
                }
                prop_assert!(forward <= 4, "a run makes at most four moves without a retry");
            }
        }

        #[test]
        fn a_name_reads_back(status in any_status()) {
            prop_assert_eq!(status.as_str().parse::<Status>(), Ok(status));
            prop_assert_eq!(serde_json::to_value(status).unwrap(), serde_json::json!(status.as_str()));
        }
    }

    #[test]
    fn only_parsing_completes() {
        let before: Vec<_> = Status::ALL.iter().filter(|from| from.may_become(Status::Completed)).collect();
        assert_eq!(before, [&Status::Parsing]);
    }

    #[test]
    fn every_state_is_waiting_active_or_terminal() {
        for status in Status::ALL {
            let kinds = [*status == Status::Queued, status.is_active(), status.is_terminal()];
            assert_eq!(kinds.iter().filter(|kind| **kind).count(), 1, "{status}");
        }
    }
}
