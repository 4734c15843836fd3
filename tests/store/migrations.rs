//! Migrations run on empty databases and on full ones, and twice as well as once.

use std::path::Path;

use assize_domain::run::Status;
use assize_store::{Store, StoreError};
use serde_json::Value;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use uuid::Uuid;

use crate::rows::{self, WORKER};

async fn migrator() -> Migrator {
    Migrator::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/store/sql/migrations")).await.unwrap()
}

/// Tables, columns, constraints, indexes, triggers and functions of the schema, and what was applied when.
async fn schema(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT format('%s %s %s', 'column', attrelid::regclass, to_jsonb(pg_attribute)) FROM pg_attribute
             JOIN pg_class ON pg_class.oid = attrelid WHERE relnamespace = 'public'::regnamespace
         UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
         UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
         UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
         UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
         UNION ALL SELECT to_jsonb(_sqlx_migrations)::text FROM _sqlx_migrations
         ORDER BY 1",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

/// Every row of every table that there is, but for the list of migrations.
async fn contents(pool: &PgPool) -> Vec<Value> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
         AND relname <> '_sqlx_migrations' ORDER BY 1",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let mut all = Vec::new();
    for table in tables {
        let statement = format!("SELECT to_jsonb(row) FROM \"{table}\" AS row ORDER BY to_jsonb(row)::text");
        all.extend(sqlx::query_scalar::<_, Value>(sqlx::AssertSqlSafe(statement)).fetch_all(pool).await.unwrap());
    }
    all
}

async fn exists(pool: &PgPool, table: &str) -> bool {
    sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(table).fetch_one(pool).await.unwrap()
}

/// Rows in every table that the schema has at this version.
async fn populate(pool: &PgPool) {
    if !exists(pool, "organizations").await {
        return;
    }
    let organization = rows::organization(pool).await;
    sqlx::query("INSERT INTO api_keys (id, organization_id, role, secret_sha256) VALUES ($1, $2, 'read', sha256('x'))")
        .bind(Uuid::now_v7())
        .bind(organization)
        .execute(pool)
        .await
        .unwrap();
    if !exists(pool, "project_evaluation_runs").await {
        return;
    }
    for status in Status::ALL {
        let run = rows::run_in(pool, *status).await;
        sqlx::query("INSERT INTO idempotency_keys VALUES ($1, 'key', sha256('request'), $2)")
            .bind(run.organization)
            .bind(run.submission)
            .execute(pool)
            .await
            .unwrap();
    }
}

#[sqlx::test(migrations = false)]
async fn migrations_run_twice_change_nothing(pool: PgPool) {
    let store = Store::on(pool.clone());
    let unready = store.check_schema().await;
    assert!(matches!(unready, Err(StoreError::Schema(_))), "{unready:?}");

    store.migrate().await.unwrap();
    store.check_schema().await.unwrap();
    populate(&pool).await;
    let before = (schema(&pool).await, contents(&pool).await);
    assert!(!before.1.is_empty());
    store.migrate().await.unwrap();
    store.check_schema().await.unwrap();
    assert_eq!((schema(&pool).await, contents(&pool).await), before);
}

