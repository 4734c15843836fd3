//! Requests that a key holds open: live output, and waits for a run to move.

use uuid::Uuid;

use super::auth::Caller;
use super::crowd::{Crowd, Presence};
use super::problem::Problem;
use assize_observe::{event, metrics};

/// Those of all keys, by the key's id.
pub(super) type Holding = Crowd<Uuid>;

/// One of them, until it is dropped.
pub(super) struct Held {
    _presence: Presence<Uuid>,
}

impl Held {
    /// Refuses a key that holds too many.
    pub fn begin(holding: &Holding, caller: Caller) -> Result<Self, Problem> {
        let presence = holding.enter(caller.key, false).map_err(|crowded| {
            event::refused("held_per_key");
            Problem::too_many_held(crowded)
        })?;
        metrics().held_requests.inc();
        Ok(Self { _presence: presence })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        metrics().held_requests.dec();
    }
}
