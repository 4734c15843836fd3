//! The start of a worker, as steps in the order in which they must happen. Each step consumes the state that the step
//! before it returned, so no other order compiles:
//!
//! 1. [`Opened::open`] connects to the dependencies and checks schema, images and settings.
//! 2. [`Opened::verify_limits`] tries every limit of a cell. Nothing is claimed or adopted before the limits hold.
//! 3. [`LimitsVerified::start_heartbeats`] renews leases from here on, so that a lease that the next step acquires
//!    does not expire.
//! 4. [`Heartbeating::take_over_lost_runs`] acquires the leases of runs whose worker is gone. It comes before the
//!    sweep, so that the cells of these runs belong to a live attempt again.
//! 5. [`TakenOver::remove_orphans`] removes the containers that no attempt and no live worker needs.
//! 6. [`OrphansRemoved::fill_berths`] makes one berth for each half-slot, and verifies the totals of all cells once
//!    more: until the first berth exists, another worker that stops may remove the parent cgroup.
//! 7. [`BerthsFilled::start_maintenance`] starts the tasks that look after the installation.

use std::sync::Arc;

use anyhow::Context;
use assize_cell::Berths;
use assize_cell::Engine;
use assize_cell::counters::Cgroups;
use assize_cell::slice::Slice;
use assize_config::Config;
use assize_host::clock::Clock;
use assize_store::{StartWait, Store};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::breaker::{self, Breaker};
use super::status::WorkerStatus;
use super::{FETCH_IMAGE, Worker, egress, engine_health, reload, startup_checks};
use crate::admission::{Admitted, Adopted, ClaimPauses, Slots};
use crate::intake::blob::Blobs;
use crate::leases::{Leases, WorkerInfo};
use crate::maintenance;
use crate::maintenance::pressure::PressureLimits;
use crate::maintenance::schedule::Janitor;
use crate::maintenance::watchdog::Watchdog;
use crate::redis::{Hints, Redis, ReloadListener, ReloadRequest};
use crate::template::{LiveTemplates, Templates};

/// A worker whose dependencies answer.
pub struct Opened {
    worker: Arc<Worker>,
}

/// A worker whose cells have the limits that they should have.
pub struct LimitsVerified {
    worker: Arc<Worker>,
    /// Limits that are not enforced here, and that the operator allowed.
    unenforced: Vec<String>,
}

/// A worker that renews its leases.
pub struct Heartbeating {
    worker: Arc<Worker>,
    unenforced: Vec<String>,
    hints: Hints,
    background: Background,
}

/// A worker that has taken over the runs whose worker was gone when it started.
pub struct TakenOver {
    before: Heartbeating,
    watchdog: Watchdog,
    slots: Slots,
    adopted: Adopted,
}

/// A worker without containers that nobody needs.
pub struct OrphansRemoved(TakenOver);

/// A worker with a berth for each half-slot.
pub struct BerthsFilled(TakenOver);

/// A worker that may claim.
pub struct Started {
    pub worker: Arc<Worker>,
    pub hints: Hints,
    pub slots: Slots,
    pub adopted: Adopted,
    pub background: Background,
}

/// Tasks that run until the last run of this worker has ended: heartbeats and hints are needed while it drains.
#[derive(Default)]
pub struct Background {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Background {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Stops the tasks and waits for them.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Opened {
    /// Connects to the dependencies.
    ///
    /// # Errors
    /// The dependency that is missing, or the setting or template that cannot be used.
    pub async fn open(clock: Clock, config: Config, status: Arc<WorkerStatus>) -> anyhow::Result<Self> {
        Ok(Self { worker: Arc::new(open(clock, config, status).await?) })
    }

