//! What a backup needs to know of the database, and what a drill compares after a restore.
//!
//! These statements read whole tables. They run as the owner, on connections without a limit of time, and never in the
//! service; so they stand here and not in `sql/queries`, whose statements are bounded.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::{Store, StoreError, sort};

/// The names of the tables that hold rows of assize, with a statement that counts each.
const TABLES: &str = "SELECT relname::text, format('SELECT count(*) FROM %I.%I', 'public', relname)
    FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
    ORDER BY 1";

/// What identifies the content of a database at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseFacts {
    /// The newest migration.
    pub schema_version: i64,
    /// The id of the newest event of any run; 0 if there is none.
    pub newest_event: i64,
    /// The rows of each table.
    pub rows: BTreeMap<String, i64>,
}

/// A snapshot of the database, which `pg_dump --snapshot` reads while this value lives.
#[derive(Debug)]
pub struct Snapshot {
    transaction: Transaction<'static, Postgres>,
    /// The name that other sessions import it by.
    pub id: String,
    pub taken_at: DateTime<Utc>,
    pub facts: DatabaseFacts,
}

impl Snapshot {
    /// Ends the snapshot.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the connection broke while the snapshot was used.
    pub async fn release(self) -> Result<(), StoreError> {
        self.transaction.commit().await.map_err(|error| sort("release_snapshot", &error))
    }
}

/// A signed end of a run, as it is stored.
#[derive(Debug, Clone)]
pub struct SignedEnd {
    pub run: Uuid,
    pub status: String,
    pub envelope: Value,
}

impl Store {
    /// Takes a snapshot of the database and counts what is in it.
    ///
    /// # Errors
    /// [`StoreError`] if Postgres does not answer or the role may not read every table.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let taken = async {
            let mut transaction = self.pool.begin().await?;
            sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                .execute(&mut *transaction)
                .await?;
            let (id, taken_at) =
                sqlx::query_as("SELECT pg_export_snapshot(), clock_timestamp()").fetch_one(&mut *transaction).await?;
            let facts = facts(&mut transaction).await?;
            Ok::<_, sqlx::Error>(Snapshot { transaction, id, taken_at, facts })
        };
        taken.await.map_err(|error| sort("snapshot", &error))
    }

    /// Counts what is in the database now.
    ///
    /// # Errors
    /// [`StoreError`] if Postgres does not answer.
    pub async fn facts(&self) -> Result<DatabaseFacts, StoreError> {
        let counted = async { facts(&mut *self.pool.acquire().await?).await };
        counted.await.map_err(|error| sort("facts", &error))
    }

    /// Returns the tables of the schema `public`: none, if nothing was ever restored or migrated here.
    ///
    /// # Errors
    /// [`StoreError`] if Postgres does not answer.
    pub async fn tables(&self) -> Result<Vec<String>, StoreError> {
        let read = sqlx::query_as::<_, (String, String)>(TABLES).fetch_all(&self.pool).await;
        Ok(read.map_err(|error| sort("tables", &error))?.into_iter().map(|(table, _)| table).collect())
    }

    /// Returns the SHA-256 of every archive that a submission since `from` names.
    ///
    /// # Errors
    /// [`StoreError`] if Postgres does not answer.
    pub async fn archives_since(&self, from: DateTime<Utc>) -> Result<BTreeSet<String>, StoreError> {
        let text = "SELECT DISTINCT archive_sha256 FROM project_submissions
            WHERE submitted_at >= $1 AND archive_sha256 IS NOT NULL";
        self.sha256s("archives_since", text, from).await
    }

    /// Returns the SHA-256 of every artifact of a run that ended since `from`.
    ///
    /// # Errors
    /// [`StoreError`] if Postgres does not answer.
    pub async fn artifacts_since(&self, from: DateTime<Utc>) -> Result<BTreeSet<String>, StoreError> {
        let text = "SELECT DISTINCT artifact.sha256 FROM run_artifacts AS artifact
            JOIN project_evaluation_runs AS run ON run.id = artifact.run_id WHERE run.finished_at >= $1";
        self.sha256s("artifacts_since", text, from).await
    }

    /// Returns at most `count` signed ends, drawn at random.
    ///
    /// # Errors
    /// [`StoreError`] if Postgres does not answer.
    pub async fn draw_signed_ends(&self, count: i64) -> Result<Vec<SignedEnd>, StoreError> {
        let text = "SELECT id, status, envelope FROM project_evaluation_runs WHERE envelope IS NOT NULL
            ORDER BY random() LIMIT $1";
        let drawn: Result<Vec<(Uuid, String, Value)>, _> = sqlx::query_as(text).bind(count).fetch_all(&self.pool).await;
        let drawn = drawn.map_err(|error| sort("draw_signed_ends", &error))?;
        Ok(drawn.into_iter().map(|(run, status, envelope)| SignedEnd { run, status, envelope }).collect())
    }

    async fn sha256s(
        &self,
        query: &'static str,
        text: &'static str,
        from: DateTime<Utc>,
    ) -> Result<BTreeSet<String>, StoreError> {
        let read: Result<Vec<String>, _> = sqlx::query_scalar(text).bind(from).fetch_all(&self.pool).await;
        Ok(read.map_err(|error| sort(query, &error))?.into_iter().collect())
    }
}

async fn facts(connection: &mut PgConnection) -> Result<DatabaseFacts, sqlx::Error> {
    let tables: Vec<(String, String)> = sqlx::query_as(TABLES).fetch_all(&mut *connection).await?;
    let mut rows = BTreeMap::new();
    for (table, count) in tables {
        // The name comes from the catalogue, quoted by `format`.
        let counted: i64 = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut *connection).await?;
        rows.insert(table, counted);
    }
    let schema_version = if rows.contains_key("_sqlx_migrations") {
        let newest: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
            .fetch_one(&mut *connection)
            .await?;
        newest.unwrap_or(0)
    } else {
        0
    };
    let newest_event = if rows.contains_key("run_events") {
        let newest: Option<i64> =
            sqlx::query_scalar("SELECT max(id) FROM run_events").fetch_one(&mut *connection).await?;
        newest.unwrap_or(0)
    } else {
        0
    };
    Ok(DatabaseFacts { schema_version, newest_event, rows })
}
