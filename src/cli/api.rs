//! `assize api`: the process that takes in and answers, and never touches Docker.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::signals;
use crate::admission::{QueueQuotas, WaitReasonCache};
use crate::cli::fault;
use crate::intake::blob::Blobs;
use crate::metrics_listener;
use crate::redis::{Hints, Redis};
use crate::template::Templates;
use assize_client::outcome::{Exit, Fault, Outcome};
use assize_config::Config;
use assize_host as host;
use assize_signing::Signer;
use assize_store::Store;

/// Run the HTTP API.
///
/// Takes in projects and answers questions about runs. Needs Postgres and the blob store; goes on
/// without Redis, with live output and wake-ups late. Stops on SIGTERM or SIGINT after the requests
/// in progress.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  assize api --config /etc/assize/assize.toml\n  ASSIZE_API_LISTEN=127.0.0.1:8080 assize api"
)]
pub struct Api {
    /// Stop when stdin ends.
    #[arg(long, hide = true)]
    lifeline: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Fault`] for a person.
pub async fn run(command: Api, config: Config) -> Outcome {
    assize_observe::init(&config.log, config.log_format).map_err(Fault::usage)?;
    let stop = signals::shutdown_token(command.lifeline)?;
    open_files(&config);
    let store = Store::open(&config.database_url, config.database_connections).map_err(fault::store)?;
    store.check_schema().await.map_err(fault::store)?;
    let signer = crate::signing_key::open(&config.signing_key_file, &store).await?;
    std::fs::create_dir_all(&config.spool_dir).map_err(|error| {
        Fault::infrastructure(format!(
            "cannot make the folder for uploads {}: {error}; set spool_dir",
            config.spool_dir.display()
        ))
    })?;
    let redis = Redis::open(&config.redis_url, &config.instance).map_err(Fault::usage)?;
    let parts = Parts {
        blobs: Blobs::open(&config.blob_url).map_err(Fault::usage)?,
        templates: Arc::new(Templates::load(&config.templates_dir).map_err(Fault::usage)?),
        hints: Hints::default(),
        store,
        redis,
        signer,
    };
    // Whichever ends first, by a fault or because it was told to, ends the others.
    //
    // `/readyz` of the API itself asks its services; this address only counts.
    let metrics = async {
        let ended = metrics_listener::serve(&config.api_metrics_listen, Arc::new(Vec::new), stop.clone()).await;
        stop.cancel();
        ended
    };
    let listening = parts.redis.clone().listen(parts.hints.clone(), stop.clone());
    let served = async {
        let served = serve(parts, config.clone(), stop.clone()).await;
        stop.cancel();
        served
    };
    let (served, metrics, ()) = tokio::join!(served, metrics, listening);
    served.and(metrics).map_err(Fault::infrastructure)?;
    Ok(Exit::Success)
}

/// Files that the API has open besides its connections: the database, Redis, uploads and archives.
const OTHER_FILES: u64 = 512;

fn open_files(config: &Config) {
    let wanted = u64::from(config.max_connections) + OTHER_FILES;
    let limit = host::raise_open_files(wanted);
    if limit < wanted {
        tracing::warn!(limit, wanted, "too few open files for max_connections; raise the limit (ulimit -Hn)");
    }
}

/// What the API works with, open.
pub struct Parts {
    pub store: Store,
    pub redis: Redis,
    pub hints: Hints,
    pub blobs: Blobs,
    pub templates: Arc<Templates>,
    pub signer: Option<Signer>,
}

/// The one place that hands over to the API: binds `api_listen` and serves until `stop`.
async fn serve(parts: Parts, config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    let listen = config.api_listen.clone();
    let listener = tokio::net::TcpListener::bind(&listen)
        .await
        .map_err(|error| anyhow::anyhow!("cannot listen on {listen}: {error}; set api_listen"))?;
    let Parts { store, redis, hints, blobs, templates, signer } = parts;
    let quotas = QueueQuotas::new(store.clone(), &config);
    let wait_reasons = WaitReasonCache::new(store.clone(), &config);
    let config = Arc::new(config);
    let state = crate::api::ApiState { store, redis, hints, blobs, templates, config, quotas, wait_reasons, signer };
    crate::api::serve(state, listener, stop).await
}
