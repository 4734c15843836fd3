//! Submissions: a valid one, and every invalid one, of which nothing is stored.

use reqwest::multipart::{Form, Part};
use serde_json::json;
use sqlx::PgPool;

use crate::harness::{Server, Setup, form_with, good_form, json, problem, zip_part, zips};

const NOTHING: (i64, i64, i64, usize, usize) = (0, 0, 0, 0, 0);

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_good_submission_is_stored_queued_and_announced(pool: PgPool) {
    let server = Server::start(pool).await;
    server.connected().await;
    let mut doorbell = server.hints.doorbell();
    let form = good_form().text("metadata", r#"{"course":"rust","b":[1,2.5,null]}"#);
    let response = server.submit(form).send().await.unwrap();
    assert_eq!(response.status(), 202);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    assert!(!response.headers().contains_key("idempotent-replayed"));
    let body = json(response).await;
    let (submission, run) = (&body["submission"], &body["run"]);
    assert_eq!(location, format!("/v1/runs/{}", run["id"].as_str().unwrap()));
    assert_eq!(submission["metadata"], json!({"course": "rust", "b": [1, 2.5, null]}));
    assert_eq!((&submission["user"], &submission["template"]), (&json!("ada"), &json!("unit")));
    assert_eq!(submission["archive_entries"], 2);
    assert_eq!((&run["status"], &run["attempt"], &run["class"]), (&json!("queued"), &json!(1), &json!("B")));
    assert!(run["submitted_at"].as_str().unwrap().ends_with('Z'));
    tokio::time::timeout(crate::harness::DEADLINE, doorbell.changed()).await.unwrap().unwrap();
    assert_eq!(server.left_behind().await, (1, 1, 0, 1, 0));

    // The answer was built from memory and equals the row in the database. Only a read of the run has the queue.
    let mut read = json(server.get(&location).send().await.unwrap()).await;
    assert_eq!(read["queue"].take()["position"], 1);
    assert_eq!(read, *run);
    let path = format!("/v1/submissions/{}", submission["id"].as_str().unwrap());
    let mut whole = json(server.get(&path).send().await.unwrap()).await;
    assert_eq!(whole["runs"], json!([run]));
    whole.as_object_mut().unwrap().remove("runs");
    assert_eq!(whole.as_object_mut().unwrap().remove("receipt"), Some(body["receipt"].clone()));
    assert_eq!(whole, *submission);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_answer_says_what_became_of_the_archive(pool: PgPool) {
    let server = Server::start(pool).await;
    let archive = std::fs::read("crates/archive/tests/data/cases/01-finder-folder/hw3.zip").unwrap();
    let response = server.submit(form_with(archive)).send().await.unwrap();
    assert_eq!(response.status(), 202);
    let submission = json(response).await["submission"].clone();
    let contents = json!({
        "top": "hw3",
        "ignored": [{"pattern": "__MACOSX/", "entries": 2}, {"pattern": ".DS_Store", "entries": 1}],
        "beside_top": 0,
        "links_left_out": 0,
        "links_as_files": 0,
        "examples": [
            {"name": "__MACOSX/hw3/._app.py", "reason": "ignored"},
            {"name": "hw3/.DS_Store", "reason": "ignored"},
            {"name": "__MACOSX/hw3/._.DS_Store", "reason": "ignored"},
        ],
    });
    assert_eq!(submission["archive_contents"], contents);
    let path = format!("/v1/submissions/{}", submission["id"].as_str().unwrap());
    let read = json(server.get(&path).send().await.unwrap()).await;
    assert_eq!(read["archive_contents"], contents);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn the_order_of_fields_is_free_and_the_archive_may_be_large(pool: PgPool) {
    let mut setup = Setup::default();
    setup.config.max_archive_bytes = 16 << 20;
    let server = Server::start_with(pool, setup).await;
    let archive = zips::stored("big.bin", 12 << 20);
    let length = archive.len();
    let form = Form::new().part("archive", zip_part(archive)).text("user", "ada").text("template", "unit");
    let response = server.submit(form).send().await.unwrap();
    assert_eq!(response.status(), 202);
    assert_eq!(json(response).await["submission"]["archive_bytes"], length);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn every_bad_form_is_refused_by_name_and_leaves_nothing(pool: PgPool) {
    let server = Server::start(pool).await;
    let full = || form_with(zips::good());
    let bad_user = |user: &str| {
        let form = Form::new().text("template", "unit").part("archive", zip_part(zips::good()));
        form.text("user", user.to_owned())
    };
    let metadata = |text: &str| full().text("metadata", text.to_owned());
    let deep = format!("{}1{}", "{\"a\":".repeat(17), "}".repeat(17));
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(16 * 1024));
    let many = (0..20).fold(full(), |form, number| form.text(format!("f{number}"), "x"));
    let cases: Vec<(Form, u16, &str, &str)> = vec![
        (Form::new().text("user", "ada").part("archive", zip_part(zips::good())), 400, "missing_field", "template"),
        (Form::new().text("user", "ada").text("template", "unit"), 400, "missing_field", "archive"),
        (Form::new().text("template", "unit").part("archive", zip_part(zips::good())), 400, "missing_field", "user"),
        (full().text("colour", "red"), 400, "unknown_field", "colour"),
        (many, 400, "unknown_field", "f0"),
        (full().text("user", "bob"), 400, "repeated_field", "user"),
        (full().part("archive", zip_part(zips::good())), 400, "repeated_field", "archive"),
        (Form::new().text("template", "nosuch"), 422, "unknown_template", "unit"),
        (Form::new().text("template", "t".repeat(65)), 400, "field_too_long", "template"),
        (Form::new().part("user", Part::bytes(b"\xff\xfe".to_vec())), 400, "bad_field", "UTF-8"),
        (bad_user(""), 400, "bad_field", "user"),
        (bad_user(&"u".repeat(201)), 400, "bad_field", "201"),
        (bad_user("a\u{7}b"), 400, "bad_field", "control"),
        (metadata("[1]"), 400, "bad_field", "object"),
        (metadata("{"), 400, "bad_field", "JSON"),
        (metadata(r#"{"a":"\u0000"}"#), 400, "bad_field", "U+0000"),
        (metadata(&deep), 400, "bad_field", "17"),
        (metadata(&long), 400, "field_too_long", "metadata"),
    ];
    for (form, status, code, named) in cases {
        let body = problem(server.submit(form).send().await.unwrap(), status, code).await;
        assert!(body["detail"].as_str().unwrap().contains(named), "{body}");
    }
    assert_eq!(server.left_behind().await, NOTHING);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn every_bad_archive_is_refused_and_leaves_nothing(pool: PgPool) {
    let server = Server::start(pool).await;
    let truncated = zips::good()[..100].to_vec();
    let cases = [
        (zips::empty(), "archive_empty"),
        (b"not a zip".to_vec(), "archive_not_a_zip"),
        (Vec::new(), "archive_empty"),
        (truncated, "archive_truncated"),
        (zips::outside(), "archive_path_outside"),
    ];
    for (archive, code) in cases {
        let body = problem(server.submit(form_with(archive)).send().await.unwrap(), 422, code).await;
        let entry = (code == "archive_path_outside").then_some("../evil");
        assert_eq!(body["entry"], json!(entry), "{body}");
    }
    let many = server.submit(form_with(zips::with_entries(21))).send().await.unwrap();
    let body = problem(many, 422, "archive_too_many_entries").await;
    assert_eq!((&body["limit"], &body["seen"]), (&json!(20), &json!(21)), "{body}");
    assert_eq!(server.left_behind().await, NOTHING);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_archive_over_the_limit_is_413_with_limit_and_size(pool: PgPool) {
    let server = Server::start(pool).await;
    // Just over: seen only while it is read. Far over: announced, and refused unread.
    for bytes in [(1 << 20) + 1, 5 << 20] {
        let response = server.submit(form_with(zips::stored("a", bytes))).send().await.unwrap();
        let body = problem(response, 413, "archive_too_large").await;
        assert_eq!(body["limit"], 1 << 20);
        assert!(body["seen"].as_u64().unwrap() > 1 << 20, "{body}");
    }
    assert_eq!(server.left_behind().await, NOTHING);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn only_whole_multipart_is_taken(pool: PgPool) {
    let server = Server::start(pool).await;
    let post = |kind: &str, body: &str| {
        server.post("/v1/submissions").header("content-type", kind).body(body.to_owned()).send()
    };
    problem(post("application/xml", "<a/>").await.unwrap(), 415, "not_multipart").await;
    problem(post("application/json", "{}").await.unwrap(), 400, "malformed_json").await;
    problem(post("text/plain; multipart/form-data", "x").await.unwrap(), 415, "not_multipart").await;
    problem(server.post("/v1/submissions").send().await.unwrap(), 415, "not_multipart").await;
    problem(post("multipart/form-data", "x").await.unwrap(), 400, "malformed_multipart").await;
    let whole = "--b\r\ncontent-disposition: form-data; name=\"user\"\r\n\r\nada\r\n--b--\r\n";
    for cut in [0, 3, 20, 60, whole.len() - 8] {
        let response = post("multipart/form-data; boundary=b", &whole[..cut]).await.unwrap();
        problem(response, 400, "malformed_multipart").await;
    }
    problem(post("multipart/form-data; boundary=b", whole).await.unwrap(), 400, "missing_field").await;
    let zipped = server.submit(good_form()).header("content-encoding", "gzip");
    problem(zipped.send().await.unwrap(), 415, "content_encoding").await;
    assert_eq!(server.left_behind().await, NOTHING);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn metadata_with_the_largest_numbers_can_be_read_again(pool: PgPool) {
    let server = Server::start(pool).await;
    let metadata = r#"{"most":1.7976931348623157e308,"near":-1.7976931348623155e+308,"least":5e-324}"#;
    let response = server.submit(good_form().text("metadata", metadata)).send().await.unwrap();
    assert_eq!(response.status(), 202);
    let id = json(response).await["submission"]["id"].as_str().unwrap().to_owned();
    let url = format!("{}/v1/submissions/{id}", server.url);
    let read = server.client.get(url).bearer_auth(&server.key).send().await.unwrap();
    assert_eq!(read.status(), 200);
    assert_eq!(json(read).await["metadata"], serde_json::from_str::<serde_json::Value>(metadata).unwrap());
}
