//! The only place that asks the machine for the time; a lint keeps it so.
//!
//! Leases and everything that two machines compare use the database's clock, in SQL. This clock
//! measures durations and holds deadlines inside one process.

use std::time::{Duration, Instant};

/// Now, on a clock that never jumps.
#[expect(clippy::disallowed_methods, reason = "the one place")]
#[must_use]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Now, on the wall: for people and for names, never for a decision.
#[expect(clippy::disallowed_methods, reason = "the one place")]
#[must_use]
pub fn wall() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}

/// The time since `at_us`, in microseconds on the monotonic clock that this host shares with its cells:
/// the clock of every warden's report.
#[must_use]
pub fn since_us(at_us: u64) -> Duration {
    Duration::from_micros(crate::monotonic_us().saturating_sub(at_us))
}
