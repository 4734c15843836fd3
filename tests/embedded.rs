//! A private Postgres and Redis, started by the real binary. Needs both to be installed; without
//! them these tests say so and prove nothing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn assize(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assize"));
    command.args(arguments).env("ASSIZE", env!("CARGO_BIN_EXE_assize")).env("NO_COLOR", "1");
    command.output().unwrap()
}

fn is_installed() -> bool {
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let has = |name: &str| std::env::split_paths(&in_path).any(|folder| folder.join(name).is_file());
    let usual = || Path::new("/usr/lib/postgresql").is_dir();
    let both = (has("initdb") || usual()) && has("redis-server");
    if !both {
        eprintln!("skipped: no Postgres or no Redis is installed here");
    }
    both
}

/// A folder that the servers' own user can go through when the tests run as root.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let outer = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o711)).tempdir().unwrap();
    let data = outer.path().join("data");
    (outer, data)
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Ids of the servers that a folder names as its own.
fn servers(data: &Path) -> Vec<u32> {
    ["postgres/postmaster.pid", "redis/redis.pid"]
        .iter()
        .filter_map(|file| std::fs::read_to_string(data.join(file)).ok()?.lines().next()?.trim().parse().ok())
        .collect()
}

fn is_alive(pid: &u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

const MIGRATE: &str = "ASSIZE_DATABASE_URL=$DATABASE_URL ASSIZE_REDIS_URL=$REDIS_URL exec \"$ASSIZE\" migrate --json";

#[test]
fn a_command_has_both_services_and_its_own_exit_code() {
    if !is_installed() {
        return;
    }
    let output = assize(&["with-services", "--", "sh", "-c", &format!("{}; exit 7", MIGRATE.replace("exec ", ""))]);
    assert_eq!(output.status.code(), Some(7), "{}", err(&output));
    assert!(out(&output).contains("schema_version"), "{}", out(&output));
}

#[test]
fn a_folder_has_one_user_at_a_time() {
    if !is_installed() {
        return;
    }
    let (_outer, data) = folder();
    let data = data.to_str().unwrap();
    let inner = format!("\"$ASSIZE\" with-services --data '{data}' -- true");
    let output = assize(&["with-services", "--data", data, "--", "sh", "-c", &inner]);
    assert_eq!(output.status.code(), Some(2), "{}", err(&output));
    assert!(err(&output).contains(&format!("{data} is in use by another `assize` (process ")), "{}", err(&output));
    assert!(err(&output).contains("--data"), "{}", err(&output));
}

#[test]
fn data_stay_and_nothing_keeps_running() {
    if !is_installed() {
        return;
    }
    let (_outer, data) = folder();
    let path = data.to_str().unwrap();
    let output = assize(&["with-services", "--data", path, "--", "sh", "-c", MIGRATE]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(servers(&data), [] as [u32; 0]);
    let list = "ASSIZE_DATABASE_URL=$DATABASE_URL exec \"$ASSIZE\" key list";
    let output = assize(&["with-services", "--data", path, "--", "sh", "-c", list]);
    assert_eq!(output.status.code(), Some(0), "the schema is gone: {}", err(&output));
}

#[test]
fn servers_of_a_killed_predecessor_are_stopped_and_the_folder_used_again() {
    if !is_installed() {
        return;
    }
    let (_outer, data) = folder();
    let path = data.to_str().unwrap();
    let output = assize(&["with-services", "--data", path, "--", "sh", "-c", "kill -9 $PPID"]);
    assert_eq!(output.status.code(), None, "it was to be killed");
    let left: Vec<u32> = servers(&data);
    assert!(left.len() == 2 && left.iter().all(is_alive), "both were to be left behind: {left:?}");
    let output = assize(&["with-services", "--data", path, "--", "sh", "-c", MIGRATE]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(!left.iter().any(is_alive), "one still runs: {left:?}");
}

#[test]
fn a_path_that_is_too_long_for_sockets_works_all_the_same() {
    if !is_installed() {
        return;
    }
    let (_outer, data) = folder();
    let data = data.join("a folder with a long name".repeat(5));
    let output = assize(&["with-services", "--data", data.to_str().unwrap(), "--", "sh", "-c", MIGRATE]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
}

#[test]
fn a_command_that_is_not_there_is_named() {
    if !is_installed() {
        return;
    }
    let output = assize(&["with-services", "--", "/no/such/command"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("/no/such/command"), "{}", err(&output));
}
