//! The worker process: claims runs and drives each to its end. The only holder of the engine.
//!
//! [`drive`] is the whole pipeline; [`fetch`], [`cells`], [`execute`], [`verdict`] and [`finish`] are
//! its stages. [`leases`] renews what this worker holds and tells a run to stop when its lease is
//! lost or someone cancels it. [`breaker`] keeps a sick worker from draining the queue, and [`pulse`]
//! one whose engine is away.

mod agreement;
mod attempt;
mod breaker;
mod cells;
mod conversation;
mod drive;
mod egress;
mod execute;
mod fetch;
mod finish;
mod leases;
mod output;
mod places;
mod plan;
mod pulse;
mod statement;
mod stdin;
mod verdict;
mod walls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use apalis::prelude::{Data, WorkerBuilder, WorkerBuilderExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, Admitted, Cues, Holds, Slots};
use crate::intake::blob::Blobs;
use crate::redis::{Hints, Redis};
use crate::template::Templates;
use crate::upkeep::{self, schedule::Janitor, watchdog::Watchdog};
use assize_cell::counters::Cgroups;
use assize_cell::slice::Slice;
use assize_cell::{Berths, Engine};
use assize_config::Config;
use assize_domain::queue::ClaimPause;
use assize_signing::Signer;
use assize_store::Store;
use breaker::Breaker;
pub use fetch::git::FETCH_IMAGE;
pub use leases::{About, Leases};

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
    pub slice: Slice,
    pub config: Config,
    /// Absent if nothing is to be signed.
    pub signer: Option<Signer>,
    /// The way out for stages that may reach something.
    pub exit: egress::Exit,
    /// What keeps it from claiming.
    pub holds: Holds,
    breaker: Breaker,
    leases: Leases,
    /// One for each run under way.
    drives: TaskTracker,
}

/// How long the runs that are left behind may take to notice.
const LEAVING: Duration = Duration::from_secs(10);

/// Works until `stop`, then lets what runs end for up to `drain_timeout_s` and leaves the rest to its
/// successor. `ready` is true while it claims.
///
/// # Errors
/// If anything that it stands on is missing at the start; later it waits for it to come back.
pub async fn run(config: Config, ready: Arc<AtomicBool>, stop: CancellationToken) -> anyhow::Result<()> {
    let hints = Hints::default();
    let worker = Arc::new(open(&config).await?);
    let unenforced = walls::check(&worker).await?;
    // Heartbeats and hints go on while the last runs drain.
    let upkeep_stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    tasks.spawn(worker.redis.clone().listen(hints.clone(), upkeep_stop.clone()));
    let half_slots = config.worker_half_slots();
    let (store, holds, leases) = (&worker.store, &worker.holds, &worker.leases);
    tasks.spawn(leases.clone().keep(
        store.clone(),
        hints.clone(),
        holds.clone(),
        About { half_slots, unenforced: unenforced.clone() },
        upkeep_stop.clone(),
    ));

    let slots = Slots::new(half_slots);
    let (adopting, adopted) = mpsc::unbounded_channel();
    let mut watchdog = Watchdog::new(store.clone(), &worker.id, leases.clone(), slots.clone(), adopting);
    watchdog.run_once().await.context("cannot take over what an earlier worker left")?;
    upkeep::janitor::sweep(&worker.engine, store).await.context("cannot remove what an earlier worker left")?;
    // As many runs as there are half-slots can be under way, and each needs a namespace of its own.
    worker.berths.fill(half_slots as usize).await.context("cannot make berths")?;
    walls::check_totals(&worker, &unenforced).await?;

    // A worker that is about to stop takes nothing over.
    tasks.spawn(watchdog.run(stop.clone()));
    tasks.spawn(upkeep::gauges::run(store.clone(), upkeep_stop.clone()));
    let limits = upkeep::pressure::Limits::of(&config);
    tasks.spawn(upkeep::pressure::run(holds.clone(), worker.engine.clone(), limits, upkeep_stop.clone()));
    tasks.spawn(upkeep::schedule::run(worker.janitor().jobs(), upkeep_stop.clone()));
    tasks.spawn({
        let (worker, stop) = (Arc::clone(&worker), upkeep_stop.clone());
        async move { breaker::mend(&worker, stop).await }
    });
    tasks.spawn({
        let (worker, stop) = (Arc::clone(&worker), upkeep_stop.clone());
        async move { stop.run_until_cancelled(pulse::watch(&worker)).await }
    });

    ready.store(true, Ordering::Relaxed);
    tracing::info!(worker = worker.id, slots = f64::from(half_slots) / 2.0, "worker ready");
    let cues = Cues { hints, holds: holds.clone(), stop: stop.clone() };
    let caps = crate::admission::caps(&config);
    let admission = Admission::new(store.clone(), &worker.id, caps, slots, adopted, cues);
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
        holds.hold(ClaimPause::Draining, "the worker was told to stop");
        tokio::time::sleep(Duration::from_secs(config.drain_timeout_s)).await;
    };
    tokio::select! {
        ended = runs => {
            ended.map_err(|error| anyhow::anyhow!("the worker ended: {error}"))?;
            // What is left in its name it did not know of: the reply to a claim was lost.
            release(&worker).await;
        }
        () = drained => leave(&worker).await,
    }
    worker.berths.close().await;
    upkeep_stop.cancel();
    tasks.close();
    tasks.wait().await;
    upkeep::leftovers::remove_parents(&worker.cgroups);
    tracing::info!(worker = worker.id, "worker stopped");
    Ok(())
}

