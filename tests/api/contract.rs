//! The check of answers against the OpenAPI document finds what the document does not describe.

use std::panic::{AssertUnwindSafe, catch_unwind};

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::contract::Answer;

const RUN: &str = "/v1/runs/01936f2e-7c1a-7000-8000-000000000001";

/// Whether the check accepts an answer to `GET` with this body.
fn is_accepted(path: &str, status: u16, media_type: &str, body: &Value) -> bool {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_str(media_type).unwrap());
    headers.insert("etag", HeaderValue::from_static("\"a\""));
    let (status, body) = (StatusCode::from_u16(status).unwrap(), body.to_string());
    let answer = Answer { method: &Method::GET, path, status, headers: &headers, body: Some(body.as_bytes()) };
    catch_unwind(AssertUnwindSafe(|| answer.check())).is_ok()
}

fn run() -> Value {
    json!({
        "id": "01936f2e-7c1a-7000-8000-000000000001", "submission_id": "01936f2e-7c1a-7000-8000-000000000002",
        "template": "unit", "user": "ada", "status": "queued", "phase": null, "attempt": 1, "class": "B",
        "score": null, "max_score": null, "queue": null, "failure": null, "cancel_requested_at": null,
        "submitted_at": "2026-01-01T00:00:00Z", "created_at": "2026-01-01T00:00:00Z", "started_at": null,
        "finished_at": null
    })
}

fn problem(status: u16, code: &str) -> Value {
    let kind = format!("urn:assize:problem:{code}");
    json!({ "type": kind, "title": "A title", "status": status, "detail": "a detail", "code": code })
}

fn with(mut value: Value, member: &str, new: Value) -> Value {
    value[member] = new;
    value
}

#[test]
fn a_described_answer_is_accepted() {
    assert!(is_accepted(RUN, 200, "application/json", &run()));
    assert!(is_accepted(RUN, 404, "application/problem+json", &problem(404, "not_found")));
    assert!(is_accepted("/nowhere", 404, "application/problem+json", &problem(404, "no_such_route")));
}

#[test]
fn an_answer_that_is_not_described_is_found() {
    let mut without_status = run();
    without_status.as_object_mut().unwrap().remove("status");
    for (what, status, media_type, body) in [
        ("a status", 201, "application/json", run()),
        ("a media type", 200, "application/xml", run()),
        ("a missing member", 200, "application/json", without_status),
        ("a member of another type", 200, "application/json", with(run(), "attempt", json!("1"))),
        ("a value that is not in the enum", 200, "application/json", with(run(), "status", json!("lost"))),
        ("a text that is not a time", 200, "application/json", with(run(), "created_at", json!("today"))),
        ("an unknown member", 200, "application/json", with(run(), "secret", json!(1))),
        ("an unknown code", 404, "application/problem+json", problem(404, "lost")),
        ("a code of another route", 404, "application/problem+json", problem(404, "no_such_route")),
        ("a problem as plain JSON", 404, "application/json", problem(404, "not_found")),
    ] {
        assert!(!is_accepted(RUN, status, media_type, &body), "{what} is accepted");
    }
    let unauthorized = problem(401, "key_invalid");
    assert!(!is_accepted(RUN, 401, "application/problem+json", &unauthorized), "WWW-Authenticate is missing");
    assert!(!is_accepted("/nowhere", 200, "application/json", &run()), "a path that is not described");
}
