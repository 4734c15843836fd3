//! Who asks: the organisation and role behind the bearer key of a request.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::Served;
use super::connections::Connection;
use super::gate::KeyStanding;
use super::peer::Source;
use super::problem::Problem;
use super::rate::Subject;
use assize_domain::key::KeyRole;
use assize_domain::key::Presented;
use assize_host::clock;
use assize_observe::event;

/// Keys that are looked up at one time, in this process, for addresses that sent too many wrong ones. A key costs one
/// probe of a primary key, under the limit of its address (`rate_per_address`) like every request; so however many
/// addresses guess, all of them together have no more than this many of the database's connections.
static DOUBTED: Semaphore = Semaphore::const_new(2);

/// The holder of a good key. A handler that has one reads only what belongs to `organization`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    pub organization: Uuid,
    /// The key's id.
    pub key: Uuid,
    role: KeyRole,
    /// When the key was looked up: by the database's clock, and by this process's.
    asked_at: (DateTime<Utc>, Instant),
}

impl Caller {
    /// Now, by the database's clock: counted on from its answer, to within the time that this took.
    pub fn now(&self) -> DateTime<Utc> {
        let (asked_at, asked) = self.asked_at;
        asked_at + TimeDelta::from_std(asked.elapsed()).unwrap_or_default()
    }

    /// Refuses who may only read.
    pub fn may_submit(self) -> Result<Self, Problem> {
        if self.role.may_submit() { Ok(self) } else { Err(Problem::role_missing(self.role.as_str())) }
    }
}

impl FromRequestParts<Served> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, served: &Served) -> Result<Self, Problem> {
        let text = bearer(parts)?;
        let presented = text.and_then(|text| Presented::read(text.trim()));
        let guesses = parts.extensions.get::<Source>().copied().map(Subject::WrongKeys);
        let caller = match guesses {
            // Whoever guessed too often still may have a right key: it is looked up, a few at a time.
            Some(guesses)
                if presented.as_ref().is_some_and(|key| !served.rates.knows(key))
                    && served.rates.is_empty(guesses).await =>
            {
                let _turn = DOUBTED.acquire().await.map_err(|closed| Problem::internal(&closed))?;
                find(served, presented).await?
            }
            _ => find(served, presented).await?,
        };
        let Some(caller) = caller else {
            if let Some(guesses) = guesses
                && let Err(standing) = served.rates.take(guesses).await
            {
                event::refused(guesses.policy());
                return Err(Problem::too_many_requests(&standing));
            }
            return Err(Problem::key_invalid());
        };
        if let Some(connection) = parts.extensions.get::<Arc<Connection>>() {
            connection.is_known();
        }
        let subject = Subject::Key(caller.key);
        match served.rates.take(subject).await {
            Ok(None) => {}
            Ok(Some(standing)) => {
                if let Some(told) = parts.extensions.get::<KeyStanding>() {
                    told.tell(standing);
                }
            }
            Err(standing) => {
                event::refused(subject.policy());
                return Err(Problem::too_many_requests(&standing));
            }
        }
        Ok(caller)
    }
}

/// What came as a key; `None` if that cannot be one.
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

/// The holder of this key, if it is one that is neither revoked nor expired.
async fn find(served: &Served, presented: Option<Presented<'_>>) -> Result<Option<Caller>, Problem> {
    let Some(key) = presented else { return Ok(None) };
    // Ids of keys are no secret, so it tells nothing that an unknown one is answered sooner.
    let Some(stored) = served.api.store.find_key(key.id).await? else { return Ok(None) };
    if !key.proves(&stored.secret_sha256) {
        return Ok(None);
    }
    served.rates.remember(key.id, &stored.secret_sha256);
    let asked_at = (stored.asked_at, clock::monotonic());
    Ok(Some(Caller { organization: stored.organization_id, key: key.id, role: stored.role, asked_at }))
}
