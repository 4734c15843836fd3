//! How often one may ask: limits of each key, of each address, and of wrong keys from one address.
//!
//! Each limit is a bucket that is refilled all the time (GCRA). The buckets are in Redis, so that
//! they hold over all processes of the API. A process does not ask it for every request but takes
//! requests out in batches, a 64th of the bucket at a time; in between, a request costs two locks.
//!
//! While Redis is away, or slower than [`PATIENCE`], this process counts for itself, with the same
//! limits: it falls open to as many times the limit as there are processes, never to none. That is
//! logged, in the metric `assize_rate_limits_local` and in `/readyz`.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::peer::Source;
use crate::redis::{Bucket, Redis, RedisError, Taken};
use assize_config::Config;
use assize_domain::key::Presented;
use assize_host::clock;
use assize_observe::event;

/// The longest that a request waits for Redis here; usually it is a tenth of a millisecond.
const PATIENCE: Duration = Duration::from_millis(10);

/// How long this process counts for itself after Redis did not answer.
const LOCAL_FOR: Duration = Duration::from_secs(2);

/// The part of a bucket that a process takes at a time, and at most so many requests.
const BATCHES: u32 = 64;
const MOST_PER_BATCH: u32 = 100;

/// Keys and addresses that are remembered here. To forget one loses its batch, and while Redis is
/// away its count.
const MOST_REMEMBERED: usize = 20_000;

/// Who is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// A key that has proven itself.
    Key(Uuid),
    Address(Source),
    /// Wrong keys that came from there.
    WrongKeys(Source),
}

impl Subject {
    /// The name of its limit in answers and metrics.
    pub const fn policy(self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Address(_) => "address",
            Self::WrongKeys(_) => "wrong_keys",
        }
    }

    /// The name of its bucket.
    fn name(self) -> String {
        match self {
            Self::Key(id) => format!("key:{id}"),
            Self::Address(source) => format!("address:{source}"),
            Self::WrongKeys(source) => format!("wrong_keys:{source}"),
        }
    }
}

/// Where one stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub subject: Subject,
    /// Requests that a full bucket holds.
    pub burst: u32,
    /// Time in which an empty one is filled.
    pub window: Duration,
    /// Requests that are left.
    pub left: u32,
    /// Time until the bucket is full again, or, if nothing is left, until it holds a request.
    pub after: Duration,
}

/// Limits, and where everybody stands.
#[derive(Clone)]
pub(super) struct Rates {
    shared: Arc<Shared>,
}

struct Shared {
    redis: Redis,
    key: Option<Bucket>,
    address: Option<Bucket>,
    wrong_keys: Option<Bucket>,
    allowances: Mutex<Remembered<Subject, Arc<tokio::sync::Mutex<Allowance>>>>,
    /// Digests of secrets that proved themselves in this process.
    proven: Mutex<Remembered<Uuid, Vec<u8>>>,
    local_until: Mutex<Option<Instant>>,
    is_local: AtomicBool,
}

/// What this process knows of one bucket.
#[derive(Debug, Default)]
struct Allowance {
    /// Requests that were taken out and not used.
    batch: u32,
    /// What was left in the bucket after that.
    behind: u32,
    /// When the bucket is full again.
    full_at: Option<Instant>,
    /// Until then there is nothing in it.
    empty_until: Option<Instant>,
    /// The bucket of this process alone: when it is full again.
    own_full_at: Option<Instant>,
}

