//! Rows in any state, written straight into the tables: what a test starts from.

use assize_domain::queue::AdmissionCaps;
use assize_domain::run::{Lease, Status};
use assize_store::queue::Wanted;
use serde_json::Value;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

pub const WORKER: &str = "worker-1";

/// No cap that a test could reach, and patience without end.
pub const NO_CAPS: AdmissionCaps = AdmissionCaps {
    total_half_slots: 1000,
    browser: 1000,
    api: 1000,
    per_org: 1000,
    per_user: 1000,
    heavy_reserve_after_s: 1e9,
};

/// Claims of a worker that could hold any run, held back by half-slots alone.
pub const fn wanted(worker_half_slots: i32, total_half_slots: i32, most: i32) -> Wanted {
    Wanted { worker_half_slots, worker_capacity: 1000, caps: AdmissionCaps { total_half_slots, ..NO_CAPS }, most }
}

/// A run and whose it is.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub id: Uuid,
    pub organization: Uuid,
    pub submission: Uuid,
}

/// Column and expression.
pub type Column = (&'static str, String);

/// The columns that a run in this state has, in its first attempt: valid by every CHECK.
pub fn columns(status: Status) -> Vec<Column> {
    let when = |is: bool, expression: &str| if is { expression.to_owned() } else { "NULL".to_owned() };
    let begun = status != Status::Queued;
    let completed = status == Status::Completed;
    let unscored = status.is_terminal() && !completed;
    let verdict = r#"'{"score": 1, "max_score": 2, "tests": [], "integrity": "isolated"}'"#;
    vec![
        ("status", format!("'{status}'")),
        ("phase", when(status == Status::Running, "'install'")),
        ("attempt", "1".to_owned()),
        ("lease_epoch", if begun { "1" } else { "0" }.to_owned()),
        ("worker_id", when(begun, &format!("'{WORKER}'"))),
        ("heartbeat_at", when(begun, "clock_timestamp()")),
        ("started_at", when(begun, "clock_timestamp()")),
        ("finished_at", when(status.is_terminal(), "clock_timestamp()")),
        ("cause", when(unscored, "'submission'")),
        ("failure_code", when(unscored, "'build_failed'")),
        ("evidence", when(unscored, r#"'{"message": "it broke"}'"#)),
        ("verdict", when(completed, verdict)),
        ("score", when(completed, "1")),
        ("max_score", when(completed, "2")),
    ]
}

/// The same columns, with one of them replaced.
pub fn with(mut columns: Vec<Column>, name: &'static str, expression: &str) -> Vec<Column> {
    columns.retain(|column| column.0 != name);
    columns.push((name, expression.to_owned()));
    columns
}

pub async fn organization(pool: &PgPool) -> Uuid {
    let id = Uuid::now_v7();
    sqlx::query("INSERT INTO organizations (id, name) VALUES ($1, $2)")
        .bind(id)
        .bind(id.to_string())
        .execute(pool)
        .await
        .unwrap();
    id
}

pub async fn submission(pool: &PgPool, organization: Uuid) -> Uuid {
    let id = Uuid::now_v7();
    sqlx::query(
        "INSERT INTO project_submissions (id, organization_id, user_ref, template, archive_sha256, archive_bytes, archive_entries)
         VALUES ($1, $2, 'user', 'trivial', repeat('a', 64), 1, 1)",
    )
    .bind(id)
    .bind(organization)
    .execute(pool)
    .await
    .unwrap();
    id
}

/// A run of this submission; what the columns do not say is a run of class B, submitted now.
pub async fn insert(
    pool: &PgPool,
    organization: Uuid,
    submission: Uuid,
    columns: Vec<Column>,
) -> Result<Run, sqlx::Error> {
    let id = Uuid::now_v7();
    let mut all = vec![
        ("id", format!("'{id}'")),
        ("project_submission_id", format!("'{submission}'")),
        ("organization_id", format!("'{organization}'")),
        ("user_ref", "'user'".to_owned()),
        ("template", "'trivial'".to_owned()),
        ("half_slots", "2".to_owned()),
        ("submitted_at", "clock_timestamp()".to_owned()),
    ];
    for (name, expression) in columns {
        all = with(all, name, &expression);
    }
    let (names, expressions): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    let names = names.join(", ");
    let expressions = expressions.join(", ");
    let statement = format!("INSERT INTO project_evaluation_runs ({names}) VALUES ({expressions})");
    sqlx::query(AssertSqlSafe(statement)).execute(pool).await?;
    Ok(Run { id, organization, submission })
}

/// A run of its own organisation, in this state, in its first attempt.
pub async fn run_in(pool: &PgPool, status: Status) -> Run {
    run_with(pool, columns(status)).await
}

pub async fn run_with(pool: &PgPool, columns: Vec<Column>) -> Run {
    let organization = organization(pool).await;
    let submission = submission(pool, organization).await;
    insert(pool, organization, submission, columns).await.unwrap()
}

/// A queue of runs with these weights in half-slots, the oldest first, each a second younger than
/// the one before and with an archive of as many bytes as its place in the queue, from 1.
pub async fn queue(pool: &PgPool, organization: Uuid, half_slots: &[i32]) -> Vec<Uuid> {
    let ids: Vec<_> = half_slots.iter().map(|_| Uuid::now_v7()).collect();
    sqlx::query(
        "WITH queued AS (
             SELECT id, half_slots, place, gen_random_uuid() AS submission
             FROM unnest($2::uuid[], $3::integer[]) WITH ORDINALITY AS queued (id, half_slots, place)
         ), submissions AS (
             INSERT INTO project_submissions
                 (id, organization_id, user_ref, template, archive_sha256, archive_bytes, archive_entries)
             SELECT submission, $1, 'user', 'trivial', lpad(to_hex(place), 64, '0'), place, 1 FROM queued
         )
         INSERT INTO project_evaluation_runs
             (id, project_submission_id, organization_id, user_ref, template, half_slots, submitted_at)
         SELECT id, submission, $1, 'user', 'trivial', half_slots,
             now() - interval '1 day' + place * interval '1 second'
         FROM queued",
    )
    .bind(organization)
    .bind(&ids)
    .bind(half_slots)
    .execute(pool)
    .await
    .unwrap();
    ids
}

/// A run to be queued.
#[derive(Debug, Clone, Copy)]
pub struct Waiter<'a> {
    pub organization: Uuid,
    pub user: &'a str,
    pub half_slots: i32,
}

/// Queues these runs in this order, each a millisecond younger than the one before; the last was
/// submitted about now.
pub async fn enqueue(pool: &PgPool, waiters: &[Waiter<'_>]) -> Vec<Uuid> {
    let ids: Vec<_> = waiters.iter().map(|_| Uuid::now_v7()).collect();
    let organizations: Vec<_> = waiters.iter().map(|waiter| waiter.organization).collect();
    let users: Vec<_> = waiters.iter().map(|waiter| waiter.user).collect();
    let half_slots: Vec<_> = waiters.iter().map(|waiter| waiter.half_slots).collect();
    sqlx::query(
        "WITH queued AS (
             SELECT *, gen_random_uuid() AS submission
             FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::integer[])
                 WITH ORDINALITY AS queued (id, organization, user_ref, half_slots, place)
         ), submissions AS (
             INSERT INTO project_submissions
                 (id, organization_id, user_ref, template, archive_sha256, archive_bytes, archive_entries)
             SELECT submission, organization, user_ref, 'trivial', repeat('a', 64), 1, 1 FROM queued
         )
         INSERT INTO project_evaluation_runs
             (id, project_submission_id, organization_id, user_ref, template, half_slots, submitted_at)
         SELECT id, submission, organization, user_ref, 'trivial', half_slots,
             clock_timestamp() + (place - cardinality($1)) * interval '1 ms'
         FROM queued",
    )
    .bind(&ids)
    .bind(&organizations)
    .bind(&users)
    .bind(&half_slots)
    .execute(pool)
    .await
    .unwrap();
    ids
}

