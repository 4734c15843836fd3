//! The id, the log line and the metric of every request, and the answer to a request whose handler panicked.
//!
//! The id is a field of the span in which the request is handled, so that every line that is logged meanwhile has it.

use std::any::Any;

use assize_host::clock::Stopwatch;
use assize_observe::metrics;
use assize_observe::metrics::RequestKind;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;
use uuid::Uuid;

use super::problem::{Cause, Problem};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Marks an answer for which the client chose to wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held;

/// Assigns the request its id, and writes its log line and its metric when it is answered. The line contains the
/// pattern of the route. It never contains the path, the query or a header, because these may be secret.
pub(super) async fn observe(request: Request, next: Next) -> Response {
    let begun = Stopwatch::start();
    let id = request.headers().get(&REQUEST_ID).filter(|id| is_plain(id)).cloned();
    let id = id.or_else(|| HeaderValue::from_str(&Uuid::now_v7().to_string()).ok());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = plain_method(request.method());
    let request_id = id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default();
    // At the level error, every filter that logs a line inside the span keeps the span too.
    let span = tracing::error_span!("request", requestId = request_id);
    let mut response = next.run(request).instrument(span).await;

    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let status = response.status();
    let taken = begun.elapsed();
    metrics().observe_request(route, status.as_u16(), request_kind(method, route, &response), taken);

    let why = response.extensions().get::<Cause>().map_or("", |cause| cause.0.as_str());
    let duration_ms = u64::try_from(taken.as_millis()).unwrap_or(u64::MAX);
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                requestId = request_id,
                method,
                route,
                code = status.as_u16(),
                durationMs = duration_ms,
                why,
                "request answered"
            )
        };
    }
    match status.as_u16() {
        500.. if !route.starts_with("/readyz") => line!(warn),
        _ if route.starts_with("/v1/") => line!(info),
        _ => line!(debug),
    }

    let headers = response.headers_mut();
    headers.extend(id.map(|id| (REQUEST_ID, id)));
    // Outputs and names are untrusted, and a browser must not interpret them as pages.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn request_kind(method: &str, route: &str, response: &Response) -> RequestKind {
    if response.extensions().get::<Held>().is_some() {
        return RequestKind::Held;
    }
    if method == "POST" && route == "/v1/submissions" { RequestKind::Upload } else { RequestKind::Prompt }
}

/// Returns the method if it is a standard one; the client can choose any other word freely.
fn plain_method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// Whether an id is safe in a log line: 1 to 128 characters, none of which could forge another field.
fn is_plain(id: &HeaderValue) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    (1..=128).contains(&id.len()) && id.as_bytes().iter().all(plain)
}

/// Answers a request whose handler panicked.
pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    Problem::internal(&format_args!("panic: {text}")).into_response()
}
