//! The limits that every request passes before its handler: the rate limit of its address, the limits of its head, and
//! one time limit for everything that follows.
//!
//! The service supports HTTP/1.1 only. hyper rejects a head of more than [`MAX_HEADER_LINES`] lines or
//! [`MAX_HEAD_BYTES`] bytes before it reaches this module (431, without a body), and so it does a request with two
//! different lengths. If a request has both `Content-Length` and `Transfer-Encoding`, hyper uses the latter, removes the
//! former and closes the connection after the answer, so that no second request can be smuggled behind it.

use assize_observe::event;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::client_address::{ClientAddress, PeerAddress};
use super::problem::Problem;
use super::rate_limit::{KeyRateLimit, RateLimitSubject};
use super::state::RouterState;

/// The maximum number of lines of a head.
pub(super) const MAX_HEADER_LINES: usize = 64;

/// The maximum size of a head in bytes, with all its lines and the request line.
pub(super) const MAX_HEAD_BYTES: usize = 16 * 1024;

/// The maximum size of path and query in bytes; a hundred ids in a query need 3.7 KiB.
const MAX_URI_BYTES: usize = 8 * 1024;

/// Passes the request on, or answers it with the problem of the limit that it exceeds.
pub(super) async fn enforce(State(state): State<RouterState>, mut request: Request, next: Next) -> Response {
    let client = match request.extensions().get::<PeerAddress>() {
        Some(peer) => state.proxies.client(peer.0, request.headers()),
        None => return Problem::internal(&"a connection without an address").into_response(),
    };
    let subject = RateLimitSubject::Address(client);
    if let Err(status) = state.rate_limiter.count(subject).await {
        event::refused(subject.policy());
        return Problem::from(status).into_response();
    }
    if let Err(problem) = check_head(&request) {
        return problem.into_response();
    }
    let key_rate_limit = KeyRateLimit::default();
    request.extensions_mut().insert::<ClientAddress>(client);
    request.extensions_mut().insert(key_rate_limit.clone());
    let timeout = state.timeouts.request;
    let mut response = match tokio::time::timeout(timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::request_too_slow(timeout.as_secs()).into_response(),
    };
    if let Some(status) = key_rate_limit.get() {
        response.headers_mut().extend(status.headers());
    }
    response
}

fn check_head(request: &Request) -> Result<(), Problem> {
    let uri = request.uri();
    let length = uri.path().len() + uri.query().map_or(0, |query| 1 + query.len());
    if length > MAX_URI_BYTES {
        return Err(Problem::uri_too_long(MAX_URI_BYTES, length));
    }
    let headers = request.headers();
    if !all_equal(headers, header::EXPECT, "100-continue") {
        return Err(Problem::expectation());
    }
    if !all_equal(headers, header::CONTENT_ENCODING, "identity") {
        return Err(Problem::content_encoding());
    }
    Ok(())
}

fn all_equal(headers: &HeaderMap, name: header::HeaderName, value: &str) -> bool {
    headers.get_all(name).iter().all(|seen| seen.as_bytes().trim_ascii().eq_ignore_ascii_case(value.as_bytes()))
}
