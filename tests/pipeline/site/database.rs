//! The database of a site, on the server of `DATABASE_URL`.

use std::path::{Path, PathBuf};

use assize::installation::keys;
use assize_domain::key::KeyRole;
use assize_store::{Granted, Store};
use sqlx::{Connection, PgConnection, PgPool};

/// The socket that `DATABASE_URL` names with `?host=<folder>`.
pub fn postgres_socket() -> PathBuf {
    let url = std::env::var("DATABASE_URL").unwrap();
    let (_, folder) = url.split_once("host=").expect("DATABASE_URL names a socket folder");
    Path::new(folder.split('&').next().unwrap()).join(".s.PGSQL.5432")
}

fn base_url() -> String {
    std::env::var("DATABASE_URL").expect("DATABASE_URL names a Postgres on which databases may be made")
}

/// The same server, another database.
pub fn with_database(url: &str, name: &str) -> String {
    let (address, query) = url.split_once('?').map_or((url, String::new()), |(address, q)| (address, format!("?{q}")));
    let (server, _) = address.rsplit_once('/').unwrap();
    format!("{server}/{name}{query}")
}

/// A database with the schema, and a key to submit with: its address and the key.
pub async fn make(name: String) -> (String, String) {
    let base = base_url();
    let mut connection = PgConnection::connect(&base).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    let url = with_database(&base, &name);
    let pool = PgPool::connect(&url).await.unwrap();
    sqlx::migrate!("crates/store/sql/migrations").run(&pool).await.unwrap();
    let store = Store::on(pool.clone());
    let key = keys::create_key(&store, "school", KeyRole::Submit, "").await.unwrap();
    pool.close().await;
    (url, key.text)
}

/// The same by `postgres/roles.sql`, with the schema and the key by the owner's role.
pub async fn make_with_roles(name: String) -> (String, String) {
    let url = with_database(&base_url(), &name);
    let roles = concat!(env!("CARGO_MANIFEST_DIR"), "/postgres/roles.sql");
    let output = std::process::Command::new("psql")
        .args(["-X", "-q", "-v", &format!("database={name}"), "-f", roles, &base_url()])
        .output()
        .expect("psql is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let store = Store::open(&url.replacen("//assize@", "//assize_owner@", 1), 2).unwrap();
    store.migrate().await.unwrap();
    assert_eq!(store.grant_rights().await.unwrap(), Granted::Renewed);
    let key = keys::create_key(&store, "school", KeyRole::Submit, "").await.unwrap();
    (url, key.text)
}

pub async fn delete(url: &str) {
    let name = url.split('?').next().and_then(|address| address.rsplit('/').next()).unwrap().to_owned();
    let mut connection = PgConnection::connect(&base_url()).await.unwrap();
    let query = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
    sqlx::query(sqlx::AssertSqlSafe(query)).execute(&mut connection).await.unwrap();
}
