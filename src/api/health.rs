//! Whether the process lives, and whether it can do its work. Both answer anyone, so neither says
//! more than a name: the reason is in the log.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::ApiState;
use super::rate::Rates;
use assize_observe::event;
use assize_store::StoreError;

/// Whether requests can be answered.
#[derive(Serialize, ToSchema)]
pub(super) struct Readiness {
    ready: bool,
    /// Why not.
    reasons: Vec<String>,
    /// What is away, or does not hold, without keeping any request from its answer.
    degraded: Vec<String>,
}

/// Says that the process lives.
#[utoipa::path(get, path = "/livez", tag = "health", security(()), responses((status = 200, description = "ok", body = String)))]
pub(super) async fn livez() -> &'static str {
    "ok"
}

/// Says whether the process can do its work.
#[utoipa::path(
    get, path = "/readyz", tag = "health", security(()),
    responses(
        (status = 200, description = "Ready", body = Readiness),
        (status = 503, description = "Not ready", body = Readiness),
    )
)]
pub(super) async fn readyz(State(api): State<ApiState>, State(rates): State<Rates>) -> (StatusCode, Json<Readiness>) {
    let (schema, blobs, redis, unenforced) =
        tokio::join!(api.store.check_schema(), api.blobs.ping(), api.redis.ping(), api.store.unenforced_limits());
    let mut reasons = Vec::new();
    let behind = matches!(schema, Err(StoreError::Schema(_)));
    let postgres = if behind { "the database needs `assize migrate`" } else { "Postgres does not answer" };
    reasons.extend(missing("postgres", &schema, postgres));
    reasons.extend(missing("blobs", &blobs, "the blob store does not answer"));
    let mut degraded = Vec::new();
    degraded.extend(missing("redis", &redis, "Redis does not answer: live output and wake-ups are late"));
    if rates.is_local() {
        degraded.push("rate limits are counted by this process alone".to_owned());
    }
    let unenforced = unenforced.unwrap_or_default();
    degraded.extend(unenforced.iter().map(|limit| format!("the limit {limit} does not hold for some cells")));
    let ready = reasons.is_empty();
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(Readiness { ready, reasons, degraded }))
}

fn missing<E: std::fmt::Display>(name: &'static str, answer: &Result<(), E>, text: &str) -> Option<String> {
    match answer {
        Ok(()) => event::dependency(name, true, ""),
        Err(error) => event::dependency(name, false, &error.to_string()),
    }
    answer.is_err().then(|| text.to_owned())
}
