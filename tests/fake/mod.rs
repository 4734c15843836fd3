//! A service that tells one run as its script says: what the command line sees of the real one.

use std::convert::Infallible;
use std::io::Cursor;
use std::sync::{Arc, Mutex};

use axum::extract::{Multipart, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::{Value, json};

const RUN: &str = "01936f2e-7c1a-7000-8000-000000000001";

/// How the run goes.
#[derive(Clone)]
pub struct Script {
    pub score: f64,
    /// Status, code and cause, if it ends without a verdict.
    pub failure: Option<(&'static str, &'static str, &'static str)>,
    /// Events after which the first connection is cut.
    pub cut_after: Option<usize>,
}

impl Script {
    pub fn passing() -> Self {
        Self { score: 1.0, failure: None, cut_after: None }
    }

    pub fn failing(status: &'static str, code: &'static str, cause: &'static str) -> Self {
        Self { failure: Some((status, code, cause)), ..Self::passing() }
    }

    fn end(&self) -> &'static str {
        self.failure.map_or("completed", |(status, ..)| status)
    }
}

/// What arrived.
#[derive(Clone, Default)]
pub struct HandedIn {
    pub fields: Vec<(String, String)>,
    pub files: Vec<String>,
    pub authorization: String,
}

#[derive(Default)]
struct Seen {
    handed_in: HandedIn,
    last_event_ids: Vec<Option<String>>,
}

#[derive(Clone)]
struct Shared {
    script: Script,
    seen: Arc<Mutex<Seen>>,
}

/// The service, until it is dropped.
pub struct Fake {
    url: String,
    seen: Arc<Mutex<Seen>>,
    _runtime: tokio::runtime::Runtime,
}

impl Fake {
    pub fn start(script: Script) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Seen>>::default();
        let router = Router::new()
            .route("/v1/templates", get(templates))
            .route("/v1/submissions", post(submit))
            .route("/v1/runs/{id}", get(run))
            .route("/v1/runs/{id}/verdict", get(verdict))
            .route("/v1/runs/{id}/output", get(output))
            .with_state(Shared { script, seen: Arc::clone(&seen) });
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { url, seen, _runtime: runtime }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn run_id(&self) -> &'static str {
        RUN
    }

    pub fn handed_in(&self) -> HandedIn {
        self.seen.lock().unwrap().handed_in.clone()
    }

    pub fn last_event_ids(&self) -> Vec<Option<String>> {
        self.seen.lock().unwrap().last_event_ids.clone()
    }
}

fn run_json(script: &Script) -> Value {
    let failure = script.failure.map(|(_, code, cause)| {
        json!({ "code": code, "cause": cause, "transient": cause == "infrastructure",
            "evidence": { "message": "what was seen", "exit_code": 1, "last_output": "the last\nlines\n" } })
    });
    json!({
        "id": RUN, "submission_id": RUN, "template": "trivial", "user": "alice", "status": script.end(), "phase": "tests",
        "attempt": 1, "score": script.score, "max_score": 1.0, "failure": failure,
        "submitted_at": "2026-01-01T00:00:00Z", "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:01.5Z",
    })
}

async fn submit(State(shared): State<Shared>, headers: HeaderMap, mut form: Multipart) -> impl IntoResponse {
    let authorization = headers[header::AUTHORIZATION].to_str().unwrap().to_owned();
    let mut handed_in = HandedIn { authorization, ..HandedIn::default() };
    while let Some(field) = form.next_field().await.unwrap() {
        let name = field.name().unwrap().to_owned();
        let bytes = field.bytes().await.unwrap();
        if name == "archive" {
            let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
            handed_in.files = (0..zip.len()).map(|at| zip.by_index(at).unwrap().name().unwrap().into_owned()).collect();
        } else {
            handed_in.fields.push((name, String::from_utf8(bytes.to_vec()).unwrap()));
        }
    }
    shared.seen.lock().unwrap().handed_in = handed_in;
    let run = json!({ "id": RUN, "status": "queued", "attempt": 1 });
    (StatusCode::ACCEPTED, Json(json!({ "submission": { "id": RUN }, "run": run })))
}

/// A template that ignores files of its own.
async fn templates() -> Json<Value> {
    Json(json!({ "templates": [{ "name": "trivial", "archive": { "ignore": ["*.tmp"], "root": [] } }] }))
}

async fn run(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    if id == RUN {
        return Json(run_json(&shared.script)).into_response();
    }
    let problem = json!({ "type": "urn:x", "title": "not found", "status": 404, "detail": "there is no such run", "help": "look at the list" });
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (StatusCode::NOT_FOUND, kind, problem.to_string()).into_response()
}

async fn verdict(State(shared): State<Shared>) -> Json<Value> {
    let status = if shared.script.score > 0.0 { "passed" } else { "failed" };
    Json(json!({
        "run_id": RUN, "score": shared.script.score, "max_score": 1.0, "integrity": "isolated",
        "tests": [{ "name": "adds", "status": status, "score": shared.script.score, "max_score": 1.0, "duration_ms": 3,
            "message": null, "visibility": "visible" }],
    }))
}

async fn output(State(shared): State<Shared>, headers: HeaderMap) -> impl IntoResponse {
    let last = headers.get("Last-Event-ID").map(|id| id.to_str().unwrap().to_owned());
    let is_first = {
        let mut seen = shared.seen.lock().unwrap();
        seen.last_event_ids.push(last.clone());
        seen.last_event_ids.len() == 1
    };
    let status = |status: &str, phase: Option<&str>, at: &str| {
        let data = json!({ "status": status, "phase": phase, "attempt": 1, "at": format!("2026-01-01T00:00:0{at}Z") });
        format!("event: status\ndata: {data}\n\n")
    };
    let entry = |number: u32, text: &str| {
        let id = format!("1-{number}");
        let data = json!({ "id": id, "stage": "tests", "stream": "stdout", "offset": 0, "text": text });
        format!("event: output\nid: {id}\ndata: {data}\n\n")
    };
    let test =
        json!({ "id": "1-3", "stage": "tests", "sequence": 1, "at_ms": 5, "test": "adds\u{9b}1m", "status": "failed" });
    let mut events = vec![
        status("queued", None, "0"),
        status("preparing", None, "0.21"),
        status("running", Some("tests"), "0.34"),
        entry(1, "hello \u{1b}[2J\nhalf a "),
        entry(2, "line"),
        format!("event: test\nid: 1-3\ndata: {test}\n\n"),
        status("parsing", None, "1"),
        status(shared.script.end(), None, "1.5"),
        "event: end\ndata: {}\n\n".to_owned(),
    ];
    match (is_first, shared.script.cut_after) {
        (true, Some(cut_after)) => events.truncate(cut_after),
        // Moves are told again, output only after the last id.
        _ if last.is_some() => {
            events.remove(3);
        }
        _ => {}
    }
    let pieces = events.into_iter().map(|event| Ok::<_, Infallible>(Bytes::from(event)));
    let body = axum::body::Body::from_stream(futures_util::stream::iter(pieces));
    ([(header::CONTENT_TYPE, "text/event-stream")], body)
}
