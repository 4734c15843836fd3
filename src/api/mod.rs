//! The HTTP API: what the platform, a grader and a probe may ask, and nothing about containers.
//!
//! A connection passes `serve`. A request passes `request` (id, log line, metric), `body` (limits of
//! what it sends), `gate` (limits of its address, its head and its time), its handler's extractors
//! (`auth`, `extract`) and its handler. Whatever goes wrong on the way becomes a status in
//! `problem`, and only there. The handlers describe themselves; `GET /v1/openapi.json` is made of
//! them.

mod auth;
mod body;
mod connections;
mod crowd;
mod cursor;
mod disk;
mod etag;
mod extract;
mod form;
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod health;
mod held;
mod idempotency;
mod live;
mod output;
mod peer;
mod problem;
mod quota;
mod rate;
mod request;
mod runs;
mod serve;
mod signing_keys;
mod socket;
mod submissions;
mod templates;
mod verdict;
mod view;
mod wait;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, FromRef};
use axum::http::header;
use axum::routing::get;
use axum::{Router, middleware};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use serve::{Timeouts, serve, serve_within};

use crate::admission::{QueueQuotas, WaitReasonCache};
use crate::intake::blob::Blobs;
use crate::redis::{Hints, Redis};
use crate::template::Templates;
use assize_config::Config;
use assize_signing::Signer;
use assize_store::Store;

/// What the handlers work with.
#[derive(Clone)]
pub struct ApiState {
    pub store: Store,
    pub redis: Redis,
    /// What [`Redis::listen`] hears.
    pub hints: Hints,
    pub blobs: Blobs,
    pub templates: Arc<Templates>,
    pub config: Arc<Config>,
    pub quotas: QueueQuotas,
    pub wait_reasons: WaitReasonCache,
    /// Absent if nothing is to be signed.
    pub signer: Option<Signer>,
}

/// The state of the router: what handlers work with, and when they must end.
#[derive(Clone)]
struct Served {
    api: ApiState,
    timeouts: Timeouts,
    stop: CancellationToken,
    proxies: Arc<peer::Proxies>,
    rates: rate::Rates,
    holding: held::Holding,
}

impl FromRef<Served> for ApiState {
    fn from_ref(served: &Served) -> Self {
        served.api.clone()
    }
}

impl FromRef<Served> for held::Holding {
    fn from_ref(served: &Served) -> Self {
        served.holding.clone()
    }
}

impl FromRef<Served> for rate::Rates {
    fn from_ref(served: &Served) -> Self {
        served.rates.clone()
    }
}

/// Ends waits and live output when the service stops.
#[derive(Clone)]
struct Stop(CancellationToken);

impl FromRef<Served> for Stop {
    fn from_ref(served: &Served) -> Self {
        Self(served.stop.clone())
    }
}

#[derive(OpenApi)]
#[openapi(
    info(title = "assize", description = "Runs evaluations of software projects that nobody trusts."),
    modifiers(&BearerKey),
    security(("key" = []))
)]
struct Document;

struct BearerKey;

impl utoipa::Modify for BearerKey {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.bearer_format = Some("assize_<id>_<secret>".to_owned());
        document.components.get_or_insert_default().add_security_scheme("key", SecurityScheme::Http(scheme));
    }
}

fn described() -> OpenApiRouter<Served> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(submissions::create))
        .routes(routes!(submissions::read))
        .routes(routes!(runs::list))
        .routes(routes!(runs::read))
        .routes(routes!(runs::cancel))
        .routes(routes!(output::read))
        .routes(routes!(verdict::read))
        .routes(routes!(templates::list))
        .routes(routes!(signing_keys::list))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
}

fn router(served: Served) -> Router {
    let (router, document) = described().split_for_parts();
    let document = document.to_json().unwrap_or_default();
    let document = get(async move || ([(header::CONTENT_TYPE, "application/json")], document));
    router
        .route("/v1/openapi.json", document)
        .fallback(async || problem::Problem::no_such_route())
        .method_not_allowed_fallback(async || problem::Problem::method_not_allowed())
        // The limits that count are those of `body`.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(served.clone(), gate::enter))
        .layer(middleware::from_fn_with_state(served.clone(), body::guard))
        .layer(CatchPanicLayer::custom(request::panicked))
        .layer(middleware::from_fn(request::observe))
        .with_state(served)
}

/// Answers every request on a connection that is one too many.
fn refusing_router(crowded: crowd::Crowded) -> Router {
    Router::new()
        .fallback(async move || problem::Problem::too_many_connections(crowded))
        .layer(middleware::from_fn(request::observe))
}
