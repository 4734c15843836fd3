//! Launching the cells of an attempt.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use assize_cell::spec::{GRADER_BYTES, plan_digest};
use assize_cell::{Cell, CellSpec, EngineError, Role};
use assize_domain::limits::CellLimits;
use assize_protocol::plan::Plan;
use futures_util::future::BoxFuture;

use super::{Cells, StartedCell, plan_fingerprint};
use crate::template::{Driver, Template};
use crate::worker::attempt::Attempt;
use crate::worker::plan;
use crate::worker::stop::Stop;

/// A cell that is to be launched.
#[derive(Clone, Copy)]
pub(super) struct CellRequest<'a> {
    role: Role,
    image: &'a str,
    limits: CellLimits,
    /// The container runtime, if it is not the installation's default.
    runtime: Option<&'a str>,
    /// Whether the cell has a folder for the grader's tests and the parameters of the run.
    has_grader: bool,
    /// Bytes of artifacts that the cell may hand out.
    artifact_bytes: u64,
}

impl<'a> CellRequest<'a> {
    fn subject(template: &'a Template) -> Self {
        Self {
            role: Role::Subject,
            image: &template.image,
            limits: template.limits,
            runtime: template.runtime.as_deref(),
            has_grader: template.driver.is_none() && !template.bundle.is_empty(),
            artifact_bytes: template.artifacts.bytes_of(Role::Subject),
        }
    }

    pub(super) fn driver(template: &'a Template, driver: &'a Driver) -> Self {
        Self {
            role: Role::Driver,
            image: &driver.image,
            limits: driver.limits,
            runtime: template.runtime.as_deref(),
            has_grader: true,
            artifact_bytes: template.artifacts.bytes_of(Role::Driver),
        }
    }

    const fn fetch(image: &'a str, limits: CellLimits) -> Self {
        Self { role: Role::Fetch, image, limits, runtime: None, has_grader: false, artifact_bytes: 0 }
    }
}

impl Cells<'_> {
    /// Returns the subject's cell: the one that another worker started, or a new one in a berth.
    pub async fn prepare(&mut self, attempt: &Attempt<'_>) -> Result<StartedCell, Stop> {
        if let Some(resumed) = attempt.resumed
            && let Some(subject) = self.adopt(attempt, resumed).await?
        {
            return Ok(subject);
        }
        tokio::select! {
            launched = self.launch_subject(attempt) => launched,
            () = attempt.cancelled.cancelled() => Err(Stop::cancelled()),
        }
    }

    async fn launch_subject(&mut self, attempt: &Attempt<'_>) -> Result<StartedCell, Stop> {
        let template = &*attempt.template()?;
        let fingerprint = plan_fingerprint(template, &plan::subject(template, &self.worker.config));
        self.launch_in_new_namespace(CellRequest::subject(template), &fingerprint).await
    }

    /// Launches the cell that fetches a repository. No code of the project runs before the fetch is done, so cells
    /// that another worker launched for this attempt are removed, and the attempt starts anew.
    pub async fn launch_fetch_cell(
        &mut self,
        attempt: &mut Attempt<'_>,
        image: &str,
        plan: &Plan,
        limits: CellLimits,
    ) -> Result<StartedCell, Stop> {
        if attempt.resumed.take().is_some() {
            self.remove_adopted(attempt.claim.crashes).await?;
        }
        let digest = plan_digest(plan);
        tokio::select! {
            launched = self.launch_in_new_namespace(CellRequest::fetch(image, limits), &digest) => launched,
            () = attempt.cancelled.cancelled() => Err(Stop::cancelled()),
        }
    }

    /// Launches the first cell of the attempt's berth, whose network namespace every further cell joins.
    async fn launch_in_new_namespace(
        &mut self,
        request: CellRequest<'_>,
        fingerprint: &str,
    ) -> Result<StartedCell, Stop> {
        self.remove_cells_of_earlier_attempts().await?;
        if self.berth.is_none() {
            self.berth = Some(self.worker.berths.take().await?);
        }
        let launched = match self.launch(request, fingerprint).await {
            // The berth may be dead, as all are that were made before the engine was restarted.
            Err(EngineError::Unavailable { .. } | EngineError::Refused { .. } | EngineError::Missing { .. }) => {
                if let Some(dead) = self.berth.replace(self.worker.berths.make().await?) {
                    self.worker.berths.discard(&dead.id).await;
                }
                self.is_uncertain.store(false, Ordering::Relaxed);
                self.launch(request, fingerprint).await
            }
            launched => launched,
        };
        Ok(StartedCell { cell: launched?, adopted: None })
    }

    /// Removes the cells of earlier attempts. A worker that crashes after it has ended an attempt leaves the cells of
    /// the attempt running, and a run may have only one live cell for each role.
    async fn remove_cells_of_earlier_attempts(&self) -> Result<(), Stop> {
        if self.lease.attempt > 1 {
            let engine = &self.worker.engine;
            for id in engine.cells_before(self.lease.run_id, self.lease.attempt).await? {
                engine.remove(&id).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn launch(&self, request: CellRequest<'_>, fingerprint: &str) -> Result<Cell, EngineError> {
        let engine = self.worker.engine.clone();
        let CellRequest { role, image, limits, runtime, has_grader, artifact_bytes } = request;
        let berth = self.berth.as_ref().map(|berth| berth.id.as_str()).or(self.adopted_berth.as_deref());
        let (name, body) = self.cpus.assign(role, limits.cpus, |place| {
            let spec = CellSpec {
                run_id: self.lease.run_id,
                attempt: self.lease.attempt,
                worker: &self.worker.id,
                role,
                image,
                limits,
                runtime,
                grader_bytes: if has_grader { GRADER_BYTES } else { 0 },
                artifact_bytes,
                berth: berth.unwrap_or(""),
                plan: fingerprint,
                place,
            };
            (spec.name(&engine), spec.body(&engine))
        });
        let containers = Arc::clone(&self.containers);
        let (store, lease) = (self.worker.store.clone(), self.lease);
        let launch = self.launches.spawn(async move {
            let has_lease = || -> BoxFuture<'static, bool> {
                let store = store.clone();
                Box::pin(async move { store.confirm_lease(lease).await.is_ok() })
            };
            let cell = engine.launch(&name, body, &has_lease).await?;
            containers.lock().push(cell.id.clone());
            Ok(cell)
        });
        let cut_off = |error: tokio::task::JoinError| EngineError::Unavailable {
            what: "start a cell",
            reason: error.to_string(),
        };
        let launched = launch.await.map_err(cut_off).flatten();
        self.is_uncertain.fetch_or(launched.is_err(), Ordering::Relaxed);
        if let Ok(cell) = &launched {
            self.query_image(&cell.id);
        }
        launched
    }
}