impl Rates {
    pub fn new(redis: Redis, config: &Config) -> Self {
        let second = Duration::from_secs(1);
        let shared = Shared {
            redis,
            key: bucket(config.rate_per_key, config.rate_burst_per_key, second),
            address: bucket(config.rate_per_address, config.rate_burst_per_address, second),
            wrong_keys: bucket(config.wrong_keys_per_minute, config.wrong_keys_per_minute, Duration::from_secs(60)),
            allowances: Mutex::default(),
            proven: Mutex::default(),
            local_until: Mutex::default(),
            is_local: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Counts a request. `Ok(None)` where there is no limit; `Err` if it is one too many.
    pub async fn take(&self, subject: Subject) -> Result<Option<Standing>, Standing> {
        let Some(bucket) = self.bucket(subject) else { return Ok(None) };
        let allowance = self.shared.remembered_allowance(subject);
        let mut allowance = allowance.lock().await;
        let now = clock::monotonic();
        if allowance.batch == 0 && allowance.empty_until.is_none_or(|until| until <= now) {
            self.refill(&mut allowance, subject, bucket, now).await;
        }
        if allowance.batch == 0 {
            return Err(standing(subject, bucket, &allowance, now));
        }
        allowance.batch -= 1;
        Ok(Some(standing(subject, bucket, &allowance, now)))
    }

    /// Whether nothing is left for the subject as far as this process knows; counts nothing.
    pub async fn is_empty(&self, subject: Subject) -> bool {
        if self.bucket(subject).is_none() {
            return false;
        }
        let allowance = self.shared.remembered_allowance(subject);
        let allowance = allowance.lock().await;
        allowance.batch == 0 && allowance.empty_until.is_some_and(|until| until > clock::monotonic())
    }

    /// A key proved itself with this digest.
    pub fn remember(&self, key: Uuid, secret_sha256: &[u8]) {
        let mut proven = self.shared.proven.lock().unwrap_or_else(PoisonError::into_inner);
        *proven.get_or_default(key) = secret_sha256.to_vec();
    }

    /// Whether this key proved itself before; it may have been revoked since.
    pub fn knows(&self, key: &Presented<'_>) -> bool {
        let mut proven = self.shared.proven.lock().unwrap_or_else(PoisonError::into_inner);
        proven.get(&key.id).is_some_and(|secret_sha256| key.proves(secret_sha256))
    }

    /// Whether this process counts for itself at the moment.
    pub fn is_local(&self) -> bool {
        self.shared.is_local.load(Ordering::Relaxed)
    }

    fn bucket(&self, subject: Subject) -> Option<Bucket> {
        match subject {
            Subject::Key(_) => self.shared.key,
            Subject::Address(_) => self.shared.address,
            Subject::WrongKeys(_) => self.shared.wrong_keys,
        }
    }

    /// Takes a batch out of the subject's bucket.
    async fn refill(&self, allowance: &mut Allowance, subject: Subject, bucket: Bucket, now: Instant) {
        let wanted = (bucket.burst / BATCHES).clamp(1, MOST_PER_BATCH);
        let taken = match self.ask_redis(subject, bucket, wanted, now).await {
            Some(taken) => taken,
            None => take_own(&mut allowance.own_full_at, bucket, wanted, now),
        };
        allowance.batch = taken.given;
        allowance.behind = taken.left;
        allowance.full_at = now.checked_add(taken.full_in);
        allowance.empty_until = if taken.given == 0 { now.checked_add(taken.next_in) } else { None };
    }

    /// `None` while this process counts for itself.
    async fn ask_redis(&self, subject: Subject, bucket: Bucket, wanted: u32, now: Instant) -> Option<Taken> {
        let shared = &self.shared;
        if shared.local_until.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| now < until) {
            return None;
        }
        let name = subject.name();
        let answer = shared.redis.take_from_bucket(&name, bucket, wanted);
        let answer = match tokio::time::timeout(PATIENCE, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(RedisError::late(PATIENCE)),
        };
        let is_local = answer.is_err();
        let until = if is_local { clock::monotonic().checked_add(LOCAL_FOR) } else { None };
        *shared.local_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
        if shared.is_local.swap(is_local, Ordering::Relaxed) != is_local {
            event::rate_limits_local(answer.as_ref().err().map(ToString::to_string).as_deref());
        }
        answer.ok()
    }
}

impl Shared {
    fn remembered_allowance(&self, subject: Subject) -> Arc<tokio::sync::Mutex<Allowance>> {
        let mut allowances = self.allowances.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(allowances.get_or_default(subject))
    }
}

/// The bucket of a setting; 0 is no limit.
fn bucket(rate: u32, burst: u32, per: Duration) -> Option<Bucket> {
    let interval = per.checked_div(rate)?.max(Duration::from_micros(1));
    Some(Bucket { interval, burst: burst.max(1) })
}

fn standing(subject: Subject, bucket: Bucket, allowance: &Allowance, now: Instant) -> Standing {
    let left = allowance.batch.saturating_add(allowance.behind);
    let at = if left == 0 { allowance.empty_until.or(allowance.full_at) } else { allowance.full_at };
    let after = at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
    Standing { subject, burst: bucket.burst, window: bucket.window(), left, after }
}

/// The arithmetic of [`Redis::take_from_bucket`], for a bucket of this process alone.
fn take_own(full_at: &mut Option<Instant>, bucket: Bucket, wanted: u32, now: Instant) -> Taken {
    let missing = full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now)).min(bucket.window());
    let room = (bucket.window() - missing).as_micros() / bucket.interval.as_micros().max(1);
    let room = u32::try_from(room).unwrap_or(u32::MAX);
    let given = wanted.min(room);
    let missing = missing + bucket.interval * given;
    *full_at = now.checked_add(missing);
    let next_in = (missing + bucket.interval).saturating_sub(bucket.window());
    Taken { given, left: room - given, next_in, full_in: missing }
}

