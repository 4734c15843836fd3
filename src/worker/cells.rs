//! The cells of one attempt: made or adopted, and always destroyed, unless the run goes on elsewhere.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use assize_protocol::plan::Plan;
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::Worker;
use super::attempt::{Attempt, Stop};
use super::fetch::git::FETCH_IMAGE;
use super::places::Places;
use super::plan;
use crate::admission::Resumed;
use crate::template::Template;
use assize_cell::berth::berth_of;
use assize_cell::spec::{GRADER_BYTES, LABEL_CELL, LABEL_PLAN, LABEL_PROCESSORS, plan_digest};
use assize_cell::{Berth, Cell, CellImage, CellSpec, EngineError, Role, Seen};
use assize_domain::limits::CellLimits;
use assize_domain::run::retry::MAX_CRASHES;
use assize_domain::run::{Failure, FailureCode, Lease, StageName, Status};

/// What a cell that exits by itself gets to do so: the engine needs some 30 ms to notice.
const MOMENT: Duration = Duration::from_millis(300);

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
    /// By the cell's id, the question what image the engine made it from, asked since the cell started.
    image_queries: Mutex<Vec<(String, JoinHandle<Option<CellImage>>)>>,
    places: Places,
    /// A launch failed: the berth may be why, and is not used again.
    doubt: AtomicBool,
}

/// A cell, and what the engine says of it if another worker made it.
pub struct Ready {
    pub cell: Cell,
    pub seen: Option<Seen>,
}

/// A cell to be made.
#[derive(Clone, Copy)]
struct Make<'a> {
    role: Role,
    image: &'a str,
    limits: CellLimits,
    /// If not the installation's.
    runtime: Option<&'a str>,
    /// Whether it has a folder for the grader's tests.
    grader: bool,
}

impl<'a> Make<'a> {
    fn subject(template: &'a Template, grader: bool) -> Self {
        let runtime = template.runtime.as_deref();
        Self { role: Role::Subject, image: &template.image, limits: template.limits, runtime, grader }
    }
}

