//! The public keys of those who sign, for those who verify.

use chrono::{DateTime, Utc};

use super::{Store, StoreError};
use assize_signing::PublicKey;

/// A public key and its times.
#[derive(Debug, Clone)]
pub struct SigningKeyRow {
    /// 32 bytes.
    pub public_key: Vec<u8>,
    pub created_at: DateTime<Utc>,
    pub retired_at: Option<DateTime<Utc>>,
}

impl Store {
    /// Makes a public key known, if it is not, and returns its times.
    pub async fn ensure_signing_key(&self, key: PublicKey) -> Result<SigningKeyRow, StoreError> {
        let (id, bytes) = (key.id(), key.bytes());
        let asked = sqlx::query_file_as!(SigningKeyRow, "sql/queries/ensure_signing_key.sql", id, bytes.as_slice())
            .fetch_one(&self.pool);
        self.timed("ensure_signing_key", asked).await
    }

    /// All of them, oldest first.
    pub async fn list_signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        self.timed(
            "list_signing_keys",
            sqlx::query_file_as!(SigningKeyRow, "sql/queries/list_signing_keys.sql").fetch_all(&self.pool),
        )
        .await
    }

    /// Whether there was such a key that was not retired.
    pub async fn retire_signing_key(&self, id: &str) -> Result<bool, StoreError> {
        let done = self
            .timed(
                "retire_signing_key",
                sqlx::query_file!("sql/queries/retire_signing_key.sql", id).execute(&self.pool),
            )
            .await?;
        Ok(done.rows_affected() == 1)
    }
}
