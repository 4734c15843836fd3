//! Rate limits: of each API key, of each client address, and of wrong keys from one address.
//!
//! Each limit is a bucket that is refilled continuously (GCRA). The buckets are in Redis, so that all processes of the
//! API share them. A process does not ask Redis for every request: it reserves requests in batches of a 64th of the
//! bucket. A request from a reserved batch costs two locks.
//!
//! While Redis is unavailable, or slower than [`REDIS_TIMEOUT`], this process counts alone with the same limits. So the
//! effective limit grows to the limit times the number of processes; it is never infinite. The process logs this, sets
//! the metric `assize_rate_limits_local`, and reports it in `/readyz`.

mod bucket;
mod status;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use assize_config::Config;
use assize_domain::key::Presented;
use assize_host::clock::Clock;
use assize_observe::event;
use lru::LruCache;
use parking_lot::Mutex;
use uuid::Uuid;

pub(super) use status::{KeyRateLimit, RateLimitStatus, RateLimitSubject};

use self::bucket::{bucket, take_locally};
use crate::redis::{Bucket, Redis, RedisError, Taken};

/// The longest that a request waits for Redis here; an answer usually takes a tenth of a millisecond.
const REDIS_TIMEOUT: Duration = Duration::from_millis(10);

/// How long this process counts alone after Redis did not answer.
const LOCAL_PERIOD: Duration = Duration::from_secs(2);

/// A process reserves a 64th of the bucket at a time, but at most this many requests.
const BATCHES_PER_BUCKET: u32 = 64;
const MAX_BATCH: u32 = 100;

/// The number of subjects, and of keys, that this process caches. A subject that leaves the cache loses its batch; while
/// Redis is unavailable it loses its count too.
const CACHE_ENTRIES: NonZeroUsize = NonZeroUsize::new(20_000).expect("20,000 is not zero");

/// The rate limits, and the state of all buckets that this process uses; clones share both.
#[derive(Clone)]
pub(super) struct RateLimiter {
    shared: Arc<SharedLimiter>,
}

struct SharedLimiter {
    redis: Redis,
    clock: Clock,
    key: Option<Bucket>,
    address: Option<Bucket>,
    wrong_keys: Option<Bucket>,
    allowances: Mutex<LruCache<RateLimitSubject, Arc<tokio::sync::Mutex<Allowance>>>>,
    /// By key id, the digest of a secret that was correct in this process.
    verified_keys: Mutex<LruCache<Uuid, Vec<u8>>>,
    local_until: Mutex<Option<Instant>>,
    is_local: AtomicBool,
}

/// What this process knows about one bucket.
#[derive(Debug, Default)]
struct Allowance {
    /// Requests that are reserved and not used yet.
    reserved: u32,
    /// Requests that the bucket still had after the last reservation.
    remaining_in_redis: u32,
    /// When the bucket is full again.
    full_at: Option<Instant>,
    /// The bucket is empty until then.
    empty_until: Option<Instant>,
    /// When the bucket of this process alone is full again.
    local_full_at: Option<Instant>,
}

