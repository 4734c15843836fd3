//! The cells of one attempt: made, and always destroyed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::Worker;
use super::attempt::{Attempt, Stop};
use crate::cell::{Berth, Cell, CellSpec, EngineError, Role};
use crate::run::{Failure, FailureCode};
use crate::template::{Limits, Template};

/// Bytes of the folder that the grader's tests are unpacked into: four times the largest bundle.
pub const GRADER_BYTES: u64 = 64 * 1024 * 1024;

/// The berth and the cells of one attempt.
///
/// A launch runs in a task of its own and is never cut short: a container that the engine made
/// after we stopped listening would be a leak. [`Cells::destroy`] waits for every launch first.
pub struct Cells<'a> {
    worker: &'a Worker,
    run_id: uuid::Uuid,
    attempt: i32,
    berth: Option<Berth>,
    launches: TaskTracker,
    made: Arc<Mutex<Vec<String>>>,
    /// A launch failed: the berth may be why, and is not used again.
    doubt: AtomicBool,
}

impl<'a> Cells<'a> {
    /// Nothing yet.
    pub fn none(worker: &'a Worker, attempt: &Attempt<'_>) -> Self {
        Self {
            worker,
            run_id: attempt.claim.id,
            attempt: attempt.claim.attempt,
            berth: None,
            launches: TaskTracker::new(),
            made: Arc::default(),
            doubt: AtomicBool::new(false),
        }
    }

    /// Takes a berth and starts the subject in it.
    pub async fn prepare(&mut self, attempt: &Attempt<'_>) -> Result<Cell, Stop> {
        let template = template(attempt)?;
        self.berth = Some(self.worker.berths.take().await?);
        let grader = template.driver.is_none() && !template.bundle.is_empty();
        Ok(self.launch(Role::Subject, &template.image, template.limits, grader).await?)
    }

    /// Starts the cell that decides, beside the subject.
    pub async fn add_driver(&mut self, template: &Template) -> Result<Cell, Stop> {
        let Some(driver) = &template.driver else {
            return Err(Stop::Failed(Failure::new(FailureCode::TemplateInvalid, "the template has no driver")));
        };
        let grader = !template.bundle.is_empty();
        Ok(self.launch(Role::Driver, &driver.image, driver.limits, grader).await?)
    }

    async fn launch(&self, role: Role, image: &str, limits: Limits, grader: bool) -> Result<Cell, EngineError> {
        let engine = self.worker.engine.clone();
        let spec = CellSpec {
            run_id: self.run_id,
            attempt: self.attempt,
            worker: &self.worker.id,
            role,
            image,
            limits,
            grader_bytes: if grader { GRADER_BYTES } else { 0 },
            berth: self.berth.as_ref().map_or("", |berth| berth.id.as_str()),
        };
        let (name, body) = (spec.name(&engine), spec.body(&engine));
        let made = Arc::clone(&self.made);
        let launching = self.launches.spawn(async move {
            let cell = engine.launch(&name, body).await?;
            if let Ok(mut made) = made.lock() {
                made.push(cell.id.clone());
            }
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

    /// Removes every cell, then gives the berth back; on any doubt the berth goes too. Cells that
    /// `exit` by themselves get a moment to do so.
    pub async fn destroy(mut self, exit: bool) {
        /// The engine needs some 30 ms to notice an exit.
        const MOMENT: Duration = Duration::from_millis(300);
        self.launches.close();
        self.launches.wait().await;
        let made = self.made.lock().map(|made| made.clone()).unwrap_or_default();
        let engine = &self.worker.engine;
        let removing = made.iter().map(async |id| {
            if exit {
                engine.has_exited(id, MOMENT).await;
            }
            engine.remove(id).await
        });
        let removed = futures_util::future::join_all(removing).await;
        let failed: Vec<_> = removed.iter().filter_map(|removed| removed.as_ref().err()).collect();
        for error in &failed {
            tracing::warn!(run = %self.run_id, %error, "a cell could not be removed");
        }
        let Some(berth) = self.berth.take() else { return };
        if failed.is_empty() && !self.doubt.into_inner() {
            self.worker.berths.give_back(berth).await;
        } else {
            self.worker.berths.replace(berth).await;
        }
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
