//! The cells of one attempt: made or adopted, and always destroyed, unless the run goes on elsewhere.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::task::TaskTracker;
use warden::plan::Plan;

use super::Worker;
use super::attempt::{Attempt, Stop};
use super::plan;
use crate::admission::Resumed;
use crate::cell::berth::berth_of;
use crate::cell::spec::{LABEL_CELL, LABEL_PLAN, plan_digest};
use crate::cell::{Berth, Cell, CellSpec, EngineError, Role, Seen};
use crate::run::retry::MAX_CRASHES;
use crate::run::{Failure, FailureCode, Lease, Status};
use crate::template::Template;

/// Bytes of the folder that the grader's tests are unpacked into: four times the largest bundle.
pub const GRADER_BYTES: u64 = 64 * 1024 * 1024;

/// The berth and the cells of one attempt.
///
/// A launch runs in a task of its own and is never cut short: a container that the engine made
/// after we stopped listening would be a leak. [`Cells::destroy`] waits for every launch first.
pub struct Cells<'a> {
    worker: &'a Worker,
    lease: Lease,
    berth: Option<Berth>,
    /// Of another worker; goes with the run.
    adopted_berth: Option<String>,
    /// Of an adopted run; not yet gone on with.
    adopted_driver: Option<Found>,
    launches: TaskTracker,
    made: Arc<Mutex<Vec<String>>>,
    /// A launch failed: the berth may be why, and is not used again.
    doubt: AtomicBool,
}

/// A cell, and what the engine says of it if another worker made it.
pub struct Ready {
    pub cell: Cell,
    pub seen: Option<Seen>,
}

/// A cell that another worker made.
struct Found {
    id: String,
    plan: String,
}

impl<'a> Cells<'a> {
    /// Nothing yet.
    pub fn none(worker: &'a Worker, attempt: &Attempt<'_>) -> Self {
        Self {
            worker,
            lease: attempt.lease,
            berth: None,
            adopted_berth: None,
            adopted_driver: None,
            launches: TaskTracker::new(),
            made: Arc::default(),
            doubt: AtomicBool::new(false),
        }
    }

    /// The subject: the one that another worker started, or a new one in a berth.
    pub async fn prepare(&mut self, attempt: &Attempt<'_>) -> Result<Ready, Stop> {
        if let Some(resumed) = attempt.resumed
            && let Some(subject) = self.adopt(attempt, resumed).await?
        {
            return Ok(subject);
        }
        tokio::select! {
            begun = self.begin(attempt) => begun,
            () = attempt.cancelled.cancelled() => Err(Stop::cancelled()),
        }
    }

    /// Whoever ended an attempt destroys its cells afterwards, if it lives so long: until then they may
    /// run on. A run has at most one at a time.
    async fn tidy(&self) -> Result<(), Stop> {
        if self.lease.attempt > 1 {
            let engine = &self.worker.engine;
            for id in engine.cells_before(self.lease.run_id, self.lease.attempt).await? {
                engine.remove(&id).await?;
            }
        }
        Ok(())
    }

    async fn begin(&mut self, attempt: &Attempt<'_>) -> Result<Ready, Stop> {
        self.tidy().await?;
        let template = template(attempt)?;
        let grader = template.driver.is_none() && !template.bundle.is_empty();
        let plan = plan_digest(&plan::subject(template, &self.worker.config));
        self.berth = Some(self.worker.berths.take().await?);
        let launched = match self.launch(Role::Subject, template, grader, &plan).await {
            // The berth may be dead, as all are that were made before the engine was restarted.
            Err(EngineError::Unavailable { .. } | EngineError::Refused { .. } | EngineError::Missing { .. }) => {
                if let Some(dead) = self.berth.replace(self.worker.berths.make().await?) {
                    self.worker.berths.discard(&dead.id).await;
                }
                self.doubt.store(false, Ordering::Relaxed);
                self.launch(Role::Subject, template, grader, &plan).await
            }
            launched => launched,
        };
        Ok(Ready { cell: launched?, seen: None })
    }

