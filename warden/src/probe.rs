//! Tries, from inside a cell, what a cell must not allow, and prints one line of JSON per check:
//! `{"check":"pids","ok":true,"seen":"256 processes","limit":"256"}`.
//!
//! A limit that is configured must be a limit that holds, so nothing here asks how a cell was made:
//! it goes up to each wall and a bit further. Whatever a check has written or started is gone when
//! it reports. `memory` comes last, for the kernel may take more than it was aimed at.

mod confinement;
pub mod memory;
mod quantity;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

/// What one check found. `ok` is whether the cell holds what was promised.
#[derive(Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub ok: bool,
    /// What was seen, with units.
    pub seen: String,
    /// What it was compared with.
    pub limit: String,
}

/// What to compare with. A limit that is not given is not checked, except for those that every
/// cell has.
#[derive(Default)]
pub struct Limits {
    /// Processes and threads in the cell.
    pub pids: Option<u64>,
    pub memory_mib: Option<u64>,
    pub workspace_bytes: Option<u64>,
    pub workspace_inodes: Option<u64>,
    pub tmp_bytes: Option<u64>,
    /// Open files per process.
    pub nofile: Option<u64>,
    /// CPUs' worth of time.
    pub cpus: Option<f64>,
}

/// The user and group that every cell runs as (DESIGN 4).
pub const CELL_UID: u32 = 10_001;

/// Runs every check. The exit code is 0 when all held, 1 when one did not, 64 for a wrong command
/// line.
pub fn probe(args: &[OsString]) -> ExitCode {
    let limits = match Limits::parse(args) {
        Ok(limits) => limits,
        Err(error) => {
            eprintln!("warden probe: {error}");
            return ExitCode::from(crate::EXIT_USAGE);
        }
    };
    let mut all_ok = true;
    let mut report = |finding: Finding| -> io::Result<()> {
        all_ok &= finding.ok;
        let mut line = serde_json::to_vec(&finding)?;
        line.push(b'\n');
        let mut stdout = io::stdout().lock();
        stdout.write_all(&line)?;
        stdout.flush()
    };
    match run(&limits, &mut report) {
        Ok(()) if all_ok => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("warden probe: cannot report: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(limits: &Limits, report: &mut dyn FnMut(Finding) -> io::Result<()>) -> io::Result<()> {
    for check in confinement::CHECKS {
        report(check())?;
    }
    if let Some(limit) = limits.nofile {
        report(confinement::nofile(limit))?;
    }
    if let Some(limit) = limits.pids {
        report(quantity::pids(limit))?;
    }
    if let Some(limit) = limits.workspace_bytes {
        report(quantity::bytes("workspace_bytes", "/workspace", limit))?;
    }
    if let Some(limit) = limits.workspace_inodes {
        report(quantity::inodes("workspace_inodes", "/workspace", limit))?;
    }
    if let Some(limit) = limits.tmp_bytes {
        report(quantity::bytes("tmp_bytes", "/tmp", limit))?;
    }
    if let Some(limit) = limits.cpus {
        report(quantity::cpus(limit))?;
    }
    if let Some(limit) = limits.memory_mib {
        report(memory::memory(limit))?;
    }
    Ok(())
}

impl Limits {
    fn parse(args: &[OsString]) -> Result<Self, String> {
        let mut limits = Self::default();
        let mut words = args.iter().map(|word| word.to_string_lossy());
        while let Some(flag) = words.next() {
            let value = words.next().ok_or(format!("{flag} needs a value"))?;
            let wrong = |what: &str| format!("{flag} is {value:?}, {what} is needed");
            if flag == "--cpus" {
                let cpus: f64 = value.parse().map_err(|_| wrong("a number of CPUs"))?;
                limits.cpus = Some(cpus).filter(|cpus| cpus.is_finite() && *cpus > 0.0);
                limits.cpus.ok_or(wrong("a number above 0"))?;
                continue;
            }
            let slot = match flag.as_ref() {
                "--pids" => &mut limits.pids,
                "--memory-mib" => &mut limits.memory_mib,
                "--workspace-bytes" => &mut limits.workspace_bytes,
                "--workspace-inodes" => &mut limits.workspace_inodes,
                "--tmp-bytes" => &mut limits.tmp_bytes,
                "--nofile" => &mut limits.nofile,
                _ => return Err(format!("{flag} is no limit")),
            };
            *slot = Some(value.parse().map_err(|_| wrong("a whole number"))?);
        }
        Ok(limits)
    }
}
