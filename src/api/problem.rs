//! What a client is told when something is wrong: RFC 9457 problem documents, and the only mapping
//! of errors to HTTP.
//!
//! A problem names what was wrong, the limit, the value that was seen and what to do. It never
//! carries what the inside of the service said: that goes to the log, as the [`Cause`].

mod document;
mod errors;
mod limits;

use std::borrow::Cow;
use std::path::Path;

use axum::extract::multipart::MultipartError;
use axum::http::{HeaderValue, StatusCode, header};
use uuid::Uuid;

use assize_domain::run::{FailureCode, Status};

pub use document::Document;
pub use limits::rate_headers;

/// Seconds after which a client may try again when a service behind us is away: the circuit of a
/// restart of Postgres.
const RETRY_AFTER_S: u32 = 5;

/// The same when a disk is full: the janitor or a person must make room.
const DISK_RETRY_AFTER_S: u32 = 60;

/// An answer other than the one that was hoped for.
#[derive(Debug)]
pub struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: String,
    limit: Option<u64>,
    seen: Option<u64>,
    entry: Option<String>,
    help: Option<&'static str>,
    headers: Vec<(header::HeaderName, HeaderValue)>,
    cause: Option<String>,
}

/// Why, for the log; travels with the response and is never sent.
#[derive(Debug, Clone)]
pub struct Cause(pub String);

impl Problem {
    fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        let (code, detail) = (code.into(), detail.into());
        let (limit, seen, entry, help, headers, cause) = (None, None, None, None, Vec::new(), None);
        Self(Box::new(Parts { status, code, detail, limit, seen, entry, help, headers, cause }))
    }

    fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    fn unavailable(code: &'static str, detail: &'static str, cause: &dyn std::fmt::Display) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
            .help("Send it again after the time in Retry-After; with an Idempotency-Key a submission is stored once.")
            .header(header::RETRY_AFTER, RETRY_AFTER_S)
            .cause(cause)
    }

    fn limit(mut self, limit: u64, seen: u64) -> Self {
        (self.0.limit, self.0.seen) = (Some(limit), Some(seen));
        self
    }

    fn help(mut self, help: &'static str) -> Self {
        self.0.help = Some(help);
        self
    }

    fn header(mut self, name: header::HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.0.headers.push((name, value.into()));
        self
    }

    fn cause(mut self, cause: &dyn std::fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }
}

/// Who asks.
impl Problem {
    pub fn key_missing() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "key_missing", "the request has no key")
            .help("Send the header `Authorization: Bearer assize_...` once.")
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"assize\""))
    }

    /// One answer for all that is wrong with a key, so that it tells nobody which part was right.
    pub fn key_invalid() -> Self {
        let challenge = HeaderValue::from_static("Bearer realm=\"assize\", error=\"invalid_token\"");
        Self::new(StatusCode::UNAUTHORIZED, "key_invalid", "the key is malformed, unknown, revoked or expired")
            .help("Ask your administrator for a new key.")
            .header(header::WWW_AUTHENTICATE, challenge)
    }

    pub fn role_missing(role: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "role_missing", format!("a key with the role {role} may only read"))
            .help("Use a key with the role submit or admin.")
    }
}

/// What is asked for.
impl Problem {
    pub fn no_such_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no_such_route", "there is nothing at this address")
            .help("GET /v1/openapi.json lists every address.")
    }

    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this address does not take this method")
            .help("The header Allow lists the methods that it takes.")
    }

    /// Also what another organisation's id gets.
    pub fn not_found(what: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"))
    }

    pub fn bad_parameters(detail: impl Into<String>) -> Self {
        Self::bad_request("bad_parameter", detail)
    }

    pub fn parameter_range(name: &'static str, least: u64, most: u64, seen: u64) -> Self {
        Self::bad_request("bad_parameter", format!("{name} is {seen}, it must be {least} to {most}")).limit(most, seen)
    }

    pub fn malformed_cursor() -> Self {
        Self::bad_request("malformed_cursor", "the cursor is not one that this service gave out")
            .help("Pass next_cursor of the page before as it is, or leave the cursor out.")
    }

    pub fn malformed_ids(seen: &str) -> Self {
        let seen: String = seen.chars().take(64).collect();
        Self::bad_request("malformed_ids", format!("{seen:?} in ids is not a run id"))
            .help("Separate UUIDs by commas, at most 100 of them.")
    }

    pub fn malformed_event_id(reason: &str) -> Self {
        Self::bad_request("malformed_event_id", format!("Last-Event-ID or after: {reason}"))
            .help("Pass the id of the last output event that arrived, or leave it out.")
    }

    pub fn no_verdict(status: Status, failure: Option<FailureCode>) -> Self {
        let (detail, help) = match failure {
            Some(code) => (format!("the run ended as {status} without a verdict: {code}"), "See failure of the run."),
            None => (format!("the run is {status}; it has no verdict yet"), "Wait with GET /v1/runs/{id}?wait=60."),
        };
        Self::new(StatusCode::CONFLICT, "no_verdict", detail).help(help)
    }

    pub fn not_signed() -> Self {
        let detail = "nothing was signed when this run ended: it was cancelled while it waited, or signing was off";
        Self::new(StatusCode::CONFLICT, "not_signed", detail).help("See status and failure of the run.")
    }
}

