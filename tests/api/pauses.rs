//! Pauses of an operator: a worker notices them at once and reports them, and whoever asks for a waiting run reads the reason.

use std::time::Duration;

use assize::admission::ClaimPauses;
use assize::leases::{Leases, WorkerInfo};
use assize_domain::queue::ClaimPause;
use assize_host::service_manager::LoopTurns;
use assize_store::operator_pauses::PausedWorkers;
use assize_store::workers::WorkerRow;
use serde_json::Value;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::harness::{DEADLINE, Server, json};

/// Less than the time between two heartbeats, so that only a hint can be that fast.
const AT_ONCE: Duration = Duration::from_secs(4);

/// Waits until the only worker reports this state.
async fn reported(server: &Server, state: &str) -> WorkerRow {
    let wait = async {
        loop {
            if let [worker] = server.store.list_workers().await.unwrap().as_slice()
                && worker.state == state
            {
                return worker.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(AT_ONCE, wait).await.unwrap_or_else(|_| panic!("no worker reports {state}"))
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_worker_notices_a_pause_at_once_and_everybody_reads_the_reason(pool: PgPool) {
    let server = Server::start(pool).await;
    server.connected().await;
    let run = server.queued().await;
    let queue =
        async || -> Value { json(server.get(&format!("/v1/runs/{run}")).send().await.unwrap()).await["queue"].clone() };
    let (pauses, stop) = (ClaimPauses::default(), CancellationToken::new());
    let beating = tokio::spawn(Leases::new("worker-1").send_heartbeats(
        server.store.clone(),
        server.hints.clone(),
        pauses.signals(),
        WorkerInfo { half_slots: 4, unenforced: Vec::new() },
        LoopTurns::default(),
        stop.clone(),
    ));
    reported(&server, "claiming").await;
    assert_eq!(queue().await["waiting_for"], "slots");

    server.store.pause_claims(PausedWorkers::Every, "new disks").await.unwrap();
    let seen = queue().await;
    assert_eq!((&seen["waiting_for"], &seen["detail"]), (&"paused".into(), &"paused by operator: new disks".into()));
    assert_eq!(seen["estimated_start"], Value::Null);
    server.redis.request_heartbeats().await.unwrap();
    assert_eq!(reported(&server, "paused").await.detail, "paused by operator: new disks");
    assert_eq!(pauses.strongest().unwrap().0, ClaimPause::PausedByOperator);

    server.store.pause_claims(PausedWorkers::One("worker-1"), "").await.unwrap();
    server.store.resume_claims(PausedWorkers::Every).await.unwrap();
    server.redis.request_heartbeats().await.unwrap();
    reported(&server, "draining").await;
    let seen = queue().await;
    assert_eq!(seen["waiting_for"], "draining");
    assert!(seen["detail"].as_str().unwrap().contains("drained by operator"), "{seen}");

    server.store.resume_claims(PausedWorkers::One("worker-1")).await.unwrap();
    server.redis.request_heartbeats().await.unwrap();
    reported(&server, "claiming").await;
    assert!(pauses.is_empty());
    assert_eq!(queue().await["waiting_for"], "slots");
    stop.cancel();
    tokio::time::timeout(DEADLINE, beating).await.unwrap().unwrap();
}
