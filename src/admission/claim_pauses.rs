//! The reasons why this worker claims nothing although it has free slots.

use std::collections::BTreeMap;
use std::sync::Arc;

use assize_domain::queue::{ClaimPause, OperatorPauses, drained_by_operator, paused_by_operator};
use assize_observe::event;
use tokio::sync::watch;

use crate::leases::PauseSignals;

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

    /// Pauses claims as an operator wants it, or lifts the pauses that the operator has ended.
    pub fn set_operator_pauses(&self, wanted: &OperatorPauses) {
        let all = wanted.every_worker.as_deref().map(paused_by_operator);
        let this = wanted.this_worker.as_deref().map(drained_by_operator);
        for (pause, detail) in [(ClaimPause::PausedByOperator, all), (ClaimPause::DrainedByOperator, this)] {
            match detail {
                Some(detail) => self.pause(pause, &detail),
                None => self.lift(pause),
            }
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

    /// Returns what heartbeats need of the pauses: they report them, and learn of those of an operator.
    #[must_use]
    pub fn signals(&self) -> PauseSignals {
        let pauses = self.clone();
        let on_wanted = Box::new(move |wanted: &OperatorPauses| pauses.set_operator_pauses(wanted));
        PauseSignals { current: self.subscribe(), on_wanted }
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
    fn pauses_of_an_operator_come_and_go_as_they_are_set() {
        let pauses = ClaimPauses::default();
        let every = OperatorPauses { every_worker: Some("new disks".to_owned()), this_worker: None };
        pauses.set_operator_pauses(&every);
        let paused = (ClaimPause::PausedByOperator, "paused by operator: new disks".to_owned());
        assert_eq!(pauses.strongest(), Some(paused.clone()));
        pauses.set_operator_pauses(&OperatorPauses { this_worker: Some(String::new()), ..every.clone() });
        assert_eq!(pauses.strongest(), Some((ClaimPause::DrainedByOperator, "drained by operator".to_owned())));
        pauses.set_operator_pauses(&every);
        assert_eq!(pauses.strongest(), Some(paused));
        pauses.pause(ClaimPause::HostPressure, "memory");
        pauses.set_operator_pauses(&OperatorPauses::default());
        assert_eq!(pauses.strongest(), Some((ClaimPause::HostPressure, "memory".to_owned())), "no other is lifted");
    }

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