/// Ends every drive where it is, then lets go of the leases: from here on this process touches neither
/// cells nor rows of those runs, and whoever comes next goes on with them.
async fn leave(worker: &Worker) {
    worker.leases.leave();
    worker.drives.close();
    if tokio::time::timeout(LEAVING, worker.drives.wait()).await.is_err() {
        tracing::warn!("some runs did not notice that they are left; their leases run out by themselves");
        return;
    }
    release(worker).await;
}

async fn release(worker: &Worker) {
    match worker.store.release_leases(&worker.id).await {
        Ok(0) => {}
        Ok(runs) => tracing::info!(runs, drain_timeout_s = worker.config.drain_timeout_s, "runs are left behind"),
        Err(error) => tracing::warn!(%error, "leases were not let go; they run out by themselves"),
    }
}

impl Worker {
    fn janitor(&self) -> Janitor {
        Janitor {
            store: self.store.clone(),
            engine: self.engine.clone(),
            blobs: self.blobs.clone(),
            cgroups: self.cgroups.clone(),
            slice: self.slice.clone(),
            config: self.config.clone(),
        }
    }
}

/// One run as apalis calls it, in a task of its own so that runs share all cores.
async fn take(admitted: Admitted, worker: Data<Arc<Worker>>) -> Result<(), tokio::task::JoinError> {
    let run = Arc::clone(&worker);
    let driving = worker.drives.spawn(async move {
        drive::drive(&run, admitted.claim, admitted.resumed).await;
        admitted.slot.free();
    });
    driving.await
}

async fn open(config: &Config) -> anyhow::Result<Worker> {
    let store = Store::open(&config.database_url, config.database_connections)?;
    store.check_schema().await?;
    let signer = crate::signing_key::open(&config.signing_key_file, &store).await?;
    let templates = Templates::load(&config.templates_dir)?;
    let engine = Engine::connect(config).await?;
    let mut images: Vec<_> = templates
        .iter()
        .flat_map(|template| {
            std::iter::once(&template.image).chain(template.driver.as_ref().map(|driver| &driver.image))
        })
        .map(String::as_str)
        .collect();
    images.push(assize_cell::berth::BERTH_IMAGE);
    if !config.git_hosts.is_empty() {
        images.push(FETCH_IMAGE);
        let spool = &config.spool_dir;
        std::fs::create_dir_all(spool).with_context(|| {
            format!("cannot make the folder for what is fetched {}; set spool_dir", spool.display())
        })?;
    }
    images.sort_unstable();
    images.dedup();
    for image in images {
        engine.check_image(image).await?;
    }
    let id = upkeep::process::worker_id();
    let cgroups = Cgroups::of(&engine).await?;
    let holds = Holds::default();
    Ok(Worker {
        redis: Redis::open(&config.redis_url, &config.instance)?,
        blobs: Blobs::open(&config.blob_url)?,
        berths: Berths::new(engine.clone(), &id, config.berth_max_runs),
        slice: Slice::of(&engine, &cgroups, config).await?,
        cgroups,
        leases: Leases::new(&id),
        breaker: Breaker::new(config.pause_after_failures, holds.clone()),
        holds,
        drives: TaskTracker::new(),
        exit: egress::Exit::open(config, &templates)?,
        config: config.clone(),
        signer,
        store,
        templates,
        engine,
        id,
    })
}
