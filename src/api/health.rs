//! The health routes: liveness and readiness. They need no key, so that they report only what is unavailable; the log has
//! the reason.

use std::collections::BTreeMap;

use assize_observe::event;
use assize_store::StoreError;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response};
use utoipa::{IntoResponses, ToSchema};

use super::problem::{ROUTE, problem_responses, problems};
use super::rate_limit::RateLimiter;
use super::state::ApiState;

/// Whether the service can answer requests.
#[derive(Serialize, ToSchema)]
pub(super) struct Readiness {
    ready: bool,
    /// Why the service is not ready.
    reasons: Vec<String>,
    /// What is unavailable or not enforced, although the service can answer requests.
    degraded: Vec<String>,
}

problem_responses!(LiveProblems: ROUTE);

/// The problems of `/readyz`, whose status 503 is also the answer of a service that is not ready.
struct ReadyProblems;

impl IntoResponses for ReadyProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut responses = problems(&[ROUTE]);
        if let Some(RefOr::T(unavailable)) = responses.get_mut("503") {
            let readiness = ContentBuilder::new().schema(Some(Ref::from_schema_name("Readiness"))).build();
            unavailable.content.insert("application/json".to_owned(), readiness.into());
            unavailable.headers.clear();
        }
        responses
    }
}

/// Check that the process runs
#[utoipa::path(
    get, path = "/livez", tag = "health", operation_id = "checkLiveness", security(()),
    responses((status = 200, description = "`ok`", body = String), LiveProblems)
)]
pub(super) async fn livez() -> &'static str {
    "ok"
}

/// Check that the process can answer requests
#[utoipa::path(
    get, path = "/readyz", tag = "health", operation_id = "checkReadiness", security(()),
    responses(
        (status = 200, description = "Ready", body = Readiness),
        ReadyProblems,
    )
)]
pub(super) async fn readyz(
    State(api): State<ApiState>,
    State(rate_limiter): State<RateLimiter>,
) -> (StatusCode, Json<Readiness>) {
    let (schema, blobs, redis, unenforced) =
        tokio::join!(api.store.check_schema(), api.blobs.ping(), api.redis.ping(), api.store.unenforced_limits());
    let mut reasons = Vec::new();
    let is_outdated = matches!(schema, Err(StoreError::Schema(_)));
    let postgres = if is_outdated { "the database needs `assize migrate`" } else { "Postgres does not answer" };
    reasons.extend(missing("postgres", &schema, postgres));
    reasons.extend(missing("blobs", &blobs, "the blob store does not answer"));
    let mut degraded = Vec::new();
    degraded.extend(missing("redis", &redis, "Redis does not answer; live output and notifications are late"));
    if rate_limiter.is_local() {
        degraded.push("rate limits are counted by this process alone".to_owned());
    }
    let unenforced = unenforced.unwrap_or_default();
    degraded.extend(unenforced.iter().map(|limit| format!("the limit {limit} is not enforced for some cells")));
    let refused = api.templates.refused();
    degraded.extend(refused.iter().map(|name| format!("the latest version of the template {name} was refused")));
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
