//! What stands between this process and Postgres, proved before the process serves.
//!
//! sqlx prepares a statement in one round trip and executes it in the next, under names that every client counts from
//! one. A pooler that lends a server connection for one round trip at a time, and does not know of prepared statements
//! (PgBouncer before 1.21 in transaction mode), then executes the statement of another client, or none. So two
//! connections prepare a statement each, under the same name and with as many parameters, and execute them in turns and
//! at once: a wrong answer, or the error of a name that is unknown or taken, shows that no statement is safe.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Row};

use super::StoreError;

/// How often each of the two statements is executed.
const ROUNDS: i32 = 200;

/// The longest that the examination may take. It takes 0.1 s beside the server, and 400 round trips elsewhere.
const EXAMINE_TIMEOUT: Duration = Duration::from_secs(30);

/// The oldest server that assize runs on, as `server_version_num` writes it.
const MIN_SERVER: i32 = 150_000;

/// The advice for a pooler that mixes up statements.
pub(super) const POOLER: &str = "set its pool_mode to session, use PgBouncer 1.21 or newer with max_prepared_statements = 200, or let database_url name Postgres itself";

/// The advice for a role that is not let in.
pub(super) const NOT_ADMITTED: &str = "check the role, its password and the database in database_url, and pg_hba.conf";

/// The advice for a server that is too old.
pub(super) const UPDATE_SERVER: &str = "use Postgres 15 or newer, or correct database_url";

/// The advice for a role without a limit of time, where a connection must not set one.
pub const SET_ROLE_TIMEOUT: &str = "run ALTER ROLE ... SET statement_timeout = '5s' for the role in database_url";

/// Which server process answers a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// The same one each time, and no other connection's.
    Own,
    /// One that a pooler lends for a transaction. What a `SET` changes would reach other clients.
    Shared,
}

/// What was seen of a connection.
#[derive(Debug, Clone)]
pub struct Session {
    pub route: Route,
    /// As Postgres shows it, for example `5s`; `0` if there is none.
    pub statement_timeout: String,
    /// The shared buffers of the server, in MiB.
    pub shared_buffers_mib: u64,
    /// Whether the address is one of this host: a Unix socket or the loopback.
    pub is_local: bool,
}

impl Session {
    /// Whether the role, or the database, limits the time of a statement.
    #[must_use]
    pub fn has_statement_timeout(&self) -> bool {
        self.statement_timeout != "0"
    }
}

/// Proves that the connection of this address is safe for prepared statements, and says how it is routed.
///
/// # Errors
/// [`StoreError::Unavailable`] if nothing answers, [`StoreError::NotAdmitted`] if the role is not let in,
/// [`StoreError::ServerVersion`] for a server that is too old, [`StoreError::UnsafePooler`] for a pooler that mixes up
/// statements.
pub async fn examine_address(database_url: &str) -> Result<Session, StoreError> {
    examine(&super::connection::options(database_url)?).await
}

pub(super) async fn examine(options: &PgConnectOptions) -> Result<Session, StoreError> {
    let late = || StoreError::Unavailable {
        query: "connect",
        reason: format!("{} did not answer within {} s", place(options), EXAMINE_TIMEOUT.as_secs()),
    };
    tokio::time::timeout(EXAMINE_TIMEOUT, examine_in_turns(options)).await.unwrap_or_else(|_| Err(late()))
}

async fn examine_in_turns(options: &PgConnectOptions) -> Result<Session, StoreError> {
    let connect = || async { options.connect().await.map_err(|error| not_connected(options, &error)) };
    let (one, other) = tokio::try_join!(connect(), connect())?;
    let mut one = Prober { connection: one, statement: "SELECT 'one', $1::integer, pg_backend_pid()", answer: "one" };
    let mut other =
        Prober { connection: other, statement: "SELECT 'other', $1::integer, pg_backend_pid()", answer: "other" };
    let (statement_timeout, shared_buffers_mib) =
        one.settings().await.map_err(|error| not_connected(options, &error))?;
    let (mut seen_by_one, mut seen_by_other) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // In turns, a shared server process serves both; at once, there are two that can be exchanged.
        let (first, second) = if round % 2 == 0 {
            let first = one.ask(options, round).await?;
            (first, other.ask(options, round).await?)
        } else {
            tokio::try_join!(one.ask(options, round), other.ask(options, round))?
        };
        seen_by_one.push(first);
        seen_by_other.push(second);
    }
    for prober in [one, other] {
        if let Err(error) = prober.connection.close().await {
            tracing::debug!(%error, "a connection of the examination did not close");
        }
    }
    let is_own = |seen: &[i32]| seen.windows(2).all(|pair| pair[0] == pair[1]);
    let route = if is_own(&seen_by_one) && is_own(&seen_by_other) && seen_by_one.first() != seen_by_other.first() {
        Route::Own
    } else {
        Route::Shared
    };
    let is_local = options.get_socket().is_some() || ["localhost", "127.0.0.1", "::1"].contains(&options.get_host());
    Ok(Session { route, statement_timeout, shared_buffers_mib, is_local })
}

/// One of the two connections, with its statement.
struct Prober {
    connection: PgConnection,
    statement: &'static str,
    answer: &'static str,
}