    /// Finds what another worker made for this attempt. `None`: nothing had begun, so it may begin here;
    /// but not if that worker died with it, for then it may be what kills workers: a new attempt is
    /// counted.
    async fn adopt(&mut self, attempt: &Attempt<'_>, resumed: Resumed) -> Result<Option<Ready>, Stop> {
        let lost = |message: String| Err(Stop::Failed(Failure::new(FailureCode::WorkerLost, message)));
        let engine = &self.worker.engine;
        let mut subject = None;
        for container in engine.cells_of(self.lease.run_id, self.lease.attempt).await? {
            let (Some(id), Some(labels)) = (&container.id, &container.labels) else { continue };
            self.made().push(id.clone());
            self.adopted_berth = berth_of(&container).map(str::to_owned).or(self.adopted_berth.take());
            let found = Found { id: id.clone(), plan: labels.get(LABEL_PLAN).cloned().unwrap_or_default() };
            match labels.get(LABEL_CELL).map(String::as_str) {
                Some("subject") => subject = Some(found),
                Some("driver") => self.adopted_driver = Some(found),
                _ => {}
            }
        }
        let crashes = attempt.claim.crashes;
        if crashes >= MAX_CRASHES {
            return lost(format!("{crashes} workers died while they worked on this run; no other will"));
        }
        let had_begun = resumed.status != Status::Preparing;
        match subject {
            Some(found) if had_begun || engine.has_begun(&found.id).await? => {
                if found.plan != plan_digest(&plan::subject(template(attempt)?, &self.worker.config)) {
                    return lost("its worker was lost, and the template has changed since".to_owned());
                }
                let (cell, seen) = engine.resume(&found.id).await?;
                Ok(Some(Ready { cell, seen: Some(seen) }))
            }
            _ if had_begun => lost("its worker was lost, and its cell too".to_owned()),
            _ if resumed.crashed => lost("its worker was lost before the first stage".to_owned()),
            _ => {
                // Only now: another may have taken the run over while the engine was asked.
                self.worker.store.confirm_lease(self.lease).await?;
                let left = std::mem::take(&mut *self.made());
                for id in left {
                    // It may have begun since it was looked at; then this attempt is over.
                    if engine.kill_unbegun(&id).await? {
                        self.made().push(id);
                        return lost("its worker was lost while the first stage began".to_owned());
                    }
                    engine.remove(&id).await?;
                }
                Ok(None)
            }
        }
    }

    /// The cell that decides, beside the subject: the one that another worker started, if its tests
    /// have begun, else a new one.
    pub async fn driver(&mut self, template: &Template, plan: &Plan) -> Result<Ready, Stop> {
        if template.driver.is_none() {
            return Err(Stop::Failed(Failure::new(FailureCode::TemplateInvalid, "the template has no driver")));
        }
        let digest = plan_digest(plan);
        if let Some(found) = self.adopted_driver.take() {
            let engine = &self.worker.engine;
            if engine.has_begun(&found.id).await? {
                if found.plan != digest {
                    let message = "its worker was lost, and the tests have changed since";
                    return Err(Stop::Failed(Failure::new(FailureCode::WorkerLost, message)));
                }
                let (cell, seen) = engine.resume(&found.id).await?;
                return Ok(Ready { cell, seen: Some(seen) });
            }
            self.worker.store.confirm_lease(self.lease).await?;
            if engine.kill_unbegun(&found.id).await? {
                let message = "its worker was lost while the tests began";
                return Err(Stop::Failed(Failure::new(FailureCode::WorkerLost, message)));
            }
            engine.remove(&found.id).await?;
            self.made().retain(|id| *id != found.id);
        }
        let grader = !template.bundle.is_empty();
        let cell = self.launch(Role::Driver, template, grader, &digest).await?;
        Ok(Ready { cell, seen: None })
    }

