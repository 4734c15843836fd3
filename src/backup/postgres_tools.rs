//! `pg_dump` and `pg_restore`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::BackupError;
use crate::embedded;

/// The last bytes of an error of these programs that are shown.
const MAX_SHOWN: usize = 2000;

/// Entries of a dump that are not restored: they belong to the database or to the server, not to assize. The schema and
/// the extensions exist, and the rights are given anew by the names of this server's roles.
const SKIPPED: [&str; 5] = ["SCHEMA", "EXTENSION", "COMMENT", "ACL", "DATABASE"];

/// Dumps what the snapshot shows, in the custom format.
pub(super) async fn dump(database_url: &str, snapshot: &str, to: &Path) -> Result<(), BackupError> {
    let mut command = tool("pg_dump", database_url)?;
    command.args(["--format=custom", "--no-password", "--lock-wait-timeout=60000"]);
    command.arg(format!("--snapshot={snapshot}")).arg("--file").arg(to);
    run("pg_dump", command, None).await.map(|_| ())
}

/// Restores a dump into an empty database, all of it or nothing.
pub(super) async fn restore(database_url: &str, dump: &Path) -> Result<(), BackupError> {
    let mut list = Command::new(program("pg_restore")?);
    list.arg("--list").arg(dump);
    let entries = run("pg_restore", list, None).await?;
    let wanted: Vec<&str> = entries.lines().filter(|line| is_wanted(line)).collect();
    // pg_restore reads the list from a file; stdin is one.
    let mut command = tool("pg_restore", database_url)?;
    let database = database_name(database_url);
    command.args(["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", "--no-password"]);
    command.args(["--use-list", "/dev/stdin", "--dbname", &database]).arg(dump);
    run("pg_restore", command, Some(wanted.join("\n") + "\n")).await.map(|_| ())
}

/// Whether a line of `pg_restore --list` is an entry that is restored. Behind three numbers stands its type.
fn is_wanted(line: &str) -> bool {
    let Some((_, entry)) = line.split_once("; ") else { return false };
    let mut words = entry.split_whitespace().skip(2);
    match words.next() {
        None => false,
        Some("DEFAULT") => words.next() != Some("ACL"),
        Some(kind) => !line.starts_with(';') && !SKIPPED.contains(&kind),
    }
}

/// Returns a program with the connection in its environment, where other users of the host cannot read the password.
fn tool(name: &'static str, database_url: &str) -> Result<Command, BackupError> {
    let mut command = Command::new(program(name)?);
    for (variable, value) in assize_store::libpq::environment(database_url)? {
        command.env(variable, value);
    }
    Ok(command)
}

fn database_name(database_url: &str) -> String {
    let variables = assize_store::libpq::environment(database_url).unwrap_or_default();
    variables.into_iter().find(|(name, _)| *name == "PGDATABASE").map_or_else(String::new, |(_, value)| value)
}

fn program(name: &'static str) -> Result<PathBuf, BackupError> {
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&in_path)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .or_else(|| embedded::postgres_program(name).ok().filter(|path| path.is_file()))
        .ok_or(BackupError::NoProgram { program: name })
}

/// Runs a program and returns its output.
async fn run(name: &'static str, mut command: Command, input: Option<String>) -> Result<String, BackupError> {
    let failed = |reason: String| BackupError::Program { program: name, reason };
    let io = |error: std::io::Error| failed(format!("it could not be run: {error}"));
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(io)?;
    let writing = async {
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            // A program that ends early says why itself.
            stdin.write_all(input.as_bytes()).await.ok();
        }
    };
    writing.await;
    let output = child.wait_with_output().await.map_err(io)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let mut start = text.len().saturating_sub(MAX_SHOWN);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let shown: Vec<&str> = text[start..].lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Err(failed(format!("{} ({})", shown.join("; "), output.status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_belongs_to_assize_is_restored() {
        for line in [
            "215; 1259 16386 TABLE public organizations assize",
            "3541; 0 16386 TABLE DATA public organizations assize",
            "250; 1255 16700 FUNCTION public claim_runs(text) assize",
            "3400; 2606 16392 CONSTRAINT public organizations organizations_pkey assize",
            "3402; 2604 16392 DEFAULT public api_keys label assize",
            "3401; 2620 16392 TRIGGER public project_evaluation_runs runs_move assize",
        ] {
            assert!(is_wanted(line), "{line}");
        }
        for line in [
            "; Archive created at 2026-11-30",
            "5; 2615 2200 SCHEMA - public postgres",
            "2; 3079 16388 EXTENSION - pg_stat_statements ",
            "3560; 0 0 COMMENT - EXTENSION pg_stat_statements ",
            "3561; 0 0 ACL public TABLE organizations assize",
            "3562; 0 0 ACL - SCHEMA public assize",
            "3563; 826 16399 DEFAULT ACL public DEFAULT PRIVILEGES FOR TABLES assize",
            "",
        ] {
            assert!(!is_wanted(line), "{line}");
        }
    }
}
