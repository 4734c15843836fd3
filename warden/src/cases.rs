//! Runs the cases of a template, as the driver's stage: calls the project's program once for each case, compares its
//! output, and writes a report in Gradescope's format.
//!
//! What a hidden case has expected or seen is never printed and never in the report. A fault of the grader (a checker that
//! neither accepts nor rejects, a file that is missing) ends the command without a report, so that the run has no verdict
//! instead of a wrong one.

mod checker;
mod compare;
mod files;
mod report;

pub use checker::limit_time;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use assize_protocol::cases::{Case, Compare, FOLDER, INPUT, OUTPUT, SUITE, Suite, Visibility};
use assize_protocol::exec::{Call, CallEnded, CallExit, DEFAULT_OUTPUT, MAX_OUTPUT};
use assize_protocol::progress::{FD, FD_VARIABLE, ReportedStatus, TestReport};

use crate::clock;
use crate::exec::client::{Piece, call};
use compare::Difference;
use files::Written;
use report::Report;

/// The longest suite that is read, in bytes; the service writes shorter ones.
const MAX_SUITE: u64 = 16 << 20;

/// The time that is left for the report when no further case begins, in ms.
const REPORT_MS: u64 = 2_000;

/// What a program may write beyond what is expected, in bytes.
const MORE_OUTPUT: u64 = 64 << 10;

/// How a case ended.
enum Outcome {
    Right,
    Wrong(Difference),
    /// It did not come to an output that could be compared.
    Failed(String),
}

/// `args` are the folder of the grader, the report's path and the time limit of the stage in ms.
pub fn run(args: &[OsString]) -> ExitCode {
    let [folder, report, timeout_ms] = args else {
        eprintln!("assize-cases: {} arguments; expected a folder, a report and a number of milliseconds", args.len());
        return ExitCode::from(crate::EXIT_USAGE);
    };
    let timeout_ms: u64 = timeout_ms.to_str().and_then(|text| text.parse().ok()).unwrap_or(0);
    let until = clock::after_ms(clock::now_us(), timeout_ms.saturating_sub(REPORT_MS));
    match run_all(Path::new(folder), Path::new(report), until) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("assize-cases: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_all(folder: &Path, path: &Path, until: u64) -> Result<(), String> {
    let text = read(&folder.join(SUITE), MAX_SUITE)?;
    let suite: Suite = serde_json::from_slice(&text).map_err(|error| format!("{SUITE} cannot be read: {error}"))?;
    let (mut report, mut progress) = (Report::default(), progress());
    for case in &suite.cases {
        let begun = clock::now_us();
        let outcome = if begun >= until {
            Outcome::Failed("it was not run: the cases before took all the time of the tests".to_owned())
        } else {
            run_case(&suite, case, &folder.join(FOLDER).join(&case.name))?
        };
        let duration_ms = clock::now_us().saturating_sub(begun) / 1000;
        if case.visibility == Visibility::Visible {
            let result = if matches!(outcome, Outcome::Right) { "right" } else { "wrong" };
            println!("{}: {result}", case.name);
            report_end(progress.as_mut(), case, &outcome);
        }
        report.add(case, &outcome, duration_ms);
    }
    report.write(path)
}

/// The descriptor for the end of each case, if somebody reads it.
fn progress() -> Option<File> {
    std::env::var_os(FD_VARIABLE)?;
    File::options().write(true).open(format!("/proc/self/fd/{FD}")).ok()
}

/// Reports the end of a case that everybody may see. The report of all cases decides, so this may fail.
fn report_end(progress: Option<&mut File>, case: &Case, outcome: &Outcome) {
    let Some(progress) = progress else { return };
    let status = if matches!(outcome, Outcome::Right) { ReportedStatus::Passed } else { ReportedStatus::Failed };
    let mut line = Vec::new();
    TestReport { test: case.name.clone(), status }.encode(&mut line);
    let _best_effort = progress.write_all(&line);
}

fn run_case(suite: &Suite, case: &Case, folder: &Path) -> Result<Outcome, String> {
    let expected = if case.compare.is_some() { read(&folder.join(OUTPUT), MAX_OUTPUT)? } else { Vec::new() };
    let expected_files = files::expected(case, folder)?;
    let longest = expected.len().max(expected_files.iter().map(Vec::len).sum());
    let call_of_case = Call {
        command: case.command.clone(),
        timeout_ms: case.timeout_ms,
        memory_bytes: case.memory_bytes,
        max_output: (longest as u64 + MORE_OUTPUT).clamp(DEFAULT_OUTPUT, MAX_OUTPUT),
        files: case.files.iter().map(|file| file.path.clone()).collect(),
    };
    let input = folder.join(INPUT);
    let mut input: Box<dyn Read> = if case.has_input {
        Box::new(File::open(&input).map_err(|error| format!("{} cannot be read: {error}", input.display()))?)
    } else {
        Box::new(io::empty())
    };
    let (mut seen, mut written) = (Vec::new(), Written::default());
    let ended = call(&call_of_case, &mut input, &mut |piece| {
        match piece {
            Piece::Stdout(bytes) => seen.extend_from_slice(bytes),
            Piece::Stderr(_) => {}
            Piece::File(file) => written.begin(file),
            Piece::FileData(bytes) => written.add(bytes),
        }
        Ok(())
    })?;
    if let Some(why) = failure(case, &ended)? {
        return Ok(Outcome::Failed(why));
    }
    let of_output = match &case.compare {
        None => None,
        Some(Compare::Checker) => checker::check(suite, folder, &seen)?,
        Some(how) => compare::compare(how, &expected, &seen)?,
    };
    let difference = match of_output {
        Some(difference) => Some(difference),
        None => written.compare(case, &expected_files)?,
    };
    Ok(difference.map_or(Outcome::Right, Outcome::Wrong))
}

/// Why the program of a case has no output that could be compared.
///
/// # Errors
/// The call itself was not possible.
fn failure(case: &Case, ended: &CallEnded) -> Result<Option<String>, String> {
    Ok(match &ended.exit {
        CallExit::Exited { code: 0 } => None,
        CallExit::Exited { code } => Some(format!("the program exited with code {code}; it must exit with 0")),
        CallExit::Signalled { signal } => Some(format!("the program was ended by signal {signal}")),
        CallExit::TimedOut => Some(format!("the program took longer than its {} ms", case.timeout_ms)),
        CallExit::OutputLimit => {
            let (stdout, stderr) = (ended.stdout_bytes, ended.stderr_bytes);
            Some(format!("the program wrote too much: {stdout} bytes to stdout and {stderr} to stderr"))
        }
        CallExit::NotStarted { error } => Some(format!("the program could not be started: {error}")),
        CallExit::Cancelled => return Err(format!("the call of case {} was cancelled", case.name)),
        CallExit::Refused { error } => return Err(format!("case {}: {error}", case.name)),
    })
}

/// A file of the grader's, at most so many bytes of it.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let unreadable = |error: io::Error| format!("{} cannot be read: {error}", path.display());
    let mut bytes = Vec::new();
    File::open(path).map_err(unreadable)?.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(format!("{} has more than {limit} bytes, the limit; shorten it", path.display()));
    }
    Ok(bytes)
}

/// A file with a new name in the folder for temporary files.
fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("assize-{}-{name}", std::process::id()))
}
