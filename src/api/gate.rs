//! What every request passes before a handler has it: the limit of its address, the limits of its
//! head, and a limit of time for all that follows.
//!
//! Speaks HTTP/1.1 only. Heads of more than [`MOST_HEADERS`] lines or [`HEAD_BYTES`] are refused by
//! hyper before they come here (431, without a document). So is what says its length twice in two
//! ways; of one with `Content-Length` and `Transfer-Encoding` hyper believes the latter, hides the
//! former and ends the connection after the answer, so that nothing can be smuggled behind it.

use std::sync::{Arc, OnceLock};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Served;
use super::peer::{Peer, Source};
use super::problem::{Problem, rate_headers};
use super::rate::{Standing, Subject};
use assize_observe::event;

/// Lines of a head.
pub(super) const MOST_HEADERS: usize = 64;

/// Bytes of a head, all lines and the address included.
pub(super) const HEAD_BYTES: usize = 16 * 1024;

/// Bytes of an address; a hundred ids in a query take 3.7 KiB.
const URI_BYTES: usize = 8 * 1024;

/// Where the request's key stands, once it is known.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyStanding(Arc<OnceLock<Standing>>);

impl KeyStanding {
    /// Is told to the client with the answer.
    pub fn tell(&self, standing: Standing) {
        self.0.get_or_init(|| standing);
    }
}

/// Lets the request in, or answers it.
pub(super) async fn enter(State(served): State<Served>, mut request: Request, next: Next) -> Response {
    let source = match request.extensions().get::<Peer>() {
        Some(peer) => served.proxies.source(peer.0, request.headers()),
        None => return Problem::internal(&"a connection without an address").into_response(),
    };
    let subject = Subject::Address(source);
    if let Err(standing) = served.rates.take(subject).await {
        event::refused(subject.policy());
        return Problem::too_many_requests(&standing).into_response();
    }
    if let Err(problem) = check_head(&request) {
        return problem.into_response();
    }
    let key_standing = KeyStanding::default();
    request.extensions_mut().insert::<Source>(source);
    request.extensions_mut().insert(key_standing.clone());
    let patience = served.timeouts.request;
    let mut response = match tokio::time::timeout(patience, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::request_too_slow(patience.as_secs()).into_response(),
    };
    if let Some(standing) = key_standing.0.get() {
        response.headers_mut().extend(rate_headers(standing));
    }
    response
}

fn check_head(request: &Request) -> Result<(), Problem> {
    let uri = request.uri();
    let length = uri.path().len() + uri.query().map_or(0, |query| 1 + query.len());
    if length > URI_BYTES {
        return Err(Problem::uri_too_long(URI_BYTES, length));
    }
    let headers = request.headers();
    if !all_are(headers, header::EXPECT, "100-continue") {
        return Err(Problem::expectation());
    }
    if !all_are(headers, header::CONTENT_ENCODING, "identity") {
        return Err(Problem::content_encoding());
    }
    Ok(())
}

fn all_are(headers: &HeaderMap, name: header::HeaderName, value: &str) -> bool {
    headers.get_all(name).iter().all(|seen| seen.as_bytes().trim_ascii().eq_ignore_ascii_case(value.as_bytes()))
}
