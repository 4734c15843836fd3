//! Forms that are truncated, too long, too deep or malformed, and ids that are paths.

use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder};

use super::{case, record_answer};
use crate::case::Case;
use crate::context::{Answer, AttackContext};

/// Name, what is tried, the code of the answer.
const ALL: &[(&str, &str, &str)] = &[
    ("too-long", "an upload that declares more bytes than the limit", "archive_too_large"),
    ("too-long-unannounced", "an upload without a declared length that does not end", "archive_too_large"),
    ("truncated", "a form that is cut off", "malformed_multipart"),
    ("no-boundary", "a form without a boundary", "malformed_multipart"),
    ("parts", "100,000 parts", "repeated_field"),
    ("part-header", "a part whose header never ends", "malformed_multipart"),
    ("unknown-field", "an unknown field", "unknown_field"),
    ("compressed", "a body that is gzip as a whole", "content_encoding"),
    ("not-a-form", "plain text instead of a form", "not_multipart"),
    ("json-without-address", "JSON that names no repository", "malformed_json"),
    ("metadata-deep", "metadata 2,000 levels deep", "bad_field"),
    ("metadata-long", "100 kB of metadata", "field_too_long"),
    ("metadata-list", "metadata that is a list", "bad_field"),
    ("user-long", "a user's name of 100 kB", "field_too_long"),
    ("user-control", "a user's name with escape sequences", "bad_field"),
    ("template-path", "a template that is a path", "unknown_template"),
    ("idempotency-two-bodies", "one idempotency key for two projects", "idempotency_key_reused"),
    ("idempotency-long", "an idempotency key of 10 kB", "bad_idempotency_key"),
    ("id-path", "a path instead of an id", "404"),
    ("id-path-encoded", "an encoded path instead of an id", "not_found"),
    ("id-nul", "an id with a NUL", "not_found"),
    ("id-sql", "an id with a quote and a statement", "not_found"),
    ("cursor", "an invented cursor", "malformed_cursor"),
    ("ids-many", "200 ids in one request", "bad_parameter"),
    ("wait-long", "a wait of a year", "bad_parameter"),
    ("small-body", "1 MB for a route that takes no body", "body_too_long"),
];

pub(super) fn cases() -> Vec<Case> {
    ALL.iter().map(|(name, tried, code)| case(name, tried, code)).collect()
}

pub(super) async fn run(context: &AttackContext) {
    for ((name, _, code), case) in ALL.iter().zip(cases()) {
        if context.wants(&case.id) {
            let answered = match *name {
                "too-long" => announced(context).await,
                "idempotency-two-bodies" => twice(context).await,
                name => context.send(request(context, name)).await.map(|answer| answer.summary()),
            };
            record_answer(context, name, answered, &[code]).await;
        }
    }
}

fn form() -> Form {
    let archive = assize_corpus::project(&[("run.sh".to_owned(), b"exit 1".to_vec())]);
    fields().part("archive", Part::bytes(archive).file_name("project.zip"))
}

fn fields() -> Form {
    Form::new().text("template", "script").text("user", "http")
}

fn request(context: &AttackContext, name: &str) -> RequestBuilder {
    const RUN: &str = "00000000-0000-0000-0000-000000000000";
    let post = || context.request(Method::POST, "/v1/submissions");
    let get = |path: String| context.request(Method::GET, &path);
    let raw = |body: Vec<u8>| post().header("content-type", "multipart/form-data; boundary=b").body(body);
    let field = "--b\r\ncontent-disposition: form-data; name=\"user\"\r\n\r\nada\r\n";
    let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    match name {
        "too-long-unannounced" => {
            let begin = "--b\r\ncontent-disposition: form-data; name=\"archive\"; filename=\"a\"\r\n\r\n";
            let pieces = std::iter::once(begin.as_bytes().to_vec()).chain((0..500).map(|_| vec![b'x'; 1 << 16]));
            let stream = futures_util::stream::iter(pieces.map(Ok::<_, std::io::Error>));
            post().header("content-type", "multipart/form-data; boundary=b").body(reqwest::Body::wrap_stream(stream))
        }
        "truncated" => raw(field.trim_end().as_bytes().to_vec()),
        "no-boundary" => post().header("content-type", "multipart/form-data").body(field),
        "parts" => raw(field.repeat(100_000).into_bytes()),
        "part-header" => raw([b"--b\r\nx-flood: ".to_vec(), vec![b'x'; 5 << 20]].concat()),
        "unknown-field" => post().multipart(form().text("score", "10")),
        "compressed" => raw(field.as_bytes().to_vec()).header("content-encoding", "gzip"),
        "not-a-form" => post().header("content-type", "text/plain").body(field.to_owned()),
        "json-without-address" => post().json(&serde_json::json!({ "template": "script" })),
        "metadata-deep" => post().multipart(form().text("metadata", nested(2_000))),
        "metadata-long" => post().multipart(form().text("metadata", format!("{{\"a\":\"{}\"}}", "x".repeat(100_000)))),
        "metadata-list" => post().multipart(form().text("metadata", "[1]")),
        "user-long" => post().multipart(Form::new().text("user", "u".repeat(100_000))),
        "user-control" => post().multipart(Form::new().text("user", "a\u{1b}[2J")),
        "template-path" => post().multipart(Form::new().text("template", "../../etc")),
        "idempotency-long" => post().header("idempotency-key", "k".repeat(10_000)).multipart(form()),
        "id-path" => get("/v1/runs/a/../../../etc/passwd".to_owned()),
        "id-path-encoded" => get("/v1/runs/..%2f..%2fetc%2fpasswd".to_owned()),
        "id-nul" => get(format!("/v1/runs/{RUN}%00")),
        "id-sql" => get(format!("/v1/runs/{RUN}'%3bDROP%20TABLE%20runs%3b--")),
        "cursor" => get("/v1/runs?cursor=..%2f..%2f".to_owned()),
        "ids-many" => get(format!("/v1/runs?ids={}", vec![RUN; 200].join(","))),
        "wait-long" => get(format!("/v1/runs/{RUN}?wait=31536000")),
        _ => context.request(Method::POST, &format!("/v1/runs/{RUN}/cancel")).body(vec![0; 1 << 20]),
    }
}

/// The service must answer before the client sends the body.
async fn announced(context: &AttackContext) -> Result<String, String> {
    let head = format!(
        "POST /v1/submissions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\nexpect: 100-continue\r\n\
         content-type: multipart/form-data; boundary=b\r\ncontent-length: 100000000000\r\n\r\n",
        context.target.key
    );
    let answer = super::bytes::exchange(context, head.as_bytes()).await?;
    let text = String::from_utf8_lossy(&answer);
    let body = text.split("\r\n\r\n").nth(1).and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok(Answer { status, body }.summary())
}

async fn twice(context: &AttackContext) -> Result<String, String> {
    let key = format!("attack-{}", uuid::Uuid::now_v7());
    let send = async |form: Form| {
        context
            .send(context.request(Method::POST, "/v1/submissions").header("idempotency-key", &key).multipart(form))
            .await
    };
    let first = send(form()).await?;
    if first.status != 202 {
        return Ok(format!("the first submission was not accepted: {}", first.summary()));
    }
    let other = assize_corpus::project(&[("run.sh".to_owned(), b"exit 2".to_vec())]);
    let second = fields().part("archive", Part::bytes(other).file_name("project.zip"));
    Ok(send(second).await?.summary())
}
