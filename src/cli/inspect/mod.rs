//! `assize inspect`: says offline what the service would make of a file.

mod archive;

use assize_client::outcome::Outcome;
use assize_config::Config;

const EXAMPLES: &str = "\
EXAMPLES:
  assize inspect archive project.zip
  assize inspect archive project.zip --template templates/python-api --json";

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
}

/// Runs the command.
///
/// # Errors
/// [`assize_client::outcome::Fault`] with a message for the user.
pub fn run(command: Inspect, config: &Config) -> Outcome {
    match command.command {
        InspectCommand::Archive(archive) => archive::run(&archive, config),
    }
}
