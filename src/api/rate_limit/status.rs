//! The state of a rate limit after a request, and how the answer reports it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use uuid::Uuid;

use crate::api::client_address::ClientAddress;
use crate::api::problem::{Problem, codes};

/// The headers of draft-ietf-httpapi-ratelimit-headers.
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// What a rate limit applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::api) enum RateLimitSubject {
    /// A key whose secret was correct.
    Key(Uuid),
    Address(ClientAddress),
    /// Wrong keys from this address.
    WrongKeys(ClientAddress),
}

impl RateLimitSubject {
    /// Returns the name of the limit in answers and metrics.
    pub const fn policy(self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Address(_) => "address",
            Self::WrongKeys(_) => "wrong_keys",
        }
    }

    /// Returns the name of the bucket in Redis.
    pub(super) fn bucket_name(self) -> String {
        match self {
            Self::Key(id) => format!("key:{id}"),
            Self::Address(address) => format!("address:{address}"),
            Self::WrongKeys(address) => format!("wrong_keys:{address}"),
        }
    }
}

/// The state of a rate limit after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct RateLimitStatus {
    pub subject: RateLimitSubject,
    /// Requests that a full bucket allows at once.
    pub burst: u32,
    /// Time in which an empty bucket becomes full.
    pub window: Duration,
    /// Requests that are allowed at once now.
    pub remaining: u32,
    /// Time until the bucket is full again; if nothing remains, time until it allows one request.
    pub after: Duration,
}

impl RateLimitStatus {
    /// Returns the headers that report the limit and its state: `"key";q=10000;w=50` and `"key";r=9999;t=1`.
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
        let Self { subject, burst, window, remaining, after } = *self;
        let (name, window, after) = (subject.policy(), whole_seconds(window), whole_seconds(after));
        let policy = (RATE_LIMIT_POLICY, format!("\"{name}\";q={burst};w={window}"));
        let limit = (RATE_LIMIT, format!("\"{name}\";r={remaining};t={after}"));
        [policy, limit].into_iter().filter_map(|(name, value)| Some((name, HeaderValue::from_str(&value).ok()?)))
    }
}

impl From<RateLimitStatus> for Problem {
    fn from(status: RateLimitStatus) -> Self {
        let (code, limited, setting) = match status.subject {
            RateLimitSubject::Key(_) => (codes::TOO_MANY_REQUESTS, "rate limit exceeded for this key", "rate_per_key"),
            RateLimitSubject::Address(_) => {
                (codes::TOO_MANY_REQUESTS, "rate limit exceeded for your address", "rate_per_address")
            }
            RateLimitSubject::WrongKeys(_) => {
                (codes::TOO_MANY_WRONG_KEYS, "too many wrong keys from your address", "wrong_keys_per_minute")
            }
        };
        let (burst, window) = (status.burst, whole_seconds(status.window));
        Self::new(code, format!("{limited}: burst {burst}, refilled over {window} s ({setting})"))
            .retry_after(whole_seconds(status.after).max(1))
            .headers(status.headers())
    }
}

/// The rate limit of the request's key. Authentication sets it, and the answer reports it.
#[derive(Debug, Clone, Default)]
pub(in crate::api) struct KeyRateLimit(Arc<OnceLock<RateLimitStatus>>);

impl KeyRateLimit {
    pub fn set(&self, status: RateLimitStatus) {
        self.0.get_or_init(|| status);
    }

    pub fn get(&self) -> Option<&RateLimitStatus> {
        self.0.get()
    }
}

/// Rounds up to whole seconds, so that a client that waits as long is not too early.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
