//! `assize inspect archive`: what the submission of an archive would come to.

use std::fs::File;
use std::path::PathBuf;

use assize_archive::{ArchiveProblem, ArchiveSummary, ScanLimits, scan};
use assize_client::contents;
use assize_client::outcome::{Exit, Fault, Outcome};
use assize_client::terminal::{self, Style, Terminal, bytes};
use assize_config::Config;
use serde_json::{Value, json};

use super::load;

const EXAMPLES: &str = "\
EXAMPLES:
  assize inspect archive project.zip
  assize inspect archive project.zip --template templates/python-api
  assize inspect archive project.zip --json | jq .contents.top

EXIT CODES:
  0  the archive would be accepted
  1  the archive would be refused
  2  the command line, the settings or the template is wrong, or the file cannot be read";

/// Say what the submission of an archive would come to: accepted, with the folder that becomes the top and what is
/// ignored, or refused, with the reason and what to do.
///
/// The settings of this installation apply, and the rules of the template if one is given. Nothing is unpacked.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Archive {
    /// The archive.
    file: PathBuf,
    /// Apply the rules of this template: its folder, its template.toml, or its name below templates_dir.
    #[arg(long, short, value_name = "TEMPLATE")]
    template: Option<PathBuf>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Fault`] with a message for the user.
pub(super) fn run(command: &Archive, config: &Config) -> Outcome {
    let limits = match &command.template {
        None => ScanLimits::from_config(config),
        Some(template) => load(template, &config.templates_dir)?.scan_limits(config),
    };
    let unreadable =
        |reason: String| Fault::usage(format!("cannot read {}: {reason}; name a zip archive", command.file.display()));
    let file = File::open(&command.file).map_err(|error| unreadable(error.to_string()))?;
    if !file.metadata().is_ok_and(|about| about.is_file()) {
        return Err(unreadable("it is not a file".to_owned()));
    }
    match scan(&file, &limits) {
        Err(ArchiveProblem::Io { kind }) => Err(unreadable(kind.to_string())),
        Err(problem) => {
            if command.json {
                terminal::json(&refused(&problem));
            } else {
                print_refused(&problem);
            }
            Ok(Exit::Refused)
        }
        Ok(summary) => {
            let contents = serde_json::to_value(&summary.contents).map_err(Fault::infrastructure)?;
            if command.json {
                terminal::json(&accepted(&summary, contents));
            } else {
                print_accepted(&summary, &contents);
            }
            Ok(Exit::Success)
        }
    }
}

fn accepted(summary: &ArchiveSummary, contents: Value) -> Value {
    json!({
        "accepted": true,
        "entries": summary.entries,
        "files": summary.files,
        "unpacked_bytes": summary.unpacked_bytes,
        "archive_bytes": summary.bytes,
        "contents": contents,
    })
}

fn refused(problem: &ArchiveProblem) -> Value {
    json!({
        "accepted": false,
        "code": format!("archive_{}", problem.code()),
        "message": problem.to_string(),
        "advice": problem.advice(),
        "entry": problem.entry(),
        "limit": problem.limit(),
        "seen": problem.seen(),
    })
}

fn print_accepted(summary: &ArchiveSummary, contents: &Value) {
    let terminal = Terminal::stdout();
    terminal.line(terminal.paint(Style::Good, "accepted"));
    let files = if summary.files == 1 { "1 file".to_owned() } else { format!("{} files", summary.files) };
    terminal.line(format!("{:<10} {files}, {}", "project", bytes(summary.unpacked_bytes)));
    terminal.line(format!("{:<10} {} entries, {}", "archive", summary.entries, bytes(summary.bytes)));
    for (label, text) in contents::lines(contents) {
        terminal.line(format!("{label:<10} {text}"));
    }
}

fn print_refused(problem: &ArchiveProblem) {
    let terminal = Terminal::stdout();
    terminal.line(terminal.paint(Style::Bad, format!("refused: archive_{}", problem.code())));
    terminal.line(format!("{:<10} {problem}", "reason"));
    terminal.line(format!("{:<10} {}", "advice", problem.advice()));
}
