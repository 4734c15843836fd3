//! Starts the private Postgres.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{Durability, EmbeddedError, Folder, Process, START_TIMEOUT, percent_encoded};
use assize_store::Store;

/// The name of the database and of its owner.
const NAME: &str = "assize";

/// Returns the address of the database.
pub(super) fn address(folder: &Folder) -> String {
    let sockets = percent_encoded(&folder.sockets().to_string_lossy());
    format!("postgres://{NAME}@localhost/{NAME}?host={sockets}")
}

/// Creates the files of a new database, unless they exist.
///
/// The files are created in another folder, which is renamed when it is complete. An interrupted start therefore leaves
/// nothing that looks like a database.
pub(super) async fn initialise(folder: &Folder) -> Result<(), EmbeddedError> {
    let place = folder.postgres();
    if place.join("PG_VERSION").exists() {
        return Ok(());
    }
    let fault =
        |path: &Path, error: std::io::Error| EmbeddedError::Folder { path: path.to_owned(), reason: error.to_string() };
    let aside = folder.root().join("postgres.new");
    if aside.exists() {
        std::fs::remove_dir_all(&aside).map_err(|error| fault(&aside, error))?;
    }
    folder.make_owned(&aside)?;
    let log = folder.logs().join("initdb.log");
    let mut initdb = folder.command(&program("initdb")?);
    initdb.arg("-D").arg(&aside).args([
        "-A",
        "trust",
        "-U",
        NAME,
        "-E",
        "UTF8",
        "--locale",
        "C",
        "--no-sync",
        "--no-instructions",
    ]);
    run(initdb, "", &log).await?;
    // The single-user mode requires neither a running server nor another program.
    let mut single = folder.command(&program("postgres")?);
    single.arg("--single").arg("-D").arg(&aside).arg("postgres");
    run(single, &format!("CREATE DATABASE {NAME}\n"), &log).await?;
    std::fs::rename(&aside, &place).map_err(|error| fault(&place, error))
}

async fn run(mut command: Command, input: &str, log: &Path) -> Result<(), EmbeddedError> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let failed = |reason: String, last_lines: String| EmbeddedError::Failed {
        what: program.clone(),
        reason,
        log: log.to_owned(),
        last_lines,
    };
    let io = |error: std::io::Error| failed(format!("could not be run: {error}"), String::new());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(io)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await.map_err(io)?;
    }
    let output = tokio::time::timeout(START_TIMEOUT, child.wait_with_output())
        .await
        .map_err(|_| failed(format!("did not end within {} s", START_TIMEOUT.as_secs()), String::new()))?
        .map_err(io)?;
    let output_text = [output.stdout, output.stderr].concat();
    std::fs::write(log, &output_text).map_err(io)?;
    let output_text = String::from_utf8_lossy(&output_text).trim_end().to_owned();
    // The single-user mode exits with 0 even if the statement failed.
    if output.status.success() && !output_text.contains("ERROR:") {
        return Ok(());
    }
    Err(failed(format!("ended: {}", output.status), output_text))
}

/// Starts the server and waits until it answers.
pub(super) async fn start(folder: &Folder, durability: Durability) -> Result<Process, EmbeddedError> {
    let mut command = folder.command(&program("postgres")?);
    let sockets = format!("unix_socket_directories={}", folder.sockets().display());
    command.arg("-D").arg(folder.postgres());
    for setting in [
        sockets.as_str(),
        "listen_addresses=",
        "unix_socket_permissions=0700",
        "max_connections=100",
        "log_timezone=UTC",
        "timezone=UTC",
        // A laptop that sleeps or a busy host must not fill the log.
        "log_checkpoints=off",
    ] {
        command.args(["-c", setting]);
    }
    if durability == Durability::ThrowAway {
        for setting in ["fsync=off", "synchronous_commit=off", "full_page_writes=off"] {
            command.args(["-c", setting]);
        }
    }
    let mut process = Process::spawn("Postgres", command, &folder.logs().join("postgres.log"))?;
    let fault = |reason: String| EmbeddedError::Folder { path: folder.root().to_owned(), reason };
    let store = Store::open(&address(folder), 1).map_err(|error| fault(error.to_string()))?;
    process.until(START_TIMEOUT, async || store.ping().await.map_err(|error| error.to_string())).await?;
    Ok(process)
}

/// Returns the path of a program of the newest Postgres: from PATH, or from the folders of Debian and Red Hat.
pub(super) fn program(name: &'static str) -> Result<PathBuf, EmbeddedError> {
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    // `initdb` and `postgres` must come from one folder: a server of another version rejects the files.
    let home = std::env::split_paths(&in_path)
        .map(|folder| folder.join("initdb"))
        .find(|path| path.is_file())
        .and_then(|path| path.canonicalize().ok())
        .and_then(|path| path.parent().map(Path::to_owned))
        .filter(|home| home.join("postgres").is_file());
    let home = home.or_else(|| newest(Path::new("/usr/lib/postgresql"))).or_else(|| {
        let home = PathBuf::from("/usr/pgsql/bin");
        home.join("postgres").is_file().then_some(home)
    });
    let advice = "install it (Debian: apt install postgresql), or use your own with `assize api` and `assize worker`";
    home.map(|home| home.join(name)).ok_or(EmbeddedError::Missing { what: "Postgres", advice })
}

/// Returns the folder `bin` of the highest version under `root`.
fn newest(root: &Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(root).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    versions
        .filter(|version| version.join("bin/postgres").is_file() && version.join("bin/initdb").is_file())
        .max_by_key(|version| version.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()))
        .map(|version| version.join("bin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_15_is_newer_than_9() {
        let root = tempfile::tempdir().unwrap();
        for version in ["9", "15", "14"] {
            let bin = root.path().join(version).join("bin");
            std::fs::create_dir_all(&bin).unwrap();
            std::fs::write(bin.join("postgres"), "").unwrap();
            std::fs::write(bin.join("initdb"), "").unwrap();
        }
        std::fs::create_dir_all(root.path().join("16/bin")).unwrap();
        assert_eq!(newest(root.path()), Some(root.path().join("15/bin")));
    }
}
