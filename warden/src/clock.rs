//! The host's monotonic clock. All cells of a host share it, so reports of two cells can be put
//! in order; nothing that runs in a cell can set it.

use nix::time::{ClockId, clock_gettime};

/// Microseconds of `CLOCK_MONOTONIC`.
///
/// A clock that cannot be read gives 0: every deadline then lies far ahead, and the worker, which
/// holds the same deadlines from outside, ends the cell.
pub fn now_us() -> u64 {
    let Ok(time) = clock_gettime(ClockId::CLOCK_MONOTONIC) else { return 0 };
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
    seconds * 1_000_000 + nanos / 1_000
}

/// The time `ms` milliseconds after `from_us`, in microseconds.
pub fn after_ms(from_us: u64, ms: u64) -> u64 {
    from_us.saturating_add(ms.saturating_mul(1_000))
}
