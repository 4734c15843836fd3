//! The routes, the layers around them, and the OpenAPI document that is generated from the handlers.

use axum::extract::DefaultBodyLimit;
use axum::http::header;
use axum::routing::get;
use axum::{Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{Problem, ProblemCode, ProblemDocument};
use super::state::RouterState;
use super::{
    health, output, request_body, request_limits, request_log, runs, signing_keys, submissions, templates, verdict,
};

/// The parts of the document that belong to no route.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "assize",
        description = "Runs evaluations of untrusted software projects. \
            Every error is a problem document (RFC 9457) with a stable `code`; docs/problems.md lists all codes. \
            Every answer has the header `x-request-id`."
    ),
    components(schemas(ProblemDocument, ProblemCode)),
    modifiers(&BearerKey),
    security(("key" = []))
)]
struct Base;

struct BearerKey;

impl utoipa::Modify for BearerKey {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.bearer_format = Some("assize_<id>_<secret>".to_owned());
        document.components.get_or_insert_default().add_security_scheme("key", SecurityScheme::Http(scheme));
    }
}

fn described() -> OpenApiRouter<RouterState> {
    OpenApiRouter::with_openapi(Base::openapi())
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

/// Returns the OpenAPI document as indented JSON, in an order that is the same in every build.
#[must_use]
pub fn openapi_document() -> String {
    let (_, document) = described().split_for_parts();
    document.to_pretty_json().unwrap_or_default() + "\n"
}

/// Builds the router of a connection that was accepted.
pub(super) fn router(state: RouterState) -> Router {
    let (router, document) = described().split_for_parts();
    let document = document.to_json().unwrap_or_default();
    let document = get(async move || ([(header::CONTENT_TYPE, "application/json")], document));
    router
        .route("/v1/openapi.json", document)
        .fallback(async || Problem::no_such_route())
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        // `request_body` has the limits that apply.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(state.clone(), request_limits::enforce))
        .layer(middleware::from_fn_with_state(state.clone(), request_body::limit))
        .layer(CatchPanicLayer::custom(request_log::panicked))
        .layer(middleware::from_fn(request_log::observe))
        .with_state(state)
}

/// Builds the router of a connection that is over the limit: the same problem answers every request.
pub(super) fn rejecting_router(problem: fn() -> Problem) -> Router {
    Router::new().fallback(async move || problem()).layer(middleware::from_fn(request_log::observe))
}
