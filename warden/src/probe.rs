//! Tries, from inside a cell, what a cell must not allow, and prints one line of JSON per check:
//! `{"check":"pids","ok":true,"seen":"256 processes","limit":"256"}`.
//!
//! A configured limit must be an enforced limit. Therefore the probe reads no configuration of the cell: it goes up to
//! each limit and slightly beyond. Each check removes what it wrote and ends what it started before it reports. `memory`
//! comes last, because the kernel may kill more than the process that the check aims at.

mod calls;
mod confinement;
pub mod grader;
pub mod memory;
mod program;
mod quantity;
mod resource;
mod view;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use assize_protocol::isolation::{ExpectedIsolation, IsolationCheck};
use nix::sys::signal::{SigSet, Signal};

/// Tries one limit.
type Check = fn(u64) -> IsolationCheck;

/// The user and group that every cell runs as: the same as in `crates/cell/src/spec.rs`.
pub const CELL_UID: u32 = 10_001;

/// Runs every check; the only argument is a [`ExpectedIsolation`] as JSON. The exit code is 0 when all held, 1 when
/// one did not, 64 for a wrong command line.
pub fn probe(args: &[OsString]) -> ExitCode {
    let walls = match args {
        [walls] => serde_json::from_str(&walls.to_string_lossy()).map_err(|error| error.to_string()),
        _ => Err(format!("{} arguments, the walls as JSON are needed", args.len())),
    };
    let walls: ExpectedIsolation = match walls {
        Ok(walls) => walls,
        Err(error) => {
            eprintln!("warden probe: {error}");
            return ExitCode::from(crate::EXIT_USAGE);
        }
    };
    // A file that gets too long is to be an error here, not the end.
    let mut deadly = SigSet::empty();
    deadly.add(Signal::SIGXFSZ);
    let _best_effort = deadly.thread_block();
    let mut all_ok = true;
    let mut report = |finding: IsolationCheck| -> io::Result<()> {
        all_ok &= finding.ok;
        let mut line = serde_json::to_vec(&finding)?;
        line.push(b'\n');
        let mut stdout = io::stdout().lock();
        stdout.write_all(&line)?;
        stdout.flush()
    };
    match run(&walls, &mut report) {
        Ok(()) if all_ok => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("warden probe: cannot report: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(walls: &ExpectedIsolation, report: &mut dyn FnMut(IsolationCheck) -> io::Result<()>) -> io::Result<()> {
    for check in confinement::CHECKS {
        report(check())?;
    }
    for finding in calls::findings() {
        report(finding)?;
    }
    report(view::devices())?;
    report(view::mounts())?;
    if !walls.masked.is_empty() {
        report(view::masked(&walls.masked))?;
    }
    if !walls.read_only.is_empty() {
        report(view::read_only(&walls.read_only))?;
    }
    if !walls.host_namespaces.is_empty() {
        report(view::namespaces(&walls.host_namespaces))?;
    }
    if let Some(profile) = &walls.apparmor {
        report(view::apparmor(profile))?;
    }
    if !walls.writable.is_empty() {
        report(grader::grader(&walls.writable))?;
    }
    for finding in resource::findings(walls) {
        report(finding)?;
    }
    let quantities: [(Option<u64>, Check); 5] = [
        (walls.pids, quantity::pids),
        (walls.workspace_bytes, |limit| quantity::bytes("workspace_bytes", "/workspace", limit)),
        (walls.workspace_inodes, |limit| quantity::inodes("workspace_inodes", "/workspace", limit)),
        (walls.tmp_bytes, |limit| quantity::bytes("tmp_bytes", "/tmp", limit)),
        (walls.shm_bytes, |limit| quantity::bytes("shm_bytes", "/dev/shm", limit)),
    ];
    for (limit, check) in quantities {
        if let Some(limit) = limit {
            report(check(limit))?;
        }
    }
    if let Some(limit) = walls.cpus {
        report(quantity::cpus(limit))?;
    }
    report(confinement::processors(&walls.processors))?;
    if let Some(limit) = walls.memory_mib {
        report(memory::memory(limit))?;
    }
    Ok(())
}