impl RateLimiter {
    pub fn new(redis: Redis, clock: Clock, config: &Config) -> Self {
        let burst = |rate: u32| rate.saturating_mul(config.constants.rate_burst_s);
        let second = Duration::from_secs(1);
        let shared = SharedLimiter {
            redis,
            clock,
            key: bucket(config.rate_per_key, burst(config.rate_per_key), second),
            address: bucket(config.rate_per_address, burst(config.rate_per_address), second),
            wrong_keys: bucket(config.wrong_keys_per_minute, config.wrong_keys_per_minute, Duration::from_secs(60)),
            allowances: Mutex::new(LruCache::new(CACHE_ENTRIES)),
            verified_keys: Mutex::new(LruCache::new(CACHE_ENTRIES)),
            local_until: Mutex::default(),
            is_local: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Counts a request. Returns `Ok(None)` if the subject has no limit.
    ///
    /// # Errors
    /// The status of the bucket if the request exceeds the limit.
    pub async fn count(&self, subject: RateLimitSubject) -> Result<Option<RateLimitStatus>, RateLimitStatus> {
        let Some(bucket) = self.bucket(subject) else { return Ok(None) };
        let allowance = self.shared.allowance(subject);
        let mut allowance = allowance.lock().await;
        let now = self.shared.clock.monotonic();
        if allowance.reserved == 0 && allowance.empty_until.is_none_or(|until| until <= now) {
            self.reserve(&mut allowance, subject, bucket, now).await;
        }
        if allowance.reserved == 0 {
            return Err(status(subject, bucket, &allowance, now));
        }
        allowance.reserved -= 1;
        Ok(Some(status(subject, bucket, &allowance, now)))
    }

    /// Whether the bucket is empty, as far as this process knows. Counts nothing.
    pub async fn is_exhausted(&self, subject: RateLimitSubject) -> bool {
        if self.bucket(subject).is_none() {
            return false;
        }
        let allowance = self.shared.allowance(subject);
        let allowance = allowance.lock().await;
        allowance.reserved == 0 && allowance.empty_until.is_some_and(|until| until > self.shared.clock.monotonic())
    }

    /// Stores the digest of a key's secret that was correct.
    pub fn remember_verified(&self, key: Uuid, secret_sha256: &[u8]) {
        let mut verified = self.shared.verified_keys.lock();
        verified.put(key, secret_sha256.to_vec());
    }

    /// Whether this key was correct before; it may have been revoked since.
    pub fn was_verified(&self, key: &Presented<'_>) -> bool {
        let mut verified = self.shared.verified_keys.lock();
        verified.get(&key.id).is_some_and(|secret_sha256| key.proves(secret_sha256))
    }

    /// Whether this process counts alone at the moment.
    pub fn is_local(&self) -> bool {
        self.shared.is_local.load(Ordering::Relaxed)
    }

    fn bucket(&self, subject: RateLimitSubject) -> Option<Bucket> {
        match subject {
            RateLimitSubject::Key(_) => self.shared.key,
            RateLimitSubject::Address(_) => self.shared.address,
            RateLimitSubject::WrongKeys(_) => self.shared.wrong_keys,
        }
    }

    /// Reserves a batch of requests from the subject's bucket.
    async fn reserve(&self, allowance: &mut Allowance, subject: RateLimitSubject, bucket: Bucket, now: Instant) {
        let wanted = (bucket.burst / BATCHES_PER_BUCKET).clamp(1, MAX_BATCH);
        let taken = match self.take_from_redis(subject, bucket, wanted, now).await {
            Some(taken) => taken,
            None => take_locally(&mut allowance.local_full_at, bucket, wanted, now),
        };
        allowance.reserved = taken.given;
        allowance.remaining_in_redis = taken.left;
        allowance.full_at = now.checked_add(taken.full_in);
        allowance.empty_until = if taken.given == 0 { now.checked_add(taken.next_in) } else { None };
    }

    /// Returns `None` while this process counts alone.
    async fn take_from_redis(
        &self,
        subject: RateLimitSubject,
        bucket: Bucket,
        wanted: u32,
        now: Instant,
    ) -> Option<Taken> {
        let shared = &self.shared;
        if shared.local_until.lock().is_some_and(|until| now < until) {
            return None;
        }
        let name = subject.bucket_name();
        let answer = shared.redis.take_from_bucket(&name, bucket, wanted);
        let answer = match tokio::time::timeout(REDIS_TIMEOUT, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(RedisError::late(REDIS_TIMEOUT)),
        };
        let is_local = answer.is_err();
        let until = if is_local { shared.clock.monotonic().checked_add(LOCAL_PERIOD) } else { None };
        *shared.local_until.lock() = until;
        if shared.is_local.swap(is_local, Ordering::Relaxed) != is_local {
            event::rate_limits_local(answer.as_ref().err().map(ToString::to_string).as_deref());
        }
        answer.ok()
    }
}

impl SharedLimiter {
    fn allowance(&self, subject: RateLimitSubject) -> Arc<tokio::sync::Mutex<Allowance>> {
        let mut allowances = self.allowances.lock();
        Arc::clone(allowances.get_or_insert(subject, Arc::default))
    }
}

fn status(subject: RateLimitSubject, bucket: Bucket, allowance: &Allowance, now: Instant) -> RateLimitStatus {
    let remaining = allowance.reserved.saturating_add(allowance.remaining_in_redis);
    let at = if remaining == 0 { allowance.empty_until.or(allowance.full_at) } else { allowance.full_at };
    let after = at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
    RateLimitStatus { subject, burst: bucket.burst, window: bucket.window(), remaining, after }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::runtime_clock;

    #[test]
    fn the_cache_is_bounded_and_the_entries_in_use_stay() {
        let mut cache = LruCache::<usize, usize>::new(CACHE_ENTRIES);
        cache.put(0, 7);
        for key in 1..5 * CACHE_ENTRIES.get() {
            cache.get_or_insert(key, || 0);
            assert_eq!(cache.get(&0), Some(&7), "in use all the time");
        }
        assert_eq!(cache.len(), CACHE_ENTRIES.get());
        assert!(cache.get(&1).is_none());
        assert!(cache.get(&(5 * CACHE_ENTRIES.get() - 1)).is_some());
    }

    /// FAILURES 5: without Redis the limits hold for each process alone.
    #[tokio::test(start_paused = true)]
    async fn while_redis_is_away_a_process_counts_alone_and_asks_again_every_two_seconds() {
        let clock = runtime_clock();
        let config = Config { rate_per_key: 10, ..Config::default() };
        let redis = Redis::open("redis://127.0.0.1:1", "test").unwrap();
        let limiter = RateLimiter::new(redis, clock.clone(), &config);
        let key = RateLimitSubject::Key(Uuid::from_u128(7));
        let count = async || {
            let mut counted = 0;
            // Far more than any bucket holds: a limit that is none must fail the test, not hang it.
            while counted < 10_000 && limiter.count(key).await.is_ok() {
                counted += 1;
            }
            counted
        };
        assert_eq!(count().await, 10 * config.constants.rate_burst_s, "the burst");
        assert!(limiter.is_local());
        let until = limiter.shared.local_until.lock().unwrap();
        assert!(clock.since(until).is_zero() && until <= clock.monotonic() + LOCAL_PERIOD);
        tokio::time::advance(Duration::from_millis(300)).await;
        assert_eq!(count().await, 3, "the rate");
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert_eq!(count().await, 10 * config.constants.rate_burst_s, "never more than the burst");
        assert!(limiter.shared.local_until.lock().unwrap() > clock.monotonic(), "Redis was asked again");
    }
}
