//! `assize worker`: the process that runs projects, and the only one that talks to Docker.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::outcome::{Exit, Fault, Outcome};
use super::signals;
use crate::config::Config;
use crate::observe::{self, metrics};

/// Run projects from the queue.
///
/// Needs Postgres and the Docker engine. On SIGTERM or SIGINT it claims nothing more, lets what runs
/// end for up to drain_timeout_s, and leaves the rest for its successor to adopt.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  assize worker --config /etc/assize/assize.toml\n  ASSIZE_WORKER_SLOTS=8 assize worker"
)]
pub struct Worker {
    /// Stop when stdin ends.
    #[arg(long, hide = true)]
    lifeline: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Fault`] for a person.
pub async fn run(command: Worker, config: Config) -> Outcome {
    observe::init(&config.log, config.log_format).map_err(Fault::usage)?;
    let stop = signals::stop(command.lifeline)?;
    // Whichever ends first, by a fault or because it was told to, ends the other.
    let metrics = async {
        let ended = observe::serve::serve(&config.worker_metrics_listen, Arc::new(unready), stop.clone()).await;
        stop.cancel();
        ended
    };
    let worked = async {
        let worked = work(config.clone(), stop.clone()).await;
        stop.cancel();
        worked
    };
    let (worked, metrics) = tokio::join!(worked, metrics);
    worked.and(metrics).map_err(Fault::infrastructure)?;
    Ok(Exit::Success)
}

/// What keeps this worker from claiming: a service that was asked and does not answer.
fn unready() -> Vec<String> {
    ["postgres", "docker"]
        .into_iter()
        .filter(|name| metrics().dependency_is_up(name) == Some(false))
        .map(|name| format!("{name} does not answer"))
        .collect()
}

/// The one place that hands over to the worker: runs until `stop` and what it drains.
async fn work(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    crate::worker::run(config, stop).await
}
