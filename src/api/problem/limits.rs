//! What there is too much of, and heads of requests that are not taken.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};

use super::Problem;
use crate::admission::{QueueFull, QueueQuota};
use crate::api::crowd::Crowded;
use crate::api::rate::{Standing, Subject};

/// `Retry-After` where only another client's end makes room, in seconds.
const CROWD_RETRY_AFTER_S: u32 = 1;

/// The limit and its bucket, as draft-ietf-httpapi-ratelimit-headers has them.
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The headers that tell a client where it stands: `"key";q=10000;w=50` and `"key";r=9999;t=1`.
pub fn rate_headers(standing: &Standing) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let Standing { subject, burst, window, left, after } = *standing;
    let (name, window, after) = (subject.policy(), whole_seconds(window), whole_seconds(after));
    let policy = (RATE_LIMIT_POLICY, format!("\"{name}\";q={burst};w={window}"));
    let limit = (RATE_LIMIT, format!("\"{name}\";r={left};t={after}"));
    [policy, limit].into_iter().filter_map(|(name, value)| Some((name, HeaderValue::from_str(&value).ok()?)))
}

/// Seconds, rounded up: who comes back after them is not too early.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

impl Problem {
    pub fn queue_full(full: QueueFull) -> Self {
        let QueueFull { quota, limit, queued: seen, retry_after_s } = full;
        let (code, detail, help) = match quota {
            QueueQuota::User => (
                "user_queue_full",
                format!("{seen} runs of this user wait, the limit is {limit} (per_user_max_queued)"),
                "Send it again when some of this user's runs have ended, after the time in Retry-After.",
            ),
            QueueQuota::Organization => (
                "org_queue_full",
                format!("{seen} runs of your organisation wait, the limit is {limit} (per_org_max_queued)"),
                "Send it again when some of your runs have ended, after the time in Retry-After.",
            ),
            QueueQuota::All => (
                "queue_full",
                format!("{seen} runs of all organisations wait, the limit is {limit} (max_queued)"),
                "Send it again after the time in Retry-After.",
            ),
        };
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, detail)
            .limit(count(limit), count(seen))
            .help(help)
            .header(header::RETRY_AFTER, retry_after_s)
    }

    pub fn too_many_requests(standing: &Standing) -> Self {
        let (code, whose, setting) = match standing.subject {
            Subject::Key(_) => ("too_many_requests", "requests with this key", "rate_per_key"),
            Subject::Address(_) => ("too_many_requests", "requests from your address", "rate_per_address"),
            Subject::WrongKeys(_) => ("too_many_wrong_keys", "wrong keys from your address", "wrong_keys_per_minute"),
        };
        let (burst, window) = (standing.burst, whole_seconds(standing.window));
        let detail = format!("too many {whose} came: {burst} at once and as many in {window} s are taken ({setting})");
        let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, code, detail)
            .help("Send it again after the time in Retry-After.")
            .header(header::RETRY_AFTER, whole_seconds(standing.after).max(1));
        problem.0.headers.extend(rate_headers(standing));
        problem
    }

    pub fn too_many_held(crowded: Crowded) -> Self {
        let (Crowded::Each { limit } | Crowded::All { limit }) = crowded;
        let limit = limit as u64;
        let detail = format!("{limit} requests of this key are held open, more are not (max_held_per_key)");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_held", detail)
            .limit(limit, limit.saturating_add(1))
            .help("End some of your live outputs and waits first, or read without waiting.")
            .header(header::RETRY_AFTER, CROWD_RETRY_AFTER_S)
    }

    /// Of connections; names no number to who has no key.
    pub fn too_many_connections(crowded: Crowded) -> Self {
        let detail = match crowded {
            Crowded::Each { .. } => "there are too many connections from your address (max_connections_per_address)",
            Crowded::All { .. } => "there are too many connections (max_connections)",
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_connections", detail)
            .help("Close some, and send it again after the time in Retry-After.")
            .header(header::RETRY_AFTER, CROWD_RETRY_AFTER_S)
            .header(header::CONNECTION, HeaderValue::from_static("close"))
    }

    pub fn uri_too_long(limit: usize, seen: usize) -> Self {
        let detail = format!("the address of the request has {seen} bytes, the limit is {limit}");
        Self::new(StatusCode::URI_TOO_LONG, "uri_too_long", detail).limit(limit as u64, seen as u64)
    }

    pub fn expectation() -> Self {
        Self::new(StatusCode::EXPECTATION_FAILED, "expectation", "the header Expect asks for what this service has not")
            .help("Leave it out, or send `Expect: 100-continue`.")
    }

    /// The request as a whole was not answered in time.
    pub fn request_too_slow(limit_s: u64) -> Self {
        let detail = format!("the request was not answered within {limit_s} s");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "request_too_slow", detail)
            .help("Send it again after the time in Retry-After; with an Idempotency-Key a submission is stored once.")
            .header(header::RETRY_AFTER, super::RETRY_AFTER_S)
            .header(header::CONNECTION, HeaderValue::from_static("close"))
    }
}
