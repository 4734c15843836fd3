//! The API while a service that it depends on is unavailable.

use std::time::Duration;

use assize_domain::output::{EntryId, OutputEntry};
use assize_domain::run::StageName;
use assize_host::clock::Stopwatch;
use assize_protocol::event::Stream;
use assize_store::Store;
use sqlx::PgPool;
use uuid::Uuid;

use crate::harness::sse::Events;
use crate::harness::{Server, Setup, good_form, json, problem};

fn without_redis() -> Setup {
    Setup { redis_url: "redis://127.0.0.1:1".to_owned(), ..Setup::default() }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn without_redis_a_submission_is_taken_as_fast(pool: PgPool) {
    let server = Server::start_with(pool, without_redis()).await;
    let begun = Stopwatch::start();
    let response = server.submit(good_form()).send().await.unwrap();
    assert_eq!(response.status(), 202);
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
    let run = json(response).await["run"]["id"].as_str().unwrap().to_owned();
    let begun = Stopwatch::start();
    assert_eq!(server.post(&format!("/v1/runs/{run}/cancel")).send().await.unwrap().status(), 202);
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
    let ready = server.get("/readyz").send().await.unwrap();
    assert_eq!(ready.status(), 200);
    let ready = json(ready).await;
    assert!(ready["degraded"][0].as_str().unwrap().contains("Redis"), "{ready}");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn without_redis_a_wait_still_sees_the_end(pool: PgPool) {
    let server = Server::start_with(pool, without_redis()).await;
    let run = server.insert_runs(1).await[0];
    let lease = server.running().await;
    let request = server.get(&format!("/v1/runs/{run}?wait=60"));
    let waiting = tokio::spawn(async move { request.send().await.unwrap() });
    crate::harness::until(|| server.hints.waiting(run) > 0).await;
    server.complete(lease).await;
    let response = tokio::time::timeout(Duration::from_secs(4), waiting).await.unwrap().unwrap();
    assert_eq!(json(response).await["status"], "completed");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn without_postgres_every_route_is_503_and_says_when_to_come_back(pool: PgPool) {
    let dead = Store::open("postgres://nobody:hunter2@localhost/none?host=/nonexistent-socket", 2).unwrap();
    let server = Server::start_on(dead, pool, Setup::default()).await;
    let run = Uuid::now_v7();
    let requests = [
        server.submit(good_form()),
        server.get("/v1/runs"),
        server.get(&format!("/v1/runs/{run}?wait=60")),
        server.get(&format!("/v1/runs/{run}/output")),
        server.get(&format!("/v1/runs/{run}/verdict")),
        server.post(&format!("/v1/runs/{run}/cancel")),
    ];
    for request in requests {
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["retry-after"], "5");
        let body = problem(response, 503, "database_unavailable").await.to_string();
        assert!(
            !["hunter2", "nobody", "nonexistent", "database_url", "find_key"]
                .iter()
                .any(|inside| body.contains(inside)),
            "{body}"
        );
    }
    assert_eq!(server.get("/livez").send().await.unwrap().status(), 200);
    let ready = server.get("/readyz").send().await.unwrap();
    assert_eq!(ready.status(), 503);
    assert_eq!(json(ready).await["reasons"][0], "Postgres does not answer");
    assert_eq!(server.left_behind().await, (0, 0, 0, 0, 0));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn without_postgres_live_output_goes_on_and_the_end_comes_later(pool: PgPool) {
    let server = Server::start(pool).await;
    server.connected().await;
    let run = server.insert_runs(1).await[0];
    let lease = server.running().await;
    let mut events = Events::open(server.get(&format!("/v1/runs/{run}/output"))).await;
    while events.next_named("status").await.data["status"] != "running" {}
    let rename = async |from: &str, to: &str| {
        let query = format!("ALTER TABLE {from} RENAME TO {to}");
        sqlx::query(sqlx::AssertSqlSafe(query)).execute(&server.pool).await.unwrap();
    };
    rename("project_evaluation_runs", "away").await;
    let id = EntryId { attempt: 1, number: 1 };
    let entry = OutputEntry { id, stage: StageName::Tests, stream: Stream::Stdout, offset: 0, text: "on".to_owned() };
    server.redis.append_output(run, &[entry.into()]).await.unwrap();
    assert_eq!(events.ids(1).await, ["1-1"]);
    rename("away", "project_evaluation_runs").await;
    server.complete(lease).await;
    server.redis.announce(run).await.unwrap();
    assert_eq!(events.next_named("end").await.data["status"], "completed");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_database_without_the_schema_is_not_ready(pool: PgPool) {
    let server = Server::start(pool).await;
    sqlx::query("UPDATE _sqlx_migrations SET success = false").execute(&server.pool).await.unwrap();
    let ready = server.get("/readyz").send().await.unwrap();
    assert_eq!(ready.status(), 503);
    assert!(json(ready).await["reasons"][0].as_str().unwrap().contains("assize migrate"));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_fault_of_ours_is_500_and_keeps_its_reason_for_the_log(pool: PgPool) {
    let server = Server::start(pool).await;
    sqlx::query("DROP TABLE run_events CASCADE").execute(&server.pool).await.unwrap();
    let request = server.submit(good_form()).header("x-request-id", "lost-table");
    let body = problem(request.send().await.unwrap(), 500, "internal").await.to_string();
    assert!(!body.contains("run_events"), "{body}");
    let logs = crate::harness::logs::text();
    let line = logs.lines().find(|line| line.contains("lost-table") && line.contains("request answered")).unwrap();
    assert!(line.contains("run_events"), "{line}");
}
