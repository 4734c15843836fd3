//! The route of the public keys that verify signed statements.

use assize_signing::keys::{PublishedKey, SigningKeys};
use assize_signing::{PublicKey, key::KeyError};
use axum::Json;
use axum::extract::State;

use super::auth::Caller;
use super::problem::{Problem, ROUTE, WITH_KEY, problem_responses};
use super::state::ApiState;

problem_responses!(ListProblems: ROUTE, WITH_KEY);

/// List the public signing keys
///
/// The answer has all keys of this installation, retired keys too. Save it for `assize verify --keys`. If you do not
/// trust the database of the installation, get the keys from its administrator instead.
#[utoipa::path(
    get, path = "/v1/signing-keys", tag = "signing", operation_id = "listSigningKeys",
    responses(
        (status = 200, description = "All keys, the oldest first", body = SigningKeys),
        ListProblems,
    )
)]
pub(super) async fn list(State(api): State<ApiState>, _caller: Caller) -> Result<Json<SigningKeys>, Problem> {
    let rows = api.store.list_signing_keys().await?;
    let keys = rows.into_iter().map(|row| {
        let key = PublicKey::from_bytes(&row.public_key)?;
        Ok(PublishedKey::new(key, row.created_at, row.retired_at))
    });
    let keys = keys.collect::<Result<_, KeyError>>().map_err(|error| Problem::internal(&error))?;
    Ok(Json(SigningKeys { keys }))
}
