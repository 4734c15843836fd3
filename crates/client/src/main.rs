//! The binary `assize-client`: the commands that call the API, and the offline check of signed statements.

use std::process::ExitCode;

use assize_client::{ClientCommand, exit_code, outcome};
use clap::Parser;

/// Submits projects to assize, follows their evaluation, and verifies signed statements offline.
#[derive(Debug, Parser)]
#[command(name = "assize-client", version, after_help = outcome::EXIT_CODES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: ClientCommand,
}

#[tokio::main]
async fn main() -> ExitCode {
    exit_code(Cli::parse().command.run().await)
}
