//! A repeated submission with the same Idempotency-Key is stored once.

use std::collections::HashSet;

use reqwest::multipart::Form;
use sqlx::PgPool;

use crate::harness::{Server, form_with, good_form, id_of, json, problem, zip_part, zips};

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn the_same_request_again_gives_the_first_submission(pool: PgPool) {
    let server = Server::start(pool).await;
    let post = |form: Form| server.submit(form).header("idempotency-key", "k-1").send();
    let first = post(good_form().text("metadata", r#"{"a":1,"b":{"c":2,"d":3}}"#)).await.unwrap();
    assert_eq!(first.status(), 202);
    assert!(!first.headers().contains_key("idempotent-replayed"));
    let location = first.headers()["location"].clone();
    let first = json(first).await;

    // Neither the order of fields nor that of the metadata's keys makes another request.
    let again = Form::new().text("metadata", r#"{"b":{"d":3,"c":2},"a":1}"#).part("archive", zip_part(zips::good()));
    let again = post(again.text("user", "ada").text("template", "unit")).await.unwrap();
    assert_eq!(again.status(), 202);
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(again.headers()["location"], location);
    assert_eq!(json(again).await, first);
    assert_eq!(server.left_behind().await, (1, 1, 1, 1, 0));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_key_is_not_used_for_two_requests(pool: PgPool) {
    let server = Server::start(pool).await;
    let post = |form: Form| server.submit(form).header("idempotency-key", "k-1").send();
    assert_eq!(post(good_form()).await.unwrap().status(), 202);
    let other_user = Form::new().text("template", "unit").text("user", "bob").part("archive", zip_part(zips::good()));
    for form in [form_with(zips::other()), other_user, good_form().text("metadata", r#"{"a":1}"#)] {
        problem(post(form).await.unwrap(), 422, "idempotency_key_reused").await;
    }
    assert_eq!(server.left_behind().await, (1, 1, 1, 1, 0));
    // Another organisation has its own keys.
    let stranger = server.stranger().await;
    let request = server.client.post(format!("{}/v1/submissions", server.url)).bearer_auth(stranger);
    let response = request.header("idempotency-key", "k-1").multipart(good_form()).send().await.unwrap();
    assert_eq!(response.status(), 202);
    assert!(!response.headers().contains_key("idempotent-replayed"));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn eight_at_once_make_one_submission(pool: PgPool) {
    let server = Server::start(pool).await;
    let posts = (0..8).map(|_| {
        let request = server.submit(good_form()).header("idempotency-key", "race");
        async move { json(request.send().await.unwrap().error_for_status().unwrap()).await }
    });
    let answers = futures_util::future::join_all(posts).await;
    let ids: HashSet<_> = answers.iter().map(|answer| (id_of(&answer["submission"]), id_of(&answer["run"]))).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(server.left_behind().await, (1, 1, 1, 1, 0));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_refused_request_does_not_use_its_key_up(pool: PgPool) {
    let server = Server::start(pool).await;
    let post = |form: Form| server.submit(form).header("idempotency-key", "k-1").send();
    assert_eq!(post(form_with(zips::empty())).await.unwrap().status(), 422);
    assert_eq!(post(good_form()).await.unwrap().status(), 202);
    let too_long = "k".repeat(256);
    for key in ["", "a b", too_long.as_str()] {
        let response = server.submit(good_form()).header("idempotency-key", key).send().await.unwrap();
        problem(response, 400, "bad_idempotency_key").await;
    }
}
