//! How connections to Postgres are made: what is set on each, and how long a process that starts waits for the first.
//!
//! No setting travels as the startup parameter `options`: PgBouncer refuses it, or drops it without a word. The limit of
//! a statement's time belongs to the role (`postgres/roles.sql`). If the role has none, each connection sets it, but only
//! where every connection has a server process of its own: behind a pooler that shares them, a `SET` would reach others.

use std::str::FromStr;
use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use super::pooler::{self, Route};
use super::{QUERY_TIMEOUT, Store, StoreError};
use assize_host::clock::Stopwatch;

/// The advice for an address that cannot be read.
const ADDRESS_FORM: &str = "it cannot be read; try postgres://user:password@host/database";

/// What each connection sets if its role has no limit. [`QUERY_TIMEOUT`] in milliseconds.
const SET_TIMEOUT: &str = "SET statement_timeout = 5000";

/// How long a process that starts waits for a database that does not answer yet, and how often it tries.
#[derive(Debug, Clone, Copy)]
pub struct StartWait {
    /// The longest wait. If it is zero, the process tries once.
    pub timeout: Duration,
    /// The mean pause after the first failure; each further one is twice as long.
    pub first_pause: Duration,
    /// The longest mean pause.
    pub longest_pause: Duration,
}

impl StartWait {
    /// Waits at most `timeout`, with pauses of a quarter of a second to five seconds.
    #[must_use]
    pub const fn up_to(timeout: Duration) -> Self {
        Self { timeout, first_pause: Duration::from_millis(250), longest_pause: Duration::from_secs(5) }
    }

    /// Returns the pause after this many failures: half to one and a half times its mean, as `chance` (0 to 1) decides,
    /// so that processes that lost the same database do not come back together.
    fn pause(&self, failures: u32, chance: f64) -> Duration {
        let times = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
        (self.first_pause * times).min(self.longest_pause).mul_f64(0.5 + chance.clamp(0.0, 1.0))
    }
}

impl Store {
    /// Opens a pool of at most `connections`, which connects at the first query. For commands that ask a few questions:
    /// a process that serves uses [`Store::connect`].
    ///
    /// # Errors
    /// [`StoreError::Address`] if the address cannot be read.
    pub fn open(database_url: &str, connections: u32) -> Result<Self, StoreError> {
        Ok(Self { pool: pool(options(database_url)?, connections, false) })
    }

    /// Waits until the database answers, checks what stands before it, and opens a pool of at most `connections`.
    ///
    /// # Errors
    /// Those of [`pooler::examine`]. Only [`StoreError::Unavailable`] is waited out, for as long as `wait` says.
    pub async fn connect(database_url: &str, connections: u32, wait: StartWait) -> Result<Self, StoreError> {
        let options = options(database_url)?;
        let session = first_answer(&options, wait).await?;
        let sets_timeout = match (session.has_statement_timeout(), session.route) {
            (true, _) => false,
            (false, Route::Own) => true,
            (false, Route::Shared) => {
                tracing::warn!(advice = pooler::SET_ROLE_TIMEOUT, "the role has no statement_timeout");
                false
            }
        };
        Ok(Self { pool: pool(options, connections, sets_timeout) })
    }
}

/// Returns the options of a connection to this address.
pub(super) fn options(database_url: &str) -> Result<PgConnectOptions, StoreError> {
    PgConnectOptions::from_str(database_url)
        // The error's own text quotes what it does not know, and passwords end up in odd places.
        .map_err(|_| StoreError::Address(ADDRESS_FORM.to_owned()))
        .map(|options| options.application_name("assize"))
}

fn pool(options: PgConnectOptions, connections: u32, sets_timeout: bool) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(QUERY_TIMEOUT)
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                if sets_timeout {
                    connection.execute(SET_TIMEOUT).await?;
                }
                Ok(())
            })
        })
        .connect_lazy_with(options)
}

/// Examines the connection until the database answers.
async fn first_answer(options: &PgConnectOptions, wait: StartWait) -> Result<pooler::Session, StoreError> {
    let begun = Stopwatch::start();
    let (mut failures, mut paused) = (0, Duration::ZERO);
    loop {
        let error = match pooler::examine(options).await {
            Ok(session) => return Ok(session),
            Err(error @ StoreError::Unavailable { .. }) => error,
            Err(error) => return Err(error),
        };
        failures += 1;
        let pause = wait.pause(failures, rand::random());
        // Both count: a refused connection takes no time, one that hangs takes all of it.
        if begun.elapsed().max(paused) + pause > wait.timeout {
            return Err(error);
        }
        tracing::warn!(%error, attempt = failures, next_in_ms = pause.as_millis(), "waiting for Postgres");
        tokio::time::sleep(pause).await;
        paused += pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOWHERE: &str = "postgres://nobody:hunter2@localhost/none?host=/nonexistent-socket";

    #[test]
    fn pauses_grow_to_their_limit_and_are_jittered() {
        let wait = StartWait::up_to(Duration::from_secs(60));
        let at = |failures, chance| wait.pause(failures, chance).as_millis();
        assert_eq!([at(1, 0.0), at(1, 0.5), at(1, 1.0)], [125, 250, 375]);
        assert_eq!([at(2, 0.5), at(3, 0.5), at(5, 0.5), at(6, 0.5), at(60, 0.5)], [500, 1000, 4000, 5000, 5000]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_never_answers_is_waited_for_and_then_named_without_its_password() {
        let wait = StartWait::up_to(Duration::from_secs(60));
        let error = Store::connect(NOWHERE, 1, wait).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[tokio::test]
    async fn without_a_wait_the_first_failure_counts() {
        let begun = Stopwatch::start();
        Store::connect(NOWHERE, 1, StartWait::up_to(Duration::ZERO)).await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn the_limit_that_a_connection_sets_is_that_of_a_query() {
        assert_eq!(SET_TIMEOUT, format!("SET statement_timeout = {}", QUERY_TIMEOUT.as_millis()));
    }

    #[test]
    fn an_address_that_cannot_be_read_is_not_quoted() {
        let error = Store::open("postgres://u:hunter2@h:notaport/d", 1).unwrap_err();
        assert!(matches!(error, StoreError::Address(_)) && !error.to_string().contains("hunter2"), "{error}");
    }
}
