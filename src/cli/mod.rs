//! The server half of the command line: each command has a module with its arguments and its one function. The client
//! half is [`assize_client`], whose commands are flattened into these.

pub mod api;
pub mod demo;
pub mod doctor;
mod fault;
pub mod key;
pub mod migrate;
pub mod signals;
pub mod up;
pub mod with_services;
pub mod worker;

use std::path::PathBuf;

use assize_client::{ClientCommand, outcome};

/// Runs evaluations of software projects that nobody trusts, and returns a verdict that the project
/// could not forge.
///
/// To try it: `assize up` in one terminal, `assize submit ./project --template trivial --watch` in
/// another.
#[derive(Debug, clap::Parser)]
#[command(name = "assize", version, after_help = outcome::EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// Settings file; else assize.toml in the current folder, if there is one.
    #[arg(long, global = true, env = "ASSIZE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

/// What can be asked.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Up(up::Up),
    Demo(demo::Demo),
    Doctor(doctor::Doctor),
    #[command(flatten)]
    Client(ClientCommand),
    Api(api::Api),
    Worker(worker::Worker),
    Migrate(migrate::Migrate),
    Key(key::Key),
    WithServices(with_services::WithServices),
}
