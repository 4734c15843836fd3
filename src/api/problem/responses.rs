//! Problems in the OpenAPI document: for each route its statuses, and for each status its codes.
//!
//! A route names its codes in groups, beside its handler, with [`problem_responses`]. The tests of the API check
//! every answer against the document, so that a code that a route does not name fails a test.

use std::collections::BTreeMap;

use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{ContentBuilder, Header, Ref, RefOr, Response, ResponseBuilder};

use super::code::{self, ProblemCode};
use super::codes::*;

/// Codes of every route, with or without a key.
pub const ROUTE: &[ProblemCode] = &[
    BODY_TOO_LONG,
    URI_TOO_LONG,
    CONTENT_ENCODING,
    EXPECTATION,
    TOO_MANY_REQUESTS,
    INTERNAL,
    REQUEST_TOO_SLOW,
    SERVICE_UNAVAILABLE,
    TOO_MANY_CONNECTIONS,
];

/// Codes of every route that needs a key.
pub const WITH_KEY: &[ProblemCode] = &[KEY_MISSING, KEY_INVALID, TOO_MANY_WRONG_KEYS, DATABASE_UNAVAILABLE];

/// Codes of every route with an id in its path.
pub const WITH_ID: &[ProblemCode] = &[NOT_FOUND];

/// Declares the problems of a route as a type that `utoipa::path` accepts among the responses.
macro_rules! problem_responses {
    ($name:ident: $($group:expr),+ $(,)?) => {
        pub(super) struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::Response>> {
                $crate::api::problem::problems(&[$($group),+])
            }
        }
    };
}
pub(in crate::api) use problem_responses;

/// Describes the codes of these groups: one response for each status.
pub fn problems(groups: &[&[ProblemCode]]) -> BTreeMap<String, RefOr<Response>> {
    let mut statuses = BTreeMap::<u16, Vec<ProblemCode>>::new();
    for code in groups.iter().copied().flatten() {
        statuses.entry(code.status).or_default().push(*code);
    }
    let described = statuses.iter().map(|(status, codes)| (status.to_string(), RefOr::T(response(*status, codes))));
    let head_too_long = "The head of the request has more than 64 lines or 16 KiB. The answer has no body.";
    let head_too_long = ResponseBuilder::new().description(head_too_long).build();
    described.chain([("431".to_owned(), RefOr::T(head_too_long))]).collect()
}

fn response(status: u16, codes: &[ProblemCode]) -> Response {
    let lines = codes.iter().map(|code| format!("- `{}`: {}", code.name, code.meaning));
    let of_these = ObjectBuilder::new().property("code", code::names(codes.iter().copied()).build());
    let schema = AllOfBuilder::new().item(Ref::from_schema_name("Problem")).item(of_these);
    let content = ContentBuilder::new().schema(Some(Schema::AllOf(schema.build()))).build();
    let mut response = ResponseBuilder::new()
        .description(lines.collect::<Vec<_>>().join("\n"))
        .content("application/problem+json", content);
    if let Some((name, header)) = header(status) {
        response = response.header(name, header);
    }
    response.build()
}

/// The header that every answer with this status has.
fn header(status: u16) -> Option<(&'static str, Header)> {
    let (name, kind, description) = match status {
        401 => ("WWW-Authenticate", Type::String, "The scheme `Bearer`."),
        429 | 503 | 507 => ("Retry-After", Type::Integer, "Seconds after which to send the request again."),
        _ => return None,
    };
    let mut header = Header::new(ObjectBuilder::new().schema_type(SchemaType::Type(kind)).build());
    header.description = Some(description.to_owned());
    Some((name, header))
}
