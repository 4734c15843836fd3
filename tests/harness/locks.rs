//! Statements that wait for the lock of another statement.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::time::Duration;

use sqlx::PgPool;

/// The time limit of every wait in a test. Only a broken test reaches it.
const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until a statement waits for the row lock of another statement or for an advisory lock.
pub async fn someone_waits(pool: &PgPool) {
    let waiting = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock')";
    let waits = async {
        while !sqlx::query_scalar::<_, bool>(waiting).fetch_one(pool).await.unwrap() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waits).await.expect("a statement that waits for a lock");
}