/// An active run fails.
pub async fn end(pool: &PgPool, run: Uuid) {
    let ended = sqlx::query(
        "UPDATE project_evaluation_runs SET status = 'failed', finished_at = clock_timestamp(), cause = 'submission',
             failure_code = 'build_failed', evidence = '{}' WHERE id = $1",
    )
    .bind(run)
    .execute(pool)
    .await
    .unwrap();
    assert_eq!(ended.rows_affected(), 1);
}

/// All that there is to know of a run: its row and the number of its events.
pub async fn snapshot(pool: &PgPool, run: Uuid) -> Value {
    sqlx::query_scalar(
        "SELECT to_jsonb(run) || jsonb_build_object('events', (SELECT count(*) FROM run_events WHERE run_id = run.id))
         FROM project_evaluation_runs AS run WHERE id = $1",
    )
    .bind(run)
    .fetch_one(pool)
    .await
    .unwrap()
}

/// The lease that the row shows.
pub async fn lease(pool: &PgPool, run: Uuid) -> Lease {
    let row = sqlx::query("SELECT attempt, lease_epoch FROM project_evaluation_runs WHERE id = $1")
        .bind(run)
        .fetch_one(pool)
        .await
        .unwrap();
    Lease { run_id: run, attempt: row.get(0), epoch: row.get(1) }
}

/// Sets back the last heartbeat of a run.
pub async fn age_lease(pool: &PgPool, run: Uuid, seconds: i32) {
    sqlx::query(
        "UPDATE project_evaluation_runs SET heartbeat_at = clock_timestamp() - make_interval(secs => $2) WHERE id = $1",
    )
    .bind(run)
    .bind(f64::from(seconds))
    .execute(pool)
    .await
    .unwrap();
}

/// The name of the constraint that refused a statement.
pub fn refused_by<T: std::fmt::Debug>(result: Result<T, sqlx::Error>) -> String {
    let error = result.unwrap_err();
    error.as_database_error().and_then(|refused| refused.constraint()).unwrap_or_else(|| panic!("{error}")).to_owned()
}

/// Another pool on the same database, as wide as a test needs; to be closed by the test.
pub async fn wider(pool: &PgPool, connections: u32) -> PgPool {
    let options = (*pool.connect_options()).clone();
    PgPoolOptions::new().max_connections(connections).connect_with(options).await.unwrap()
}
