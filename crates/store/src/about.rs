//! What the database says of itself: for `assize migrate` and `assize doctor`.

use super::{Store, StoreError};

impl Store {
    /// The newest migration that was applied; 0 if there is none.
    pub async fn schema_version(&self) -> Result<i64, StoreError> {
        let newest = self
            .timed("schema_version", sqlx::query_file_scalar!("sql/queries/newest_migration.sql").fetch_one(&self.pool))
            .await?;
        Ok(newest.unwrap_or(0))
    }

    /// The limit of a statement's time on the connections of this pool, as Postgres shows it; `0` if there is none.
    pub async fn statement_timeout(&self) -> Result<String, StoreError> {
        let asked = sqlx::query_scalar("SELECT current_setting('statement_timeout')").fetch_one(&self.pool);
        self.timed("statement_timeout", asked).await
    }

    /// The server's version, as in `15.14 (Debian 15.14-0+deb12u1)`.
    pub async fn server_version(&self) -> Result<String, StoreError> {
        self.timed("server_version", sqlx::query_file_scalar!("sql/queries/server_version.sql").fetch_one(&self.pool))
            .await
    }
}
