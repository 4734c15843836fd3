//! The clock of tests that pause the time.

use assize_host::clock::Clock;
use chrono::{DateTime, TimeDelta};

/// A clock that follows the runtime's: `#[tokio::test(start_paused = true)]` pauses both, and both move together.
#[expect(clippy::disallowed_methods, reason = "the runtime's time, which a test pauses")]
pub fn runtime_clock() -> Clock {
    let midnight = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
    Clock::following(midnight, || tokio::time::Instant::now().into_std())
}
