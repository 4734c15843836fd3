//! The public keys that receipts and ends of runs are checked with.

use axum::Json;
use axum::extract::State;

use super::ApiState;
use super::auth::Caller;
use super::problem::{Document, Problem};
use assize_signing::keys::{PublishedKey, SigningKeys};
use assize_signing::{PublicKey, key::KeyError};

/// List the public keys of this installation, retired ones too.
///
/// Save the answer for `assize verify --keys`. Who has reason to distrust the database takes the keys from those
/// who run the service instead.
#[utoipa::path(
    get, path = "/v1/signing-keys", tag = "signing",
    responses(
        (status = 200, description = "Oldest first", body = SigningKeys),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json"),
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
