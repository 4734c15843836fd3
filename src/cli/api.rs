//! `assize api`: the process that serves HTTP and never uses Docker.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{listener, service_manager, signals};
use crate::admission::{QueueQuotas, WaitReasonCache};
use crate::cli::fault;
use crate::intake::blob::Blobs;
use crate::maintenance::process::process_id;
use crate::metrics_listener;
use crate::redis::{Hints, ProcessKind, Redis, ReloadListener, ReloadRequest, reload_queue};
use crate::template::LiveTemplates;
use crate::template::reload::{finish, read_again};
use assize_client::outcome::{Exit, Fault, Outcome};
use assize_config::Config;
use assize_host as host;
use assize_host::clock::Clock;
use assize_host::inherited_sockets::InheritedSockets;
use assize_host::service_manager::LoopTurns;
use assize_observe::metrics;
use assize_signing::Signer;
use assize_store::{StartWait, Store};

/// Run the HTTP API.
///
/// The API accepts submissions and serves runs, output and verdicts. It requires Postgres and the blob
/// store. Without Redis it continues, but live output and new runs are delayed. On SIGTERM or SIGINT it
/// finishes the requests in progress and stops. On SIGHUP it loads the templates anew.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  assize api --config /etc/assize/assize.toml\n  ASSIZE_API_LISTEN=127.0.0.1:8080 assize api"
)]
pub struct Api {
    /// Stop when stdin is closed.
    #[arg(long, hide = true)]
    lifeline: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Fault`] for a person.
pub async fn run(command: Api, config: Config, mut sockets: InheritedSockets) -> Outcome {
    assize_observe::init(&config.log, config.log_format).map_err(Fault::usage)?;
    metrics_listener::describe_build();
    let stop = signals::shutdown_token(command.lifeline)?;
    let (sender, reloads) = reload_queue();
    signals::reload_on_hangup(sender.clone())?;
    open_files(&config);
    let http = listener::open(&mut sockets, listener::HTTP, &config.api_listen, "api_listen").await?;
    let metrics_address = &config.api_metrics_listen;
    let private = listener::open(&mut sockets, listener::METRICS, metrics_address, "api_metrics_listen").await?;
    let wait = StartWait::up_to(config.database_wait());
    let connecting = Store::connect(&config.database_url, config.database_connections, wait);
    let Some(connected) = stop.run_until_cancelled(connecting).await else { return Ok(Exit::Success) };
    let store = connected.map_err(fault::store)?;
    store.check_schema().await.map_err(fault::store)?;
    let signer = crate::signing_key::open(&config.signing_key_file, &store).await?;
    std::fs::create_dir_all(&config.spool_dir).map_err(|error| {
        Fault::infrastructure(format!(
            "cannot create the folder for uploads {}: {error}; set spool_dir",
            config.spool_dir.display()
        ))
    })?;
    let redis = Redis::open(&config.redis_url, &config.instance).map_err(Fault::usage)?;
    let parts = Parts {
        clock: Clock::system(),
        blobs: Blobs::open(&config.blob_url).map_err(Fault::usage)?,
        templates: LiveTemplates::load(&config.templates_dir).map_err(Fault::usage)?,
        hints: Hints::default(),
        store,
        redis,
        signer,
    };
    // The API has its own `/readyz`, which checks its services; this address serves only the metrics.
    let metrics = metrics_listener::serve(private, Arc::new(Vec::new), stop.clone());
    let turns = LoopTurns::default();
    let reporting = {
        let (_, ready) = watch::channel(true);
        service_manager::report(ready, vec![turns.clone()], status_line, stop.clone())
    };
    let reloading = {
        let (templates, redis, stop) = (parts.templates.clone(), parts.redis.clone(), stop.clone());
        async move { stop.run_until_cancelled(reload_on_request(&templates, &redis, reloads)).await }
    };
    let listener = ReloadListener { kind: ProcessKind::Api, requests: sender };
    let gauges = crate::maintenance::gauges::run(parts.store.clone(), stop.clone());
    let listening = parts.redis.clone().listen(parts.hints.clone(), Some(listener), stop.clone());
    let served = async {
        let served = serve(parts, config, http, turns, stop.clone()).await;
        stop.cancel();
        served
    };
    // When the API ends by a fault, the other parts are stopped too.
    let serving = async { tokio::join!(served, metrics, listening, gauges, reloading) };
    let (served, ..) = tokio::select! {
        ended = serving => ended,
        never = reporting => match never {},
    };
    // It fails only for a setting that it cannot use: trusted_proxies, or spool_dir.
    served.map_err(Fault::usage)?;
    Ok(Exit::Success)
}

/// Returns one line for the service manager: which dependency is away.
fn status_line() -> String {
    let away =
        ["postgres", "redis", "blobs"].into_iter().filter(|name| metrics().dependency_is_up(name) == Some(false));
    away.fold("serving".to_owned(), |line, name| format!("{line}; {name} does not answer"))
}

/// Loads the templates anew whenever somebody asks for it.
async fn reload_on_request(templates: &LiveTemplates, redis: &Redis, mut requests: mpsc::Receiver<ReloadRequest>) {
    let process = process_id();
    while let Some(request) = requests.recv().await {
        let read = read_again(templates).await;
        finish(templates, redis, &process, request, read).await;
    }
}

/// The number of files that the API opens besides its connections: the database, Redis, uploads and archives.
const OTHER_FILES: u64 = 512;

fn open_files(config: &Config) {
    let wanted = u64::from(config.max_connections) + OTHER_FILES;
    let limit = host::raise_open_files(wanted);
    if limit < wanted {
        tracing::warn!(limit, wanted, "too few open files for max_connections; raise the limit (ulimit -Hn)");
    }
}

/// The opened services and settings that the API uses.
pub struct Parts {
    pub clock: Clock,
    pub store: Store,
    pub redis: Redis,
    pub hints: Hints,
    pub blobs: Blobs,
    pub templates: LiveTemplates,
    pub signer: Option<Signer>,
}

/// Serves the API until `stop` is cancelled.
async fn serve(
    parts: Parts,
    config: Config,
    listener: TcpListener,
    turns: LoopTurns,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Parts { clock, store, redis, hints, blobs, templates, signer } = parts;
    let quotas = QueueQuotas::new(store.clone(), clock.clone(), &config);
    let wait_reasons = WaitReasonCache::new(store.clone(), clock.clone(), &config);
    let config = Arc::new(config);
    let state =
        crate::api::ApiState { clock, store, redis, hints, blobs, templates, config, quotas, wait_reasons, signer };
    crate::api::serve(state, listener, turns, stop).await
}
