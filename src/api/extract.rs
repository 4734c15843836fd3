//! Extractors of parameters, which reject a malformed value with a problem.

use assize_protocol::artifacts::name_problem;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::problem::Problem;

/// The id in the path. A text that is not an id names nothing, so that the answer is `not_found`.
pub(super) struct PathId(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let thing = if parts.uri.path().starts_with("/v1/submissions") { "submission" } else { "run" };
        let Path(text) =
            Path::<String>::from_request_parts(parts, state).await.map_err(|_| Problem::not_found(thing))?;
        read_id(&text).map(Self).ok_or_else(|| Problem::not_found(thing))
    }
}

/// Only the spelling that the API returns is accepted, so that each run has one address.
fn read_id(text: &str) -> Option<Uuid> {
    text.parse::<Uuid>().ok().filter(|id| id.hyphenated().to_string() == text)
}

/// The id of a run and the name of one of its artifacts. A text that can be no name is not looked for.
pub(super) struct PathArtifact {
    pub run: Uuid,
    pub name: String,
}

impl<S: Send + Sync> FromRequestParts<S> for PathArtifact {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let missing = || Problem::not_found("artifact");
        let Path((run, name)) =
            Path::<(String, String)>::from_request_parts(parts, state).await.map_err(|_| missing())?;
        match (read_id(&run), name_problem(&name)) {
            (Some(run), None) => Ok(Self { run, name }),
            _ => Err(missing()),
        }
    }
}

/// The parameters of the query. An unknown parameter is rejected by its name.
pub(super) struct QueryParams<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryParams<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::bad_parameters(rejection.body_text())),
        }
    }
}
