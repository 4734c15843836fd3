//! Who asks: the organisation and role behind the bearer key of a request.

use std::time::Instant;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::header;
use axum::http::request::Parts;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::ApiState;
use super::problem::Problem;
use crate::clock;
use crate::key::Presented;
use crate::store::keys::Role;

/// The holder of a good key. A handler that has one reads only what belongs to `organization`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    pub organization: Uuid,
    role: Role,
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

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    ApiState: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return Err(Problem::key_missing()) };
        let text = value.to_str().map_err(|_| Problem::key_invalid())?;
        let (scheme, key) = text.split_once(' ').ok_or_else(Problem::key_invalid)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Problem::key_missing());
        }
        let key = Presented::read(key.trim()).ok_or_else(Problem::key_invalid)?;
        // Ids of keys are no secret, so it tells nothing that an unknown one is answered sooner.
        let stored = ApiState::from_ref(state).store.find_key(key.id).await?.ok_or_else(Problem::key_invalid)?;
        if !key.proves(&stored.secret_sha256) {
            return Err(Problem::key_invalid());
        }
        let asked_at = (stored.asked_at, clock::monotonic());
        Ok(Self { organization: stored.organization_id, role: stored.role, asked_at })
    }
}
