//! `assize inspect`: says offline what the service would make of a file.

mod archive;
mod report;

use std::path::Path;

use assize_client::outcome::{Fault, Outcome};
use assize_config::Config;

use crate::template::Template;

const EXAMPLES: &str = "\
EXAMPLES:
  assize inspect archive project.zip
  assize inspect archive project.zip --template templates/python-api --json
  assize inspect report junit.xml --format junit";

/// Say what the service would make of a file, without a service.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Inspect {
    #[command(subcommand)]
    command: InspectCommand,
}

#[derive(Debug, clap::Subcommand)]
enum InspectCommand {
    Archive(archive::Archive),
    Report(report::InspectReport),
}

/// Runs the command.
///
/// # Errors
/// [`assize_client::outcome::Fault`] with a message for the user.
pub fn run(command: Inspect, config: &Config) -> Outcome {
    match command.command {
        InspectCommand::Archive(archive) => archive::run(&archive, config),
        InspectCommand::Report(report) => report::run(&report, config),
    }
}

/// The template of a folder, of a file `template.toml`, or of a name.
fn load(template: &Path, templates_dir: &Path) -> Result<Template, Fault> {
    let named = templates_dir.join(template);
    let folder = match template {
        file if file.is_file() => {
            file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
        }
        folder if folder.is_dir() => folder,
        _ => named.as_path(),
    };
    // A folder such as `.` has no name, and a template has one.
    let folder = folder.canonicalize().map_err(|error| {
        Fault::usage(format!("there is no template {}: {error}; name its folder", template.display()))
    })?;
    if !folder.join("template.toml").is_file() {
        let folder = folder.display();
        return Err(Fault::usage(format!("there is no template.toml in {folder}; name the folder of a template")));
    }
    Template::load(&folder).map_err(Fault::usage)
}
