//! The commands that call the API, and the offline check of signed statements.
//!
//! Each command has a module with its arguments and one function that runs it: [`submit`], [`runs`] (watch, status,
//! cancel and list), [`verdict`], [`artifacts`] and [`verify`]. The other modules are shared: the API [`client`], the events
//! of a run ([`follow`]) and their presentation ([`report`]), the [`terminal`], and the [`outcome`] that becomes the
//! exit code.
//!
//! A program that only submits or verifies needs this crate alone, without a database or an engine.

pub mod artifacts;
pub mod client;
pub mod contents;
pub mod follow;
pub mod outcome;
pub mod pack;
pub mod queue;
pub mod report;
pub mod runs;
mod save;
pub mod sse;
pub mod submit;
pub mod terminal;
pub mod verdict;
pub mod verify;

use outcome::Outcome;

/// A command that calls the API, or checks a signed statement offline.
#[derive(Debug, clap::Subcommand)]
pub enum ClientCommand {
    Submit(submit::Submit),
    Watch(runs::Watch),
    Status(runs::Show),
    Verdict(verdict::ReadVerdict),
    Artifacts(artifacts::Artifacts),
    Verify(verify::Verify),
    Cancel(runs::Cancel),
    Runs(runs::Runs),
}

impl ClientCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// [`outcome::Fault`] with a message for the user.
    pub async fn run(self) -> Outcome {
        match self {
            Self::Submit(submit) => submit::run(submit).await,
            Self::Watch(watch) => runs::watch(watch).await,
            Self::Status(show) => runs::status(show).await,
            Self::Verdict(verdict) => verdict::run(verdict).await,
            Self::Artifacts(artifacts) => artifacts::run(artifacts).await,
            Self::Verify(verify) => verify::run(&verify),
            Self::Cancel(cancel) => runs::cancel(cancel).await,
            Self::Runs(list) => runs::list(list).await,
        }
    }
}

/// Returns the exit code of a command, and prints its error to stderr if it failed.
#[must_use]
pub fn exit_code(outcome: Outcome) -> std::process::ExitCode {
    match outcome {
        Ok(exit) => exit.into(),
        Err(fault) => {
            let terminal = terminal::Terminal::stderr();
            let label = terminal.paint(terminal::Style::Bad, "error:");
            terminal.line(format!("{label} {}", terminal::printable_lines(&fault.to_string())));
            fault.exit().into()
        }
    }
}
