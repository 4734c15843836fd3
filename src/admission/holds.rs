//! What keeps this worker from claiming, although it has free slots.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::observe::event;
use crate::run::names;

/// A kind of reason; what is held back for several is told as the last of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hold {
    /// The host is short of memory, disk or time.
    HostPressure,
    /// Attempt after attempt failed for the infrastructure's own faults.
    Paused,
    /// The worker is about to stop.
    Draining,
}

names!(Hold, "worker state", { HostPressure => "host_pressure", Paused => "paused", Draining => "draining" });

/// All that holds this worker back at the moment.
#[derive(Debug, Clone, Default)]
pub struct Holds {
    shared: Arc<watch::Sender<BTreeMap<Hold, String>>>,
}

impl Holds {
    /// Holds claims back, and says why; the same again changes nothing.
    pub fn hold(&self, hold: Hold, why: &str) {
        let put =
            |holds: &mut BTreeMap<Hold, String>| holds.insert(hold, why.to_owned()).is_none_or(|before| before != why);
        if self.shared.send_if_modified(put) {
            event::admission_held(hold, Some(why));
        }
    }

    /// This reason is gone.
    pub fn release(&self, hold: Hold) {
        if self.shared.send_if_modified(|holds| holds.remove(&hold).is_some()) {
            event::admission_held(hold, None);
        }
    }

    /// Whether this reason is there.
    #[must_use]
    pub fn holds(&self, hold: Hold) -> bool {
        self.shared.borrow().contains_key(&hold)
    }

    /// Whether nothing holds this worker back.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.shared.borrow().is_empty()
    }

    /// The weightiest reason and its words.
    #[must_use]
    pub fn reason(&self) -> Option<(Hold, String)> {
        self.shared.borrow().last_key_value().map(|(hold, why)| (*hold, why.clone()))
    }

    /// Changes whenever a reason comes or goes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<BTreeMap<Hold, String>> {
        self.shared.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weightiest_reason_is_told_until_it_is_gone() {
        let holds = Holds::default();
        assert!(holds.is_clear());
        let mut changes = holds.changes();
        holds.hold(Hold::Draining, "SIGTERM");
        holds.hold(Hold::HostPressure, "memory");
        changes.mark_unchanged();
        holds.hold(Hold::HostPressure, "memory");
        assert!(!changes.has_changed().unwrap(), "the same is no news");
        assert_eq!(holds.reason(), Some((Hold::Draining, "SIGTERM".to_owned())));
        holds.release(Hold::Draining);
        assert_eq!(holds.reason(), Some((Hold::HostPressure, "memory".to_owned())));
        holds.release(Hold::HostPressure);
        assert!(holds.is_clear());
    }
}
