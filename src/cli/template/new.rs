//! `assize template new`: a complete template to begin with.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use assize_client::outcome::{Exit, Fault, Outcome};
use assize_client::terminal::{Style, Terminal};
use clap::builder::PossibleValuesParser;

use super::catalog::{EmbeddedTemplate, TEMPLATES};

const EXAMPLES: &str = "\
EXAMPLES:
  assize template new templates/sums
  assize template new templates/greeter --from python-api";

/// Create the folder of a template, with tests, samples and their expected ends, as a copy of another template.
///
/// The copy works as it is. Change the tests and the samples in it to those of your assignment. The name of the folder
/// is the name of the template.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct New {
    /// Create this folder. It must not exist, or be empty.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Copy this template.
    #[arg(long, value_name = "NAME", default_value = "python-unit",
        value_parser = PossibleValuesParser::new(TEMPLATES.iter().map(|template| template.name)))]
    from: String,
}

/// Runs the command.
///
/// # Errors
/// [`Fault`] with a message for the user.
pub(super) fn run(command: &New) -> Outcome {
    let New { folder, from } = command;
    let Some(template) = TEMPLATES.iter().find(|template| template.name == *from) else {
        return Err(Fault::usage(format!("there is no template {from}; see --help for those that there are")));
    };
    require_unused(folder)?;
    write(folder, template).map_err(|error| {
        Fault::usage(format!("cannot write to {}: {error}; name a folder that you may write to", folder.display()))
    })?;
    let terminal = Terminal::stdout();
    let shown = folder.display();
    terminal.line(terminal.paint(Style::Good, format!("created {shown}, a copy of {from}")));
    for (path, description) in [
        ("template.toml", "the image, the limits, the stages, and what the tests are worth"),
        ("tests/", "the tests, which a cell finds in /grader"),
        ("sample/", "projects of which expect.toml declares how each must end"),
        ("ASSIGNMENT.md", "the text for students"),
    ] {
        if template.files.iter().any(|(file, _)| file.starts_with(path)) {
            terminal.line(format!("  {path:<14} {description}"));
        }
    }
    terminal.line("next:");
    terminal.line(format!("  assize template check {shown}"));
    terminal.line(format!("  assize template test {shown}"));
    Ok(Exit::Success)
}

/// That nothing of the user's is in the folder.
fn require_unused(folder: &Path) -> Result<(), Fault> {
    let shown = folder.display();
    match std::fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Fault::usage(format!("the folder {shown} is not empty; name a folder that does not exist"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Fault::usage(format!("cannot use {shown}: {error}; name a folder that does not exist"))),
    }
}

fn write(folder: &Path, template: &EmbeddedTemplate) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (path, content) in template.files {
        let file = folder.join(path);
        if let Some(above) = file.parent() {
            std::fs::create_dir_all(above)?;
        }
        let mode = if EmbeddedTemplate::is_program(path) { 0o755 } else { 0o644 };
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(file)?;
        file.write_all(content.as_bytes())?;
    }
    Ok(())
}
