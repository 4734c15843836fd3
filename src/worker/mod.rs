//! The worker process: claims runs and drives each to its end. The only holder of the engine.
//!
//! [`drive`] is the whole pipeline; [`cells`], [`execute`], [`verdict`] and [`finish`] are
//! its stages. [`leases`] renews what this worker holds and tells a run to stop when its lease is
//! lost or someone cancels it.

mod attempt;
mod cells;
mod conversation;
mod drive;
mod execute;
mod finish;
mod leases;
mod output;
mod plan;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use apalis::prelude::{Data, WorkerBuilder, WorkerBuilderExt};
use tokio_util::sync::CancellationToken;

use crate::admission::{Admission, Admitted, Holds, Slots};
use crate::cell::counters::Cgroups;
use crate::cell::{Berths, Engine};
use crate::config::Config;
use crate::intake::blob::Blobs;
use crate::redis::{Hints, Redis};
use crate::store::Store;
use crate::template::Templates;
use crate::upkeep::{self, schedule::Janitor};
use leases::Leases;

/// Everything that a run needs of the process that drives it.
pub struct Worker {
    /// Unique for this process: host, pid and start.
    pub id: String,
    pub store: Store,
    pub redis: Redis,
    pub blobs: Blobs,
    pub templates: Templates,
    pub engine: Engine,
    pub berths: Berths,
    pub cgroups: Cgroups,
    /// What keeps it from claiming.
    pub holds: Holds,
    pub config: Config,
    leases: Leases,
}

/// Works until `stop`, then lets what runs end for up to `drain_timeout_s`. `ready` is true while
/// it claims.
///
/// # Errors
/// If anything that it stands on is missing at the start; later it waits for it to come back.
pub async fn run(config: Config, ready: Arc<AtomicBool>, stop: CancellationToken) -> anyhow::Result<()> {
    let hints = Hints::default();
    let worker = Arc::new(open(&config).await?);
    // Heartbeats and hints go on while the last runs drain.
    let upkeep_stop = CancellationToken::new();
    let tasks = tokio_util::task::TaskTracker::new();
    tasks.spawn(worker.redis.clone().listen(hints.clone(), upkeep_stop.clone()));
    upkeep::janitor::sweep(&worker.engine, &worker.store).await.context("cannot remove what an earlier worker left")?;
    let half_slots = config.worker_half_slots();
    // As many runs as there are half-slots can be under way, and each needs a namespace of its own.
    worker.berths.fill(half_slots as usize).await.context("cannot make berths")?;

    tasks.spawn(worker.leases.clone().keep(worker.store.clone(), hints.clone(), upkeep_stop.clone()));
    tasks.spawn(upkeep::watchdog::run(worker.store.clone(), worker.redis.clone(), upkeep_stop.clone()));
    tasks.spawn(upkeep::gauges::run(worker.store.clone(), worker.engine.clone(), upkeep_stop.clone()));
    let limits = upkeep::pressure::Limits::of(&config);
    tasks.spawn(upkeep::pressure::run(worker.holds.clone(), worker.engine.clone(), limits, upkeep_stop.clone()));
    tasks.spawn(upkeep::schedule::run(worker.janitor().jobs(), upkeep_stop.clone()));

    ready.store(true, Ordering::Relaxed);
    tracing::info!(worker = worker.id, slots = f64::from(half_slots) / 2.0, "worker ready");
    let total = config.max_active_evaluations * 2;
    let slots = Slots::new(half_slots);
    let admission = Admission::new(worker.store.clone(), &worker.id, total, slots, hints, stop.clone());
    let runs = WorkerBuilder::new(worker.id.as_str())
        .backend(admission)
        .data(Arc::clone(&worker))
        .enable_tracing()
        .catch_panic()
        .build(take)
        .run();
    let drained = async {
        stop.cancelled().await;
        ready.store(false, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(config.drain_timeout_s)).await;
    };
    tokio::select! {
        ended = runs => ended.map_err(|error| anyhow::anyhow!("the worker ended: {error}"))?,
        () = drained => tracing::warn!(drain_timeout_s = config.drain_timeout_s, "runs are left behind"),
    }
    worker.berths.close().await;
    upkeep_stop.cancel();
    tasks.close();
    tasks.wait().await;
    upkeep::leftovers::remove_parents(&worker.cgroups);
    tracing::info!(worker = worker.id, "worker stopped");
    Ok(())
}

impl Worker {
    fn janitor(&self) -> Janitor {
        Janitor {
            store: self.store.clone(),
            engine: self.engine.clone(),
            blobs: self.blobs.clone(),
            cgroups: self.cgroups.clone(),
            config: self.config.clone(),
        }
    }
}

/// One run as apalis calls it, in a task of its own so that runs share all cores.
async fn take(admitted: Admitted, worker: Data<Arc<Worker>>) -> Result<(), tokio::task::JoinError> {
    let worker = Arc::clone(&worker);
    tokio::spawn(async move {
        drive::drive(&worker, admitted.claim).await;
        admitted.slot.free();
    })
    .await
}

async fn open(config: &Config) -> anyhow::Result<Worker> {
    let store = Store::open(&config.database_url, config.database_connections)?;
    store.check_schema().await?;
    let templates = Templates::load(&config.templates_dir)?;
    let engine = Engine::connect(config).await?;
    let mut images: Vec<_> = templates
        .iter()
        .flat_map(|template| {
            std::iter::once(&template.image).chain(template.driver.as_ref().map(|driver| &driver.image))
        })
        .map(String::as_str)
        .collect();
    images.push(crate::cell::berth::BERTH_IMAGE);
    images.sort_unstable();
    images.dedup();
    for image in images {
        engine.check_image(image).await?;
    }
    let id = upkeep::janitor::worker_id();
    Ok(Worker {
        redis: Redis::open(&config.redis_url, &config.instance)?,
        blobs: Blobs::open(&config.blob_url)?,
        berths: Berths::new(engine.clone(), &id, config.berth_max_runs),
        cgroups: Cgroups::of(&engine).await?,
        leases: Leases::new(&id),
        holds: Holds::default(),
        config: config.clone(),
        store,
        templates,
        engine,
        id,
    })
}
