//! Full queues: which submissions are rejected, with which answer, and that nothing of them is stored.

use assize_config::Config;
use assize_domain::key::KeyRole;
use futures_util::future::join_all;
use reqwest::multipart::Form;
use reqwest::{Body, Response};
use sqlx::PgPool;

use crate::harness::{Server, Setup, good_form, problem, zip_part, zips};

async fn start(pool: PgPool, config: Config) -> Server {
    Server::start_with(pool, Setup { config, ..Setup::default() }).await
}

fn form_of(user: &str) -> Form {
    Form::new().text("template", "unit").text("user", user.to_owned()).part("archive", zip_part(zips::good()))
}

/// Checks that this is a refusal for this quota, with the limit, what was seen and when to come again.
async fn refused(response: Response, code: &str, limit: i64) {
    let after: u32 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=300).contains(&after), "{after}");
    let body = problem(response, 429, code).await;
    assert_eq!((body["limit"].as_i64(), body["seen"].as_i64()), (Some(limit), Some(limit)), "{body}");
    assert!(body["detail"].as_str().unwrap().contains(&limit.to_string()), "{body}");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_user_with_a_full_queue_is_refused_and_others_are_not(pool: PgPool) {
    let server = start(pool, Config { per_user_max_queued: 2, ..Config::default() }).await;
    for _ in 0..2 {
        assert_eq!(server.submit(form_of("ada")).send().await.unwrap().status(), 202);
    }
    refused(server.submit(form_of("ada")).send().await.unwrap(), "user_queue_full", 2).await;
    // Also where the archive comes before the user.
    let late = Form::new().part("archive", zip_part(zips::other())).text("user", "ada").text("template", "unit");
    refused(server.submit(late).send().await.unwrap(), "user_queue_full", 2).await;
    assert_eq!(server.left_behind().await, (2, 2, 0, 1, 0));
    assert_eq!(server.submit(form_of("bob")).send().await.unwrap().status(), 202);
    // A place that came free is seen at once.
    server.claim().await;
    assert_eq!(server.submit(form_of("ada")).send().await.unwrap().status(), 202);
    refused(server.submit(form_of("ada")).send().await.unwrap(), "user_queue_full", 2).await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_organization_with_a_full_queue_is_refused_and_others_are_not(pool: PgPool) {
    let server = start(pool, Config { per_org_max_queued: 3, ..Config::default() }).await;
    server.insert_runs(3).await;
    refused(server.submit(form_of("bob")).send().await.unwrap(), "org_queue_full", 3).await;
    let stranger = server.stranger().await;
    let other = server.client.post(format!("{}/v1/submissions", server.url)).bearer_auth(stranger);
    assert_eq!(other.multipart(form_of("bob")).send().await.unwrap().status(), 202);
    assert_eq!(server.left_behind().await, (4, 4, 0, 1, 0));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_full_queue_refuses_everyone(pool: PgPool) {
    let server = start(pool, Config { max_queued: 1, ..Config::default() }).await;
    server.insert_runs(1).await;
    refused(server.submit(good_form()).send().await.unwrap(), "queue_full", 1).await;
    let other = server.store.ensure_organization("elsewhere").await.unwrap();
    let key = server.key_with(other, KeyRole::Submit, None).await;
    let other = server.client.post(format!("{}/v1/submissions", server.url)).bearer_auth(key);
    refused(other.multipart(good_form()).send().await.unwrap(), "queue_full", 1).await;
    // Neither is it a way to learn of the queue without a key.
    let nobody = server.client.post(format!("{}/v1/submissions", server.url)).multipart(good_form());
    problem(nobody.send().await.unwrap(), 401, "key_missing").await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn what_was_let_in_before_is_let_in_again(pool: PgPool) {
    let config = Config { max_queued: 1, per_org_max_queued: 1, per_user_max_queued: 1, ..Config::default() };
    let server = start(pool, config).await;
    let post = |form: Form, key: &str| server.submit(form).header("idempotency-key", key.to_owned()).send();
    assert_eq!(post(good_form(), "k-1").await.unwrap().status(), 202);
    let again = post(good_form(), "k-1").await.unwrap();
    assert_eq!((again.status().as_u16(), again.headers().contains_key("idempotent-replayed")), (202, true));
    problem(post(form_of("bob"), "k-1").await.unwrap(), 422, "idempotency_key_reused").await;
    refused(post(good_form(), "k-2").await.unwrap(), "org_queue_full", 1).await;
    assert_eq!(server.left_behind().await, (1, 1, 1, 1, 0));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn many_at_once_fill_the_queue_and_do_not_overfill_it(pool: PgPool) {
    let server = start(pool, Config { per_org_max_queued: 5, ..Config::default() }).await;
    let answers = join_all((0..20).map(|number| server.submit(form_of(&format!("user-{number}"))).send())).await;
    let count = |code: u16| answers.iter().filter(|answer| answer.as_ref().unwrap().status() == code).count();
    assert_eq!((count(202), count(429)), (5, 15));
    assert_eq!(server.left_behind().await, (5, 5, 0, 1, 0));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn what_an_organization_may_not_queue_is_refused_unread(pool: PgPool) {
    let server = start(pool, Config { per_org_max_queued: 1, ..Config::default() }).await;
    server.insert_runs(1).await;
    // A body that never comes: whoever wanted to read it would wait for ever.
    let never = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let request = server.post("/v1/submissions").header("content-type", "multipart/form-data; boundary=b");
    refused(request.body(Body::wrap_stream(never)).send().await.unwrap(), "org_queue_full", 1).await;
}