/// What is sent.
impl Problem {
    pub fn body_too_long(limit: u64, seen: u64) -> Self {
        let detail = format!("the request's body has {seen} bytes or more, the limit is {limit}");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_long", detail).limit(limit, seen)
    }

    pub fn archive_too_large(limit: u64, seen: u64) -> Self {
        let detail = format!("the archive has {seen} bytes or more, the limit is {limit}");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "archive_too_large", detail)
            .limit(limit, seen)
            .help("Leave out what can be installed or built again, such as node_modules.")
    }

    pub fn not_multipart() -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_multipart", "the body must be multipart/form-data").help(
            "Send the fields archive, template, user and, if you like, metadata; without an archive, \
                 repository_url and ref in its place, as a form or as application/json.",
        )
    }

    pub fn content_encoding() -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_encoding", "the body must not be compressed as a whole")
            .help("Leave out Content-Encoding; the archive is compressed already.")
    }

    pub fn malformed_multipart(reason: impl std::fmt::Display) -> Self {
        Self::bad_request("malformed_multipart", format!("the body is not whole multipart/form-data: {reason}"))
    }

    pub fn malformed_json(reason: impl std::fmt::Display) -> Self {
        Self::bad_request("malformed_json", format!("the body is not the JSON of a submission: {reason}"))
            .help("Send an object with template, user, repository_url and, if you like, ref and metadata.")
    }

    pub fn missing_field(name: &'static str) -> Self {
        Self::bad_request("missing_field", format!("the field {name} is missing"))
    }

    pub fn unknown_field(name: &str) -> Self {
        let name: String = name.chars().take(64).collect();
        Self::bad_request("unknown_field", format!("there is no field {name:?}"))
            .help("The fields are archive (or repository_url and ref), template, user and metadata.")
    }

    pub fn repeated_field(name: &'static str) -> Self {
        Self::bad_request("repeated_field", format!("the field {name} came twice"))
    }

    pub fn field_too_long(name: &'static str, limit: u64, seen: u64) -> Self {
        let detail = format!("the field {name} has {seen} bytes or more, the limit is {limit}");
        Self::bad_request("field_too_long", detail).limit(limit, seen)
    }

    pub fn bad_field(name: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::bad_request("bad_field", format!("the field {name} {reason}"))
    }

    pub fn unknown_template(name: &str, known: &str) -> Self {
        let detail = format!("there is no template {name:?}; there are: {known}");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown_template", detail)
            .help("GET /v1/templates describes each.")
    }

    pub fn bad_idempotency_key() -> Self {
        Self::bad_request("bad_idempotency_key", "Idempotency-Key must come once, as 1 to 255 visible characters")
    }

    pub fn idempotency_key_reused() -> Self {
        let detail = "this Idempotency-Key was used before, for another request";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail)
            .help("Use a new key for each submission, and the same one only to repeat it.")
    }

    pub fn multipart(error: &MultipartError) -> Self {
        Self::malformed_multipart(error.body_text())
    }
}

/// What is our fault, or nobody's.
impl Problem {
    /// Limit and value in bytes.
    pub fn disk_full(folder: &Path, limit: u64, seen: u64) -> Self {
        let (limit_mib, seen_mib) = (limit >> 20, seen >> 20);
        let folder = folder.display();
        let detail = format!("{seen_mib} MiB are free for {folder}, the limit is {limit_mib} MiB; nothing was stored");
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", detail)
            .limit(limit, seen)
            .help("Send it again after the time in Retry-After; your administrator can free space there.")
            .header(header::RETRY_AFTER, DISK_RETRY_AFTER_S)
    }

    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        let detail = "the service failed in a way that it should not";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
            .help("Report it with the x-request-id of this answer.")
            .cause(cause)
    }

    /// What a file system did not say of itself.
    pub fn no_disk(cause: &dyn std::fmt::Display) -> Self {
        Self::unavailable("storage_unavailable", "the disk for archives does not answer", cause)
    }

    pub fn missing_row(id: Uuid) -> Self {
        Self::internal(&format!("{id} was written and cannot be read"))
    }
}
