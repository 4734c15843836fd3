//! ETags, and waiting for a run to change.

use std::time::Duration;

use reqwest::Response;
use sqlx::PgPool;

use crate::harness::client::ApiRequest;
use crate::harness::{DEADLINE, Server, json};

fn etag(response: &Response) -> String {
    response.headers()["etag"].to_str().unwrap().to_owned()
}

/// Sends the request, and gives it back once the service must have begun to wait.
async fn begun(request: ApiRequest, server: &Server, run: uuid::Uuid) -> tokio::task::JoinHandle<Response> {
    let waiting = tokio::spawn(async move { request.send().await.unwrap() });
    // Whoever waits for hints of a run is a receiver of them.
    crate::harness::until(|| server.hints.waiting(run) > 0).await;
    waiting
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_etag_changes_with_every_move_and_answers_304_until_then(pool: PgPool) {
    let server = Server::start(pool).await;
    let run = server.insert_runs(1).await[0];
    let path = format!("/v1/runs/{run}");
    let mut tags = Vec::new();
    let check = async |tags: &mut Vec<String>| {
        let response = server.get(&path).send().await.unwrap();
        let tag = etag(&response);
        assert!(!tags.contains(&tag), "{tag} again in {tags:?}");
        for known in [tag.clone(), format!("\"x\", {}", tag.trim_start_matches("W/")), "*".to_owned()] {
            let same = server.get(&path).header("if-none-match", known).send().await.unwrap();
            assert_eq!((same.status().as_u16(), etag(&same)), (304, tag.clone()));
            assert!(same.bytes().await.unwrap().is_empty());
        }
        tags.push(tag);
        let old = server.get(&path).header("if-none-match", "W/\"old\"").send().await.unwrap();
        assert_eq!(old.status(), 200);
    };
    check(&mut tags).await;
    let lease = server.running().await;
    check(&mut tags).await;
    server.post(&format!("{path}/cancel")).send().await.unwrap();
    check(&mut tags).await;
    server.complete(lease).await;
    check(&mut tags).await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_wait_ends_with_the_run(pool: PgPool) {
    let server = Server::start(pool).await;
    server.connected().await;
    let run = server.insert_runs(1).await[0];
    let lease = server.running().await;
    let waiting = begun(server.get(&format!("/v1/runs/{run}?wait=60")), &server, run).await;
    server.complete(lease).await;
    server.redis.announce(run).await.unwrap();
    // Well before the safety poll.
    let response = tokio::time::timeout(Duration::from_secs(4), waiting).await.unwrap().unwrap();
    let body = json(response).await;
    assert_eq!((body["status"].as_str(), body["score"].as_f64()), (Some("completed"), Some(1.0)));
    // An ended run makes nobody wait.
    let again = server.get(&format!("/v1/runs/{run}?wait=60")).send();
    assert_eq!(tokio::time::timeout(Duration::from_secs(4), again).await.unwrap().unwrap().status(), 200);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_wait_with_an_etag_ends_with_the_next_move(pool: PgPool) {
    let server = Server::start(pool).await;
    server.connected().await;
    let run = server.insert_runs(1).await[0];
    let path = format!("/v1/runs/{run}");
    let tag = etag(&server.get(&path).send().await.unwrap());
    let request = server.get(&format!("{path}?wait=60")).header("if-none-match", &tag);
    let waiting = begun(request, &server, run).await;
    server.running().await;
    server.redis.announce(run).await.unwrap();
    let response = tokio::time::timeout(Duration::from_secs(4), waiting).await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(json(response).await["status"], "running");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_wait_in_vain_gives_the_run_as_it_is(pool: PgPool) {
    let server = Server::start(pool).await;
    let run = server.insert_runs(1).await[0];
    let path = format!("/v1/runs/{run}");
    let tag = etag(&server.get(&path).send().await.unwrap());
    let response = server.get(&format!("{path}?wait=1")).header("if-none-match", tag).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(json(response).await["status"], "queued");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn stopping_the_service_ends_a_wait(pool: PgPool) {
    let mut server = Server::start(pool).await;
    let run = server.insert_runs(1).await[0];
    let waiting = begun(server.get(&format!("/v1/runs/{run}?wait=60")), &server, run).await;
    server.stop.cancel();
    assert_eq!(waiting.await.unwrap().status(), 200);
    tokio::time::timeout(DEADLINE, &mut server.served).await.unwrap().unwrap().unwrap();
}

/// How long it takes says nothing of the service where the client chose to wait, or sends an archive.
#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn requests_whose_time_depends_on_others_are_counted_apart(pool: PgPool) {
    let server = Server::start(pool).await;
    let run = server.queued().await;
    server.post(&format!("/v1/runs/{run}/cancel")).send().await.unwrap();
    for query in ["", "?wait=60"] {
        server.get(&format!("/v1/runs/{run}{query}")).send().await.unwrap();
    }
    let metrics = assize_observe::metrics().text();
    for (route, code, kind) in
        [("/v1/submissions", 202, "upload"), ("/v1/runs/{id}", 200, "prompt"), ("/v1/runs/{id}", 200, "held")]
    {
        let series = format!("duration_seconds_count{{route=\"{route}\",code=\"{code}\",kind=\"{kind}\"}}");
        assert!(metrics.contains(&series), "no {series}");
    }
}
