//! What a worker is doing at the moment, for those who watch the process from outside.

use std::sync::OnceLock;

use assize_host::service_manager::LoopTurns;
use assize_observe::metrics;
use tokio::sync::watch;

use crate::admission::{ClaimPauses, Slots};

/// The state of a worker, shared with whoever reports it.
#[derive(Debug)]
pub struct WorkerStatus {
    /// Whether the worker claims runs: it has started and does not stop.
    pub ready: watch::Sender<bool>,
    /// The turns of the loop that renews the leases.
    pub heartbeats: LoopTurns,
    /// The turns of the loop that looks for runs without a worker.
    pub watchdog: LoopTurns,
    admission: OnceLock<(Slots, ClaimPauses)>,
}

impl Default for WorkerStatus {
    fn default() -> Self {
        Self {
            ready: watch::Sender::new(false),
            heartbeats: LoopTurns::default(),
            watchdog: LoopTurns::default(),
            admission: OnceLock::new(),
        }
    }
}

impl WorkerStatus {
    /// Shows these slots and pauses from now on. Those of a worker never change.
    pub(super) fn admits_with(&self, slots: Slots, pauses: ClaimPauses) {
        self.admission.set((slots, pauses)).ok();
    }

    /// Returns the reasons why the worker is not ready; none if it is.
    #[must_use]
    pub fn unready(&self) -> Vec<String> {
        let away = ["postgres", "docker"].into_iter().filter(|name| metrics().dependency_is_up(name) == Some(false));
        let mut reasons: Vec<_> = away.map(|name| format!("{name} does not answer")).collect();
        if !*self.ready.borrow() {
            reasons.push("the worker is starting or stopping".to_owned());
        }
        reasons
    }

    /// Returns one line: the slots in use, why nothing is claimed, and which dependency is away.
    #[must_use]
    pub fn line(&self) -> String {
        let Some((slots, pauses)) = self.admission.get() else { return "starting".to_owned() };
        let used = slots.capacity().saturating_sub(slots.free());
        let mut line = format!("{} of {} slots in use", halves(used), halves(slots.capacity()));
        if let Some((pause, detail)) = pauses.strongest() {
            line += &format!("; claims nothing ({}: {detail})", pause.as_str());
        }
        for reason in self.unready() {
            line += &format!("; {reason}");
        }
        line
    }
}

/// Half-slots as a number of slots.
fn halves(half_slots: i32) -> String {
    let half = if half_slots % 2 == 0 { "" } else { ".5" };
    format!("{}{half}", half_slots / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use assize_domain::queue::ClaimPause;

    #[tokio::test]
    async fn the_line_names_slots_and_what_stops_claims() {
        let status = WorkerStatus::default();
        assert_eq!(status.line(), "starting");
        let (slots, pauses) = (Slots::new(8), ClaimPauses::default());
        status.admits_with(slots.clone(), pauses.clone());
        status.ready.send_replace(true);
        let slot = slots.reserve_overcommitted(3);
        assert_eq!(status.line(), "1.5 of 4 slots in use");
        pauses.pause(ClaimPause::HostPressure, "available memory is 1 MiB, the limit is 512 MiB");
        let paused = "1.5 of 4 slots in use; claims nothing (host_pressure: available memory is 1 MiB, the limit is \
                      512 MiB)";
        assert_eq!(status.line(), paused);
        pauses.lift(ClaimPause::HostPressure);
        drop(slot);
        status.ready.send_replace(false);
        assert_eq!(status.line(), "0 of 4 slots in use; the worker is starting or stopping");
    }
}
