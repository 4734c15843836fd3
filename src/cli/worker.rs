//! `assize worker`: the process that evaluates projects, and the only one that uses Docker.

use std::sync::Arc;

use super::{fault, listener, service_manager, signals};
use crate::metrics_listener;
use crate::redis::reload_queue;
use crate::worker::status::WorkerStatus;
use assize_cell::unenforced;
use assize_client::outcome::{Exit, Fault, Outcome};
use assize_config::Config;
use assize_host::clock::Clock;
use assize_host::inherited_sockets::InheritedSockets;
use assize_observe::metrics;

/// Run a worker, which evaluates queued projects.
///
/// The worker requires Postgres and the Docker engine. On SIGTERM or SIGINT it claims no more runs and waits up to
/// drain_timeout_s for its active runs to end. Runs that are still active are adopted by the next worker. On SIGHUP it
/// loads the templates anew; runs that have begun keep theirs.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  assize worker --config /etc/assize/assize.toml\n  ASSIZE_WORKER_SLOTS=8 assize worker"
)]
pub struct WorkerCommand {
    /// Stop when stdin is closed.
    #[arg(long, hide = true)]
    lifeline: bool,
    /// Start although this limit of cells is not enforced on this host. The option can be repeated.
    ///
    /// While the worker runs, /readyz and the metric assize_limit_unenforced report the limit. A worker that does not
    /// start names the limits that are not enforced.
    #[arg(long, value_name = "LIMIT")]
    allow_unenforced: Vec<String>,
    /// For tests: replace a berth after this many runs.
    #[arg(long, hide = true, value_name = "N")]
    max_runs_per_berth: Option<u32>,
    /// For tests: store this many bytes of each end of a stage's output.
    #[arg(long, hide = true, value_name = "BYTES")]
    output_end_bytes: Option<u64>,
}

/// Runs the command.
///
/// # Errors
/// [`Fault`] for a person.
pub async fn run(command: WorkerCommand, mut config: Config, mut sockets: InheritedSockets) -> Outcome {
    assize_observe::init(&config.log, config.log_format).map_err(Fault::usage)?;
    for limit in &command.allow_unenforced {
        config.allow_unenforced_limits = format!("{},{limit}", config.allow_unenforced_limits);
    }
    if let Some(runs) = command.max_runs_per_berth {
        config.constants.max_runs_per_berth = runs;
    }
    if let Some(bytes) = command.output_end_bytes {
        (config.constants.output_head_bytes, config.constants.output_tail_bytes) = (bytes, bytes);
    }
    unenforced::parse(&config.allow_unenforced_limits).map_err(Fault::usage)?;
    metrics_listener::describe_build();
    metrics().set_worker_half_slots(config.worker_half_slots());
    let stop = signals::shutdown_token(command.lifeline)?;
    let reloads = reload_queue();
    signals::reload_on_hangup(reloads.0.clone())?;
    let address = config.worker_metrics_listen.clone();
    let listener = listener::open(&mut sockets, listener::METRICS, &address, "worker_metrics_listen").await?;
    let status = Arc::new(WorkerStatus::default());
    let metrics = {
        let status = Arc::clone(&status);
        metrics_listener::serve(listener, Arc::new(move || status.unready()), stop.clone())
    };
    let reporting = {
        let (shown, ready) = (Arc::clone(&status), status.ready.subscribe());
        let loops = vec![status.heartbeats.clone(), status.watchdog.clone()];
        service_manager::report(ready, loops, move || shown.line(), stop.clone())
    };
    // When the worker ends by a fault, the metrics are stopped too.
    let working = async {
        let worked = crate::worker::run(Clock::system(), config, status, reloads, stop.clone()).await;
        stop.cancel();
        worked
    };
    let serving = async { tokio::join!(working, metrics) };
    let (worked, ()) = tokio::select! {
        ended = serving => ended,
        never = reporting => match never {},
    };
    worked.map_err(fault::worker)?;
    Ok(Exit::Success)
}
