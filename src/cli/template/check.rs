//! `assize template check`: everything that is wrong with a template, without running it.

mod images;
mod samples;

use std::path::PathBuf;

use assize_client::outcome::Outcome;
use assize_client::terminal::{self, Style, Terminal};
use assize_config::Config;

use super::{document, exit_for, folder_of_template, has_errors, print_complaints, summary};
use crate::template::{Complaint, Template};

const EXAMPLES: &str = "\
EXAMPLES:
  assize template check templates/sums
  assize template check templates/sums --json | jq -r '.complaints[].message'

EXIT CODES:
  0  the template can be used; there may be warnings
  1  the template has an error
  2  the command line is wrong, or there is no such template";

/// Say everything that is wrong with a template, without running anything.
///
/// Each complaint names the file, the key, what is wrong and what to do. The images, and in them the programs
/// of the stages, are looked up if the container engine answers.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Check {
    /// The folder of the template.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`assize_client::outcome::Fault`] with a message for the user.
pub(super) async fn run(command: &Check, config: &Config) -> Outcome {
    let folder = folder_of_template(&command.folder)?;
    let (_, complaints) = examine(&folder, config).await;
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if command.json {
        terminal::json(&document(&name, &complaints));
    } else {
        let terminal = Terminal::stdout();
        print_complaints(terminal, &complaints);
        let style = if has_errors(&complaints) { Style::Bad } else { Style::Good };
        terminal.line(terminal.paint(style, summary(&name, &complaints)));
    }
    Ok(exit_for(&complaints))
}

/// The template of a folder if it can be used, and all complaints about it, errors first.
pub(super) async fn examine(folder: &std::path::Path, config: &Config) -> (Option<Template>, Vec<Complaint>) {
    let (template, mut complaints) = Template::examine(folder);
    complaints.extend(samples::complaints(folder, template.as_ref(), config));
    if let Some(template) = &template {
        complaints.extend(images::complaints(template, config).await);
    }
    complaints.sort_by_key(|complaint| complaint.severity);
    (template, complaints)
}
