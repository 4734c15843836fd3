//! Every CHECK of the schema is broken here, in each way that it can be.

use std::collections::BTreeSet;

use assize_domain::run::Status;
use sqlx::{AssertSqlSafe, PgPool};

use crate::rows::{self, Column, columns, refused_by, with};

/// Constraint, table and what to write into it.
const WRITES: &[(&str, &str, &str)] = &[
    ("organizations_name_check", "organizations", "name = ''"),
    ("organizations_name_check", "organizations", "name = 'Capital'"),
    ("organizations_name_check", "organizations", "name = '-dash'"),
    ("organizations_name_check", "organizations", "name = repeat('a', 64)"),
    ("api_keys_role_check", "api_keys", "role = 'root'"),
    ("api_keys_secret_sha256_check", "api_keys", "secret_sha256 = 'short'"),
    ("api_keys_label_check", "api_keys", "label = repeat('a', 201)"),
    ("project_submissions_user_ref_check", "project_submissions", "user_ref = ''"),
    ("project_submissions_user_ref_check", "project_submissions", "user_ref = repeat('a', 201)"),
    ("project_submissions_user_name_check", "project_submissions", "user_name = ''"),
    ("project_submissions_user_name_check", "project_submissions", "user_name = repeat('a', 201)"),
    ("project_submissions_template_check", "project_submissions", "template = ''"),
    ("project_submissions_template_check", "project_submissions", "template = repeat('a', 65)"),
    ("project_submissions_archive_sha256_check", "project_submissions", "archive_sha256 = repeat('A', 64)"),
    ("project_submissions_archive_sha256_check", "project_submissions", "archive_sha256 = repeat('a', 63)"),
    ("project_submissions_archive_bytes_check", "project_submissions", "archive_bytes = 0"),
    ("project_submissions_archive_entries_check", "project_submissions", "archive_entries = 0"),
    (
        "project_submissions_repository_url_check",
        "project_submissions",
        "repository_url = 'ext::sh', repository_ref = 'a', repository_commit = repeat('a', 40)",
    ),
    (
        "project_submissions_repository_url_check",
        "project_submissions",
        "repository_url = 'https://' || repeat('a', 1017), repository_ref = 'a', repository_commit = repeat('a', 40)",
    ),
    (
        "project_submissions_repository_ref_check",
        "project_submissions",
        "repository_url = 'https://a.b/c', repository_ref = '', repository_commit = repeat('a', 40)",
    ),
    (
        "project_submissions_repository_ref_check",
        "project_submissions",
        "repository_url = 'https://a.b/c', repository_ref = repeat('é', 128), repository_commit = repeat('a', 40)",
    ),
    (
        "project_submissions_repository_commit_check",
        "project_submissions",
        "repository_url = 'https://a.b/c', repository_ref = 'a', repository_commit = repeat('a', 41)",
    ),
    (
        "submissions_repository_is_whole",
        "project_submissions",
        "repository_url = 'https://a.b/c', repository_commit = repeat('a', 40)",
    ),
    ("submissions_repository_is_whole", "project_submissions", "repository_ref = 'a'"),
    ("submissions_archive_is_whole", "project_submissions", "archive_bytes = NULL"),
    ("submissions_archive_is_whole", "project_submissions", "archive_entries = NULL"),
    (
        "submissions_archive_has_one_source",
        "project_submissions",
        "archive_sha256 = NULL, archive_bytes = NULL, archive_entries = NULL",
    ),
    (
        "submissions_archive_has_one_source",
        "project_submissions",
        "repository_url = 'https://a.b/c', repository_ref = 'a'",
    ),
    ("submissions_archive_has_one_source", "project_submissions", "repository_commit = repeat('a', 40)"),
    (
        "submissions_archive_has_one_source",
        "project_submissions",
        "archive_sha256 = NULL, archive_bytes = NULL, archive_entries = NULL, repository_url = 'https://a.b/c',
         repository_ref = 'a', repository_commit = repeat('a', 40)",
    ),
    ("project_submissions_metadata_check", "project_submissions", "metadata = '[]'"),
    ("project_submissions_metadata_check", "project_submissions", "metadata = 'null'"),
    ("idempotency_keys_key_check", "idempotency_keys", "key = ''"),
    ("idempotency_keys_key_check", "idempotency_keys", "key = repeat('a', 256)"),
    ("idempotency_keys_request_sha256_check", "idempotency_keys", "request_sha256 = 'short'"),
    ("workers_half_slots_check", "workers", "half_slots = 0"),
    ("workers_state_check", "workers", "state = 'bored'"),
    ("archives_sha256_check", "archives", "sha256 = repeat('A', 64)"),
    ("retention_what_check", "retention", "what = 'memories'"),
    ("signing_keys_id_check", "signing_keys", "id = repeat('A', 64)"),
    ("signing_keys_id_check", "signing_keys", "id = repeat('a', 63)"),
    ("signing_keys_public_key_check", "signing_keys", "public_key = 'short'"),
    ("project_submissions_receipt_check", "project_submissions", "receipt = '[]'"),
    ("artifact_blobs_sha256_check", "artifact_blobs", "sha256 = repeat('A', 64)"),
    ("run_artifacts_origin_check", "run_artifacts", "origin = 'fetch'"),
    ("run_artifacts_name_check", "run_artifacts", "name = ''"),
    ("run_artifacts_name_check", "run_artifacts", "name = repeat('ä', 257)"),
    ("run_artifacts_bytes_check", "run_artifacts", "bytes = -1"),
    ("run_artifacts_media_type_check", "run_artifacts", "media_type = ''"),
    ("run_artifacts_visibility_check", "run_artifacts", "visibility = 'secret'"),
    ("operator_pauses_worker_id_check", "operator_pauses", "worker_id = repeat('a', 501)"),
    ("operator_pauses_reason_check", "operator_pauses", "reason = repeat('a', 201)"),
];

