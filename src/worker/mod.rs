//! The worker process: it claims runs and drives each to its end. It is the only process that talks to the engine.
//!
//! [`drive`] is the whole pipeline; [`fetch`], [`cells`], [`execute`], [`verdict`] and [`finish`] are its stages.
//! [`startup`] lists what happens before the first claim. [`crate::leases`] renews the leases of this worker and
//! interrupts a run whose lease is lost or that somebody cancels. [`breaker`] stops a worker that fails run after
//! run from draining the queue, and [`engine_health`] one whose engine does not answer.

mod artifacts;
mod attempt;
mod breaker;
mod cell_session;
mod cells;
mod cpu_assignments;
mod drive;
pub mod egress;
mod ended_stages;
mod engine_health;
mod execute;
mod fenced_write;
mod fetch;
mod finish;
mod output;
mod parameters;
mod plan;
mod reload;
mod report_consistency;
mod shutdown;
mod startup;
mod startup_checks;
mod statement;
pub mod status;
mod stdin;
mod stop;
mod verdict;

use std::sync::Arc;

use apalis::prelude::{Data, WorkerBuilder, WorkerBuilderExt};
use assize_cell::counters::Cgroups;
use assize_cell::slice::Slice;
use assize_cell::{Berths, Engine};
use assize_config::Config;
use assize_host::clock::Clock;
use assize_signing::Signer;
use assize_store::Store;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, AdmissionSignals, Admitted, ClaimPauses};
use crate::intake::blob::Blobs;
use crate::leases::Leases;
use crate::redis::{ProcessKind, Redis, ReloadListener, ReloadRequest};
use crate::template::LiveTemplates;
use breaker::Breaker;
pub use fetch::git::FETCH_IMAGE;
pub use plan::PATH;
use startup::{Opened, Started};
use status::WorkerStatus;
pub use verdict::read_report;

/// Everything that a run needs of the process that drives it.
pub struct Worker {
    pub clock: Clock,
    /// Unique for this process: host, pid and start time.
    pub id: String,
    pub store: Store,
    pub redis: Redis,
    pub blobs: Blobs,
    pub templates: LiveTemplates,
    pub engine: Engine,
    pub berths: Berths,
    pub cgroups: Cgroups,
    pub slice: Slice,
    pub config: Config,
    /// Absent if the operator has set no signing key.
    pub signer: Option<Signer>,
    /// What the stages of runs may reach.
    pub egress: egress::EgressPolicy,
    /// The reasons why this worker claims nothing at the moment.
    pub pauses: ClaimPauses,
    pub status: Arc<WorkerStatus>,
    breaker: Breaker,
    leases: Leases,
    /// One task for each run that this worker drives.
    drives: TaskTracker,
}

/// Runs a worker until `stop`, then waits up to `drain_timeout_s` for its runs and hands the rest over to its
/// successor. `status` shows what it does. Each request of the queue `reloads` loads the templates anew; those that
/// come through Redis go into it.
///
/// # Errors
/// If a dependency is missing at the start, or a limit of cells is not enforced on this host. Later failures of a
/// dependency are no errors: the worker waits until it is available again.
pub async fn run(
    clock: Clock,
    config: Config,
    status: Arc<WorkerStatus>,
    reloads: (mpsc::Sender<ReloadRequest>, mpsc::Receiver<ReloadRequest>),
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (sender, reloads) = reloads;
    let listener = ReloadListener { kind: ProcessKind::Worker, requests: sender };
    // Until the database answers, nothing has begun that would have to end in order.
    let Some(opened) = stop.run_until_cancelled(Opened::open(clock, config, status)).await else { return Ok(()) };
    let Started { worker, hints, slots, adopted, background } = opened?
        .verify_limits()
        .await?
        .start_heartbeats(listener)
        .take_over_lost_runs()
        .await?
        .remove_orphans()
        .await?
        .fill_berths()
        .await?
        .start_maintenance(&stop, reloads);

    worker.status.ready.send_replace(true);
    tracing::info!(worker = worker.id, slots = f64::from(worker.config.worker_half_slots()) / 2.0, "worker ready");
    let signals = AdmissionSignals { hints, pauses: worker.pauses.clone(), stop: stop.clone() };
    let caps = crate::admission::caps(&worker.config);
    let admission = Admission::new(worker.store.clone(), &worker.id, caps, slots, adopted, signals);
    let runs = WorkerBuilder::new(worker.id.as_str())
        .backend(admission)
        .data(Arc::clone(&worker))
        .enable_tracing()
        .catch_panic()
        .build(drive_admitted)
        .run();
    tokio::select! {
        ended = runs => {
            ended.map_err(|error| anyhow::anyhow!("the worker ended: {error}"))?;
            // A lease that is left belongs to a claim whose reply was lost.
            shutdown::release_leases(&worker).await;
        }
        () = shutdown::drain(&worker, &stop) => shutdown::hand_over(&worker).await,
    }
    worker.berths.close().await;
    background.stop().await;
    crate::maintenance::stale_cgroups::remove_parents(&worker.cgroups);
    tracing::info!(worker = worker.id, "worker stopped");
    Ok(())
}

/// Drives one run as apalis asks for it, in a task of its own so that the runs share all processors.
async fn drive_admitted(admitted: Admitted, worker: Data<Arc<Worker>>) -> Result<(), tokio::task::JoinError> {
    let run = Arc::clone(&worker);
    let driving = worker.drives.spawn(async move {
        drive::drive(&run, admitted.claim, admitted.resumed).await;
        admitted.slot.release();
    });
    driving.await
}
