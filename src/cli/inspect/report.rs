//! `assize inspect report`: reads a report of tests as a worker reads it, and prints what a run would come to.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use assize_client::outcome::{Exit, Fault, Outcome};
use assize_client::report::print_verdict;
use assize_client::terminal::{self, Style, Terminal, printable};
use assize_config::Config;
use assize_domain::run::{Cause, Failure};
use assize_domain::verdict::{Format, Integrity, MAX_FILES, Verdict};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::json;

use super::load;
use crate::template::Results;
use crate::worker::read_report;

const EXAMPLES: &str = "\
EXAMPLES:
  assize inspect report junit.xml --format junit
  assize inspect report target/surefire-reports/TEST-*.xml --format junit --json
  assize inspect report results.json --template python-api";

/// The formats of reports: an exit code is no file.
const FORMATS: [Format; 4] = [Format::Gradescope, Format::Junit, Format::Tap, Format::Ctrf];

fn format() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(FORMATS.map(Format::as_str))
        .try_map(|name| FORMATS.into_iter().find(|format| format.as_str() == name).ok_or("no format"))
}

/// Read a report of tests and print what a run would come to.
///
/// The report is read as a worker reads it, as if the tests had exited with code 0. With a template, its limits, its
/// number of tests and its points apply. Without one, several files are one report.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct InspectReport {
    /// The file that the tests wrote, or all files of one run.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The format of the report. The format of the template, if there is one, must be the same.
    #[arg(long, value_parser = format(), required_unless_present = "template")]
    format: Option<Format>,
    /// Read the report as this template does: its folder, its template.toml, or its name below templates_dir.
    #[arg(long, short, value_name = "TEMPLATE")]
    template: Option<String>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Fault`] with a message for the user.
pub(super) fn run(command: &InspectReport, config: &Config) -> Outcome {
    let (results, integrity) = rules(command, config)?;
    if command.files.len() > 1 && !results.has_pattern() {
        let path = results.path.as_deref().unwrap_or_default();
        return Err(Fault::usage(format!(
            "{} files were given, but the template reads one file ({path}); give that file",
            command.files.len()
        )));
    }
    if command.files.len() > MAX_FILES {
        return Err(Fault::usage(format!(
            "{} files were given, the limit is {MAX_FILES}; give fewer files",
            command.files.len()
        )));
    }
    let mut room = results.max_kib * 1024 + 1;
    let files = command.files.iter().map(|path| bounded(path, &mut room)).collect::<Result<Vec<_>, _>>()?;
    let read = read_report(&results, integrity, files);
    if command.json {
        print_json(&read)
    } else {
        print(&read)
    }
    Ok(if read.is_ok() { Exit::Success } else { Exit::Refused })
}

/// How the report is read, and which party could have written it.
fn rules(command: &InspectReport, config: &Config) -> Result<(Results, Integrity), Fault> {
    let Some(name) = &command.template else {
        let format = command.format.unwrap_or(Format::Junit);
        let path = match command.files.as_slice() {
            [file] => file.display().to_string(),
            _ => "/*".to_owned(),
        };
        return Ok((Results::of_format(format, path), Integrity::Isolated));
    };
    let template = load(Path::new(name), &config.templates_dir)?;
    let format = template.results.format;
    if format == Format::ExitCode {
        return Err(Fault::usage(format!("the template {name} reads no report: the exit code of its tests decides")));
    }
    if let Some(other) = command.format.filter(|other| *other != format) {
        return Err(Fault::usage(format!(
            "--format is {}, but the template {name} reads {}; leave out --format",
            other.as_str(),
            format.as_str()
        )));
    }
    let integrity = template.integrity();
    Ok((template.results, integrity))
}

/// A file with its name, no longer than `room`, which it takes up.
fn bounded(path: &Path, room: &mut u64) -> Result<(String, Vec<u8>), Fault> {
    let fault = |why: String| Fault::usage(format!("cannot read {}: {why}", path.display()));
    let about = std::fs::metadata(path).map_err(|error| fault(error.to_string()))?;
    if !about.is_file() {
        return Err(fault("it is not a file; give the file that the tests wrote".to_owned()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| fault(error.to_string()))?;
    file.take(*room).read_to_end(&mut bytes).map_err(|error| fault(error.to_string()))?;
    *room -= bytes.len() as u64;
    Ok((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), bytes))
}

/// What was wrong, and what to do: the message of each problem ends with that, behind its last semicolon.
fn divided(problem: &str) -> (String, String) {
    let (message, advice) = problem.rsplit_once("; ").unwrap_or((problem, ""));
    (message.to_owned(), advice.to_owned())
}

fn print(read: &Result<Verdict, Failure>) {
    let terminal = Terminal::stdout();
    match read {
        Ok(verdict) => print_verdict(terminal, verdict, None),
        Err(failure) => {
            let (message, advice) = divided(&failure.evidence.message);
            terminal.line(terminal.paint(Style::Bad, format!("refused: {}", failure.code)));
            message.lines().for_each(|line| terminal.line(format!("  {}", printable(line))));
            terminal.line(format!("  {}", printable(&advice)));
            terminal.line(terminal.paint(Style::Dim, "  docs/results.md lists what is read of each tool"));
        }
    }
}

fn print_json(read: &Result<Verdict, Failure>) {
    let document = match read {
        Ok(verdict) => json!({ "accepted": true, "all_passed": verdict.all_passed(), "verdict": verdict }),
        Err(failure) => {
            let cause: Cause = failure.code.cause();
            let (message, advice) = divided(&failure.evidence.message);
            json!({
                "accepted": false,
                "code": failure.code,
                "cause": cause,
                "message": message,
                "advice": advice,
            })
        }
    };
    terminal::json(&document);
}
