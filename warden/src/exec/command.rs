//! The command `assize-exec`: runs a program in the subject's cell as if it ran here.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use assize_protocol::exec::{Call, CallEnded, CallExit, DEFAULT_OUTPUT, DEFAULT_TIMEOUT_MS, MAX_STDIN};
use serde::Serialize;

use super::client::{Piece, call};

const USAGE: &str = "usage: assize-exec [--stdin FILE] [--timeout SECONDS] [--memory BYTES] [--output BYTES] [--json] -- PROGRAM [ARG]..
Runs PROGRAM in the subject's cell, in /workspace. BYTES may end with K, M or G.
  --stdin FILE       standard input of the program, at most 16M; - is the standard input of this command (none)
  --timeout SECONDS  kills the program after this time (10)
  --memory BYTES     limit of the data of each process (that of the cell)
  --output BYTES     kills the program when it has written more to one stream, at most 8M (1M)
  --json             writes one line of JSON with both streams and all numbers, instead of the streams
Exit code: that of the program; 128 + the signal that ended it; 124 time limit; 153 output limit; 127 the program could
not be started; 125 the call failed.";

/// As timeout(1) has it.
const EXIT_TIMED_OUT: u8 = 124;
const EXIT_FAILED: u8 = 125;
/// As a shell has it.
const EXIT_NOT_FOUND: u8 = 127;
/// 128 + SIGXFSZ, the signal for a file that is too long.
const EXIT_OUTPUT_LIMIT: u8 = 153;

struct Options {
    call: Call,
    stdin: Option<String>,
    is_json: bool,
}

/// One line of `--json`.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    ended: &'a CallEnded,
    stdout: String,
    stderr: String,
}

/// The command, from its arguments to its exit code.
pub fn run(args: &[OsString]) -> ExitCode {
    let options = match parse(args) {
        Ok(options) => options,
        Err(error) => return failed(&format!("{error}\n{USAGE}")),
    };
    match make(&options) {
        Ok(ended) => ExitCode::from(exit_code(&ended.exit)),
        Err(error) => failed(&error),
    }
}

fn failed(error: &str) -> ExitCode {
    // Not `eprintln`, which panics when nobody reads it any more.
    let _nobody_reads = writeln!(io::stderr(), "assize-exec: {error}");
    ExitCode::from(EXIT_FAILED)
}

fn make(options: &Options) -> Result<CallEnded, String> {
    let mut input: Box<dyn Read> = match options.stdin.as_deref() {
        None => Box::new(io::empty()),
        Some("-") => Box::new(io::stdin().lock()),
        Some(path) => Box::new(File::open(path).map_err(|error| format!("{path} cannot be read: {error}"))?),
    };
    // One byte more, so that the other end sees that it is too much.
    let mut input = input.as_mut().take(MAX_STDIN + 1);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let ended = call(&options.call, &mut input, &mut |piece| match (options.is_json, piece) {
        (true, Piece::Stdout(bytes)) => stdout.write_all(bytes),
        (true, Piece::Stderr(bytes)) => stderr.write_all(bytes),
        (false, Piece::Stdout(bytes)) => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
        (false, Piece::Stderr(bytes)) => io::stderr().write_all(bytes),
        // The command asks for no files.
        (_, Piece::File(_) | Piece::FileData(_)) => Ok(()),
    })?;
    if options.is_json {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let report = Report { ended: &ended, stdout: text(&stdout), stderr: text(&stderr) };
        let line = serde_json::to_string(&report).map_err(|error| error.to_string())?;
        writeln!(io::stdout(), "{line}").map_err(|error| format!("the report cannot be written: {error}"))?;
    } else if let CallExit::NotStarted { error } = &ended.exit {
        let _nobody_reads = writeln!(io::stderr(), "assize-exec: {error}");
    }
    match &ended.exit {
        CallExit::Refused { error } => Err(error.clone()),
        _ => Ok(ended),
    }
}

fn exit_code(exit: &CallExit) -> u8 {
    let byte = |code: i32| u8::try_from(code & 0xff).unwrap_or(u8::MAX);
    match exit {
        CallExit::Exited { code } => byte(*code),
        CallExit::Signalled { signal } => byte(128 + signal),
        CallExit::TimedOut => EXIT_TIMED_OUT,
        CallExit::OutputLimit => EXIT_OUTPUT_LIMIT,
        CallExit::NotStarted { .. } => EXIT_NOT_FOUND,
        CallExit::Cancelled | CallExit::Refused { .. } => EXIT_FAILED,
    }
}

