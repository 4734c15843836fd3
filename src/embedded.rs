//! A private Postgres and Redis under one data folder, for trying assize out and for tests.
//!
//! The folder is locked with `flock` while an [`Embedded`] exists, so that no other process uses it. Both servers are
//! children of this process and listen on sockets in a folder that only their user can enter. A server that an earlier
//! process left behind in the same folder is stopped first; no other process is ever signalled.
//!
//! `initdb` and `postgres` do not run as root. If this program runs as root, both servers run as the system's user
//! `postgres`.

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

/// The longest that a server may take to answer after its start. Recovery after a crash takes seconds; the first start
/// on an emulated processor took a minute.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// The time between two attempts to reach a server that starts.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// The longest that Postgres may take to stop while clients are still connected.
const POSTGRES_STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// The longest that Redis may take to stop. It has nothing to save.
const REDIS_STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the servers cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error("{} is in use by another `assize` (process {holder}); stop it, or use another folder with --data", .folder.display())]
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
    /// No confirmed write is lost.
    Safe,
    /// Everything may be lost, because the folder is temporary.
    ThrowAway,
}

/// One of the two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    Postgres,
    Redis,
}

/// Postgres and Redis, running.
pub struct Embedded {
    /// The address of the database `assize`.
    pub database_url: String,
    pub redis_url: String,
    /// The folder is locked until both servers have ended, so that no other process uses it before.
    pub folder: Folder,
    durability: Durability,
    postgres: Process,
    redis: Process,
}

impl Embedded {
    /// Starts both servers with files under `data` and waits until they answer.
    ///
    /// # Errors
    /// [`EmbeddedError`] names the server that did not start, and the reason. Nothing is left running.
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

    /// Waits until a server ends, and returns which one and how. The future can be dropped and called again.
    pub async fn ended(&mut self) -> EmbeddedError {
        tokio::select! {
            error = self.postgres.ended() => error,
            error = self.redis.ended() => error,
        }
    }

    /// Returns the process id of a server, while it runs.
    #[must_use]
    pub fn id(&self, server: ServerKind) -> Option<u32> {
        match server {
            ServerKind::Postgres => self.postgres.id(),
            ServerKind::Redis => self.redis.id(),
        }
    }

    /// Restarts a server that has ended, on the same files, and waits until it answers.
    ///
    /// # Errors
    /// [`EmbeddedError`] if it does not start.
    pub async fn start_again(&mut self, server: ServerKind) -> Result<(), EmbeddedError> {
        // Until its parent has waited for it, a dead server keeps its process id, and a new Postgres would take the old
        // one for alive.
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

    /// Stops Redis, then Postgres, each within its timeout. Returns a sentence for each server that had to be killed.
    pub async fn stop(mut self) -> Vec<String> {
        let redis = self.redis.stop(Signal::Terminate, REDIS_STOP_TIMEOUT).await;
        let postgres = self.postgres.stop(Signal::Interrupt, POSTGRES_STOP_TIMEOUT).await;
        [redis, postgres].into_iter().flatten().collect()
    }
}

/// Returns the path of a program that comes with the server, of the newest Postgres that is installed.
///
/// # Errors
/// [`EmbeddedError::Missing`] if no Postgres is installed.
pub fn postgres_program(name: &'static str) -> Result<PathBuf, EmbeddedError> {
    postgres::program(name)
}

/// Returns `text` percent-encoded for use in an address.
fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_can_be_part_of_an_address() {
        assert_eq!(percent_encoded("/a b/ü?&#%"), "/a%20b/%C3%BC%3F%26%23%25");
    }
}
