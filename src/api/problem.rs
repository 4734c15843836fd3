//! Problems: the RFC 9457 documents that answer every request that fails, and the only mapping of errors to HTTP.
//!
//! A problem names what was wrong, the limit, the value seen and what to do next. It never contains an internal
//! error text: that text is the [`Cause`], which is logged and not sent.
//!
//! This module depends on no other module of the API. Errors of other crates and of the queue are mapped in `errors`. A
//! module of the API with an error type of its own implements `From<ItsError> for Problem` beside that type, as the rate
//! limits do (`rate_limit/status.rs`).

mod code;
mod document;
mod errors;
mod limits;
mod requests;
mod responses;

use axum::http::{HeaderValue, header};

pub use code::ProblemCode;
pub use document::ProblemDocument;
pub(super) use responses::{ROUTE, WITH_ID, WITH_KEY, problem_responses, problems};

pub(super) mod codes {
    //! All problem codes as constants.
    pub(in crate::api) use super::code::constants::*;
}

/// Seconds in `Retry-After` when a service that the API depends on is unavailable: a restart of Postgres takes as long.
const RETRY_AFTER_S: u32 = 5;

/// Seconds in `Retry-After` when a disk is full: the janitor or an administrator must free space first.
const DISK_RETRY_AFTER_S: u32 = 60;

/// The answer to a request that fails.
#[derive(Debug)]
pub struct Problem(Box<ProblemParts>);

#[derive(Debug)]
struct ProblemParts {
    code: ProblemCode,
    detail: String,
    limit: Option<u64>,
    seen: Option<u64>,
    entry: Option<String>,
    help: Option<&'static str>,
    headers: Vec<(header::HeaderName, HeaderValue)>,
    cause: Option<String>,
}

/// The internal reason for a problem. It travels with the response to the log line and is never sent.
#[derive(Debug, Clone)]
pub struct Cause(pub String);

impl Problem {
    /// A problem with the status and the advice of its code.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        let (limit, seen, entry, help, headers, cause) = (None, None, None, Some(code.advice), Vec::new(), None);
        Self(Box::new(ProblemParts { code, detail: detail.into(), limit, seen, entry, help, headers, cause }))
    }

    /// Adds the limit that was exceeded and the value seen, in the same unit.
    pub fn limit(mut self, limit: u64, seen: u64) -> Self {
        (self.0.limit, self.0.seen) = (Some(limit), Some(seen));
        self
    }

    /// Replaces the advice of the code.
    pub fn help(mut self, help: &'static str) -> Self {
        self.0.help = Some(help);
        self
    }

    pub fn header(mut self, name: header::HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.0.headers.push((name, value.into()));
        self
    }

    pub fn headers(mut self, headers: impl IntoIterator<Item = (header::HeaderName, HeaderValue)>) -> Self {
        self.0.headers.extend(headers);
        self
    }

    /// Adds `Retry-After`, in seconds.
    pub fn retry_after(self, seconds: impl Into<HeaderValue>) -> Self {
        self.header(header::RETRY_AFTER, seconds)
    }

    /// Closes the connection after the answer.
    pub fn close(self) -> Self {
        self.header(header::CONNECTION, HeaderValue::from_static("close"))
    }

    /// Adds the internal reason, which is logged and not sent.
    pub fn cause(mut self, cause: &dyn std::fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }
}