/// A cell that another worker made.
struct Found {
    id: String,
    plan: String,
    processors: String,
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
            image_queries: Mutex::default(),
            places: Places::none(&worker.engine.processors),
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
        let template = attempt.template()?;
        let grader = template.driver.is_none() && !template.bundle.is_empty();
        let plan = told(template, &plan::subject(template, &self.worker.config));
        let make = Make::subject(template, grader);
        self.first(make, &plan).await
    }

    /// The cell that fetches a repository. Nothing of the project has begun before it is done, so whatever
    /// another worker made for this attempt goes, and the attempt is begun anew.
    pub async fn fetcher(&mut self, attempt: &mut Attempt<'_>, plan: &Plan, limits: CellLimits) -> Result<Ready, Stop> {
        if attempt.resumed.take().is_some() {
            if attempt.claim.crashes >= MAX_CRASHES {
                return Err(killer(attempt.claim.crashes));
            }
            self.worker.store.confirm_lease(self.lease).await?;
            for container in self.worker.engine.cells_of(self.lease.run_id, self.lease.attempt).await? {
                if let Some(id) = &container.id {
                    self.worker.engine.remove(id).await?;
                }
                if let Some(berth) = berth_of(&container) {
                    self.worker.berths.discard(berth).await;
                }
            }
        }
        let digest = plan_digest(plan);
        let make = Make { role: Role::Fetch, image: FETCH_IMAGE, limits, runtime: None, grader: false };
        tokio::select! {
            begun = self.first(make, &digest) => begun,
            () = attempt.cancelled.cancelled() => Err(Stop::cancelled()),
        }
    }

    /// Removes the cell that fetched, which exits, before the next comes.
    pub async fn remove_fetcher(&mut self, id: &str) -> Result<(), Stop> {
        let engine = &self.worker.engine;
        engine.has_exited(id, MOMENT).await;
        engine.remove(id).await?;
        self.made().retain(|made| made != id);
        self.places.free(Role::Fetch);
        Ok(())
    }

    /// A cell in the berth of this attempt, the first in it at this time.
    async fn first(&mut self, make: Make<'_>, plan: &str) -> Result<Ready, Stop> {
        self.tidy().await?;
        if self.berth.is_none() {
            self.berth = Some(self.worker.berths.take().await?);
        }
        let launched = match self.launch(make, plan).await {
            // The berth may be dead, as all are that were made before the engine was restarted.
            Err(EngineError::Unavailable { .. } | EngineError::Refused { .. } | EngineError::Missing { .. }) => {
                if let Some(dead) = self.berth.replace(self.worker.berths.make().await?) {
                    self.worker.berths.discard(&dead.id).await;
                }
                self.doubt.store(false, Ordering::Relaxed);
                self.launch(make, plan).await
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
        let (mut subject, mut fetcher) = (None, None);
        for container in engine.cells_of(self.lease.run_id, self.lease.attempt).await? {
            let (Some(id), Some(labels)) = (&container.id, &container.labels) else { continue };
            self.made().push(id.clone());
            self.adopted_berth = berth_of(&container).map(str::to_owned).or(self.adopted_berth.take());
            let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
            let found = Found { id: id.clone(), plan: label(LABEL_PLAN), processors: label(LABEL_PROCESSORS) };
            match labels.get(LABEL_CELL).map(String::as_str) {
                Some("subject") => subject = Some(found),
                Some("driver") => self.adopted_driver = Some(found),
                Some("fetch") => fetcher = Some(found),
                _ => {}
            }
        }
        let crashes = attempt.claim.crashes;
        if crashes >= MAX_CRASHES {
            return Err(killer(crashes));
        }
        // What it was for is done: the archive is there.
        if let Some(Found { id, .. }) = fetcher {
            self.worker.store.confirm_lease(self.lease).await?;
            engine.remove(&id).await?;
            self.made().retain(|made| *made != id);
        }
        let had_begun = resumed.status != Status::Preparing;
        match subject {
            Some(found) if had_begun || engine.has_begun(&found.id).await? => {
                let template = attempt.template()?;
                if found.plan != told(template, &plan::subject(template, &self.worker.config)) {
                    return lost("its worker was lost, and the template has changed since".to_owned());
                }
                let (cell, seen) = engine.resume(&found.id).await?;
                self.query_image(&cell.id);
                self.places.adopt(Role::Subject, &found.processors, template.limits.cpus);
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
    /// have begun, else a new one. If they had begun in a cell that is gone, the attempt is over.
    pub async fn driver(&mut self, attempt: &Attempt<'_>, template: &Template, plan: &Plan) -> Result<Ready, Stop> {
        let Some(driver) = &template.driver else {
            return Err(Stop::Failed(Failure::new(FailureCode::TemplateInvalid, "the template has no driver")));
        };
        let digest = told(template, plan);
        if let Some(found) = self.adopted_driver.take() {
            let engine = &self.worker.engine;
            if engine.has_begun(&found.id).await? {
                if found.plan != digest {
                    let message = "its worker was lost, and the tests have changed since";
                    return Err(Stop::Failed(Failure::new(FailureCode::WorkerLost, message)));
                }
                let (cell, seen) = engine.resume(&found.id).await?;
                self.query_image(&cell.id);
                self.places.adopt(Role::Driver, &found.processors, driver.limits.cpus);
                return Ok(Ready { cell, seen: Some(seen) });
            }
            self.worker.store.confirm_lease(self.lease).await?;
            if engine.kill_unbegun(&found.id).await? {
                let message = "its worker was lost while the tests began";
                return Err(Stop::Failed(Failure::new(FailureCode::WorkerLost, message)));
            }
            engine.remove(&found.id).await?;
            self.made().retain(|id| *id != found.id);
        } else if attempt.resumed.is_some_and(|resumed| resumed.phase >= Some(StageName::Tests)) {
            // They would meet a subject that has been tested in part.
            let message = "its worker was lost, and the cell of its tests too";
            return Err(Stop::Failed(Failure::new(FailureCode::WorkerLost, message)));
        }
        let grader = !template.bundle.is_empty();
        let make = Make {
            role: Role::Driver,
            image: &driver.image,
            limits: driver.limits,
            runtime: template.runtime.as_deref(),
            grader,
        };
        let cell = self.launch(make, &digest).await?;
        Ok(Ready { cell, seen: None })
    }

    async fn launch(&self, make: Make<'_>, plan: &str) -> Result<Cell, EngineError> {
        let engine = self.worker.engine.clone();
        let Make { role, image, limits, runtime, grader } = make;
        let berth = self.berth.as_ref().map(|berth| berth.id.as_str()).or(self.adopted_berth.as_deref());
        let (name, body) = self.places.find(role, limits.cpus, |place| {
            let spec = CellSpec {
                run_id: self.lease.run_id,
                attempt: self.lease.attempt,
                worker: &self.worker.id,
                role,
                image,
                limits,
                runtime,
                grader_bytes: if grader { GRADER_BYTES } else { 0 },
                berth: berth.unwrap_or(""),
                plan,
                place,
            };
            (spec.name(&engine), spec.body(&engine))
        });
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
        if let Ok(cell) = &launched {
            self.query_image(&cell.id);
        }
        launched
    }

    /// Asks the engine for the image of a cell while the cell works. Asked at the end of a run, a busy engine
    /// delayed that end by up to 400 ms.
    fn query_image(&self, id: &str) {
        let (engine, cell) = (self.worker.engine.clone(), id.to_owned());
        let query = tokio::spawn(async move {
            let answer = engine.image_of(&cell).await;
            answer.inspect_err(|error| tracing::debug!(%error, "the image of a cell is not known")).ok()
        });
        let mut queries = self.image_queries.lock().unwrap_or_else(PoisonError::into_inner);
        queries.push((id.to_owned(), query));
    }

    /// Returns the role and the image of each cell that exists now. A cell is left out if the engine has not
    /// described it within a second, so that the end of the run is not delayed further.
    pub async fn images(&mut self) -> Vec<CellImage> {
        const TIMEOUT: Duration = Duration::from_secs(1);
        let made = self.made().clone();
        let queries = std::mem::take(self.image_queries.get_mut().unwrap_or_else(PoisonError::into_inner));
        let of_made = queries.into_iter().filter(|(id, _)| made.contains(id));
        let answers = of_made.map(async |(_, query)| tokio::time::timeout(TIMEOUT, query).await.ok()?.ok()?);
        futures_util::future::join_all(answers).await.into_iter().flatten().collect()
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

/// What a cell was told: its plan, and all of the template that it was made by. A statement of how a run ended
/// names that template, so a cell that was made by another is not gone on with.
fn told(template: &Template, plan: &Plan) -> String {
    format!("{}.{}", plan_digest(plan), template.digest)
}

/// A run whose workers died is taken to be why.
fn killer(crashes: i32) -> Stop {
    let message = format!("{crashes} workers died while they worked on this run; no other will");
    Stop::Failed(Failure::new(FailureCode::WorkerLost, message))
}
