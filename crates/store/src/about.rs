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

    /// The server's version, as in `15.14 (Debian 15.14-0+deb12u1)`.
    pub async fn server_version(&self) -> Result<String, StoreError> {
        self.timed("server_version", sqlx::query_file_scalar!("sql/queries/server_version.sql").fetch_one(&self.pool))
            .await
    }
}
