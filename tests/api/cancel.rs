//! Cancelling a run in every state.

use sqlx::PgPool;

use crate::harness::{DEADLINE, Server, json, problem};

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_queued_run_ends_at_once_and_stays_ended(pool: PgPool) {
    let server = Server::start(pool).await;
    let run = server.insert_runs(1).await[0];
    let cancel = || server.post(&format!("/v1/runs/{run}/cancel")).send();
    let response = cancel().await.unwrap();
    assert_eq!(response.status(), 202);
    let body = json(response).await;
    assert_eq!((body["status"].as_str(), body["failure"]["code"].as_str()), (Some("aborted"), Some("cancelled")));
    assert_eq!(body["failure"]["cause"], "platform");
    let again = cancel().await.unwrap();
    assert_eq!(again.status(), 200);
    assert_eq!(json(again).await, body);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_active_run_is_asked_to_stop_and_its_worker_hears_of_it(pool: PgPool) {
    let server = Server::start(pool).await;
    server.connected().await;
    let run = server.insert_runs(1).await[0];
    server.running().await;
    let mut cancels = server.hints.cancels();
    let cancel = || server.post(&format!("/v1/runs/{run}/cancel")).send();
    let response = cancel().await.unwrap();
    assert_eq!(response.status(), 202);
    let body = json(response).await;
    assert_eq!(body["status"], "running");
    assert!(body["cancel_requested_at"].is_string());
    tokio::time::timeout(DEADLINE, cancels.changed()).await.unwrap().unwrap();
    let again = cancel().await.unwrap();
    assert_eq!(again.status(), 202);
    assert_eq!(json(again).await["cancel_requested_at"], body["cancel_requested_at"]);
    let leases = server.store.renew_leases("worker", &[run]).await.unwrap();
    assert!(leases[0].cancel_requested);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_completed_run_keeps_its_verdict(pool: PgPool) {
    let server = Server::start(pool).await;
    let run = server.insert_runs(1).await[0];
    let lease = server.running().await;
    server.complete(lease).await;
    let response = server.post(&format!("/v1/runs/{run}/cancel")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let body = json(response).await;
    assert_eq!((body["status"].as_str(), &body["cancel_requested_at"]), (Some("completed"), &serde_json::Value::Null));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn no_run_is_cancelled_by_a_wrong_id(pool: PgPool) {
    let server = Server::start(pool).await;
    let path = format!("/v1/runs/{}/cancel", uuid::Uuid::now_v7());
    problem(server.post(&path).send().await.unwrap(), 404, "not_found").await;
    problem(server.post("/v1/runs/all/cancel").send().await.unwrap(), 404, "not_found").await;
    problem(server.get(&path).send().await.unwrap(), 405, "method_not_allowed").await;
}
