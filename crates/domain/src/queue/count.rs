//! How many runs are in one state.

use crate::run::Status;

/// How many runs are in one state, and the half-slots that they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusCount {
    /// The state.
    pub status: Status,
    /// Runs in it.
    pub runs: i64,
    /// Half-slots of these runs.
    pub half_slots: i64,
}
