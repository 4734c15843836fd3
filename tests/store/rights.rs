//! The rights of the roles: each process can do its work and nothing else, whatever somebody makes it say.

use std::process::Command;

use assize_store::{Granted, Store};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::crowd::{Crowd, Statistics};
use crate::samples::{Sample, samples};

/// Queries of the command line, as the owner.
const OWNER: &[&str] = &[
    "count_expired",
    "ensure_organization",
    "expired_archives",
    "insert_key",
    "list_keys",
    "list_workers",
    "operator_pause",
    "pause_claims",
    "queue_groups",
    "recent_ends",
    "resume_claims",
    "retire_signing_key",
    "revoke_key",
];

/// Queries of `assize api`.
const API: &[&str] = &[
    "cancel_run",
    "count_queued",
    "count_workers",
    "ensure_signing_key",
    "events_of_run",
    "explain_queued",
    "find_artifact",
    "find_key",
    "idempotent_submission",
    "insert_submission",
    "list_runs",
    "list_runs_by_status",
    "list_signing_keys",
    "newest_migration",
    "now",
    "pace",
    "ping",
    "queue_counts",
    "read_artifacts",
    "read_envelope",
    "read_run",
    "read_submission",
    "read_verdict",
    "request_cancel",
    "run_position",
    "runs_by_ids",
    "runs_of_submission",
    "server_version",
    "stale_runs",
    "unenforced_limits",
    "use_archive",
];

/// Queries of `assize worker`.
const WORKER: &[&str] = &[
    "active_attempts",
    "active_leases",
    "adopt_archives",
    "adopt_artifacts",
    "adopt_run",
    "claim_runs",
    "complete_run",
    "confirm_lease",
    "count_workers",
    "delete_artifacts",
    "delete_old_keys",
    "delete_old_runs",
    "ensure_signing_key",
    "enter_fetch",
    "enter_phase",
    "expired_output",
    "fail_run",
    "forget_archive",
    "forget_artifact",
    "forget_dead_workers",
    "forget_worker",
    "keep_fetched",
    "lock_expired_archive",
    "lock_unnamed_artifact",
    "mark_output",
    "newest_migration",
    "now",
    "old_artifacts",
    "output_mark",
    "parse_run",
    "ping",
    "queue_counts",
    "record_egress",
    "release_leases",
    "renew_leases",
    "report_worker",
    "requeue_run",
    "run_position",
    "server_version",
    "stale_runs",
    "start_run",
    "unenforced_limits",
    "use_archive",
    "use_artifacts",
];

/// Writes that a role can make although its process does not, because something else that it does needs the same rights.
const POSSIBLE: &[(&str, &str, &str)] = &[
    ("assize_api", "adopt_archives", "an archive that was submitted has a row, which the API makes"),
    ("assize_api", "lock_expired_archive", "a lock of the row of an archive, which a submission takes too"),
    ("assize_worker", "resume_claims", "the pause of a worker that is gone is removed with its row"),
    ("assize_api", "record_egress", "the trigger writes the event of a new run with the rights of the API"),
];

/// The least privilege that is broken: `insufficient_privilege`.
const DENIED: &str = "42501";

/// Roles belong to the server, and two that alter the same one at a time are refused.
static ROLES: Mutex<()> = Mutex::const_new(());

/// A database made by `postgres/roles.sql`, with the schema by its owner.
struct Roles {
    admin: PgConnection,
    name: String,
    address: String,
}

impl Roles {
    async fn make(pool: &PgPool) -> Self {
        let folder = pool.connect_options().get_socket().expect("DATABASE_URL names a socket folder").clone();
        let name = format!("rights_{}", Uuid::now_v7().simple());
        let _alone = ROLES.lock().await;
        let roles = concat!(env!("CARGO_MANIFEST_DIR"), "/postgres/roles.sql");
        let output = Command::new("psql")
            .args(["-X", "-q", "-v", &format!("database={name}"), "-f", roles])
            .env("PGHOST", &folder)
            .env("PGUSER", "assize")
            .env("PGDATABASE", "postgres")
            .output()
            .expect("psql is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let address = format!("localhost/{name}?host={}", folder.display());
        let store = Store::open(&format!("postgres://assize_owner@{address}"), 2).unwrap();
        store.migrate().await.unwrap();
        assert_eq!(store.grant_rights().await.unwrap(), Granted::Renewed);
        let admin = PgConnection::connect(&format!("postgres://assize@localhost/postgres?host={}", folder.display()));
        Self { admin: admin.await.unwrap(), name, address }
    }

    async fn connect(&self, role: &str) -> PgConnection {
        PgConnection::connect(&format!("postgres://{role}@{}", self.address)).await.unwrap()
    }

    async fn remove(mut self) {
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        sqlx::query(AssertSqlSafe(drop)).execute(&mut self.admin).await.unwrap();
    }
}

/// Executes SQL and takes it back. Returns the code of the error.
async fn tried(connection: &mut PgConnection, statements: &[String]) -> Result<(), String> {
    sqlx::raw_sql("BEGIN").execute(&mut *connection).await.unwrap();
    let mut result = Ok(());
    for statement in statements {
        if let Err(error) = sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&mut *connection).await {
            let database = error.as_database_error().unwrap_or_else(|| panic!("{statement}: {error}"));
            result = Err(format!("{} {}", database.code().unwrap_or_default(), database.message()));
            break;
        }
    }
    sqlx::raw_sql("ROLLBACK; DEALLOCATE ALL").execute(&mut *connection).await.unwrap();
    result
}

