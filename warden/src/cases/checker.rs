//! A program of the teacher's that decides whether an output is right. It runs here, in the driver's cell, and reads what
//! the project has written as a file.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread;

use assize_protocol::cases::{INPUT, OUTPUT, Suite};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, alarm};

use super::compare::Difference;
use super::scratch;

/// What the checker may write as an explanation, in bytes.
const MAX_REASON: u64 = 4096;

/// `None` if the checker accepts the output.
///
/// # Errors
/// The checker neither accepts nor rejects it, which is the grader's fault.
pub fn check(suite: &Suite, folder: &Path, seen: &[u8]) -> Result<Option<Difference>, String> {
    let name = suite.checker.first().ok_or("a case wants a checker, and there is none; set driver.checker")?;
    let actual = scratch("actual");
    fs::write(&actual, seen).map_err(|error| format!("{} cannot be written: {error}", actual.display()))?;
    let failed = |error: std::io::Error| format!("the checker {name} cannot be run: {error}");
    let mut child = Command::new("/proc/self/exe")
        .arg("limit-time")
        .arg(suite.checker_timeout_s.to_string())
        .args(&suite.checker)
        .args([folder.join(INPUT), folder.join(OUTPUT), actual])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // Who writes more than that is ended by SIGPIPE or by its time limit.
    let stdout = child.stdout.take().ok_or("the checker has no output")?;
    let reading = thread::spawn(move || {
        let mut reason = Vec::new();
        stdout.take(MAX_REASON).read_to_end(&mut reason).map(|_| reason)
    });
    let status = child.wait().map_err(failed)?;
    if let Ok(group) = i32::try_from(child.id()) {
        // A process that the checker left would keep the pipe open. There is none if it started no other.
        let _gone = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let reason = reading.join().map_err(|_| "the output of the checker cannot be read")?.map_err(failed)?;
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(None),
        (Some(1), _) => Ok(Some(Difference(String::from_utf8_lossy(&reason).into_owned()))),
        (_, Some(signal)) if signal == Signal::SIGALRM as i32 => {
            let limit = suite.checker_timeout_s;
            Err(format!(
                "the checker {name} took longer than its {limit} s; make it faster, or raise driver.checker_timeout_s"
            ))
        }
        (Some(code), _) => {
            Err(format!("the checker {name} ended with code {code}; it must end with 0 for right and 1 for wrong"))
        }
        (None, signal) => Err(format!("the checker {name} was ended by signal {}", signal.unwrap_or(0))),
    }
}

/// Executes a program with an alarm set, which the program keeps. `args` are seconds, the program and its arguments.
pub fn limit_time(args: &[OsString]) -> ExitCode {
    let [seconds, program, rest @ ..] = args else { return ExitCode::from(crate::EXIT_USAGE) };
    let Some(seconds) = seconds.to_str().and_then(|text| text.parse().ok()).filter(|seconds| *seconds > 0) else {
        return ExitCode::from(crate::EXIT_USAGE);
    };
    alarm::set(seconds);
    let error = Command::new(program).args(rest).exec();
    eprintln!("assize-cases: cannot execute {}: {error}", program.display());
    ExitCode::from(127)
}
