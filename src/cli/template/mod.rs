//! `assize template`: what an author does with the folder of a template before students use it.

mod catalog;
mod check;
mod new;
mod test;

use std::path::{Path, PathBuf};

use assize_client::outcome::{Exit, Fault, Outcome};
use assize_client::terminal::{self, Style, Terminal};
use assize_config::Config;
use serde_json::json;

use crate::template::{Complaint, Severity, TEMPLATE_FILE};

const EXAMPLES: &str = "\
EXAMPLES:
  assize template new templates/sums --from python-unit
  assize template check templates/sums
  assize template test templates/sums";

/// Create a template, check it, and try its samples.
///
/// A template is a folder that describes how projects are evaluated; docs/templates.md explains it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Template {
    #[command(subcommand)]
    command: TemplateCommand,
}

#[derive(Debug, clap::Subcommand)]
enum TemplateCommand {
    New(new::New),
    Check(check::Check),
    Test(test::Test),
}

/// Runs the command.
///
/// # Errors
/// [`Fault`] with a message for the user.
pub async fn run(command: Template, config: Config, config_file: Option<&Path>) -> Outcome {
    match command.command {
        TemplateCommand::New(new) => new::run(&new),
        TemplateCommand::Check(check) => check::run(&check, &config).await,
        TemplateCommand::Test(test) => test::run(test, config, config_file).await,
    }
}

/// The folder of a template, with its whole path: its last component is the name of the template.
fn folder_of_template(folder: &Path) -> Result<PathBuf, Fault> {
    let whole = folder.canonicalize().map_err(|error| {
        Fault::usage(format!("cannot read {}: {error}; name the folder of a template", folder.display()))
    })?;
    if !whole.join(TEMPLATE_FILE).is_file() {
        let folder = folder.display();
        return Err(Fault::usage(format!(
            "there is no {TEMPLATE_FILE} in {folder}; name the folder of a template, or create one with `assize template new`"
        )));
    }
    Ok(whole)
}

fn has_errors(complaints: &[Complaint]) -> bool {
    complaints.iter().any(|complaint| complaint.severity == Severity::Error)
}

fn exit_for(complaints: &[Complaint]) -> Exit {
    if has_errors(complaints) { Exit::Refused } else { Exit::Success }
}

fn print_complaints(terminal: Terminal, complaints: &[Complaint]) {
    for complaint in complaints {
        let (style, word) = match complaint.severity {
            Severity::Error => (Style::Bad, "error"),
            Severity::Warning => (Style::Warn, "warning"),
            Severity::Note => (Style::Dim, "note"),
        };
        let key = if complaint.key.is_empty() { String::new() } else { format!(" [{}]", complaint.key) };
        let message = terminal::printable(&complaint.message);
        terminal.line(format!("{}  {}{key}: {message}", terminal.paint(style, word), complaint.file));
        terminal.line(format!("         {}", terminal::printable(&complaint.advice)));
    }
}

fn summary(name: &str, complaints: &[Complaint]) -> String {
    let count = |severity: Severity, word: &str| {
        let number = complaints.iter().filter(|complaint| complaint.severity == severity).count();
        if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
    };
    format!("{name}: {}, {}", count(Severity::Error, "error"), count(Severity::Warning, "warning"))
}

fn document(name: &str, complaints: &[Complaint]) -> serde_json::Value {
    json!({ "template": name, "ok": !has_errors(complaints), "complaints": complaints })
}
