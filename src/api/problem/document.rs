//! The body of a problem as it is sent.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::{Cause, Problem, ProblemCode, ProblemParts};

/// What was wrong with a request (RFC 9457, `application/problem+json`).
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument<'a> {
    /// `urn:assize:problem:<code>`.
    #[schema(pattern = "^urn:assize:problem:[a-z0-9_]+$")]
    r#type: String,
    /// The code as words.
    title: String,
    /// The HTTP status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What was wrong with this request, as a sentence for a person.
    detail: &'a str,
    #[schema(value_type = ProblemCode)]
    code: &'static str,
    /// The limit that was exceeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    limit: Option<u64>,
    /// The value seen, in the unit of the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    seen: Option<u64>,
    /// The entry of the archive that the problem is about: escaped, at most 120 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    entry: Option<&'a str>,
    /// What to do next. Absent where `detail` ends with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    help: Option<&'a str>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let ProblemParts { code, detail, limit, seen, entry, help, headers, cause } = *self.0;
        let ProblemCode { name, status, .. } = code;
        let mut title = name.replace('_', " ");
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        let document = ProblemDocument {
            r#type: format!("urn:assize:problem:{name}"),
            title,
            status,
            detail: &detail,
            code: name,
            limit,
            seen,
            entry: entry.as_deref(),
            help,
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(document)).into_response();
        let media_type = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        response.headers_mut().extend(headers);
        response.extensions_mut().insert(Cause(cause.unwrap_or_else(|| name.to_owned())));
        response
    }
}