#[sqlx::test(migrations = false)]
async fn two_processes_may_migrate_at_once(pool: PgPool) {
    let store = Store::on(pool.clone());
    let (one, other) = tokio::join!(store.migrate(), store.migrate());
    one.unwrap();
    other.unwrap();
    store.check_schema().await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn every_version_is_migrated_with_its_rows_in_place(pool: PgPool) {
    let migrator = migrator().await;
    let versions: Vec<_> = migrator.iter().map(|migration| migration.version).collect();
    for (at, version) in versions.iter().enumerate() {
        sqlx::raw_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public").execute(&pool).await.unwrap();
        migrator.run_to(*version, &pool).await.unwrap();
        populate(&pool).await;
        let before = contents(&pool).await;

        let store = Store::on(pool.clone());
        assert_eq!(store.schema_version().await.unwrap(), *version);
        assert_eq!(store.check_schema().await.is_ok(), at + 1 == versions.len(), "version {version}");
        store.migrate().await.unwrap();
        store.check_schema().await.unwrap();

        let after = contents(&pool).await;
        for row in &before {
            let kept = row.as_object().unwrap();
            let is_kept = |row: &Value| kept.iter().all(|(column, value)| row.get(column) == Some(value));
            assert!(after.iter().any(is_kept), "version {version} lost {row}");
        }
        let room = rows::wanted(100, 100, 100);
        let queued = before.iter().filter(|row| row["status"] == "queued").count();
        assert_eq!(store.claim_runs(WORKER, room).await.unwrap().len(), queued, "version {version}");
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_migration_that_was_changed_after_it_ran_is_refused(pool: PgPool) {
    sqlx::query("UPDATE _sqlx_migrations SET checksum = 'another' WHERE version = 1").execute(&pool).await.unwrap();
    let migrated = Store::on(pool).migrate().await;
    assert!(matches!(migrated, Err(StoreError::Schema(_))), "{migrated:?}");
}

#[sqlx::test(migrations = false)]
async fn names_that_wait_are_counted_as_the_service_counts_them(pool: PgPool) {
    let migrator = migrator().await;
    migrator.run_to(10, &pool).await.unwrap();
    let names = [
        "ada",
        "Ada Lovelace",
        "  ada  lovelace ",
        "a\u{200b}d\u{ad}a\u{3164}\u{115f} lovelace\u{e0041}\u{fe0f}\u{61c}",
        "ａｄａ\u{3000}ｌｏｖｅｌａｃｅ",
        "\u{202e}ada\u{2028}lovelace\u{feff}\u{2800}\u{fff9}",
        "\u{212a}im",
        "ﬁn",
    ];
    let set_name = "UPDATE project_evaluation_runs SET user_ref = $2 WHERE id = $1";
    let mut waiting = Vec::new();
    for name in names {
        let run = rows::run_in(&pool, Status::Queued).await;
        sqlx::query(set_name).bind(run.id).bind(name).execute(&pool).await.unwrap();
        waiting.push((run.id, name));
    }
    let invisible = rows::run_in(&pool, Status::Queued).await;
    sqlx::query(set_name).bind(invisible.id).bind("\u{200b}").execute(&pool).await.unwrap();
    let ended = rows::run_in(&pool, Status::Completed).await;

    Store::on(pool.clone()).migrate().await.unwrap();
    let row = async |id: Uuid| {
        let query = "SELECT user_ref, coalesce(user_name, user_ref) FROM project_evaluation_runs WHERE id = $1";
        sqlx::query_as::<_, (String, String)>(query).bind(id).fetch_one(&pool).await.unwrap()
    };
    for (id, name) in waiting {
        assert_eq!(row(id).await, (assize_domain::unicode::fold(name), name.to_owned()));
    }
    assert_eq!(row(invisible.id).await.0, "\u{200b}", "a name is never empty");
    assert_eq!(row(ended.id).await.0, row(ended.id).await.1);
}

/// A program of the release before starts, and migrates, on the schema of the release after it.
#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_newer_schema_is_accepted_and_left_as_it_is(pool: PgPool) {
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (9999, 'of a later release', true, '\\x00', 0)";
    sqlx::query(newer).execute(&pool).await.unwrap();
    let store = Store::on(pool.clone());
    let before = schema(&pool).await;
    store.migrate().await.unwrap();
    store.check_schema().await.unwrap();
    assert_eq!(schema(&pool).await, before);
    assert_eq!(store.pending_migrations().await.unwrap(), []);
}

#[sqlx::test(migrations = false)]
async fn an_empty_database_lacks_every_migration(pool: PgPool) {
    let store = Store::on(pool);
    let pending = store.pending_migrations().await.unwrap();
    assert_eq!(pending.first().map(|first| (first.version, first.description.as_str())), Some((1, "tenants")));
    assert_eq!(pending.last().map(|last| last.version), Some(assize_store::newest_migration()));
    store.migrate().await.unwrap();
    assert_eq!(store.pending_migrations().await.unwrap(), []);
}
