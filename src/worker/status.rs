//! What a worker is doing at the moment, for those who watch the process from outside.

use std::sync::OnceLock;

use assize_host::service_manager::LoopTurns;
use assize_observe::metrics;
use tokio::sync::watch;

use crate::admission::ClaimPauses;
use crate::leases::Leases;

/// The state of a worker, shared with whoever reports it.
pub struct WorkerStatus {
    /// Whether the worker claims runs: it has started and does not stop.
    pub ready: watch::Sender<bool>,
    /// The turns of the loop that renews the leases.
    pub heartbeats: LoopTurns,
    /// The turns of the loop that looks for runs without a worker.
    pub watchdog: LoopTurns,
    activity: OnceLock<Activity>,
}

/// What a worker drives, and what keeps it from driving more.
struct Activity {
    half_slots: u32,
    leases: Leases,
    pauses: ClaimPauses,
}

impl Default for WorkerStatus {
    fn default() -> Self {
        Self {
            ready: watch::Sender::new(false),
            heartbeats: LoopTurns::default(),
            watchdog: LoopTurns::default(),
            activity: OnceLock::new(),
        }
    }
}

impl WorkerStatus {
    /// Shows these leases and pauses from now on. Those of a worker never change.
    pub(super) fn follow(&self, half_slots: u32, leases: Leases, pauses: ClaimPauses) {
        self.activity.set(Activity { half_slots, leases, pauses }).ok();
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

    /// Returns one line: the active runs and the slots, why nothing is claimed, and which dependency is away.
    #[must_use]
    pub fn line(&self) -> String {
        let Some(Activity { half_slots, leases, pauses }) = self.activity.get() else { return "starting".to_owned() };
        let mut line = format!("active runs: {}, slots: {}", leases.count(), f64::from(*half_slots) / 2.0);
        if let Some((pause, detail)) = pauses.strongest() {
            line += &format!("; claims nothing ({}: {detail})", pause.as_str());
        }
        for reason in self.unready() {
            line += &format!("; {reason}");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assize_domain::queue::ClaimPause;
    use assize_domain::run::Lease;
    use uuid::Uuid;

    #[test]
    fn the_line_names_runs_and_what_stops_claims() {
        let status = WorkerStatus::default();
        assert_eq!(status.line(), "starting");
        let (leases, pauses) = (Leases::new("worker-1"), ClaimPauses::default());
        status.follow(7, leases.clone(), pauses.clone());
        status.ready.send_replace(true);
        let hold = leases.hold(Lease { run_id: Uuid::from_u128(7), attempt: 1, epoch: 1 });
        assert_eq!(status.line(), "active runs: 1, slots: 3.5");
        pauses.pause(ClaimPause::HostPressure, "available memory is 1 MiB, the limit is 512 MiB");
        let paused = "active runs: 1, slots: 3.5; claims nothing (host_pressure: available memory is 1 MiB, the limit \
                      is 512 MiB)";
        assert_eq!(status.line(), paused);
        pauses.lift(ClaimPause::HostPressure);
        drop(hold);
        status.ready.send_replace(false);
        assert_eq!(status.line(), "active runs: 0, slots: 3.5; the worker is starting or stopping");
    }
}