    /// Tries every limit of a cell from inside one.
    ///
    /// # Errors
    /// The limits that are not enforced, or what prevents the worker from trying them.
    pub async fn verify_limits(self) -> anyhow::Result<LimitsVerified> {
        let unenforced = startup_checks::verify_limits(&self.worker).await?;
        Ok(LimitsVerified { worker: self.worker, unenforced })
    }
}

impl LimitsVerified {
    /// Starts to listen for hints and requests, and to send heartbeats, which renew the leases of this worker.
    pub fn start_heartbeats(self, reloads: ReloadListener) -> Heartbeating {
        let Self { worker, unenforced } = self;
        let (hints, background) = (Hints::default(), Background::default());
        background.spawn(worker.redis.clone().listen(hints.clone(), Some(reloads), background.stop.clone()));
        let info = WorkerInfo { half_slots: worker.config.worker_half_slots(), unenforced: unenforced.clone() };
        background.spawn(worker.leases.clone().send_heartbeats(
            worker.store.clone(),
            hints.clone(),
            worker.pauses.signals(),
            info,
            worker.status.heartbeats.clone(),
            background.stop.clone(),
        ));
        Heartbeating { worker, unenforced, hints, background }
    }
}

impl Heartbeating {
    /// Takes over the runs whose worker is gone.
    ///
    /// # Errors
    /// If Postgres does not answer.
    pub async fn take_over_lost_runs(self) -> anyhow::Result<TakenOver> {
        let worker = &self.worker;
        let slots = Slots::new(worker.config.worker_half_slots());
        let (sender, adopted) = mpsc::unbounded_channel::<Admitted>();
        let mut watchdog = Watchdog::new(
            worker.clock.clone(),
            worker.store.clone(),
            &worker.id,
            worker.leases.clone(),
            slots.clone(),
            sender,
            worker.status.watchdog.clone(),
        )
        .heeding(worker.pauses.clone());
        let half_slots = worker.config.worker_half_slots();
        worker.status.follow(half_slots, worker.leases.clone(), worker.pauses.clone());
        watchdog.run_once().await.context("cannot take over what an earlier worker left")?;
        Ok(TakenOver { before: self, watchdog, slots, adopted })
    }
}

impl TakenOver {
    /// Removes the containers that earlier workers left.
    ///
    /// # Errors
    /// If the engine or Postgres does not answer.
    pub async fn remove_orphans(self) -> anyhow::Result<OrphansRemoved> {
        let worker = &self.before.worker;
        maintenance::janitor::sweep(&worker.engine, &worker.store, &worker.clock)
            .await
            .context("cannot remove what an earlier worker left")?;
        Ok(OrphansRemoved(self))
    }
}

impl OrphansRemoved {
    /// Makes the berths and verifies the totals of all cells. As many runs as there are half-slots can be active, and
    /// each needs a namespace of its own.
    ///
    /// # Errors
    /// If the engine does not answer, or a total is not enforced.
    pub async fn fill_berths(self) -> anyhow::Result<BerthsFilled> {
        let Heartbeating { worker, unenforced, .. } = &self.0.before;
        let half_slots = worker.config.worker_half_slots();
        worker.berths.fill(half_slots as usize).await.context("cannot make berths")?;
        startup_checks::verify_totals(worker, unenforced).await?;
        Ok(BerthsFilled(self.0))
    }
}

impl BerthsFilled {
    /// Starts the watchdog, the gauges, the host's pressure, the janitor, the recovery probes and the monitor of the
    /// engine. The watchdog ends with `stop`, because a worker that is about to stop takes nothing over.
    pub fn start_maintenance(self, stop: &CancellationToken, reloads: mpsc::Receiver<ReloadRequest>) -> Started {
        let TakenOver { before, watchdog, slots, adopted } = self.0;
        let Heartbeating { worker, hints, background, .. } = before;
        background.spawn(watchdog.run(stop.clone()));
        background.spawn(maintenance::gauges::run(worker.store.clone(), background.stop.clone()));
        let limits = PressureLimits::from_config(&worker.config);
        let (pauses, engine) = (worker.pauses.clone(), worker.engine.clone());
        background.spawn(maintenance::pressure::run(pauses, engine, limits, background.stop.clone()));
        let janitor = janitor(&worker).jobs();
        background.spawn(maintenance::schedule::run(worker.clock.clone(), janitor, background.stop.clone()));
        background.spawn({
            let (worker, stop) = (Arc::clone(&worker), background.stop.clone());
            async move { breaker::run_recovery_probes(&worker, stop).await }
        });
        background.spawn({
            let (worker, stop) = (Arc::clone(&worker), background.stop.clone());
            async move {
                stop.run_until_cancelled(engine_health::monitor(&worker)).await;
            }
        });
        background.spawn({
            let (worker, stop) = (Arc::clone(&worker), background.stop.clone());
            async move {
                stop.run_until_cancelled(reload::reload_on_request(&worker, reloads)).await;
            }
        });
        Started { worker, hints, slots, adopted, background }
    }
}

fn janitor(worker: &Worker) -> Janitor {
    Janitor {
        clock: worker.clock.clone(),
        store: worker.store.clone(),
        engine: worker.engine.clone(),
        blobs: worker.blobs.clone(),
        cgroups: worker.cgroups.clone(),
        slice: worker.slice.clone(),
        config: worker.config.clone(),
    }
}

async fn open(clock: Clock, config: Config, status: Arc<WorkerStatus>) -> anyhow::Result<Worker> {
    let wait = StartWait::up_to(config.database_wait());
    let store = Store::connect(&config.database_url, config.database_connections, wait).await?;
    store.check_schema().await?;
    let signer = crate::signing_key::open(&config.signing_key_file, &store).await?;
    let live = LiveTemplates::load(&config.templates_dir)?;
    let templates = live.current();
    let engine = Engine::connect(&config).await?;
    check_images(&engine, &templates, &config).await?;
    let id = maintenance::process::process_id();
    let cgroups = Cgroups::detect(&engine).await?;
    let pauses = ClaimPauses::default();
    Ok(Worker {
        redis: Redis::open(&config.redis_url, &config.instance)?,
        blobs: Blobs::open(&config.blob_url)?,
        berths: Berths::new(engine.clone(), &id, config.constants.max_runs_per_berth),
        slice: Slice::open(&engine, &cgroups, &config).await?,
        cgroups,
        leases: Leases::new(&id),
        breaker: Breaker::new(config.pause_after_failures, pauses.clone()),
        pauses,
        status,
        drives: TaskTracker::new(),
        egress: egress::EgressPolicy::open(&clock, &config, &templates)?,
        config,
        signer,
        store,
        templates: live,
        engine,
        clock,
        id,
    })
}

/// Checks that the engine has every image that a run may need, and that there is a folder for fetched archives.
async fn check_images(engine: &Engine, templates: &Templates, config: &Config) -> anyhow::Result<()> {
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
    Ok(())
}