    async fn launch(&self, role: Role, template: &Template, grader: bool, plan: &str) -> Result<Cell, EngineError> {
        let engine = self.worker.engine.clone();
        let (image, limits) = match (&template.driver, role) {
            (Some(driver), Role::Driver) => (&driver.image, driver.limits),
            _ => (&template.image, template.limits),
        };
        let berth = self.berth.as_ref().map(|berth| berth.id.as_str()).or(self.adopted_berth.as_deref());
        let spec = CellSpec {
            run_id: self.lease.run_id,
            attempt: self.lease.attempt,
            worker: &self.worker.id,
            role,
            image,
            limits,
            runtime: template.runtime.as_deref(),
            grader_bytes: if grader { GRADER_BYTES } else { 0 },
            berth: berth.unwrap_or(""),
            plan,
        };
        let (name, body) = (spec.name(&engine), spec.body(&engine));
        let made = Arc::clone(&self.made);
        let (store, lease) = (self.worker.store.clone(), self.lease);
        let launching = self.launches.spawn(async move {
            let wanted = || -> BoxFuture<'static, bool> {
                let store = store.clone();
                Box::pin(async move { store.confirm_lease(lease).await.is_ok() })
            };
            let cell = engine.launch(&name, body, &wanted).await?;
            made.lock().unwrap_or_else(PoisonError::into_inner).push(cell.id.clone());
            Ok(cell)
        });
        let cut = |error: tokio::task::JoinError| EngineError::Unavailable {
            what: "start a cell",
            reason: error.to_string(),
        };
        let launched = launching.await.map_err(cut).flatten();
        self.doubt.fetch_or(launched.is_err(), Ordering::Relaxed);
        launched
    }

    /// Leaves every cell as it is, with its berth: the run goes on elsewhere.
    pub async fn leave(self) {
        self.launches.close();
        self.launches.wait().await;
        if let Some(berth) = self.berth
            && self.made.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
        {
            self.worker.berths.give_back(berth).await;
        }
    }

    /// Removes every cell, then gives the berth back; on any doubt the berth goes too. Cells that
    /// `exit` by themselves get a moment to do so.
    pub async fn destroy(mut self, exit: bool) {
        /// The engine needs some 30 ms to notice an exit.
        const MOMENT: Duration = Duration::from_millis(300);
        self.launches.close();
        self.launches.wait().await;
        let mut made = std::mem::take(&mut *self.made());
        let engine = &self.worker.engine;
        if self.doubt.load(Ordering::Relaxed) {
            // The engine may have made what it never told of.
            let all = engine.cells_of(self.lease.run_id, self.lease.attempt).await.unwrap_or_default();
            made.extend(all.into_iter().filter_map(|cell| cell.id).filter(|id| !made.contains(id)).collect::<Vec<_>>());
        }
        let removing = made.iter().map(async |id| {
            if exit {
                engine.has_exited(id, MOMENT).await;
            }
            engine.remove(id).await
        });
        let removed = futures_util::future::join_all(removing).await;
        let failed: Vec<_> = removed.iter().filter_map(|removed| removed.as_ref().err()).collect();
        for error in &failed {
            tracing::warn!(run = %self.lease.run_id, %error, "a cell could not be removed");
        }
        if let Some(berth) = self.adopted_berth.take() {
            self.worker.berths.discard(&berth).await;
        }
        let Some(berth) = self.berth.take() else { return };
        if failed.is_empty() && !self.doubt.into_inner() {
            self.worker.berths.give_back(berth).await;
        } else {
            self.worker.berths.replace(berth).await;
        }
    }

    fn made(&mut self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The template of a run, as this worker has it.
pub fn template<'a>(attempt: &Attempt<'a>) -> Result<&'a Template, Stop> {
    let worker: &'a Worker = attempt.worker;
    worker.templates.get(&attempt.claim.template).ok_or_else(|| {
        let message =
            format!("this worker has no template {:?}, it has: {}", attempt.claim.template, worker.templates.names());
        Stop::Failed(Failure::new(FailureCode::TemplateInvalid, message))
    })
}
