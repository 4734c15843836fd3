//! What nginx itself answers: always a problem document.

use std::time::Duration;

use assize::api::ProblemCode;
use reqwest::{ClientBuilder, Response, Version};
use serde_json::Value;
use sqlx::PgPool;

use crate::front;
use crate::harness::{DEADLINE, Setup, good_form, problem, until};

const HSTS: &str = "max-age=31536000";

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// Checks an answer of nginx: its header lines and its document.
async fn is_of_nginx(answer: Response, status: u16, code: &str, retry_after: &str) {
    assert_eq!(header(&answer, "retry-after"), retry_after);
    assert_eq!(header(&answer, "strict-transport-security"), HSTS);
    assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
    problem(answer, status, code).await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn every_answer_demands_tls_and_http_2_is_spoken_where_the_client_can(pool: PgPool) {
    let (server, front) = front::start(pool, Setup::default()).await;
    let answer = server.get("/v1/templates").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_2));
    assert_eq!(answer.headers()["strict-transport-security"], HSTS);
    assert!(!answer.headers()["server"].to_str().unwrap().contains('1'), "the version is shown");
    for (version, accepted) in [(reqwest::tls::Version::TLS_1_2, true), (reqwest::tls::Version::TLS_1_3, true)] {
        let client = front.client(|client| client.tls_version_min(version).tls_version_max(version));
        assert_eq!(client.get(format!("{}/livez", front.url())).send().await.is_ok(), accepted);
    }
    let stranger = reqwest::Client::builder().resolve(front::NAME, front.address).build().unwrap();
    assert!(stranger.get(format!("{}/livez", front.url())).send().await.is_err(), "an unknown authority");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn without_the_api_the_answer_says_when_to_come_back(pool: PgPool) {
    let mut setup = Setup::default();
    // The API waits as long for nginx to close its connections.
    setup.timeouts.head = Duration::from_millis(300);
    let (mut server, front) = front::start(pool, setup).await;
    server.stop.cancel();
    tokio::time::timeout(DEADLINE, &mut server.served).await.unwrap().unwrap().unwrap();
    for request in [server.get("/v1/runs"), server.submit(good_form())] {
        is_of_nginx(request.send().await.unwrap(), 503, "service_unavailable", "2").await;
    }
    // Who watches the log sees what it was.
    let log = front.requests(2).await;
    assert_eq!(log.matches("\"upstreamCode\":\"502\"").count(), 2, "{log}");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_api_that_does_not_answer_is_given_up(pool: PgPool) {
    let changes = [("proxy_read_timeout 75s;", "proxy_read_timeout 300ms;")];
    let (server, front) = front::start_with(pool, Setup::default(), &changes).await;
    let run = server.insert_runs(1).await[0];
    let answer = server.get(&format!("/v1/runs/{run}?wait=60")).send().await.unwrap();
    is_of_nginx(answer, 503, "request_too_slow", "5").await;
    let log = front.requests(1).await;
    assert!(log.contains("\"upstreamCode\":\"504\""), "{log}");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_flood_of_one_address_is_429_and_costs_the_api_nothing(pool: PgPool) {
    let changes = [("rate=800r/s", "rate=1r/m"), ("burst=40000", "burst=3")];
    let (server, front) = front::start_with(pool, Setup::default(), &changes).await;
    for _ in 0..4 {
        assert_eq!(server.get("/v1/templates").send().await.unwrap().status(), 200);
    }
    for request in [server.get("/v1/templates"), server.submit(good_form())] {
        let answer = request.send().await.unwrap();
        assert!(!answer.headers().contains_key("ratelimit"));
        is_of_nginx(answer, 429, "too_many_requests", "1").await;
    }
    let log = front.requests(6).await;
    let of_api = log.lines().filter(|line| !line.contains("\"upstreamCode\":\"\""));
    assert_eq!((log.lines().count(), of_api.count()), (6, 4), "{log}");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn too_many_requests_in_progress_are_503_and_then_there_is_room_again(pool: PgPool) {
    let (server, _front) =
        front::start_with(pool, Setup::default(), &[("assize_in_progress 1024", "assize_in_progress 1")]).await;
    server.connected().await;
    let run = server.insert_runs(1).await[0];
    let waiting = tokio::spawn(server.get(&format!("/v1/runs/{run}?wait=60")).send());
    until(|| server.hints.waiting(run) > 0).await;
    is_of_nginx(server.get("/v1/runs").send().await.unwrap(), 503, "too_many_connections", "1").await;
    waiting.abort();
    until(|| server.hints.waiting(run) == 0).await;
    crate::harness::asked_until(async || server.get("/v1/runs").send().await.unwrap().status() == 200).await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn what_is_too_long_for_nginx_has_the_code_of_the_api(pool: PgPool) {
    let (mut server, front) = front::start(pool, Setup::default()).await;
    server.client = front.client(ClientBuilder::http1_only).into();
    let run = server.insert_runs(1).await[0];
    let body = |bytes: usize| server.post(&format!("/v1/runs/{run}/cancel")).body(vec![b'x'; bytes]);
    is_of_nginx(body((64 << 10) + 1).send().await.unwrap(), 413, "body_too_long", "").await;
    assert!(body(64 << 10).send().await.unwrap().status().is_success(), "the limit itself is allowed");
    let query = |bytes: usize| server.get(&format!("/v1/runs?cursor={}", "x".repeat(bytes)));
    is_of_nginx(query(20 << 10).send().await.unwrap(), 414, "uri_too_long", "").await;
    // Shorter ones are the API's to refuse.
    assert_eq!(problem(query(9 << 10).send().await.unwrap(), 414, "uri_too_long").await["limit"], 8 << 10);
}

#[test]
fn the_documents_of_nginx_are_those_of_the_api() {
    let text = std::fs::read_to_string("nginx/snippets/assize-problems.conf").unwrap();
    let mut seen = Vec::new();
    for line in text.lines().filter_map(|line| line.trim().strip_prefix("return ")) {
        let (status, document) = line.split_once(' ').unwrap();
        let document = document.strip_prefix('\'').unwrap().strip_suffix("';").unwrap();
        let document: Value = serde_json::from_str(document).unwrap();
        let name = document["code"].as_str().unwrap();
        let code = ProblemCode::all().find(|code| code.name == name).unwrap_or_else(|| panic!("{name} is no code"));
        assert_eq!((status, &document["status"]), (code.status.to_string().as_str(), &code.status.into()), "{name}");
        assert_eq!(document["help"], code.advice, "{name}");
        assert_eq!(document["type"], format!("urn:assize:problem:{name}"));
        assert!(document["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{name}");
        seen.push(name.to_owned());
    }
    assert_eq!(seen.len(), text.matches("error_page ").count(), "{seen:?}");
    assert!(seen.len() >= 8, "{seen:?}");
}