fn text_of(query: &str) -> String {
    std::fs::read_to_string(format!("crates/store/sql/queries/{query}.sql")).unwrap()
}

fn writes(text: &str) -> bool {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("--")).collect::<Vec<_>>().join(" ");
    ["INSERT", "UPDATE", "DELETE", "claim_runs(", "pause_claims("].iter().any(|word| code.contains(word))
}

#[sqlx::test(migrations = false)]
async fn each_role_can_run_the_queries_of_its_process_and_no_other_write(pool: PgPool) {
    let roles = Roles::make(&pool).await;
    let owner = PgPool::connect(&format!("postgres://assize_owner@{}", roles.address)).await.unwrap();
    let crowd = Crowd::gather(&owner, Statistics::Fresh).await;
    owner.close().await;
    let samples = samples(&crowd);
    let mut wrong = Vec::new();
    for (role, own) in [("assize_api", API), ("assize_worker", WORKER)] {
        let mut connection = roles.connect(role).await;
        for Sample { query, arguments, .. } in &samples {
            let text = text_of(query);
            let call = if arguments.is_empty() { String::new() } else { format!("({arguments})") };
            let statements = [format!("PREPARE asked AS {text}"), format!("EXECUTE asked{call}")];
            let seen = tried(&mut connection, &statements).await;
            let is_possible = POSSIBLE.iter().any(|(of, name, _)| *of == role && name == query);
            match seen {
                Ok(()) if own.contains(query) || is_possible || !writes(&text) => {}
                Ok(()) => wrong.push(format!("{role} can run {query}, which writes")),
                Err(error) if error.starts_with(DENIED) && !own.contains(query) && !is_possible => {}
                Err(error) => wrong.push(format!("{role} cannot run {query}({arguments}): {error}")),
            }
        }
    }
    roles.remove().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let listed: Vec<&str> = [OWNER, API, WORKER].concat();
    let unlisted: Vec<&str> =
        samples.iter().map(|sample| sample.query).filter(|query| !listed.contains(query)).collect();
    assert!(unlisted.is_empty(), "say here which role runs {unlisted:?}, and give the rights in sql/grants.sql");
}

/// What somebody tries who has taken over the API, or stole its connection.
const ATTACKS: &[&str] = &[
    "UPDATE project_evaluation_runs SET verdict = '{}'",
    "UPDATE project_evaluation_runs SET score = 100, max_score = 100",
    "UPDATE project_evaluation_runs SET envelope = '{}'",
    "UPDATE project_evaluation_runs SET status = 'completed' WHERE status = 'parsing'",
    "UPDATE project_evaluation_runs SET status = 'preparing' WHERE status = 'queued'",
    "UPDATE project_evaluation_runs SET status = 'aborted', finished_at = now(), cause = 'platform',
         failure_code = 'cancelled', evidence = '{}' WHERE status = 'running'",
    "UPDATE project_evaluation_runs SET status = 'aborted', finished_at = now(), cause = 'submission',
         failure_code = 'build_failed', evidence = '{}' WHERE status = 'queued'",
    "UPDATE project_evaluation_runs SET evidence = '{}' WHERE status = 'running'",
    "UPDATE project_evaluation_runs SET not_before = 'infinity' WHERE status = 'queued'",
    "UPDATE project_evaluation_runs SET attempt = 3",
    "UPDATE project_evaluation_runs SET user_ref = 'another'",
    "UPDATE project_evaluation_runs SET lease_epoch = 0, worker_id = NULL",
    "INSERT INTO project_evaluation_runs (id, project_submission_id, organization_id, user_ref, template, half_slots,
         submitted_at, status) SELECT gen_random_uuid(), id, organization_id, 'a', 'trivial', 1, now(), 'preparing'
         FROM project_submissions LIMIT 1",
    "DELETE FROM project_evaluation_runs",
    "INSERT INTO run_artifacts (run_id, origin, name, sha256, bytes, media_type, visibility)
         SELECT id, 'driver', 'a', repeat('a', 64), 1, 'text/plain', 'visible' FROM project_evaluation_runs LIMIT 1",
    "UPDATE run_artifacts SET sha256 = repeat('a', 64)",
    "UPDATE run_events SET evidence = NULL",
    "DELETE FROM run_events",
    "UPDATE project_submissions SET archive_sha256 = repeat('a', 64)",
    "DELETE FROM project_submissions",
    "INSERT INTO api_keys (id, organization_id, role, secret_sha256)
         SELECT gen_random_uuid(), organization_id, 'admin', sha256('x') FROM api_keys LIMIT 1",
    "UPDATE api_keys SET role = 'admin'",
    "UPDATE signing_keys SET retired_at = now()",
    "UPDATE signing_keys SET public_key = sha256('a')",
    "DELETE FROM signing_keys",
    "TRUNCATE project_evaluation_runs CASCADE",
    "ALTER TABLE project_evaluation_runs DISABLE TRIGGER runs_writer",
    "CREATE OR REPLACE FUNCTION check_run_writer() RETURNS trigger LANGUAGE sql AS 'SELECT NULL'",
    "CREATE TABLE mine (a int)",
    "SET ROLE assize_worker",
    "SET ROLE assize_owner",
    "SET SESSION AUTHORIZATION assize_owner",
    "SET session_replication_role = replica",
    "COPY project_evaluation_runs TO PROGRAM 'cat'",
    "SELECT pg_read_file('/etc/passwd')",
];

