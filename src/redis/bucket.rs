//! Buckets of rate limits, as Redis keeps them.

use std::time::Duration;

/// A limit of how often something may be done: a bucket of `burst`, into which one more comes
/// whenever `interval` has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// At least a microsecond.
    pub interval: Duration,
    pub burst: u32,
}

impl Bucket {
    /// Time in which an empty bucket is filled.
    #[must_use]
    pub fn window(self) -> Duration {
        self.interval.saturating_mul(self.burst)
    }
}

/// What came out of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    pub given: u32,
    /// What is left in it.
    pub left: u32,
    /// Time until there is one more, if nothing is left.
    pub next_in: Duration,
    /// Time until it is full again.
    pub full_in: Duration,
}

/// Takes from a bucket, by the clock of Redis. All that is kept is the time at which the bucket is
/// full again, and no longer than until then. Times in microseconds; arguments: interval, burst, wanted.
pub(super) const TAKE_FROM_BUCKET: &str = r"
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local interval, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
full = math.min(full, now + interval * burst)
local room = math.floor((now + interval * burst - full) / interval)
local given = math.min(wanted, room)
full = full + given * interval
if given > 0 then
  redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
end
return { given, room - given, math.max(full - now - interval * (burst - 1), 0), full - now }
";
