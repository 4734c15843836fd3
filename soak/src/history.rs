//! The rows and events of every run, read from the database without the proxy.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use assize_domain::run::Status;
use assize_host::clock::Stopwatch;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

/// The longest that Postgres may be unavailable during a query.
const OUTAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// The row of a run.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Row {
    pub id: Uuid,
    pub submission: Uuid,
    pub status: String,
    pub phase: Option<String>,
    pub attempt: i32,
    pub crashes: i32,
    pub cause: Option<String>,
    pub failure_code: Option<String>,
    pub evidence: Option<Value>,
    pub score: Option<f64>,
    pub max_score: Option<f64>,
    pub half_slots: i32,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub metadata: Value,
}

/// An event of a run.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Serialize, Deserialize)]
pub struct Event {
    pub id: i64,
    pub run_id: Uuid,
    pub attempt: i32,
    pub at: DateTime<Utc>,
    pub from_status: Option<String>,
    pub to_status: String,
    pub phase: Option<String>,
    pub failure_code: Option<String>,
    #[serde(skip)]
    pub evidence: Option<Value>,
}

impl Row {
    pub fn status(&self) -> Result<Status> {
        self.status.parse().map_err(|_| anyhow::anyhow!("there is no state {}", self.status))
    }

    /// Returns the number of the submission that the run belongs to.
    pub fn number(&self) -> Option<u64> {
        self.metadata["number"].as_u64()
    }
}

/// All rows, and all events of each in their order.
pub struct History {
    pub rows: BTreeMap<Uuid, Row>,
    pub events: BTreeMap<Uuid, Vec<Event>>,
}

impl History {
    pub async fn read(pool: &PgPool) -> Result<Self> {
        let query =
            "SELECT run.id, run.project_submission_id AS submission, run.status, run.phase, run.attempt, run.crashes,
                run.cause, run.failure_code, run.evidence, run.score, run.max_score, run.half_slots,
                run.started_at, run.finished_at,
                submission.metadata
            FROM project_evaluation_runs AS run
            JOIN project_submissions AS submission ON submission.id = run.project_submission_id";
        let rows: Vec<Row> = patiently(async || sqlx::query_as(query).fetch_all(pool).await).await?;
        let query = "SELECT id, run_id, attempt, at, from_status, to_status, phase, failure_code, evidence
            FROM run_events ORDER BY id";
        let all: Vec<Event> = patiently(async || sqlx::query_as(query).fetch_all(pool).await).await?;
        let mut events: BTreeMap<Uuid, Vec<Event>> = BTreeMap::new();
        for event in all {
            events.entry(event.run_id).or_default().push(event);
        }
        Ok(Self { rows: rows.into_iter().map(|row| (row.id, row)).collect(), events })
    }
}

/// Returns the number of runs that have not ended.
pub async fn open(pool: &PgPool) -> Result<i64> {
    let query = "SELECT count(*) FROM project_evaluation_runs WHERE finished_at IS NULL";
    patiently(async || sqlx::query_scalar(query).fetch_one(pool).await).await
}

/// Returns the number that a query selects.
pub async fn count(pool: &PgPool, query: &'static str) -> Result<i64> {
    patiently(async || sqlx::query_scalar(query).fetch_one(pool).await).await
}

/// Returns the runs that were claimed after `begun` and taken from their worker before `ended`, although no worker died
/// meanwhile.
pub async fn stolen(pool: &PgPool, begun: DateTime<Utc>, ended: DateTime<Utc>) -> Result<Vec<Uuid>> {
    let query = "SELECT lost.run_id FROM run_events AS lost
        JOIN run_events AS claim ON claim.run_id = lost.run_id AND claim.attempt = lost.attempt
            AND claim.to_status = 'preparing' AND claim.from_status = 'queued'
        WHERE lost.failure_code = 'worker_lost' AND claim.at > $1 AND lost.at BETWEEN $1 AND $2";
    patiently(async || sqlx::query_scalar(query).bind(begun).bind(ended).fetch_all(pool).await).await
}

/// Returns the first event of each of these runs after `since`.
pub async fn moved(pool: &PgPool, runs: &[Uuid], since: DateTime<Utc>) -> Result<Vec<(Uuid, DateTime<Utc>)>> {
    let query = "SELECT run_id, min(at) FROM run_events WHERE run_id = ANY ($1) AND at > $2 GROUP BY run_id";
    patiently(async || sqlx::query_as(query).bind(runs).bind(since).fetch_all(pool).await).await
}

/// Returns the active runs with the worker of each.
pub async fn active(pool: &PgPool) -> Result<Vec<(Uuid, String)>> {
    let query = "SELECT id, worker_id FROM project_evaluation_runs WHERE status IN ('preparing', 'running', 'parsing')";
    patiently(async || sqlx::query_as(query).fetch_all(pool).await).await
}

async fn patiently<T>(ask: impl AsyncFn() -> Result<T, sqlx::Error>) -> Result<T> {
    let begun = Stopwatch::start();
    loop {
        match ask().await {
            Err(error @ (sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Protocol(_)))
                if begun.elapsed() < OUTAGE_TIMEOUT =>
            {
                drop(error);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(sqlx::Error::Database(error)) if begun.elapsed() < OUTAGE_TIMEOUT && is_passing(&*error) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            answer => return answer.context("asking the database"),
        }
    }
}

/// Returns whether an error is one of the classes 57 and 08: the server starts or stops.
fn is_passing(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.code().is_some_and(|code| code.starts_with("57") || code.starts_with("08"))
}
