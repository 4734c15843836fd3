//! The project's library, which is in another cell.
//!
//! Whatever comes from there is the project's word. It is compared, and quoted where it is shown: a line such as
//! `test overflow ... ok` in the output of a test would otherwise look like a result.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

const COMPILE_SECONDS: &str = "60";
const CPU_SECONDS: &str = "3"; // processor time of a test; the assignment promises it
const TEST_SECONDS: &str = "20"; // for a test that waits, or on a busy host
const TEST_MEMORY: &str = "64M"; // data of a test; the assignment promises it
const MAX_TIMEOUTS: u32 = 3; // after so many the project is taken for hung
const MAX_SHOWN: usize = 2000; // characters of a text of the project
const EXIT_TIMED_OUT: i32 = 124;
const EXIT_KILLED: i32 = 128 + 9; // the end of the ulimit

const PROBE: &str = include_str!("../probe/main.rs");

/// What is known about the project.
struct Subject {
    /// Why the probe could not be compiled, if it was tried and could not.
    compilation: Option<Result<(), String>>,
    timeouts: u32,
}

static SUBJECT: Mutex<Subject> = Mutex::new(Subject { compilation: None, timeouts: 0 });

/// Runs a new probe with the first of each pair as lines, and compares its answers with the second ones.
///
/// # Panics
/// If an answer differs: then the test has failed.
pub fn check(pairs: &[(&str, &str)]) {
    let mut subject = subject();
    if let Err(reason) = subject.compilation.get_or_insert_with(compile) {
        panic!("{reason}");
    }
    assert!(subject.timeouts < MAX_TIMEOUTS, "not tried: {MAX_TIMEOUTS} tests took too long");
    let lines: String = pairs.iter().map(|(text, _)| format!("{text}\n")).collect();
    let run = format!("ulimit -t {CPU_SECONDS}; exec /tmp/probe");
    let options = ["--timeout", TEST_SECONDS, "--memory", TEST_MEMORY, "--output", "64K", "--", "sh", "-c", &run];
    let (code, output, errors) = call(&lines, &options);
    if code == EXIT_TIMED_OUT || code == EXIT_KILLED {
        subject.timeouts += 1;
        panic!("the test took more than {CPU_SECONDS} s");
    }
    let answers: Vec<&str> = output.lines().collect();
    for (number, (text, expected)) in pairs.iter().enumerate() {
        let answer = answers.get(number).map_or("no answer".to_owned(), |answer| shown(answer));
        let is_right = answers.get(number) == Some(expected);
        assert!(is_right, "{text:?}: expected {expected:?}, got {answer}; exit code {code}, {}", shown(&errors));
    }
    assert!(code == 0, "the program ended with exit code {code}: {}", shown(&errors));
    assert!(answers.len() == pairs.len(), "the library must print nothing, but there were more lines than answers");
}

/// A test that failed has poisoned the lock, and the next one goes on.
fn subject() -> MutexGuard<'static, Subject> {
    SUBJECT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn compile() -> Result<(), String> {
    let library = "rpn=/workspace/target/debug/librpn.rlib";
    let rustc = ["rustc", "--edition", "2021", "--crate-name", "probe", "--extern", library, "-o", "/tmp/probe", "-"];
    let (code, _, errors) = call(PROBE, &[&["--timeout", COMPILE_SECONDS, "--"][..], &rustc].concat());
    if code == 0 {
        Ok(())
    } else {
        Err(format!("the tests cannot be compiled with your library: {}", shown(&errors)))
    }
}

/// Runs a program in the project's cell: its exit code and both of its streams.
fn call(input: &str, options: &[&str]) -> (i32, String, String) {
    let mut command = Command::new("assize-exec");
    command.args(["--stdin", "-"]).args(options);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("assize-exec can be started");
    // A pipe holds 64 KiB, and no input is longer. If nobody reads it, the exit code says so.
    let _ = process.stdin.take().expect("a pipe").write_all(input.as_bytes());
    let done = process.wait_with_output().expect("assize-exec ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code().unwrap_or(-1), text(&done.stdout), text(&done.stderr))
}

/// A text of the project for a message: short, on one line and in ASCII.
fn shown(text: &str) -> String {
    let start: String = text.chars().take(MAX_SHOWN).collect();
    format!("\"{}\"", start.escape_default())
}
