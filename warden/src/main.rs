//! PID 1 of a cell. Without arguments it serves one plan over stdin and stdout; the other modes
//! are `launch` (what a stage's process is between fork and its program), `berth` (holds a
//! namespace open) and `probe` (shows which limits of a cell hold). Under the name `assize-exec` it is the command that
//! runs a program in the cell of a subject.

mod artifacts;
mod berth;
mod cases;
mod cgroup;
mod channel;
mod clock;
mod exec;
mod handover;
mod inbox;
mod launch;
mod output;
mod plain_file;
mod probe;
mod progress;
mod proxy;
mod readiness;
mod reaper;
mod results;
mod serve;
mod stage;
mod stage_seccomp;
mod stages;
mod unpack;
mod write_access;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use assize_protocol::exec::COMMAND;

/// Exit code for a wrong command line, from `sysexits.h`.
const EXIT_USAGE: u8 = 64;

const USAGE: &str = "usage: warden                       serve one plan on stdin and stdout
       warden launch N [FOLDER]{N} PATH ARGV0 [ARG]..   become a stage's program
       warden launch-reporting N ..                     the same, with stdin as its descriptor 3
       warden launch-call BYTES fresh|kept N ..         become a call's program
       warden cases FOLDER REPORT MS                    run the cases of a template
       warden limit-time SECONDS PROGRAM [ARG]..        run a checker
       warden berth                       hold a network namespace, and renew it for each byte on stdin
       warden probe ISOLATION             try what a cell must not allow";

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    if Path::new(&name).file_name().is_some_and(|name| name == COMMAND) {
        return exec::command::run(&args.collect::<Vec<_>>());
    }
    let mode = args.next();
    let rest: Vec<OsString> = args.collect();
    match mode.as_ref().map(|mode| mode.as_encoded_bytes()) {
        None => serve::serve(),
        Some(b"launch") => launch::launch(&rest),
        Some(b"launch-reporting") => launch::launch_reporting(&rest),
        Some(b"launch-call") => launch::launch_call(&rest),
        Some(b"cases") => cases::run(&rest),
        Some(b"limit-time") => cases::limit_time(&rest),
        Some(b"berth") => berth::berth(),
        Some(b"probe") => probe::probe(&rest),
        Some(b"probe-grader") => probe::grader::attempt(&rest),
        Some(b"probe-memory") => probe::memory::consume(&rest),
        Some(_) => {
            eprintln!("{USAGE}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}
