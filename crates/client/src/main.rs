//! The binary `assize-client`: the commands that call the API, and the offline check of signed statements.

use std::process::ExitCode;

use assize_client::{ClientCommand, exit_code, outcome, runs};
use clap::{Parser, Subcommand};

/// Submits projects to assize, follows their evaluation, and verifies signed statements offline.
#[derive(Debug, Parser)]
#[command(name = "assize-client", version, after_help = outcome::EXIT_CODES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The commands, of which the service has a larger `templates`.
#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Client(ClientCommand),
    Templates(runs::ListTemplates),
}

#[tokio::main]
async fn main() -> ExitCode {
    exit_code(match Cli::parse().command {
        Command::Client(command) => command.run().await,
        Command::Templates(templates) => runs::templates(templates).await,
    })
}
