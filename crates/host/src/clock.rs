//! The time of one process. Nothing else asks the machine for it; a lint keeps it so.
//!
//! Whoever decides by the time is given a [`Clock`], so that a test can pause it. Whoever only measures how long
//! something takes uses a [`Stopwatch`].
//!
//! Leases and everything that two machines compare use the database's clock, in SQL.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

/// A source of the time. The system's clock in programs; in tests, one that the test moves.
#[derive(Clone)]
pub struct Clock {
    /// What a test moves: the monotonic time, and the wall's time at its beginning. Absent: the machine's clocks.
    moved: Option<Arc<Moved>>,
}

struct Moved {
    monotonic: Box<dyn Fn() -> Instant + Send + Sync>,
    begun: (Instant, DateTime<Utc>, u64),
}

impl Clock {
    /// The clocks of the machine. The commands make one and pass it on.
    #[must_use]
    pub const fn system() -> Self {
        Self { moved: None }
    }

    /// A clock that follows `monotonic`, with `wall` as its time at the beginning.
    #[must_use]
    pub fn following(wall: DateTime<Utc>, monotonic: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        let begun = (monotonic(), wall, crate::monotonic_us());
        Self { moved: Some(Arc::new(Moved { monotonic: Box::new(monotonic), begun })) }
    }

    /// Now, on a clock that never jumps: for durations and deadlines inside one process.
    #[expect(clippy::disallowed_methods, reason = "the one place")]
    #[must_use]
    pub fn monotonic(&self) -> Instant {
        self.moved.as_ref().map_or_else(Instant::now, |moved| (moved.monotonic)())
    }

    /// The time since `earlier`, a monotonic time of this clock; zero if that lies in the future.
    #[must_use]
    pub fn since(&self, earlier: Instant) -> Duration {
        self.monotonic().saturating_duration_since(earlier)
    }

    /// Now, on the wall: for people, for names, and for the schedule of the janitor.
    #[expect(clippy::disallowed_methods, reason = "the one place")]
    #[must_use]
    pub fn wall(&self) -> DateTime<Utc> {
        let Some(moved) = &self.moved else { return Utc::now() };
        let (monotonic, wall, _) = moved.begun;
        wall + self.since(monotonic)
    }

    /// Now, in microseconds on the monotonic clock that this host shares with its cells: the clock of every warden's
    /// report.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        let Some(moved) = &self.moved else { return crate::monotonic_us() };
        let (monotonic, _, begun_us) = moved.begun;
        begun_us.saturating_add(u64::try_from(self.since(monotonic).as_micros()).unwrap_or(u64::MAX))
    }

    /// The time since `at_us` on the clock of [`Self::now_us`].
    #[must_use]
    pub fn since_us(&self, at_us: u64) -> Duration {
        Duration::from_micros(self.now_us().saturating_sub(at_us))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.moved.is_some() { "Clock(moved by a test)" } else { "Clock(system)" })
    }
}

/// A point in time after which somebody begins nothing new.
#[derive(Debug, Clone)]
pub struct Deadline {
    clock: Clock,
    at: Instant,
}

impl Deadline {
    /// The deadline that `clock` reaches after this time.
    #[must_use]
    pub fn after(clock: &Clock, time: Duration) -> Self {
        Self { clock: clock.clone(), at: clock.monotonic() + time }
    }

    /// The clock that it is held by.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Whether it is reached.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.clock.monotonic() >= self.at
    }
}

/// Measures how long something takes. Nothing of a service is decided by it; the programs that test the service hold
/// their deadlines with it.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch {
    begun: Instant,
}

impl Stopwatch {
    /// A stopwatch that runs from now on.
    #[must_use]
    pub fn start() -> Self {
        Self { begun: Clock::system().monotonic() }
    }

    /// The time since its start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Clock::system().since(self.begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn both_times_of_a_clock_move_together_and_only_when_the_test_moves_it() {
        let (begun, passed_s) = (Clock::system().monotonic(), Arc::new(AtomicU64::new(0)));
        let moved = Arc::clone(&passed_s);
        let wall = DateTime::UNIX_EPOCH;
        let clock = Clock::following(wall, move || begun + Duration::from_secs(moved.load(Ordering::Relaxed)));
        let begun_us = clock.now_us();
        let (earlier, later) = (clock.monotonic(), Duration::from_secs(3_600));
        assert_eq!((clock.since(earlier), clock.wall()), (Duration::ZERO, wall));
        passed_s.store(later.as_secs(), Ordering::Relaxed);
        assert_eq!((clock.since(earlier), clock.wall()), (later, wall + later));
        assert_eq!(clock.since_us(begun_us), later);
        assert_eq!(clock.since(earlier + later * 2), Duration::ZERO, "a time in the future");
    }
}
