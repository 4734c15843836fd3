//! Postgres, the only truth. No other module names sqlx.
//!
//! [`Store::connect`] opens it for a process that serves. One function per file of `sql/queries`; each call is bounded
//! by [`QUERY_TIMEOUT`], measured, and fails with a [`StoreError`] that says whether trying again may help. Writes to a
//! run go through [`run_writes`], fenced by attempt and epoch.

pub mod about;
pub mod artifacts;
pub mod backup;
mod connection;
pub mod events;
mod grants;
pub mod keys;
pub mod libpq;
pub mod migrations;
pub mod operator_pauses;
pub mod pooler;
pub mod queue;
pub mod retention;
pub mod run_writes;
pub mod runs;
pub mod signing;
pub mod submissions;
pub mod takeover;
mod types;
pub mod workers;

use std::future::Future;
use std::time::Duration;

use sqlx::postgres::PgPool;

use assize_host::clock::Stopwatch;
use assize_observe::metrics;

pub use connection::StartWait;
pub use grants::Granted;
pub use migrations::newest_migration;
use pooler::{NOT_ADMITTED, POOLER, UPDATE_SERVER};

/// The longest that a query may take before the caller is told. Every query is an index probe of
/// well under a millisecond, so this is only ever reached by a database that is in trouble.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// The advice for a database that does not answer.
const CHECK_POSTGRES: &str = "check that it runs and that database_url is right";

/// The advice for a schema of another version.
const MIGRATE: &str = "run `assize migrate`";

/// Why the database did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The address in `database_url` is not one.
    #[error("database_url is not a Postgres address: {0}")]
    Address(String),
    /// Away, overloaded or cut off; trying again may help.
    #[error("Postgres did not answer {query} ({reason}); {CHECK_POSTGRES}")]
    Unavailable { query: &'static str, reason: String },
    /// The lease is no longer ours, or the run is not where we left it: stop, write nothing more.
    #[error("{query} changed no row: the run has another lease or another state")]
    LeaseLost { query: &'static str },
    /// The statement is at odds with the schema: a fault of ours.
    #[error("Postgres refused {query}: {reason}")]
    Refused { query: &'static str, reason: String },
    /// The role, or its password or database, is not accepted; trying again does not help.
    #[error("Postgres does not let the role of database_url in at {place} ({reason}); {NOT_ADMITTED}")]
    NotAdmitted { place: String, reason: String },
    /// A pooler executes the statements of other connections.
    #[error("the pooler at {place} mixes up prepared statements ({seen}); {POOLER}")]
    UnsafePooler { place: String, seen: String },
    /// The server is older than what assize is tested with.
    #[error("the server at {place} has version {seen}, the oldest that works is 150000; {UPDATE_SERVER}")]
    ServerVersion { place: String, seen: String },
    /// The schema is older or newer than this program.
    #[error("the schema does not fit this program: {0}; {MIGRATE}")]
    Schema(String),
}

impl StoreError {
    /// Returns what an operator should do. The message ends with this advice, after a semicolon.
    #[must_use]
    pub const fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Unavailable { .. } => Some(CHECK_POSTGRES),
            Self::NotAdmitted { .. } => Some(NOT_ADMITTED),
            Self::UnsafePooler { .. } => Some(POOLER),
            Self::ServerVersion { .. } => Some(UPDATE_SERVER),
            Self::Schema(_) => Some(MIGRATE),
            Self::Address(_) | Self::LeaseLost { .. } | Self::Refused { .. } => None,
        }
    }
}

/// The pool, and all that can be asked of it.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
}

impl Store {
    /// A store on a pool that exists: for tests, which make a database each.
    #[must_use]
    pub const fn on(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Whether every migration of this program has been applied.
    ///
    /// # Errors
    /// [`StoreError::Schema`] if one is missing, [`StoreError::Unavailable`] without an answer.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        let newest = self
            .timed("check_schema", sqlx::query_file_scalar!("sql/queries/newest_migration.sql").fetch_one(&self.pool))
            .await
            .map_err(|error| match error {
                StoreError::Refused { reason, .. } => StoreError::Schema(reason),
                other => other,
            })?;
        let wanted = newest_migration();
        match newest {
            Some(version) if version >= wanted => Ok(()),
            seen => {
                Err(StoreError::Schema(format!("version {wanted} is needed, the database has {}", seen.unwrap_or(0))))
            }
        }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.timed("ping", sqlx::query_file_scalar!("sql/queries/ping.sql").fetch_one(&self.pool)).await?;
        Ok(())
    }

    /// The database's clock, by which all leases are judged.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] without an answer.
    pub async fn now(&self) -> Result<chrono::DateTime<chrono::Utc>, StoreError> {
        self.timed("now", sqlx::query_file_scalar!("sql/queries/now.sql").fetch_one(&self.pool)).await
    }

    async fn timed<T>(
        &self,
        query: &'static str,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        timed(query, work).await
    }
}

/// Bounds and measures one query, and sorts its errors.
async fn timed<T>(query: &'static str, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    let begun = Stopwatch::start();
    let answer = tokio::time::timeout(QUERY_TIMEOUT, work).await;
    metrics().observe_query(query, begun.elapsed());
    match answer {
        Err(_) => Err(StoreError::Unavailable { query, reason: format!("no answer in {} s", QUERY_TIMEOUT.as_secs()) }),
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(sort(query, &error)),
    }
}

/// A refusal names what Postgres said of the statement; everything else is a matter of reaching it.
fn sort(query: &'static str, error: &sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(refused) => {
            let code = refused.code().unwrap_or_default();
            // Class 57 is shutdown and cancellation, 53 is exhaustion, 08 a broken connection,
            // 40 a conflict between transactions, 28 a password that is being changed: all pass.
            if ["57", "53", "08", "40", "28"].iter().any(|class| code.starts_with(class)) {
                StoreError::Unavailable { query, reason: refused.message().to_owned() }
            } else {
                StoreError::Refused { query, reason: format!("{} ({code})", refused.message()) }
            }
        }
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::Encode(_)
        | sqlx::Error::RowNotFound => StoreError::Refused { query, reason: error.to_string() },
        other => StoreError::Unavailable { query, reason: other.to_string() },
    }
}
