//! What keeps this worker from claiming, although it has free slots.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use assize_domain::queue::ClaimPause;
use assize_observe::event;

/// All that holds this worker back at the moment.
#[derive(Debug, Clone, Default)]
pub struct Holds {
    shared: Arc<watch::Sender<BTreeMap<ClaimPause, String>>>,
}

impl Holds {
    /// Holds claims back, and says why; the same again changes nothing.
    pub fn hold(&self, hold: ClaimPause, why: &str) {
        let put = |holds: &mut BTreeMap<ClaimPause, String>| {
            holds.insert(hold, why.to_owned()).is_none_or(|before| before != why)
        };
        if self.shared.send_if_modified(put) {
            event::admission_held(hold, Some(why));
        }
    }

    /// This reason is gone.
    pub fn release(&self, hold: ClaimPause) {
        if self.shared.send_if_modified(|holds| holds.remove(&hold).is_some()) {
            event::admission_held(hold, None);
        }
    }

    /// Whether this reason is there.
    #[must_use]
    pub fn holds(&self, hold: ClaimPause) -> bool {
        self.shared.borrow().contains_key(&hold)
    }

    /// Whether nothing holds this worker back.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.shared.borrow().is_empty()
    }

    /// The weightiest reason and its words.
    #[must_use]
    pub fn reason(&self) -> Option<(ClaimPause, String)> {
        self.shared.borrow().last_key_value().map(|(hold, why)| (*hold, why.clone()))
    }

    /// Changes whenever a reason comes or goes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<BTreeMap<ClaimPause, String>> {
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
        holds.hold(ClaimPause::Draining, "SIGTERM");
        holds.hold(ClaimPause::HostPressure, "memory");
        changes.mark_unchanged();
        holds.hold(ClaimPause::HostPressure, "memory");
        assert!(!changes.has_changed().unwrap(), "the same is no news");
        assert_eq!(holds.reason(), Some((ClaimPause::Draining, "SIGTERM".to_owned())));
        holds.release(ClaimPause::Draining);
        assert_eq!(holds.reason(), Some((ClaimPause::HostPressure, "memory".to_owned())));
        holds.release(ClaimPause::HostPressure);
        assert!(holds.is_clear());
    }
}
