//! Submissions of repositories: which the API rejects (FAILURES 23, 24), and which it queues.

use reqwest::multipart::Form;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::harness::{Server, Setup, good_form, id_of, problem, zip_part, zips};

const NOTHING: (i64, i64, i64, usize, usize) = (0, 0, 0, 0, 0);

async fn server(pool: PgPool) -> Server {
    let mut setup = Setup::default();
    setup.config.git_hosts = "git.example.org *.school.edu".to_owned();
    Server::start_with(pool, setup).await
}

fn form(url: &str, reference: Option<&str>) -> Form {
    let form = Form::new().text("template", "unit").text("user", "ada").text("repository_url", url.to_owned());
    match reference {
        Some(reference) => form.text("ref", reference.to_owned()),
        None => form,
    }
}

async fn answered(server: &Server, body: &Value) -> reqwest::Response {
    server.post("/v1/submissions").json(body).send().await.unwrap()
}

const URL: &str = "https://git.example.org/ada/project";

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_repository_is_queued_at_once_and_has_no_archive_yet(pool: PgPool) {
    let server = server(pool).await;
    let response = server.submit(form(URL, Some("v1.0"))).send().await.unwrap();
    assert_eq!(response.status(), 202);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let body = crate::harness::json(response).await;
    let source = json!({ "repository_url": URL, "ref": "v1.0", "commit": null });
    assert_eq!((&body["submission"]["source"], &body["run"]["status"]), (&source, &json!("queued")));
    for name in ["archive_sha256", "archive_bytes", "archive_entries"] {
        assert!(body["submission"][name].is_null(), "{body}");
    }
    assert_eq!(location, format!("/v1/runs/{}", body["run"]["id"].as_str().unwrap()));
    let path = format!("/v1/submissions/{}", id_of(&body["submission"]));
    let read = crate::harness::json(server.get(&path).send().await.unwrap()).await;
    assert_eq!(read["source"], source);
    assert_eq!(server.left_behind().await, (1, 1, 0, 0, 0), "nothing is kept but rows");

    // As JSON, and without a ref: the default branch.
    let json = json!({ "template": "unit", "user": "ada", "repository_url": URL, "metadata": { "a": 1 } });
    let response = answered(&server, &json).await;
    assert_eq!(response.status(), 202);
    let body = crate::harness::json(response).await;
    assert_eq!(
        (&body["submission"]["source"]["ref"], &body["submission"]["metadata"]["a"]),
        (&json!("HEAD"), &json!(1))
    );
    // An archive has no source.
    let body = crate::harness::json(server.submit(good_form()).send().await.unwrap()).await;
    assert!(body["submission"]["source"].is_null() && body["submission"]["archive_sha256"].is_string(), "{body}");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_address_that_is_no_plain_repository_is_refused_with_its_reason(pool: PgPool) {
    let server = server(pool).await;
    for (url, reference, reason) in [
        ("ext::sh -c id", "main", "character"),
        ("ext::id", "main", "scheme"),
        ("file:///etc", "main", "scheme"),
        ("ssh://git.example.org/a", "main", "scheme"),
        ("git://git.example.org/a", "main", "scheme"),
        ("--upload-pack=id", "main", "option"),
        ("https://ada@git.example.org/a", "main", "userinfo"),
        ("https://git.example.org@127.0.0.1/a", "main", "userinfo"),
        ("https://git.example.org/a\r\nHost: b", "main", "character"),
        ("https://127.0.0.1/a", "main", "address_literal"),
        ("https://2130706433/a", "main", "address_literal"),
        ("https://0177.0.0.1/a", "main", "address_literal"),
        ("https://0x7f.1/a", "main", "address_literal"),
        ("https://[::ffff:169.254.169.254]/a", "main", "address_literal"),
        ("https://localhost/a", "main", "host"),
        ("http://git.example.org/a", "main", "plain_http"),
        ("https://git.example.org:22/a", "main", "not_allowed"),
        ("https://example.org/a", "main", "not_allowed"),
        ("https://git.example.org/../a", "main", "path"),
        (URL, "--exec=id", "option"),
        (URL, "main:refs/heads/x", "character"),
        (URL, "a..b", "ref"),
    ] {
        let code = format!("repository_{reason}");
        problem(server.submit(form(url, Some(reference))).send().await.unwrap(), 422, &code).await;
        let json = json!({ "template": "unit", "user": "ada", "repository_url": url, "ref": reference });
        problem(answered(&server, &json).await, 422, &code).await;
    }
    let long = format!("{URL}/{}", "a".repeat(1024));
    let refused = server.submit(form(&long, None)).send().await.unwrap();
    let refused = problem(refused, 422, "repository_too_long").await;
    assert_eq!((&refused["limit"], &refused["seen"]), (&json!(1024), &json!(long.len())));
    assert_eq!(server.left_behind().await, NOTHING);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_submission_has_one_source(pool: PgPool) {
    let server = server(pool).await;
    let both = good_form().text("repository_url", URL);
    problem(server.submit(both).send().await.unwrap(), 400, "bad_field").await;
    problem(server.submit(good_form().text("ref", "main")).send().await.unwrap(), 400, "bad_field").await;
    let neither = Form::new().text("template", "unit").text("user", "ada").text("ref", "main");
    problem(server.submit(neither).send().await.unwrap(), 400, "missing_field").await;
    let twice = form(URL, Some("a")).text("ref", "b");
    problem(server.submit(twice).send().await.unwrap(), 400, "repeated_field").await;
    let long = form(URL, Some(&"a".repeat(4096)));
    problem(server.submit(long).send().await.unwrap(), 400, "field_too_long").await;
    assert_eq!(server.left_behind().await, NOTHING);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn json_is_bounded_and_read_to_the_letter(pool: PgPool) {
    let server = server(pool).await;
    let good = json!({ "template": "unit", "user": "ada", "repository_url": URL });
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    let deep = (0..17).fold(json!(1), |inner, _| json!({ "a": inner }));
    for (body, status, code) in [
        (with("surprise", json!(1)), 400, "malformed_json"),
        (with("archive", json!("UEs=")), 400, "malformed_json"),
        (with("user", json!("")), 400, "bad_field"),
        (with("user", json!("a\u{0}")), 400, "bad_field"),
        (with("user", json!(1)), 400, "malformed_json"),
        (with("template", json!("absent")), 422, "unknown_template"),
        (with("metadata", json!([])), 400, "bad_field"),
        (with("metadata", json!({ "a": "\u{0}" })), 400, "bad_field"),
        (with("metadata", deep), 400, "bad_field"),
        (with("metadata", json!({ "a": "b".repeat(16 * 1024) })), 400, "field_too_long"),
        (with("metadata", json!({ "a": "b".repeat(64 * 1024) })), 413, "body_too_long"),
        (json!([]), 400, "malformed_json"),
    ] {
        problem(answered(&server, &body).await, status, code).await;
    }
    let raw = |text: &'static str| {
        server.post("/v1/submissions").header("content-type", "application/json").body(text).send()
    };
    problem(raw("{").await.unwrap(), 400, "malformed_json").await;
    problem(raw("").await.unwrap(), 400, "malformed_json").await;
    assert_eq!(server.left_behind().await, NOTHING);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn another_ref_or_repository_is_another_request(pool: PgPool) {
    let server = server(pool).await;
    let post = |form: Form| server.submit(form).header("idempotency-key", "k-1").send();
    let first = crate::harness::json(post(form(URL, Some("main"))).await.unwrap()).await;
    let again = post(form(URL, Some("main"))).await.unwrap();
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(crate::harness::json(again).await, first);
    let other = format!("{URL}2");
    let archive = Form::new().text("template", "unit").text("user", "ada").part("archive", zip_part(zips::good()));
    for other in [form(URL, Some("dev")), form(URL, None), form(&other, Some("main")), archive] {
        problem(post(other).await.unwrap(), 422, "idempotency_key_reused").await;
    }
    assert_eq!(server.left_behind().await, (1, 1, 1, 0, 0));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn nothing_is_fetched_unless_hosts_are_named(pool: PgPool) {
    let server = Server::start(pool).await;
    problem(server.submit(form(URL, None)).send().await.unwrap(), 422, "repository_off").await;
    assert_eq!(server.left_behind().await, NOTHING);
}
