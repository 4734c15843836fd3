//! Starts the private Redis, which stores nothing on disk because its content may be lost at any time.

use std::path::{Path, PathBuf};

use super::{EmbeddedError, Folder, Process, START_TIMEOUT, percent_encoded};
use crate::redis::Redis;

fn socket(folder: &Folder) -> PathBuf {
    folder.sockets().join("redis.sock")
}

/// Returns the file that Redis writes its process id to.
pub(super) fn pid_file(folder: &Folder) -> PathBuf {
    folder.redis().join("redis.pid")
}

/// Returns the address of the server in the form of the redis crate.
pub(super) fn address(folder: &Folder) -> String {
    format!("redis+unix://{}", percent_encoded(&socket(folder).to_string_lossy()))
}

/// Starts the server and waits until it answers.
pub(super) async fn start(folder: &Folder) -> Result<Process, EmbeddedError> {
    let mut command = folder.command(&program()?);
    command.current_dir(folder.redis());
    // Without a file as its first argument, Redis reads no configuration file: only these arguments count.
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
    command.args(["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]);
    command.arg("--unixsocket").arg(socket(folder)).args(["--unixsocketperm", "700"]);
    command.arg("--pidfile").arg(pid_file(folder));
    let mut process = Process::spawn("Redis", command, &folder.logs().join("redis.log"))?;
    let redis = Redis::open(&address(folder), "embedded")
        .map_err(|error| EmbeddedError::Folder { path: folder.root().to_owned(), reason: error.to_string() })?;
    process.until(START_TIMEOUT, async || redis.ping().await.map_err(|error| error.to_string())).await?;
    Ok(process)
}

fn program() -> Result<PathBuf, EmbeddedError> {
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let usual = [PathBuf::from("/usr/bin"), PathBuf::from("/usr/local/bin")];
    std::env::split_paths(&in_path)
        .chain(usual)
        .flat_map(|folder| ["redis-server", "valkey-server"].map(|name| folder.join(name)))
        .find(|path: &PathBuf| Path::is_file(path))
        .ok_or(EmbeddedError::Missing { what: "Redis", advice: "install it (Debian: apt install redis-server)" })
}
