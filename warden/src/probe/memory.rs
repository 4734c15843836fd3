//! Measures how much memory a cell can take before the kernel kills a process.

use std::ffi::OsString;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, Stdio};

use nix::sys::signal::Signal;

use assize_protocol::isolation::IsolationCheck;

/// Memory that is taken in one step, in MiB: the precision of the measurement.
const STEP_MIB: u64 = 8;

/// Takes memory in a child process until the kernel kills it.
pub fn memory(limit_mib: u64) -> IsolationCheck {
    let finding = |ok, seen: String| IsolationCheck::new("memory", ok, seen, format!("{limit_mib} MiB"));
    let most_mib = limit_mib.saturating_mul(2);
    let spawned = Command::new("/proc/self/exe")
        .args(["probe-memory", &most_mib.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return finding(false, format!("no process for it: {error}")),
    };
    let lines = child.stdout.take().map(|stdout| BufReader::new(stdout).lines());
    let reached_mib =
        lines.and_then(|lines| lines.map_while(Result::ok).last()).and_then(|line| line.parse().ok()).unwrap_or(0u64);
    match child.wait() {
        Ok(status) if status.signal() == Some(Signal::SIGKILL as i32) => {
            finding(reached_mib <= limit_mib, format!("killed by SIGKILL after {reached_mib} MiB"))
        }
        Ok(status) => finding(false, format!("{status} after {reached_mib} MiB, nothing killed it")),
        Err(error) => finding(false, format!("its end is not known: {error}")),
    }
}

/// The child process: touches memory step by step and prints the sum, in MiB, up to the number in `args`.
pub fn consume(args: &[OsString]) -> ExitCode {
    let most_mib: u64 = args.first().and_then(|word| word.to_str()?.parse().ok()).unwrap_or(0);
    // The kernel must take this process, not the one that waits for it.
    let _best_effort = std::fs::write("/proc/self/oom_score_adj", "1000");
    let mut held: Vec<Vec<u8>> = Vec::new();
    let mut stdout = std::io::stdout();
    let mut reached = 0;
    while reached < most_mib {
        let mut step = vec![0u8; 8 << 20];
        for page in step.chunks_mut(4096) {
            page.fill(0x5A);
        }
        held.push(black_box(step));
        reached += STEP_MIB;
        if writeln!(stdout, "{reached}").and_then(|()| stdout.flush()).is_err() {
            return ExitCode::FAILURE;
        }
    }
    black_box(&held);
    ExitCode::SUCCESS
}