#[sqlx::test(migrations = false)]
async fn a_stolen_api_cannot_write_a_verdict(pool: PgPool) {
    let roles = Roles::make(&pool).await;
    let owner = PgPool::connect(&format!("postgres://assize_owner@{}", roles.address)).await.unwrap();
    for status in assize_domain::run::Status::ALL {
        crate::rows::run_in(&owner, *status).await;
    }
    let before = every_run(&owner).await;
    let mut api = roles.connect("assize_api").await;
    let mut possible = Vec::new();
    for attack in ATTACKS {
        match tried(&mut api, &[(*attack).to_owned()]).await {
            Err(error) if error.starts_with(DENIED) => {}
            other => possible.push(format!("{attack}: {other:?}")),
        }
    }
    assert_eq!(every_run(&owner).await, before);
    // What the API does: it cancels a queued run, and asks for the cancel of an active one.
    let cancel = "UPDATE project_evaluation_runs SET status = 'aborted', finished_at = clock_timestamp(),
        cancel_requested_at = clock_timestamp(), not_before = NULL, cause = 'platform', failure_code = 'cancelled',
        evidence = '{}' WHERE status = 'queued'";
    tried(&mut api, &[cancel.to_owned()]).await.unwrap();
    let ask = "UPDATE project_evaluation_runs SET cancel_requested_at = clock_timestamp() WHERE status = 'running'";
    tried(&mut api, &[ask.to_owned()]).await.unwrap();
    owner.close().await;
    drop(api);
    roles.remove().await;
    assert!(possible.is_empty(), "assize_api can do:\n{}", possible.join("\n"));
}

async fn every_run(owner: &PgPool) -> Vec<String> {
    sqlx::query_scalar("SELECT to_jsonb(run)::text FROM project_evaluation_runs AS run ORDER BY id")
        .fetch_all(owner)
        .await
        .unwrap()
}

#[sqlx::test(migrations = false)]
async fn the_monitor_counts_and_sees_no_names(pool: PgPool) {
    let roles = Roles::make(&pool).await;
    let mut monitor = roles.connect("assize_monitor").await;
    let count = "SELECT status, count(*), min(submitted_at) FROM project_evaluation_runs GROUP BY 1";
    tried(&mut monitor, &[count.to_owned()]).await.unwrap();
    for secret in [
        "SELECT secret_sha256 FROM api_keys",
        "SELECT user_ref FROM project_evaluation_runs",
        "SELECT verdict FROM project_evaluation_runs",
        "SELECT metadata FROM project_submissions",
    ] {
        let seen = tried(&mut monitor, &[secret.to_owned()]).await;
        assert!(seen.as_ref().is_err_and(|error| error.starts_with(DENIED)), "{secret}: {seen:?}");
    }
    drop(monitor);
    roles.remove().await;
}

#[sqlx::test(migrations = false)]
async fn without_the_roles_or_with_some_of_them_migrate_says_so(pool: PgPool) {
    // Other tests may have made them, but never only some.
    let _alone = ROLES.lock().await;
    let store = Store::on(pool.clone());
    store.migrate().await.unwrap();
    let known: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_roles WHERE rolname IN ('assize_api', 'assize_worker', 'assize_monitor')",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    let granted = store.grant_rights().await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (9999, 'later', true, '', 0)";
    if known > 0 {
        sqlx::query(newer).execute(&pool).await.unwrap();
        assert_eq!(store.grant_rights().await.unwrap(), Granted::NewerSchema, "those of a newer program stay");
    }
    assert_eq!(granted, if known == 0 { Granted::NoRoles } else { Granted::Renewed });
}
