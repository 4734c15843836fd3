//! The migrations: which this program knows, which a database lacks, and what each means for programs of the release
//! before.

use std::sync::LazyLock;

use sqlx::migrate::Migrator;

use super::{Store, StoreError};

/// The migrations of this program. A database that has later ones too is accepted: a program of the release before must
/// start, and its `assize migrate` must succeed, while an upgrade is under way or after it was taken back.
static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrator = sqlx::migrate!("sql/migrations");
    migrator.set_ignore_missing(true);
    migrator
});

/// The first migration that says in its first line what it means for older programs. Those before it belong to no
/// release, and no program that runs expects the schema without them.
const FIRST_MARKED: i64 = 14;

/// What a migration means for programs of the release before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationKind {
    /// It only adds: programs of the release before work on. Its file begins with `-- expand:`.
    Expand,
    /// It removes or changes what programs of the release before use: they must be stopped first. Its file begins with
    /// `-- contract:`.
    Contract,
}

impl MigrationKind {
    /// The word that the first line of the file and the output of `assize migrate --dry-run` use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expand => "expand",
            Self::Contract => "contract",
        }
    }

    /// Reads the first line of a migration. `None` if it does not say what the migration means.
    fn read(version: i64, sql: &str) -> Option<Self> {
        let first = sql.lines().next().unwrap_or_default();
        if version < FIRST_MARKED || first.starts_with("-- contract:") {
            Some(Self::Contract)
        } else {
            first.starts_with("-- expand:").then_some(Self::Expand)
        }
    }
}

/// A migration that a database lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingMigration {
    /// The number at the beginning of the file's name.
    pub version: i64,
    /// The rest of the file's name, with spaces.
    pub description: String,
    /// What it means for programs of the release before.
    pub kind: MigrationKind,
}

/// The newest migration that this program knows.
#[must_use]
pub fn newest_migration() -> i64 {
    MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0)
}

impl Store {
    /// Brings the schema up to this program's version; waits for another process that is doing so.
    ///
    /// # Errors
    /// [`StoreError::Schema`] if a migration fails or was changed after it ran.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        MIGRATOR.run(&self.pool).await.map_err(|error| StoreError::Schema(error.to_string()))
    }

    /// Returns the migrations that [`Store::migrate`] would apply, in their order. Nothing is changed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] without an answer.
    pub async fn pending_migrations(&self) -> Result<Vec<PendingMigration>, StoreError> {
        let applied = match self.schema_version().await {
            Ok(version) => version,
            // The database has no table of migrations yet.
            Err(StoreError::Refused { .. }) => 0,
            Err(error) => return Err(error),
        };
        let pending = MIGRATOR.iter().filter(|migration| migration.version > applied);
        Ok(pending
            .map(|migration| PendingMigration {
                version: migration.version,
                description: migration.description.to_string(),
                kind: MigrationKind::read(migration.version, migration.sql.as_str()).unwrap_or(MigrationKind::Contract),
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_says_what_it_means_for_older_programs() {
        for migration in MIGRATOR.iter() {
            let kind = MigrationKind::read(migration.version, migration.sql.as_str());
            assert!(kind.is_some(), "{} must begin with `-- expand:` or `-- contract:`", migration.version);
        }
        assert_eq!(MigrationKind::read(14, "-- expand: a table\nCREATE"), Some(MigrationKind::Expand));
        assert_eq!(MigrationKind::read(14, "-- contract: a column\nALTER"), Some(MigrationKind::Contract));
        assert_eq!(MigrationKind::read(14, "ALTER TABLE runs DROP COLUMN x"), None);
        assert_eq!(MigrationKind::read(5, "-- Admission"), Some(MigrationKind::Contract));
    }

    /// A migration that takes something away cannot call itself an expansion.
    #[test]
    fn an_expansion_removes_and_changes_nothing() {
        for migration in MIGRATOR.iter() {
            let sql = migration.sql.as_str();
            if MigrationKind::read(migration.version, sql) != Some(MigrationKind::Expand) {
                continue;
            }
            let code =
                sql.lines().map(|line| line.split("--").next().unwrap_or_default()).collect::<Vec<_>>().join(" ");
            let code = code.split_whitespace().collect::<Vec<_>>().join(" ").to_uppercase();
            for word in ["DROP TABLE", "DROP COLUMN", "DROP FUNCTION", "RENAME ", " TYPE ", "SET NOT NULL"] {
                assert!(!code.contains(word), "{} contains {word}", migration.version);
            }
        }
    }
}
