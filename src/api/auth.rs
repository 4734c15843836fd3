//! Authentication: the organisation and the role of a request's bearer key.

use std::sync::Arc;
use std::time::Instant;

use assize_domain::key::{KeyRole, Presented};
use assize_host::clock::Clock;
use assize_observe::event;
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::client_address::ClientAddress;
use super::connection_table::Connection;
use super::problem::Problem;
use super::rate_limit::{KeyRateLimit, RateLimitSubject};
use super::state::RouterState;

/// Limits the concurrent key lookups of this process for addresses that sent too many wrong keys. A lookup is one probe
/// of a primary key, and counts against `rate_per_address` like every request. So all guessing addresses together use at
/// most this many connections to the database.
static SUSPECT_LOOKUPS: Semaphore = Semaphore::const_new(2);

/// The owner of a valid key. A handler with a caller reads only what belongs to `organization`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    pub organization: Uuid,
    /// The key's id.
    pub key: Uuid,
    role: KeyRole,
    /// When the key was looked up, by the clock of the database and by the clock of this process.
    looked_up_at: (DateTime<Utc>, Instant),
}

impl Caller {
    /// Returns the time by the clock of the database: its time at the lookup plus the time since, which is exact to
    /// within the duration of the lookup.
    pub fn now(&self, clock: &Clock) -> DateTime<Utc> {
        let (database_time, instant) = self.looked_up_at;
        database_time + TimeDelta::from_std(clock.since(instant)).unwrap_or_default()
    }

    /// Returns the caller.
    ///
    /// # Errors
    /// `role_missing` if the role may only read.
    pub fn may_submit(self) -> Result<Self, Problem> {
        if self.role.may_submit() { Ok(self) } else { Err(Problem::role_missing(self.role.as_str())) }
    }
}

impl FromRequestParts<RouterState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &RouterState) -> Result<Self, Problem> {
        let text = bearer(parts)?;
        let presented = text.and_then(|text| Presented::read(text.trim()));
        let wrong_keys = parts.extensions.get::<ClientAddress>().copied().map(RateLimitSubject::WrongKeys);
        let caller = match wrong_keys {
            // An address that exceeded the limit of wrong keys may still send a valid one: a few lookups at a time.
            Some(wrong_keys)
                if presented.as_ref().is_some_and(|key| !state.rate_limiter.was_verified(key))
                    && state.rate_limiter.is_exhausted(wrong_keys).await =>
            {
                let _permit = SUSPECT_LOOKUPS.acquire().await.map_err(|closed| Problem::internal(&closed))?;
                find(state, presented).await?
            }
            _ => find(state, presented).await?,
        };
        let Some(caller) = caller else {
            if let Some(wrong_keys) = wrong_keys
                && let Err(status) = state.rate_limiter.count(wrong_keys).await
            {
                event::refused(wrong_keys.policy());
                return Err(status.into());
            }
            return Err(Problem::key_invalid());
        };
        if let Some(connection) = parts.extensions.get::<Arc<Connection>>() {
            connection.mark_authenticated();
        }
        let subject = RateLimitSubject::Key(caller.key);
        match state.rate_limiter.count(subject).await {
            Ok(None) => {}
            Ok(Some(status)) => {
                if let Some(reported) = parts.extensions.get::<KeyRateLimit>() {
                    reported.set(status);
                }
            }
            Err(status) => {
                event::refused(subject.policy());
                return Err(status.into());
            }
        }
        Ok(caller)
    }
}

/// Returns the text of the key in the header Authorization; `None` if the text cannot be a key.
///
/// # Errors
/// `key_missing` if the header is absent, repeated or of another scheme.
fn bearer(parts: &Parts) -> Result<Option<&str>, Problem> {
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(Problem::key_missing()) };
    let Ok(text) = value.to_str() else { return Ok(None) };
    match text.split_once(' ') {
        Some((scheme, _)) if !scheme.eq_ignore_ascii_case("bearer") => Err(Problem::key_missing()),
        Some((_, key)) => Ok(Some(key)),
        None => Ok(None),
    }
}

/// Returns the owner of this key, unless the key is unknown, revoked or expired.
async fn find(state: &RouterState, presented: Option<Presented<'_>>) -> Result<Option<Caller>, Problem> {
    let Some(key) = presented else { return Ok(None) };
    // The id of a key is not secret, so that a faster answer for an unknown id reveals nothing.
    let Some(stored) = state.api.store.find_key(key.id).await? else { return Ok(None) };
    if !key.proves(&stored.secret_sha256) {
        return Ok(None);
    }
    state.rate_limiter.remember_verified(key.id, &stored.secret_sha256);
    let looked_up_at = (stored.asked_at, state.api.clock.monotonic());
    Ok(Some(Caller { organization: stored.organization_id, key: key.id, role: stored.role, looked_up_at }))
}
