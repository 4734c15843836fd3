//! The queue of runs: the caps that admission keeps, why a worker pauses its claims, and why a run waits.

mod caps;
mod count;
mod operator_pause;
mod pause;
mod waiting;

pub use caps::AdmissionCaps;
pub use count::StatusCount;
pub use operator_pause::{OperatorPauses, drained_by_operator, paused_by_operator};
pub use pause::ClaimPause;
pub use waiting::{MAX_COUNTED, QueuedFacts, Waiting, WaitingFor};
