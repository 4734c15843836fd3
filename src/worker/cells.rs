//! The cells of one attempt. They are launched or adopted, and always destroyed, unless another worker continues
//! the run.

mod adoption;
mod launch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use assize_cell::spec::plan_digest;
use assize_cell::{Berth, Cell, CellImage, Role, Seen};
use assize_domain::run::Lease;
use assize_protocol::plan::Plan;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::Worker;
use super::attempt::Attempt;
use super::cpu_assignments::CpuAssignments;
use super::stop::Stop;
use crate::template::Template;
use adoption::FoundCell;

/// How long a cell that exits by itself may take to do so. The engine needs some 30 ms to notice.
const EXIT_TIMEOUT: Duration = Duration::from_millis(300);

/// How long the engine may take to describe the image of a cell, so that the end of the run is not delayed further.
const IMAGE_TIMEOUT: Duration = Duration::from_secs(1);

/// The berth and the cells of one attempt.
///
/// A launch runs in a task of its own and is never cut short, because a container that the engine made for a caller
/// that no longer waits would be a leak. [`Cells::destroy`] waits for every launch first.
pub struct Cells<'a> {
    worker: &'a Worker,
    lease: Lease,
    berth: Option<Berth>,
    /// The berth that another worker made for this attempt. It is removed with the cells.
    adopted_berth: Option<String>,
    /// The driver's cell of an adopted run, until the session with it begins.
    adopted_driver: Option<FoundCell>,
    launches: TaskTracker,
    /// The ids of the cells that exist.
    containers: Arc<Mutex<Vec<String>>>,
    /// By the cell's id, the query for the image of the cell, which runs since the cell started.
    image_queries: Mutex<Vec<(String, JoinHandle<Option<CellImage>>)>>,
    cpus: CpuAssignments,
    /// A launch failed, so the engine may have made a cell whose id is unknown. The berth is not used again either.
    is_uncertain: AtomicBool,
}

/// A cell that runs.
pub struct StartedCell {
    pub cell: Cell,
    /// The engine's state of the cell, if another worker launched it.
    pub adopted: Option<Seen>,
}

impl<'a> Cells<'a> {
    /// An attempt without cells.
    pub fn none(worker: &'a Worker, attempt: &Attempt<'_>) -> Self {
        Self {
            worker,
            lease: attempt.lease,
            berth: None,
            adopted_berth: None,
            adopted_driver: None,
            launches: TaskTracker::new(),
            containers: Arc::default(),
            image_queries: Mutex::default(),
            cpus: CpuAssignments::none(&worker.engine.processors),
            is_uncertain: AtomicBool::new(false),
        }
    }

    /// Removes the cell that fetched the repository before the project's cell joins the same namespace.
    pub async fn remove_fetch_cell(&mut self, id: &str) -> Result<(), Stop> {
        self.worker.engine.has_exited(id, EXIT_TIMEOUT).await;
        self.remove(id).await?;
        self.cpus.release(Role::Fetch);
        Ok(())
    }

    /// Returns the role and the image of each cell that exists now. A cell is left out if the engine has not
    /// described it within [`IMAGE_TIMEOUT`].
    pub async fn images(&mut self) -> Vec<CellImage> {
        let existing = self.containers().clone();
        let queries = std::mem::take(self.image_queries.get_mut());
        let of_existing = queries.into_iter().filter(|(id, _)| existing.contains(id));
        let answers =
            of_existing.map(async |(_, query)| tokio::time::timeout(IMAGE_TIMEOUT, query).await.ok()?.ok()?);
        futures_util::future::join_all(answers).await.into_iter().flatten().collect()
    }

    /// Leaves every cell and its berth as they are, because another worker continues the run.
    pub async fn hand_over(self) {
        self.launches.close();
        self.launches.wait().await;
        if let Some(berth) = self.berth
            && self.containers.lock().is_empty()
        {
            self.worker.berths.give_back(berth).await;
        }
    }

    /// Removes every cell, then returns the berth to the pool; if a cell may be left in the berth, the berth is
    /// removed too. If the cells exit by themselves, as after a verdict, they get [`EXIT_TIMEOUT`] to do so.
    pub async fn destroy(mut self, cells_exit: bool) {
        self.launches.close();
        self.launches.wait().await;
        let mut ids = std::mem::take(&mut *self.containers());
        let engine = &self.worker.engine;
        if self.is_uncertain.load(Ordering::Relaxed) {
            let all = engine.cells_of(self.lease.run_id, self.lease.attempt).await.unwrap_or_default();
            ids.extend(all.into_iter().filter_map(|cell| cell.id).filter(|id| !ids.contains(id)).collect::<Vec<_>>());
        }
        let removals = ids.iter().map(async |id| {
            if cells_exit {
                engine.has_exited(id, EXIT_TIMEOUT).await;
            }
            engine.remove(id).await
        });
        let removals = futures_util::future::join_all(removals).await;
        let failed: Vec<_> = removals.iter().filter_map(|removed| removed.as_ref().err()).collect();
        for error in &failed {
            tracing::warn!(run = %self.lease.run_id, %error, "a cell could not be removed");
        }
        if let Some(berth) = self.adopted_berth.take() {
            self.worker.berths.discard(&berth).await;
        }
        let Some(berth) = self.berth.take() else { return };
        if failed.is_empty() && !self.is_uncertain.into_inner() {
            self.worker.berths.give_back(berth).await;
        } else {
            self.worker.berths.replace(berth).await;
        }
    }

    async fn remove(&mut self, id: &str) -> Result<(), Stop> {
        self.worker.engine.remove(id).await?;
        self.containers().retain(|other| other != id);
        Ok(())
    }

    fn containers(&mut self) -> parking_lot::MutexGuard<'_, Vec<String>> {
        self.containers.lock()
    }

    /// Asks the engine for the image of a cell while the cell works. Asked at the end of a run, a busy engine
    /// delayed that end by up to 400 ms.
    fn query_image(&self, id: &str) {
        let (engine, cell) = (self.worker.engine.clone(), id.to_owned());
        let query = tokio::spawn(async move {
            let answer = engine.image_of(&cell).await;
            answer.inspect_err(|error| tracing::debug!(%error, "the image of a cell is not known")).ok()
        });
        let mut queries = self.image_queries.lock();
        queries.push((id.to_owned(), query));
    }
}

/// A digest of everything that a cell is made from: its plan and its template. The statement about the end of a run
/// names the template, so a worker does not resume a cell that was made from another version of it.
fn plan_fingerprint(template: &Template, plan: &Plan) -> String {
    format!("{}.{}", plan_digest(plan), template.digest)
}
