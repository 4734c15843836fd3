//! A private Postgres and Redis under one data folder: for trying assize out and for tests.
//!
//! Who owns what: the folder is locked with `flock` for as long as an [`Embedded`] lives, so nobody
//! else can use it; both servers are children of this process and listen on sockets in a folder
//! that only their user can enter. A server that a crashed predecessor left behind in the same
//! folder is stopped first; no other process is ever signalled.
//!
//! `initdb` and `postgres` refuse root. Where this program runs as root, both servers run as the
//! system's `postgres` user.

mod folder;
mod leftover;
mod postgres;
mod process;
mod redis_server;

pub use folder::Folder;
pub use process::Process;

use std::path::{Path, PathBuf};
use std::time::Duration;

use assize_host::Signal;

/// The longest that a server may take to answer. A recovery after a crash takes seconds; the first start on an
/// emulated processor took a minute.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// Between two tries to reach a server that is starting.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// The longest that Postgres may take to stop, in the face of clients that hold on.
const POSTGRES_STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// Redis has nothing to save.
const REDIS_STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the servers cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error("{} is in use by another `assize` (process {holder}); stop that one, or take another folder with --data", .folder.display())]
    InUse { folder: PathBuf, holder: String },
    #[error("cannot use {}: {reason}", .path.display())]
    Folder { path: PathBuf, reason: String },
    #[error("{what} is not installed; {advice}")]
    Missing { what: &'static str, advice: &'static str },
    #[error("{what} {reason}; its log is {}{}", .log.display(), tail(.last_lines))]
    Failed { what: String, reason: String, log: PathBuf, last_lines: String },
}

fn tail(last_lines: &str) -> String {
    if last_lines.is_empty() { String::new() } else { format!(" and ends with:\n{last_lines}") }
}

/// How much a crash of the host may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing that was confirmed.
    Safe,
    /// Everything: the folder is thrown away anyway.
    ThrowAway,
}

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    Postgres,
    Redis,
}

/// Both servers, running.
pub struct Embedded {
    /// Of the database `assize`.
    pub database_url: String,
    pub redis_url: String,
    /// Held to the end: another process may use the folder only when both servers are gone.
    pub folder: Folder,
    durability: Durability,
    postgres: Process,
    redis: Process,
}

impl Embedded {
    /// Starts both under `data` and waits until they answer.
    ///
    /// # Errors
    /// [`EmbeddedError`] says which server could not be had and why; nothing is left running.
    pub async fn start(data: &Path, durability: Durability) -> Result<Self, EmbeddedError> {
        let folder = Folder::open(data)?;
        leftover::stop_postgres(&folder).await?;
        leftover::stop_redis(&folder).await?;
        let postgres = async {
            postgres::initialise(&folder).await?;
            postgres::start(&folder, durability).await
        };
        let (postgres, redis) = tokio::join!(postgres, redis_server::start(&folder));
        match (postgres, redis) {
            (Ok(postgres), Ok(redis)) => {
                let (database_url, redis_url) = (postgres::address(&folder), redis_server::address(&folder));
                Ok(Self { database_url, redis_url, folder, durability, postgres, redis })
            }
            (Ok(mut postgres), Err(error)) => {
                postgres.stop(Signal::Interrupt, POSTGRES_STOP_TIMEOUT).await;
                Err(error)
            }
            (Err(error), Ok(mut redis)) => {
                redis.stop(Signal::Terminate, REDIS_STOP_TIMEOUT).await;
                Err(error)
            }
            (Err(error), Err(_)) => Err(error),
        }
    }

    /// Waits until one of them ends, and says which and how. Cancelling this loses nothing.
    pub async fn ended(&mut self) -> EmbeddedError {
        tokio::select! {
            error = self.postgres.ended() => error,
            error = self.redis.ended() => error,
        }
    }

    /// The process id of a server, while it runs.
    #[must_use]
    pub fn id(&self, server: ServerKind) -> Option<u32> {
        match server {
            ServerKind::Postgres => self.postgres.id(),
            ServerKind::Redis => self.redis.id(),
        }
    }

    /// Starts a server that has ended again, on the same files, and waits until it answers.
    ///
    /// # Errors
    /// [`EmbeddedError`] if it cannot be had again.
    pub async fn start_again(&mut self, server: ServerKind) -> Result<(), EmbeddedError> {
        // Until it is waited for, a dead server still has its process id, and Postgres takes it for alive.
        match server {
            ServerKind::Postgres => {
                self.postgres.ended().await;
                self.postgres = postgres::start(&self.folder, self.durability).await?;
            }
            ServerKind::Redis => {
                self.redis.ended().await;
                self.redis = redis_server::start(&self.folder).await?;
            }
        }
        Ok(())
    }

    /// Stops Redis, then Postgres, each within its timeout. What did not stop is said.
    pub async fn stop(mut self) -> Vec<String> {
        let redis = self.redis.stop(Signal::Terminate, REDIS_STOP_TIMEOUT).await;
        let postgres = self.postgres.stop(Signal::Interrupt, POSTGRES_STOP_TIMEOUT).await;
        [redis, postgres].into_iter().flatten().collect()
    }
}

/// `text` so that it can stand in an address.
fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_anything_in_it_stands_in_an_address() {
        assert_eq!(percent_encoded("/a b/ü?&#%"), "/a%20b/%C3%BC%3F%26%23%25");
    }
}