/// The newest entries, at most [`MOST_REMEMBERED`]: half of them young, and what has not been asked
/// for since the young ones became too many is gone when they are again.
struct Remembered<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<K: Eq + Hash + Copy, V: Default> Remembered<K, V> {
    fn get(&mut self, key: &K) -> Option<&V> {
        if let Some(value) = self.old.remove(key) {
            self.insert(*key, value);
        }
        self.young.get(key)
    }

    fn get_or_default(&mut self, key: K) -> &mut V {
        if !self.young.contains_key(&key) {
            let value = self.old.remove(&key).unwrap_or_default();
            self.insert(key, value);
        }
        self.young.entry(key).or_default()
    }

    fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= MOST_REMEMBERED / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_bucket_gives_its_burst_and_then_its_rate() {
        let bucket = bucket(10, 5, Duration::from_secs(1)).unwrap();
        let (mut full_at, begun) = (None, clock::monotonic());
        let ms = |ms| begun + Duration::from_millis(ms);
        let taken = take_own(&mut full_at, bucket, 3, ms(0));
        assert_eq!((taken.given, taken.left, taken.full_in), (3, 2, Duration::from_millis(300)));
        assert_eq!(take_own(&mut full_at, bucket, 3, ms(0)).given, 2);
        let empty = take_own(&mut full_at, bucket, 3, ms(40));
        assert_eq!((empty.given, empty.left, empty.next_in), (0, 0, Duration::from_millis(60)));
        assert_eq!(take_own(&mut full_at, bucket, 3, ms(100)).given, 1);
        assert_eq!(take_own(&mut full_at, bucket, 9, ms(60_000)).given, 5);
    }

    #[test]
    fn no_rate_is_no_limit_and_a_huge_one_is_a_limit() {
        let second = Duration::from_secs(1);
        assert!(bucket(0, 5, second).is_none());
        assert_eq!(bucket(u32::MAX, 0, second), Some(Bucket { interval: Duration::from_micros(1), burst: 1 }));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_newest_stay() {
        let mut remembered = Remembered::<usize, usize>::default();
        *remembered.get_or_default(0) = 7;
        for key in 1..5 * MOST_REMEMBERED {
            remembered.get_or_default(key);
            assert_eq!(remembered.get(&0), Some(&7), "asked for all the time");
            assert!(remembered.young.len() + remembered.old.len() <= MOST_REMEMBERED);
        }
        assert!(remembered.get(&1).is_none());
        assert!(remembered.get(&(5 * MOST_REMEMBERED - 1)).is_some());
    }
}
