//! The reasons why this worker claims nothing although it has free slots.

use std::collections::BTreeMap;
use std::sync::Arc;

use assize_domain::queue::ClaimPause;
use assize_observe::event;
use tokio::sync::watch;

/// All reasons that keep this worker from claiming at the moment, each with its detail.
#[derive(Debug, Clone, Default)]
pub struct ClaimPauses {
    shared: Arc<watch::Sender<BTreeMap<ClaimPause, String>>>,
}

impl ClaimPauses {
    /// Pauses claims for this reason. The same reason with the same detail changes nothing.
    pub fn pause(&self, pause: ClaimPause, detail: &str) {
        let insert = |pauses: &mut BTreeMap<ClaimPause, String>| {
            pauses.insert(pause, detail.to_owned()).is_none_or(|before| before != detail)
        };
        if self.shared.send_if_modified(insert) {
            event::claims_paused(pause, Some(detail));
        }
    }

    /// Removes this reason. Claims resume once no other is left.
    pub fn lift(&self, pause: ClaimPause) {
        if self.shared.send_if_modified(|pauses| pauses.remove(&pause).is_some()) {
            event::claims_paused(pause, None);
        }
    }

    /// Whether claims are paused for this reason.
    #[must_use]
    pub fn contains(&self, pause: ClaimPause) -> bool {
        self.shared.borrow().contains_key(&pause)
    }

    /// Whether this worker may claim.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.borrow().is_empty()
    }

    /// The last reason in the order of [`ClaimPause`], with its detail.
    #[must_use]
    pub fn strongest(&self) -> Option<(ClaimPause, String)> {
        self.shared.borrow().last_key_value().map(|(pause, detail)| (*pause, detail.clone()))
    }

    /// Changes whenever a reason is added, removed or gets another detail.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<BTreeMap<ClaimPause, String>> {
        self.shared.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_reason_is_reported_until_it_is_lifted() {
        let pauses = ClaimPauses::default();
        assert!(pauses.is_empty());
        let mut changes = pauses.subscribe();
        pauses.pause(ClaimPause::Draining, "SIGTERM");
        pauses.pause(ClaimPause::HostPressure, "memory");
        changes.mark_unchanged();
        pauses.pause(ClaimPause::HostPressure, "memory");
        assert!(!changes.has_changed().unwrap(), "the same reason is no change");
        assert_eq!(pauses.strongest(), Some((ClaimPause::Draining, "SIGTERM".to_owned())));
        pauses.lift(ClaimPause::Draining);
        assert_eq!(pauses.strongest(), Some((ClaimPause::HostPressure, "memory".to_owned())));
        pauses.lift(ClaimPause::HostPressure);
        assert!(pauses.is_empty());
    }
}