/// Constraint, and a run that only this constraint refuses.
fn invalid_runs() -> Vec<(&'static str, Vec<Column>)> {
    let mut runs = Vec::new();
    let mut add = |constraint, status, name, expression: &str| {
        runs.push((constraint, with(columns(status), name, expression)));
    };
    for half_slots in ["0", "3", "8"] {
        add("project_evaluation_runs_half_slots_check", Status::Queued, "half_slots", half_slots);
    }
    for name in ["''", "repeat('a', 201)"] {
        add("project_evaluation_runs_user_name_check", Status::Queued, "user_name", name);
    }
    add("project_evaluation_runs_status_check", Status::Queued, "status", "'lost'");
    add("project_evaluation_runs_phase_check", Status::Running, "phase", "'deploy'");
    add("project_evaluation_runs_attempt_check", Status::Queued, "attempt", "0");
    add("project_evaluation_runs_attempt_check", Status::Queued, "attempt", "4");
    add("project_evaluation_runs_cause_check", Status::Failed, "cause", "'weather'");
    add("project_evaluation_runs_failure_code_check", Status::Failed, "failure_code", "''");
    add("project_evaluation_runs_failure_code_check", Status::Failed, "failure_code", "repeat('a', 65)");
    add("project_evaluation_runs_envelope_check", Status::Completed, "envelope", "'[]'");
    add("project_evaluation_runs_artifacts_left_out_check", Status::Completed, "artifacts_left_out", "'[]'");
    for status in Status::ALL.iter().filter(|status| !status.is_terminal()) {
        add("runs_only_the_end_is_signed", *status, "envelope", "'{}'");
        add("runs_only_the_end_leaves_out", *status, "artifacts_left_out", "'{}'");
    }
    for crashes in ["-1", "4"] {
        add("project_evaluation_runs_crashes_check", Status::Queued, "crashes", crashes);
    }
    add("runs_queued_has_no_lease", Status::Queued, "worker_id", "'worker-1'");
    add("runs_queued_has_no_lease", Status::Queued, "heartbeat_at", "now()");
    for status in Status::ALL.iter().copied() {
        if status != Status::Queued {
            add("runs_only_queued_waits", status, "not_before", "now()");
        }
        let end = if status.is_terminal() { "NULL" } else { "now()" };
        add("runs_terminal_has_an_end", status, "finished_at", end);
        if status.is_active() {
            add("runs_active_has_a_lease", status, "lease_epoch", "0");
            for column in ["worker_id", "heartbeat_at", "started_at"] {
                add("runs_active_has_a_lease", status, column, "NULL");
            }
        }
    }
    for column in ["verdict", "score", "max_score"] {
        add("runs_completed_has_a_verdict", Status::Completed, column, "NULL");
    }
    for status in [Status::Failed, Status::TimedOut, Status::Aborted] {
        for column in ["cause", "failure_code", "evidence"] {
            add("runs_unscored_end_has_a_cause", status, column, "NULL");
        }
    }
    for status in Status::ALL.iter().copied().filter(|status| *status != Status::Completed) {
        let scored = with(with(with(columns(status), "verdict", "'{}'"), "score", "1"), "max_score", "1");
        runs.push(("runs_completed_has_a_verdict", scored));
    }
    for status in Status::ALL.iter().copied().filter(|status| !status.is_terminal() || *status == Status::Completed) {
        let blamed = with(with(columns(status), "cause", "'grader'"), "failure_code", "'driver_failed'");
        runs.push(("runs_unscored_end_has_a_cause", with(blamed, "evidence", "'{}'")));
    }
    runs
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn every_check_refuses_what_it_names(pool: PgPool) {
    let organization = rows::organization(&pool).await;
    let submission = rows::submission(&pool, organization).await;
    let ended = rows::insert(&pool, organization, submission, columns(Status::Completed)).await.unwrap().id;
    let others = format!(
        "INSERT INTO api_keys (id, organization_id, role, secret_sha256)
             VALUES ('{organization}', '{organization}', 'read', sha256('secret'));
         INSERT INTO idempotency_keys VALUES ('{organization}', 'key', sha256('request'), '{submission}');
         INSERT INTO workers (id, half_slots, state) VALUES ('worker-1', 2, 'claiming');
         INSERT INTO operator_pauses (worker_id, reason) VALUES ('', 'new disks');
         INSERT INTO signing_keys VALUES (repeat('a', 64), sha256('key'));
         INSERT INTO retention VALUES ('output', now(), '{submission}');
         INSERT INTO artifact_blobs (sha256) VALUES (repeat('a', 64)), (repeat('b', 64));
         INSERT INTO run_artifacts VALUES ('{ended}', 'driver', 'a.txt', repeat('a', 64), 1, 'text/plain', 'visible')"
    );
    sqlx::raw_sql(AssertSqlSafe(others)).execute(&pool).await.unwrap();

    let mut tried = BTreeSet::new();
    for (constraint, table, write) in WRITES {
        let statement = format!("UPDATE {table} SET {write}");
        let written = sqlx::query(AssertSqlSafe(statement)).execute(&pool).await;
        assert_eq!(refused_by(written), *constraint, "{table}: {write}");
        tried.insert((*constraint).to_owned());
    }
    for (constraint, columns) in invalid_runs() {
        let described = format!("{columns:?}");
        let inserted = rows::insert(&pool, organization, submission, columns).await;
        assert!(inserted.is_err(), "{constraint} let through {described}");
        assert_eq!(refused_by(inserted), constraint, "{described}");
        tried.insert(constraint.to_owned());
    }

    let all: Vec<String> = sqlx::query_scalar(
        "SELECT conname::text FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(tried, all.into_iter().collect(), "a CHECK that no row here breaks, or one that is gone");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn every_state_has_a_row_that_no_check_refuses(pool: PgPool) {
    for status in Status::ALL {
        let run = rows::run_in(&pool, *status).await;
        assert_eq!(rows::snapshot(&pool, run.id).await["status"], status.as_str());
    }
}
