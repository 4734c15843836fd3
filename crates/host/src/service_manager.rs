//! The service manager that started this process, for example systemd: it learns when the process is ready, what it
//! does, and that its loops still turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

/// The longest status line, in bytes. The manager shows it in one line.
const MAX_STATUS_BYTES: usize = 400;

/// Counts the turns of a loop that must keep turning for as long as the process is of use.
#[derive(Debug, Clone, Default)]
pub struct LoopTurns(Arc<AtomicU64>);

impl LoopTurns {
    /// Counts one turn.
    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Says when the manager's watchdog may be told that the process is well: whenever every loop has turned since it was
/// told last. No loop waits for a database, a network or an engine without a limit, so a dependency that is away stops
/// no loop.
#[derive(Debug)]
pub struct LoopMonitor {
    loops: Vec<LoopTurns>,
    seen: Vec<u64>,
}

impl LoopMonitor {
    /// A monitor of these loops. It counts the turns from now on.
    #[must_use]
    pub fn new(loops: Vec<LoopTurns>) -> Self {
        let seen = loops.iter().map(LoopTurns::total).collect();
        Self { loops, seen }
    }

    /// Returns whether every loop has turned since this last returned `true`.
    pub fn all_have_turned(&mut self) -> bool {
        let now: Vec<u64> = self.loops.iter().map(LoopTurns::total).collect();
        let all = now.iter().zip(&self.seen).all(|(now, seen)| now != seen);
        if all {
            self.seen = now;
        }
        all
    }
}

/// The manager's side of the messages of `sd_notify(3)`. Without a manager, every message goes nowhere.
#[derive(Debug, Clone, Copy)]
pub struct ServiceManager {
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Returns the manager that the environment names (`NOTIFY_SOCKET`), if there is one.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        std::env::var_os("NOTIFY_SOCKET")
            .is_some_and(|socket| !socket.is_empty())
            .then(|| Self { watchdog: sd_notify::watchdog_enabled() })
    }

    /// Returns the time after which the manager restarts a process that it does not hear from, if it does so
    /// (`WatchdogSec=`).
    #[must_use]
    pub const fn watchdog(self) -> Option<Duration> {
        self.watchdog
    }

    /// Reports that the process serves.
    pub fn ready(self, status: &str) {
        send(&[NotifyState::Ready, NotifyState::Status(shortened(status))]);
    }

    /// Reports what the process does, in one line.
    pub fn status(self, status: &str) {
        send(&[NotifyState::Status(shortened(status))]);
    }

    /// Reports to the watchdog that the process is well.
    pub fn is_well(self) {
        send(&[NotifyState::Watchdog]);
    }

    /// Reports that the process stops, and asks for so much time from now on.
    pub fn stopping(self, status: &str, time: Duration) {
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        send(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros), NotifyState::Status(shortened(status))]);
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager was not told");
    }
}

/// The status up to the first line break and up to the limit.
fn shortened(status: &str) -> &str {
    let line = status.lines().next().unwrap_or_default();
    let mut end = line.len().min(MAX_STATUS_BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_well_once_every_loop_has_turned_again() {
        let loops = [LoopTurns::default(), LoopTurns::default()];
        loops[0].count();
        let mut monitor = LoopMonitor::new(loops.to_vec());
        assert!(!monitor.all_have_turned(), "no loop has turned since the monitor began");
        loops[0].count();
        assert!(!monitor.all_have_turned(), "one loop stands still");
        loops[1].count();
        assert!(monitor.all_have_turned(), "the turns of both loops may lie apart");
        assert!(!monitor.all_have_turned());
    }

    #[test]
    fn a_status_is_one_short_line() {
        assert_eq!(shortened("one\ntwo"), "one");
        assert_eq!(shortened(""), "");
        let long = "é".repeat(300);
        assert_eq!(shortened(&long).len(), MAX_STATUS_BYTES);
    }
}
