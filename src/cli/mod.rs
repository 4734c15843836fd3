//! The command line. Each command has a module with its arguments and its one function; what
//! several need stands beside them: the API [`client`], a run as it happens ([`follow`], [`report`]),
//! the [`screen`], and the [`outcome`] that becomes the exit code.

pub mod api;
pub mod client;
pub mod demo;
pub mod doctor;
pub mod follow;
pub mod key;
pub mod migrate;
pub mod outcome;
pub mod pack;
pub mod queue;
pub mod report;
pub mod runs;
pub mod screen;
pub mod services;
pub mod signals;
pub mod sse;
pub mod submit;
pub mod up;
pub mod verdict;
pub mod verify;
pub mod worker;

use std::path::PathBuf;

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
    Submit(submit::Submit),
    Watch(runs::Watch),
    Status(runs::Show),
    Verdict(verdict::ReadVerdict),
    Verify(verify::Verify),
    Cancel(runs::Cancel),
    Runs(runs::Runs),
    Templates(runs::ListTemplates),
    Api(api::Api),
    Worker(worker::Worker),
    Migrate(migrate::Migrate),
    Key(key::Key),
    WithServices(services::WithServices),
}
