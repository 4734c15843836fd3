//! Parameters of a request, refused with a problem where they are not what they should be.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::problem::Problem;

/// The id in the path. What is no id names nothing, so it is not found.
pub(super) struct Id(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let what = if parts.uri.path().starts_with("/v1/submissions") { "submission" } else { "run" };
        let Path(text) =
            Path::<String>::from_request_parts(parts, state).await.map_err(|_| Problem::not_found(what))?;
        // Only the one spelling that we give out: an id has one address.
        match text.parse::<Uuid>() {
            Ok(id) if id.hyphenated().to_string() == text => Ok(Self(id)),
            _ => Err(Problem::not_found(what)),
        }
    }
}

/// The parameters after the question mark; an unknown one is refused by name.
pub(super) struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(value)) => Ok(Self(value)),
            Err(refused) => Err(Problem::bad_parameters(refused.body_text())),
        }
    }
}
