//! Problems with what a client sends: its key, the route, the parameters and the fields.

use assize_domain::run::{FailureCode, Status};
use axum::http::{HeaderValue, header};

use super::{Problem, codes};

/// The key.
impl Problem {
    pub fn key_missing() -> Self {
        let challenge = HeaderValue::from_static("Bearer realm=\"assize\"");
        Self::new(codes::KEY_MISSING, "the request has no header `Authorization: Bearer ...`, or more than one")
            .header(header::WWW_AUTHENTICATE, challenge)
    }

    /// The same answer for everything that can be wrong with a key: an answer must not reveal which part was right.
    pub fn key_invalid() -> Self {
        let challenge = HeaderValue::from_static("Bearer realm=\"assize\", error=\"invalid_token\"");
        Self::new(codes::KEY_INVALID, "the API key is malformed, unknown, revoked or expired")
            .header(header::WWW_AUTHENTICATE, challenge)
    }

    pub fn role_missing(role: &'static str) -> Self {
        Self::new(codes::ROLE_MISSING, format!("a key with the role {role} may only read"))
    }
}

/// The route and its parameters.
impl Problem {
    pub fn no_such_route() -> Self {
        Self::new(codes::NO_SUCH_ROUTE, "the API has no route at this path")
    }

    pub fn method_not_allowed() -> Self {
        Self::new(codes::METHOD_NOT_ALLOWED, "this route does not support this method")
    }

    /// The thing does not exist, or it belongs to another organisation: the answer is the same.
    pub fn not_found(thing: &'static str) -> Self {
        Self::new(codes::NOT_FOUND, format!("there is no such {thing}"))
    }

    pub fn bad_parameters(detail: impl Into<String>) -> Self {
        Self::new(codes::BAD_PARAMETER, detail)
    }

    pub fn parameter_range(name: &'static str, least: u64, most: u64, seen: u64) -> Self {
        Self::new(codes::BAD_PARAMETER, format!("{name} is {seen}, but must be from {least} to {most}"))
            .limit(most, seen)
    }

    pub fn malformed_cursor() -> Self {
        Self::new(codes::MALFORMED_CURSOR, "the cursor is not one that this service returned")
    }

    pub fn malformed_ids(seen: &str) -> Self {
        let seen: String = seen.chars().take(64).collect();
        Self::new(codes::MALFORMED_IDS, format!("ids contains {seen:?}, which is not a run id"))
    }

    pub fn malformed_event_id(reason: &str) -> Self {
        Self::new(codes::MALFORMED_EVENT_ID, format!("the id of the last output event is not valid: {reason}"))
    }

    pub fn no_verdict(status: Status, failure: Option<FailureCode>) -> Self {
        let (detail, help) = match failure {
            Some(code) => {
                (format!("the run ended as {status} without a verdict: {code}"), "Read `failure` of the run.")
            }
            None => (format!("the run is {status} and has no verdict yet"), "Wait with GET /v1/runs/{id}?wait=60."),
        };
        Self::new(codes::NO_VERDICT, detail).help(help)
    }

    pub fn not_signed() -> Self {
        let detail = "the run has no signed statement: it was cancelled while it was queued, or signing was off";
        Self::new(codes::NOT_SIGNED, detail)
    }
}

/// The head and the body.
impl Problem {
    pub fn expectation() -> Self {
        Self::new(codes::EXPECTATION, "the value of the header Expect is not supported")
    }

    pub fn content_encoding() -> Self {
        Self::new(codes::CONTENT_ENCODING, "the body must not be compressed as a whole")
    }

    pub fn not_multipart() -> Self {
        Self::new(codes::NOT_MULTIPART, "the body must be multipart/form-data or application/json")
    }

    pub fn malformed_multipart(reason: impl std::fmt::Display) -> Self {
        let detail = format!("the body is not a complete multipart/form-data body: {reason}");
        Self::new(codes::MALFORMED_MULTIPART, detail)
    }

    pub fn malformed_json(reason: impl std::fmt::Display) -> Self {
        Self::new(codes::MALFORMED_JSON, format!("the body is not the JSON object of a submission: {reason}"))
    }

    pub fn missing_field(name: &'static str) -> Self {
        Self::new(codes::MISSING_FIELD, format!("the field {name} is missing"))
    }

    pub fn unknown_field(name: &str) -> Self {
        let name: String = name.chars().take(64).collect();
        Self::new(codes::UNKNOWN_FIELD, format!("there is no field {name:?}"))
    }

    pub fn repeated_field(name: &'static str) -> Self {
        Self::new(codes::REPEATED_FIELD, format!("the form has the field {name} twice"))
    }

    pub fn bad_field(name: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::new(codes::BAD_FIELD, format!("the field {name} {reason}"))
    }

    pub fn unknown_template(name: &str, known: &str) -> Self {
        Self::new(codes::UNKNOWN_TEMPLATE, format!("there is no template {name:?}; the templates are: {known}"))
    }

    pub fn bad_idempotency_key() -> Self {
        let detail = "Idempotency-Key must be sent once and have 1 to 255 visible ASCII characters";
        Self::new(codes::BAD_IDEMPOTENCY_KEY, detail)
    }

    pub fn idempotency_key_reused() -> Self {
        let detail = "this Idempotency-Key was used before, for a different submission";
        Self::new(codes::IDEMPOTENCY_KEY_REUSED, detail)
    }
}
