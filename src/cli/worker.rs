//! `assize worker`: the process that runs projects, and the only one that talks to Docker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::signals;
use crate::metrics_listener;
use assize_cell::unenforced;
use assize_client::outcome::{Exit, Fault, Outcome};
use assize_config::Config;
use assize_observe::metrics;

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
    /// Go on although this limit of cells does not hold here; may be given several times.
    ///
    /// /readyz and the metric assize_limit_unenforced say so for as long as the worker lives. The message
    /// of a worker that does not start has the names.
    #[arg(long, value_name = "LIMIT")]
    allow_unenforced: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// [`Fault`] for a person.
pub async fn run(command: Worker, mut config: Config) -> Outcome {
    assize_observe::init(&config.log, config.log_format).map_err(Fault::usage)?;
    for limit in &command.allow_unenforced {
        config.allow_unenforced = format!("{},{limit}", config.allow_unenforced);
    }
    unenforced::parse(&config.allow_unenforced).map_err(Fault::usage)?;
    let stop = signals::shutdown_token(command.lifeline)?;
    // Whichever ends first, by a fault or because it was told to, ends the other.
    let ready = Arc::new(AtomicBool::new(false));
    let metrics = async {
        let ready = Arc::clone(&ready);
        let reasons = Arc::new(move || unready(ready.load(Ordering::Relaxed)));
        let ended = metrics_listener::serve(&config.worker_metrics_listen, reasons, stop.clone()).await;
        stop.cancel();
        ended
    };
    let worked = async {
        let worked = crate::worker::run(config.clone(), Arc::clone(&ready), stop.clone()).await;
        stop.cancel();
        worked
    };
    let (worked, metrics) = tokio::join!(worked, metrics);
    worked.and(metrics).map_err(|error| Fault::infrastructure(format!("{error:#}")))?;
    Ok(Exit::Success)
}

/// What keeps this worker from claiming: it is starting or stopping, or a service that was asked does
/// not answer.
fn unready(claims: bool) -> Vec<String> {
    let away = ["postgres", "docker"].into_iter().filter(|name| metrics().dependency_is_up(name) == Some(false));
    let mut reasons: Vec<_> = away.map(|name| format!("{name} does not answer")).collect();
    if !claims {
        reasons.push("the worker is starting or stopping".to_owned());
    }
    reasons
}
