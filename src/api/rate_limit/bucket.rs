//! The arithmetic of a bucket.

use std::time::{Duration, Instant};

use crate::redis::{Bucket, Taken};

/// Builds the bucket of a setting: `rate` requests in each period `per`. A rate of 0 is no limit.
pub(super) fn bucket(rate: u32, burst: u32, per: Duration) -> Option<Bucket> {
    let interval = per.checked_div(rate)?.max(Duration::from_micros(1));
    Some(Bucket { interval, burst: burst.max(1) })
}

/// Takes requests from a bucket of this process alone, with the arithmetic of
/// [`take_from_bucket`](crate::redis::Redis::take_from_bucket).
pub(super) fn take_locally(full_at: &mut Option<Instant>, bucket: Bucket, wanted: u32, now: Instant) -> Taken {
    let missing = full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now)).min(bucket.window());
    let room = (bucket.window() - missing).as_micros() / bucket.interval.as_micros().max(1);
    let room = u32::try_from(room).unwrap_or(u32::MAX);
    let given = wanted.min(room);
    let missing = missing + bucket.interval * given;
    *full_at = now.checked_add(missing);
    let next_in = (missing + bucket.interval).saturating_sub(bucket.window());
    Taken { given, left: room - given, next_in, full_in: missing }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assize_host::clock::Clock;

    #[test]
    fn a_local_bucket_gives_its_burst_and_then_its_rate() {
        let bucket = bucket(10, 5, Duration::from_secs(1)).unwrap();
        let (mut full_at, begun) = (None, Clock::system().monotonic());
        let ms = |ms| begun + Duration::from_millis(ms);
        let taken = take_locally(&mut full_at, bucket, 3, ms(0));
        assert_eq!((taken.given, taken.left, taken.full_in), (3, 2, Duration::from_millis(300)));
        assert_eq!(take_locally(&mut full_at, bucket, 3, ms(0)).given, 2);
        let empty = take_locally(&mut full_at, bucket, 3, ms(40));
        assert_eq!((empty.given, empty.left, empty.next_in), (0, 0, Duration::from_millis(60)));
        assert_eq!(take_locally(&mut full_at, bucket, 3, ms(100)).given, 1);
        assert_eq!(take_locally(&mut full_at, bucket, 9, ms(60_000)).given, 5);
    }

    #[test]
    fn no_rate_is_no_limit_and_a_huge_one_is_a_limit() {
        let second = Duration::from_secs(1);
        assert!(bucket(0, 5, second).is_none());
        assert_eq!(bucket(u32::MAX, 0, second), Some(Bucket { interval: Duration::from_micros(1), burst: 1 }));
    }
}
