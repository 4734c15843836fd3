//! Why a worker claims no runs although it has free slots.

use crate::names;

/// A reason to claim no runs. Where a worker has several, the last of this list is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClaimPause {
    /// The host is short of memory, disk space or disk time.
    HostPressure,
    /// Several attempts in a row failed because of the infrastructure.
    Paused,
    /// An operator paused all workers.
    PausedByOperator,
    /// An operator drains this worker.
    DrainedByOperator,
    /// The worker is stopping.
    Draining,
}

names!(ClaimPause, "worker state", {
    HostPressure => "host_pressure", Paused => "paused", PausedByOperator => "paused_by_operator",
    DrainedByOperator => "drained_by_operator", Draining => "draining",
});

impl ClaimPause {
    /// Returns the state that a worker reports in Postgres. These are the words that every version of the program knows, so
    /// that an API of an earlier version can read the state of a newer worker.
    #[must_use]
    pub const fn worker_state(self) -> &'static str {
        match self {
            Self::HostPressure => "host_pressure",
            Self::Paused | Self::PausedByOperator => "paused",
            Self::DrainedByOperator | Self::Draining => "draining",
        }
    }
}
