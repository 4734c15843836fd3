//! A problem as it is sent.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::{Cause, Parts, Problem};

/// The document, `application/problem+json`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct Document<'a> {
    /// `urn:assize:problem:<code>`.
    r#type: String,
    /// The code, in words.
    title: String,
    status: u16,
    /// What was wrong with this request.
    detail: &'a str,
    /// Stable, for programs.
    code: &'a str,
    /// The limit that was passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    /// The value that was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<u64>,
    /// The entry of the archive that it is about: escaped, at most 120 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<&'a str>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Parts { status, code, detail, limit, seen, entry, help, headers, cause } = *self.0;
        let mut title = code.replace('_', " ");
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        let document = Document {
            r#type: format!("urn:assize:problem:{}", code),
            title,
            status: status.as_u16(),
            detail: &detail,
            code: &code,
            limit,
            seen,
            entry: entry.as_deref(),
            help,
        };
        let mut response = (status, axum::Json(document)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response.headers_mut().extend(headers);
        response.extensions_mut().insert(Cause(cause.unwrap_or_else(|| code.into_owned())));
        response
    }
}
