//! The only place that asks the machine for the time; a lint keeps it so.
//!
//! Leases and everything that two machines compare use the database's clock, in SQL. This clock
//! measures durations and holds deadlines inside one process.

use std::time::Instant;

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