fn parse(args: &[OsString]) -> Result<Options, String> {
    let words: Option<Vec<String>> = args.iter().map(|arg| arg.to_str().map(str::to_owned)).collect();
    let words = words.ok_or("an argument is not UTF-8, which calls cannot carry; change it")?;
    let at = words.iter().position(|word| word == "--").ok_or("there is no `--` before the program")?;
    let (own, command) = (words.get(..at).unwrap_or_default(), words.get(at + 1..).unwrap_or_default());
    let call = Call {
        command: command.to_vec(),
        timeout_ms: DEFAULT_TIMEOUT_MS,
        memory_bytes: None,
        max_output: DEFAULT_OUTPUT,
        files: Vec::new(),
    };
    let mut options = Options { call, stdin: None, is_json: false };
    let mut own = own.iter();
    while let Some(name) = own.next() {
        if name == "--json" {
            options.is_json = true;
            continue;
        }
        let mut value = || own.next().ok_or_else(|| format!("{name} has no value"));
        match name.as_str() {
            "--stdin" => options.stdin = Some(value()?.clone()),
            "--timeout" => options.call.timeout_ms = milliseconds(value()?)?,
            "--memory" => options.call.memory_bytes = Some(bytes(value()?)?),
            "--output" => options.call.max_output = bytes(value()?)?,
            _ => return Err(format!("there is no option {name}")),
        }
    }
    options.call.check()?;
    Ok(options)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float is converted to the nearest number"
)]
fn milliseconds(text: &str) -> Result<u64, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is no number of seconds; write one such as 2.5"))?;
    Ok((seconds * 1000.0).ceil() as u64)
}

fn bytes(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'K') => (text.get(..text.len() - 1), 1 << 10),
        Some(b'M') => (text.get(..text.len() - 1), 1 << 20),
        Some(b'G') => (text.get(..text.len() - 1), 1 << 30),
        _ => (Some(text), 1),
    };
    let number: Option<u64> = digits.and_then(|digits| digits.parse().ok());
    number
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| format!("{text:?} is no number of bytes; write one such as 65536 or 64M"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Options, String> {
        parse(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn options_stand_before_the_program() {
        let options =
            parsed(&["--timeout", "0.25", "--memory", "64M", "--output", "1K", "--json", "--", "p", "--json"]).unwrap();
        assert!(options.is_json && options.stdin.is_none());
        let call = Call {
            command: vec!["p".to_owned(), "--json".to_owned()],
            timeout_ms: 250,
            memory_bytes: Some(64 << 20),
            max_output: 1024,
            files: Vec::new(),
        };
        assert_eq!(options.call, call);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (words, why) in [
            (&["p"][..], "there is no `--`"),
            (&["--"], "names no program"),
            (&["--what", "--", "p"], "there is no option --what"),
            (&["--stdin", "--", "p"], "--stdin has no value"),
            (&["--timeout", "x", "--", "p"], "\"x\" is no number of seconds"),
            (&["--timeout", "-1", "--", "p"], "the time limit is 0 ms"),
            (&["--timeout", "nan", "--", "p"], "the time limit is 0 ms"),
            (&["--memory", "99999999999G", "--", "p"], "no number of bytes"),
            (&["--output", "9M", "--", "p"], "the limit is 8388608"),
            (&["--output", "éM", "--", "p"], "no number of bytes"),
        ] {
            let error = match parsed(words) {
                Err(error) => error,
                // The value of an option was taken for the separator.
                Ok(options) => panic!("{words:?}: {:?}", options.call),
            };
            assert!(error.contains(why), "{words:?}: {error}");
        }
    }

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        for (exit, code) in [
            (CallExit::Exited { code: 3 }, 3),
            (CallExit::Signalled { signal: 11 }, 139),
            (CallExit::TimedOut, 124),
            (CallExit::OutputLimit, 153),
            (CallExit::Cancelled, 125),
            (CallExit::NotStarted { error: String::new() }, 127),
        ] {
            assert_eq!(exit_code(&exit), code);
        }
    }
}
