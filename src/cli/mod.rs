//! The commands that run or maintain a service. Each has a module with its arguments and one function that runs it.
//!
//! The commands that call the API are in [`assize_client`]; [`Command`] contains them too.

pub mod api;
pub mod backup;
pub mod cleanup;
pub mod config;
pub mod demo;
pub mod doctor;
mod fault;
pub mod inspect;
pub mod key;
mod listener;
pub mod migrate;
mod owner_store;
pub mod pause;
pub mod queue;
pub mod restore;
mod service_manager;
pub mod signals;
pub mod template;
pub mod templates;
pub mod top;
pub mod tune;
pub mod up;
pub mod with_services;
pub mod worker;
pub mod workers;

use std::ffi::OsStr;
use std::path::PathBuf;

use assize_client::{ClientCommand, outcome};

/// Where the settings are.
#[derive(Debug, clap::Args)]
pub struct SettingsFile {
    /// Read the settings from this file. Without it, assize.toml in the current folder is read if it exists.
    #[arg(long, global = true, env = "ASSIZE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Evaluates untrusted software projects and returns a verdict that the project cannot forge.
///
/// To try it, run `assize up` in one terminal and `assize submit ./project --template trivial --watch` in
/// another.
#[derive(Debug, clap::Parser)]
#[command(name = "assize", version, after_help = outcome::EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub settings: SettingsFile,
    #[command(subcommand)]
    pub command: Command,
}

/// The command line of a process that serves: `assize api` and `assize worker`.
///
/// To build the parser of every command would touch 2 MiB of the program, which an idle process then keeps in memory.
#[derive(Debug, clap::Parser)]
#[command(name = "assize", version, after_help = outcome::EXIT_CODES, max_term_width = 100)]
pub struct ServerCli {
    #[command(flatten)]
    pub settings: SettingsFile,
    #[command(subcommand)]
    pub command: ServerCommand,
}

/// The commands that serve.
#[derive(Debug, clap::Subcommand)]
pub enum ServerCommand {
    Api(api::Api),
    Worker(worker::WorkerCommand),
}

impl ServerCli {
    /// Whether the first argument is a command that serves.
    #[must_use]
    pub fn is_meant_by(first: &OsStr) -> bool {
        first == "api" || first == "worker"
    }
}

/// The commands, in the order in which `assize --help` lists them.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Up(up::Up),
    Demo(demo::Demo),
    Doctor(doctor::Doctor),
    Inspect(inspect::Inspect),
    Template(template::Template),
    #[command(flatten)]
    Client(ClientCommand),
    Templates(templates::Templates),
    Api(api::Api),
    Worker(worker::WorkerCommand),
    Migrate(migrate::Migrate),
    Tune(tune::Tune),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Key(key::Key),
    Config(config::ConfigCommand),
    Workers(workers::Workers),
    Queue(queue::Queue),
    Top(top::Top),
    Pause(pause::Pause),
    Resume(pause::Resume),
    Drain(pause::Drain),
    Cleanup(cleanup::Cleanup),
    WithServices(with_services::WithServices),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn a_command_that_serves_has_the_same_help_in_both_parsers() {
        for name in ["api", "worker"] {
            assert!(ServerCli::is_meant_by(OsStr::new(name)));
            let help = |mut command: clap::Command| {
                command.build();
                command.find_subcommand_mut(name).unwrap().render_long_help().to_string()
            };
            assert_eq!(help(ServerCli::command()), help(Cli::command()));
        }
        assert!(!ServerCli::is_meant_by(OsStr::new("up")));
    }
}
