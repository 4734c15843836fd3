//! The legal moves: one table in Rust, one in a trigger.

use assize_domain::run::Status;
use sqlx::{AssertSqlSafe, PgPool};

use crate::rows::{self, columns, refused_by, run_in, run_with, with};

/// Writes all that a run in `to` has; only the trigger can refuse it.
async fn try_move(pool: &PgPool, run: rows::Run, to: Status, attempt: &str) -> Result<(), sqlx::Error> {
    let columns = with(columns(to), "attempt", attempt);
    let list: Vec<_> = columns.iter().map(|(name, expression)| format!("{name} = {expression}")).collect();
    let statement = format!("UPDATE project_evaluation_runs SET {} WHERE id = '{}'", list.join(", "), run.id);
    let done = sqlx::query(AssertSqlSafe(statement)).execute(pool).await?;
    assert_eq!(done.rows_affected(), 1);
    Ok(())
}

const fn attempt_after(to: Status) -> &'static str {
    if matches!(to, Status::Queued) { "attempt + 1" } else { "attempt" }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn the_trigger_and_the_code_know_the_same_moves(pool: PgPool) {
    for from in Status::ALL {
        for to in Status::ALL {
            let run = run_in(&pool, *from).await;
            let before = rows::snapshot(&pool, run.id).await;
            let moved = try_move(&pool, run, *to, attempt_after(*to)).await;
            let after = rows::snapshot(&pool, run.id).await;
            if from.may_become(*to) {
                moved.unwrap_or_else(|error| panic!("{from} -> {to} was refused: {error}"));
                assert_eq!(after["status"], to.as_str());
                assert_eq!(after["events"], before["events"].as_i64().unwrap() + 1, "{from} -> {to}");
            } else {
                assert!(moved.is_err(), "{from} -> {to} was let through");
                assert_eq!(refused_by(moved), "runs_move", "{from} -> {to}");
                assert_eq!(after, before, "{from} -> {to}");
            }
        }
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn the_attempt_grows_when_a_run_is_queued_again_and_only_then(pool: PgPool) {
    for from in Status::ALL {
        for to in Status::ALL.iter().filter(|to| from.may_become(**to)) {
            for step in [-1, 0, 1] {
                let run = run_with(&pool, with(columns(*from), "attempt", "2")).await;
                let moved = try_move(&pool, run, *to, &format!("attempt + {step}")).await;
                if step == i32::from(*to == Status::Queued) {
                    moved.unwrap();
                } else {
                    assert_eq!(refused_by(moved), "runs_move", "{from} -> {to}, attempt {step:+}");
                }
            }
        }
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn there_is_no_fourth_attempt(pool: PgPool) {
    for from in Status::ALL.iter().filter(|from| from.may_become(Status::Queued)) {
        let run = run_with(&pool, with(columns(*from), "attempt", "3")).await;
        let moved = try_move(&pool, run, Status::Queued, "attempt + 1").await;
        assert_eq!(refused_by(moved), "project_evaluation_runs_attempt_check", "{from}");
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn what_ended_stays_as_it_ended(pool: PgPool) {
    let writes = [
        "phase = 'tests'",
        "attempt = attempt + 1",
        "lease_epoch = lease_epoch + 1",
        "worker_id = NULL",
        "heartbeat_at = clock_timestamp()",
        "cancel_requested_at = clock_timestamp()",
        "finished_at = clock_timestamp()",
        "finished_at = NULL",
        "evidence = '{}'",
        "verdict = '{}', score = 2",
        "status = status",
        "id = id",
    ];
    for status in Status::ALL.iter().filter(|status| status.is_terminal()) {
        let run = run_in(&pool, *status).await;
        let before = rows::snapshot(&pool, run.id).await;
        for write in writes {
            let statement = format!("UPDATE project_evaluation_runs SET {write} WHERE id = '{}'", run.id);
            let written = sqlx::query(AssertSqlSafe(statement)).execute(&pool).await;
            assert_eq!(refused_by(written), "runs_move", "{status}: {write}");
        }
        assert_eq!(rows::snapshot(&pool, run.id).await, before);
    }
}
