//! What a process finds out about the way to its database, through a real PgBouncer.

use std::path::PathBuf;
use std::time::Duration;

use assize_store::pooler::{Route, examine_address};
use assize_store::{StartWait, Store, StoreError};
use sqlx::{AssertSqlSafe, PgPool};

use crate::pgbouncer::{PgBouncer, is_safe_in_transaction_mode};

const AT_ONCE: StartWait = StartWait::up_to(Duration::ZERO);

fn socket_folder(pool: &PgPool) -> PathBuf {
    pool.connect_options().get_socket().expect("DATABASE_URL names a socket folder").clone()
}

fn database(pool: &PgPool) -> String {
    pool.connect_options().get_database().unwrap().to_owned()
}

fn direct_url(pool: &PgPool) -> String {
    format!("postgres://assize@localhost/{}?host={}", database(pool), socket_folder(pool).display())
}

#[sqlx::test(migrations = false)]
async fn a_direct_connection_is_its_own_and_sets_the_limit_of_a_statement(pool: PgPool) {
    let url = direct_url(&pool);
    let session = examine_address(&url).await.unwrap();
    assert_eq!((session.route, session.has_statement_timeout()), (Route::Own, false));
    assert!(session.is_local && session.shared_buffers_mib > 0, "{session:?}");
    let store = Store::connect(&url, 2, AT_ONCE).await.unwrap();
    assert_eq!(store.statement_timeout().await.unwrap(), "5s");
    // A command that asks a few questions, or migrates, has no limit.
    let store = Store::open(&url, 1).unwrap();
    assert_eq!(store.statement_timeout().await.unwrap(), "0");
}

#[sqlx::test(migrations = false)]
async fn the_limit_of_the_role_is_left_alone(pool: PgPool) {
    let name = database(&pool);
    let role = format!("limited_{name}");
    for statement in
        [format!("CREATE ROLE \"{role}\" LOGIN"), format!("ALTER ROLE \"{role}\" SET statement_timeout = '7s'")]
    {
        sqlx::query(AssertSqlSafe(statement)).execute(&pool).await.unwrap();
    }
    let url = direct_url(&pool).replace("//assize@", &format!("//{role}@"));
    let store = Store::connect(&url, 1, AT_ONCE).await.unwrap();
    assert_eq!(store.statement_timeout().await.unwrap(), "7s");
    drop(store);
    sqlx::query(AssertSqlSafe(format!("DROP ROLE \"{role}\""))).execute(&pool).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn a_pooler_in_session_mode_is_accepted(pool: PgPool) {
    let pooler = PgBouncer::start("session", &socket_folder(&pool), "");
    let url = pooler.url(&database(&pool));
    assert_eq!(examine_address(&url).await.unwrap().route, Route::Own);
    let store = Store::connect(&url, 2, AT_ONCE).await.unwrap();
    assert_eq!(store.statement_timeout().await.unwrap(), "5s");
}

/// Debian's PgBouncer 1.18 does not know of prepared statements: two clients that prepare `sqlx_s_1` share one name.
#[sqlx::test(migrations = false)]
async fn a_pooler_in_transaction_mode_is_refused_unless_it_keeps_statements_apart(pool: PgPool) {
    let is_safe = is_safe_in_transaction_mode();
    let extra = if is_safe { "max_prepared_statements = 200" } else { "" };
    let pooler = PgBouncer::start("transaction", &socket_folder(&pool), extra);
    let url = pooler.url(&database(&pool));
    if is_safe {
        assert_eq!(examine_address(&url).await.unwrap().route, Route::Shared);
        let store = Store::connect(&url, 2, AT_ONCE).await.unwrap();
        assert_eq!(store.statement_timeout().await.unwrap(), "0", "a SET would reach other clients");
        return;
    }
    let refused = Store::connect(&url, 2, AT_ONCE).await.unwrap_err();
    assert!(matches!(refused, StoreError::UnsafePooler { .. }), "{refused}");
    let said = refused.to_string();
    assert!(said.contains(&pooler.folder().display().to_string()) && said.contains("pool_mode"), "{said}");
}

/// With a server process for each, the first answers are right: only the exchange of the two shows what is wrong.
#[sqlx::test(migrations = false)]
async fn a_pooler_that_exchanges_servers_is_refused_whatever_it_answers_first(pool: PgPool) {
    if is_safe_in_transaction_mode() {
        return;
    }
    // The least recently used server is lent next, so that both connections wander over both.
    let pooler = PgBouncer::start("transaction", &socket_folder(&pool), "server_round_robin = 1\nmin_pool_size = 4");
    let refused = examine_address(&pooler.url(&database(&pool))).await.unwrap_err();
    assert!(matches!(refused, StoreError::UnsafePooler { .. }), "{refused}");
}

#[sqlx::test(migrations = false)]
async fn who_is_not_let_in_hears_it_at_once(pool: PgPool) {
    let patient = StartWait::up_to(Duration::from_secs(3600));
    for url in [
        direct_url(&pool).replace("//assize@", "//nobody_at_all@"),
        direct_url(&pool).replace(&format!("/{}?", database(&pool)), "/no_such_database?"),
    ] {
        let refused = Store::connect(&url, 1, patient).await.unwrap_err();
        assert!(matches!(refused, StoreError::NotAdmitted { .. }), "{refused}");
    }
}
