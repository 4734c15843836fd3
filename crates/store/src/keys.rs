//! Organisations and their keys.

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{Store, StoreError};
use crate::types::Text;
use assize_domain::key::KeyRole;

/// What proves a key: the digest of its secret.
#[derive(Debug, Clone)]
pub struct StoredKey {
    pub organization_id: Uuid,
    pub role: KeyRole,
    pub secret_sha256: Vec<u8>,
    /// Now, by the database's clock.
    pub asked_at: DateTime<Utc>,
}

/// A key as an administrator sees it.
#[derive(Debug, Clone, Serialize)]
pub struct KeyRow {
    pub id: Uuid,
    pub organization: String,
    pub role: KeyRole,
    pub label: String,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A key about to be stored.
#[derive(Debug)]
pub struct NewKey<'a> {
    pub id: Uuid,
    pub organization_id: Uuid,
    pub role: KeyRole,
    pub secret_sha256: &'a [u8],
    pub label: &'a str,
    pub expires_at: Option<DateTime<Utc>>,
}

impl Store {
    /// A key that is neither revoked nor expired.
    pub async fn find_key(&self, id: Uuid) -> Result<Option<StoredKey>, StoreError> {
        self.timed(
            "find_key",
            sqlx::query_file_as!(StoredKey, "sql/queries/find_key.sql", id).fetch_optional(&self.pool),
        )
        .await
    }

    /// Stores a new key.
    pub async fn insert_key(&self, key: NewKey<'_>) -> Result<(), StoreError> {
        self.timed(
            "insert_key",
            sqlx::query_file!(
                "sql/queries/insert_key.sql",
                key.id,
                key.organization_id,
                key.role.as_str(),
                key.secret_sha256,
                key.label,
                key.expires_at
            )
            .execute(&self.pool),
        )
        .await?;
        Ok(())
    }

    /// All keys, or one organisation's, oldest first.
    pub async fn list_keys(&self, organization: Option<&str>) -> Result<Vec<KeyRow>, StoreError> {
        self.timed(
            "list_keys",
            sqlx::query_file_as!(KeyRow, "sql/queries/list_keys.sql", organization).fetch_all(&self.pool),
        )
        .await
    }

    /// Whether there was a live key to revoke.
    pub async fn revoke_key(&self, id: Uuid) -> Result<bool, StoreError> {
        let done =
            self.timed("revoke_key", sqlx::query_file!("sql/queries/revoke_key.sql", id).execute(&self.pool)).await?;
        Ok(done.rows_affected() == 1)
    }

    /// The organisation of this name; made if there is none.
    pub async fn ensure_organization(&self, name: &str) -> Result<Uuid, StoreError> {
        self.timed(
            "ensure_organization",
            sqlx::query_file_scalar!("sql/queries/ensure_organization.sql", Uuid::now_v7(), name).fetch_one(&self.pool),
        )
        .await
    }
}