impl Prober {
    /// Returns the limit of a statement's time and the shared buffers in MiB, after checking the version of the server.
    /// Nothing is prepared for it.
    async fn settings(&mut self) -> Result<(String, u64), sqlx::Error> {
        let text = "SELECT current_setting('statement_timeout'), current_setting('server_version_num'),
            (pg_size_bytes(current_setting('shared_buffers')) / 1048576)::text";
        let row = sqlx::raw_sql(text).fetch_one(&mut self.connection).await?;
        let version: String = row.try_get(1)?;
        check_version(&version).map_err(|refused| sqlx::Error::Configuration(Box::new(refused)))?;
        let shared_buffers: String = row.try_get(2)?;
        Ok((row.try_get(0)?, shared_buffers.parse().unwrap_or(0)))
    }

    /// Executes the statement and returns the server process that did.
    async fn ask(&mut self, options: &PgConnectOptions, round: i32) -> Result<i32, StoreError> {
        let asked: Result<(String, i32, i32), sqlx::Error> =
            sqlx::query_as(self.statement).bind(round).fetch_one(&mut self.connection).await;
        let is_unsafe = |seen: String| StoreError::UnsafePooler { place: place(options), seen };
        match asked {
            Ok((answer, echo, process)) if answer == self.answer && echo == round => Ok(process),
            Ok(_) => Err(is_unsafe("a statement got the answer of another connection's".to_owned())),
            Err(sqlx::Error::Database(error)) if mixes_up(error.code().as_deref()) => {
                Err(is_unsafe(format!("{} ({})", error.message(), error.code().unwrap_or_default())))
            }
            Err(
                error @ (sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::ColumnIndexOutOfBounds { .. }
                | sqlx::Error::Decode(_)
                | sqlx::Error::RowNotFound
                | sqlx::Error::Protocol(_)),
            ) => Err(is_unsafe(error.to_string())),
            Err(error) => Err(not_connected(options, &error)),
        }
    }
}

/// Whether this error is that of a statement which another client prepared or removed: its name is unknown or taken, or
/// it has other parameters or columns.
fn mixes_up(code: Option<&str>) -> bool {
    matches!(code, Some("26000" | "42P05" | "08P01" | "0A000"))
}

/// Why the version of the server is refused.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct OldServer(String);

fn check_version(seen: &str) -> Result<(), OldServer> {
    match seen.parse::<i32>() {
        Ok(version) if version >= MIN_SERVER => Ok(()),
        _ => Err(OldServer(seen.to_owned())),
    }
}

/// Sorts the error of a connection: what may pass, and what only a person can change.
fn not_connected(options: &PgConnectOptions, error: &sqlx::Error) -> StoreError {
    let refused = |reason: &str| StoreError::NotAdmitted { place: place(options), reason: reason.to_owned() };
    match error {
        sqlx::Error::Database(error) if is_refusal(&error.code().unwrap_or_default(), error.message()) => {
            refused(error.message())
        }
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::PermissionDenied => refused(&error.to_string()),
        sqlx::Error::Configuration(error) => match error.downcast_ref::<OldServer>() {
            Some(OldServer(seen)) => StoreError::ServerVersion { place: place(options), seen: seen.clone() },
            None => refused(&error.to_string()),
        },
        other => StoreError::Unavailable { query: "connect", reason: format!("{}: {other}", place(options)) },
    }
}

/// Whether a server or a pooler will not let this role in, whenever it comes.
fn is_refusal(code: &str, message: &str) -> bool {
    // PgBouncer has one code for everything, that of a broken protocol.
    let by_pooler = ["password authentication failed", "no such", "unsupported startup parameter", "not allowed"];
    match code {
        "08P01" => by_pooler.iter().any(|start| message.contains(start)),
        // The role has no right to connect, or the database does not exist.
        "42501" | "3D000" => true,
        _ => code.starts_with("28"),
    }
}

/// Where the options lead, without the user and the password.
fn place(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(folder) => format!("{} (port {})", folder.display(), options.get_port()),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_ends_the_wait() {
        assert!(is_refusal("28P01", "password authentication failed for user \"a\""));
        assert!(is_refusal("28000", "no pg_hba.conf entry"));
        assert!(is_refusal("3D000", "database \"a\" does not exist"));
        assert!(is_refusal("08P01", "password authentication failed"));
        assert!(is_refusal("08P01", "no such database: a"));
        for (code, message) in [
            ("57P03", "the database system is starting up"),
            ("53300", "sorry, too many clients already"),
            ("08P01", "server login has been failing, try again later (server_login_retry)"),
            ("08P01", "query_wait_timeout"),
        ] {
            assert!(!is_refusal(code, message), "{message}");
        }
    }

    #[test]
    fn an_old_server_is_refused() {
        assert!(check_version("150014").is_ok() && check_version("180000").is_ok());
        assert!(check_version("140022").is_err() && check_version("90600").is_err() && check_version("").is_err());
    }

    #[test]
    fn a_place_has_no_password() {
        let of = |url: &str| place(&super::super::connection::options(url).unwrap());
        assert_eq!(of("postgres://u:hunter2@db.example.org:6432/d"), "db.example.org:6432");
        assert_eq!(of("postgres://u:hunter2@localhost/d?host=/run/pgbouncer&port=6432"), "/run/pgbouncer (port 6432)");
    }
}
