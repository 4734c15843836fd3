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
    let expected = match args {
        [expected] => serde_json::from_str(&expected.to_string_lossy()).map_err(|error| error.to_string()),
        _ => Err(format!("{} arguments, the expected isolation as JSON is needed", args.len())),
    };
    let expected: ExpectedIsolation = match expected {
        Ok(expected) => expected,
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
    match run(&expected, &mut report) {
        Ok(()) if all_ok => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("warden probe: cannot report: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(expected: &ExpectedIsolation, report: &mut dyn FnMut(IsolationCheck) -> io::Result<()>) -> io::Result<()> {
    for check in confinement::CHECKS {
        report(check())?;
    }
    for finding in calls::findings() {
        report(finding)?;
    }
    report(view::devices())?;
    report(view::mounts())?;
    if !expected.masked.is_empty() {
        report(view::masked(&expected.masked))?;
    }
    if !expected.read_only.is_empty() {
        report(view::read_only(&expected.read_only))?;
    }
    if !expected.host_namespaces.is_empty() {
        report(view::namespaces(&expected.host_namespaces))?;
    }
    if let Some(profile) = &expected.apparmor {
        report(view::apparmor(profile))?;
    }
    if !expected.writable.is_empty() {
        report(grader::grader(&expected.writable))?;
    }
    for finding in resource::findings(expected) {
        report(finding)?;
    }
    let quantities: [(Option<u64>, Check); 5] = [
        (expected.pids, quantity::pids),
        (expected.workspace_bytes, |limit| quantity::bytes("workspace_bytes", "/workspace", limit)),
        (expected.workspace_inodes, |limit| quantity::inodes("workspace_inodes", "/workspace", limit)),
        (expected.tmp_bytes, |limit| quantity::bytes("tmp_bytes", "/tmp", limit)),
        (expected.shm_bytes, |limit| quantity::bytes("shm_bytes", "/dev/shm", limit)),
    ];
    for (limit, check) in quantities {
        if let Some(limit) = limit {
            report(check(limit))?;
        }
    }
    if let Some(limit) = expected.cpus {
        report(quantity::cpus(limit))?;
    }
    report(confinement::processors(&expected.processors))?;
    if let Some(limit) = expected.memory_mib {
        report(memory::memory(limit))?;
    }
    Ok(())
}
