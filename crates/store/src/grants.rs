//! The rights of the roles under which the processes run.

use std::time::Duration;

use super::{Store, StoreError, newest_migration};

/// The roles of `postgres/roles.sql` that get rights.
const ROLES: [&str; 3] = ["assize_api", "assize_worker", "assize_monitor"];

const GRANTS: &str = include_str!("../sql/grants.sql");

/// The longest that the grants may take. They wait for nothing but another `assize migrate`.
const GRANT_TIMEOUT: Duration = Duration::from_secs(60);

/// Whether the roles got their rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granted {
    /// Each role has the rights of `sql/grants.sql` and no others.
    Renewed,
    /// The server has none of the roles: all processes use the owner.
    NoRoles,
    /// A newer program has migrated this database, and its rights stay: its processes need them.
    NewerSchema,
}

impl Store {
    /// Gives the roles of the processes the rights that this version needs, and takes all others away, in one
    /// transaction. To be called as the owner, after [`Store::migrate`].
    ///
    /// # Errors
    /// [`StoreError::Schema`] if only some of the roles exist or the caller is not the owner.
    pub async fn grant_rights(&self) -> Result<Granted, StoreError> {
        let late = || StoreError::Unavailable {
            query: "grant_rights",
            reason: format!("no answer in {} s", GRANT_TIMEOUT.as_secs()),
        };
        tokio::time::timeout(GRANT_TIMEOUT, self.grant()).await.unwrap_or_else(|_| Err(late()))
    }

    async fn grant(&self) -> Result<Granted, StoreError> {
        let schema = |reason: String| StoreError::Schema(format!("the rights of the roles were not renewed: {reason}"));
        let sorted = |error: sqlx::Error| match super::sort("grant_rights", &error) {
            StoreError::Refused { reason, .. } => schema(reason),
            other => other,
        };
        let mut transaction = self.pool.begin().await.map_err(sorted)?;
        let roles: Vec<String> = sqlx::query_scalar("SELECT rolname::text FROM pg_roles WHERE rolname = ANY ($1)")
            .bind(ROLES.as_slice())
            .fetch_all(&mut *transaction)
            .await
            .map_err(sorted)?;
        if roles.is_empty() {
            return Ok(Granted::NoRoles);
        }
        let newest: Option<i64> = sqlx::query_file_scalar!("sql/queries/newest_migration.sql")
            .fetch_one(&mut *transaction)
            .await
            .map_err(sorted)?;
        if newest > Some(newest_migration()) {
            return Ok(Granted::NewerSchema);
        }
        if let Some(missing) = ROLES.iter().find(|role| !roles.iter().any(|known| known == *role)) {
            return Err(schema(format!("there is no role {missing}; run postgres/roles.sql again")));
        }
        // Two at once would update the same rows of the catalogue, which Postgres refuses.
        sqlx::raw_sql("SELECT pg_advisory_xact_lock(7020116192)").execute(&mut *transaction).await.map_err(sorted)?;
        sqlx::raw_sql(GRANTS).execute(&mut *transaction).await.map_err(sorted)?;
        transaction.commit().await.map_err(sorted)?;
        Ok(Granted::Renewed)
    }
}
