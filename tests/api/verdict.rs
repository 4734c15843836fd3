//! Verdicts in each format, and runs without a verdict.

use assize_domain::run::{Failure, FailureCode, Status};
use sqlx::PgPool;

use crate::harness::{Server, json, problem};

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_completed_run_has_a_verdict_in_three_formats(pool: PgPool) {
    let server = Server::start(pool).await;
    let run = server.insert_runs(1).await[0];
    let lease = server.running().await;
    server.complete(lease).await;
    let get = |query: &str| server.get(&format!("/v1/runs/{run}/verdict{query}")).send();
    let own = json(get("").await.unwrap()).await;
    assert_eq!((own["score"].as_f64(), own["integrity"].as_str()), (Some(1.0), Some("shared")));
    assert_eq!(own["run_id"], run.to_string());
    assert_eq!(own["tests"][0]["status"], "passed");
    assert_eq!(json(get("?format=gradescope").await.unwrap()).await["tests"][0]["status"], "passed");
    let junit = get("?format=junit").await.unwrap();
    assert!(junit.headers()["content-type"].to_str().unwrap().starts_with("application/xml"));
    assert!(junit.text().await.unwrap().contains("<testsuite"));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn without_a_verdict_the_answer_says_why(pool: PgPool) {
    let server = Server::start(pool).await;
    let run = server.insert_runs(1).await[0];
    let get = || server.get(&format!("/v1/runs/{run}/verdict")).send();
    let early = problem(get().await.unwrap(), 409, "no_verdict").await;
    assert!(early["detail"].as_str().unwrap().contains("queued"), "{early}");
    let lease = server.running().await;
    let failure = Failure::new(FailureCode::OutOfMemory, "the cell used more than its 64 MiB");
    server
        .store
        .fail_run(lease, Status::Running, &failure, None, &assize_domain::artifact::RunArtifacts::default())
        .await
        .unwrap();
    let late = problem(get().await.unwrap(), 409, "no_verdict").await;
    assert!(late["detail"].as_str().unwrap().contains("out_of_memory"), "{late}");
    let shown = json(server.get(&format!("/v1/runs/{run}")).send().await.unwrap()).await;
    assert_eq!(shown["failure"]["evidence"]["message"], "the cell used more than its 64 MiB");
    assert_eq!((&shown["failure"]["cause"], &shown["failure"]["transient"]), (&"submission".into(), &false.into()));
}
