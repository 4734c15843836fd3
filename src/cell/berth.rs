//! Berths: empty network namespaces, kept ready, one run each at a time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use bollard::models::ContainerSummary;
use tokio::sync::Notify;
use uuid::Uuid;

use super::call::EngineError;
use super::engine::Engine;
use super::spec::{BERTH, LABEL_CELL, LABEL_WORKER, berth_body};

/// What a berth is made from: an image without a single file.
pub const BERTH_IMAGE: &str = "assize/berth:1";

/// An empty namespace that one run may use.
#[derive(Debug)]
pub struct Berth {
    /// The container that holds it.
    pub id: String,
    runs: u32,
}

/// The berth that a cell is in.
#[must_use]
pub fn berth_of(cell: &ContainerSummary) -> Option<&str> {
    cell.host_config.as_ref()?.network_mode.as_deref()?.strip_prefix("container:")
}

/// The berths of one worker.
#[derive(Debug, Clone)]
pub struct Berths {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    engine: Engine,
    worker: String,
    max_runs: u32,
    free: Mutex<VecDeque<Berth>>,
    came: Notify,
}

impl Berths {
    /// No berths yet; each is retired after `max_runs` runs.
    #[must_use]
    pub fn new(engine: Engine, worker: &str, max_runs: u32) -> Self {
        let worker = worker.to_owned();
        let shared = Shared { engine, worker, max_runs, free: Mutex::default(), came: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Makes `count` berths, side by side; an engine that fails once in a while is asked again.
    ///
    /// # Errors
    /// The first [`EngineError`] that stayed; berths that were made stay too.
    pub async fn fill(&self, count: usize) -> Result<(), EngineError> {
        const TRIES: usize = 3;
        let patient = async || {
            let mut tries = 1;
            loop {
                match self.add().await {
                    Err(EngineError::Unavailable { what, reason }) if tries < TRIES => {
                        tracing::warn!(what, reason, "a berth could not be made, trying again");
                        tries += 1;
                    }
                    done => return done,
                }
            }
        };
        futures_util::future::try_join_all((0..count).map(|_| patient())).await?;
        Ok(())
    }

    async fn add(&self) -> Result<(), EngineError> {
        self.put(self.make().await?);
        Ok(())
    }

    fn put(&self, berth: Berth) {
        if let Ok(mut free) = self.shared.free.lock() {
            free.push_back(berth);
        }
        self.shared.came.notify_one();
    }

    fn pop(&self) -> Option<Berth> {
        self.shared.free.lock().ok()?.pop_front()
    }

    /// A berth for one run; waits for one to come free, and makes one if that takes long because
    /// earlier attempts to make one failed.
    ///
    /// # Errors
    /// [`EngineError`] if there is none and none can be made.
    pub async fn take(&self) -> Result<Berth, EngineError> {
        /// A berth comes back when its run's cells are removed, which takes tens of milliseconds.
        const PATIENCE: std::time::Duration = std::time::Duration::from_millis(500);
        loop {
            let came = self.shared.came.notified();
            if let Some(mut berth) = self.pop() {
                berth.runs += 1;
                return Ok(berth);
            }
            if tokio::time::timeout(PATIENCE, came).await.is_err() {
                self.add().await?;
            }
        }
    }

    /// Gives a berth back after the engine confirmed that the run's cells are gone.
    pub async fn give_back(&self, berth: Berth) {
        if berth.runs < self.shared.max_runs {
            self.put(berth);
        } else {
            self.replace(berth).await;
        }
    }

    /// A berth that was made this moment, beside those of the pool: for a run that found one of those
    /// dead, as all are after the engine was restarted.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be made.
    pub async fn make(&self) -> Result<Berth, EngineError> {
        let engine = &self.shared.engine;
        let name = format!("{}-berth-{}", engine.instance, Uuid::now_v7().simple());
        let id = engine.launch_detached(&name, berth_body(engine, &self.shared.worker, BERTH_IMAGE)).await?;
        Ok(Berth { id, runs: 0 })
    }

    /// Destroys a berth without putting another in its place: one that came with an adopted run, or
    /// that was found dead.
    pub async fn discard(&self, id: &str) {
        if let Err(error) = self.shared.engine.remove(id).await {
            tracing::warn!(berth = id, %error, "a berth could not be removed; the janitor will");
        }
    }

    /// Destroys a berth and puts a new one in its place: after its last run, or on any doubt.
    pub async fn replace(&self, berth: Berth) {
        self.discard(&berth.id).await;
        if let Err(error) = self.add().await {
            tracing::warn!(%error, "a berth could not be replaced");
        }
    }

    /// Destroys all berths of this worker that no cell is in: at shutdown, when every run has given its
    /// own back or left it to a successor. Also those that could not be removed earlier, because the
    /// engine was away.
    pub async fn close(&self) {
        while self.pop().is_some() {}
        let engine = &self.shared.engine;
        let mine = |labels: &HashMap<String, String>| {
            labels.get(LABEL_WORKER) == Some(&self.shared.worker)
                && labels.get(LABEL_CELL).is_some_and(|cell| cell == BERTH)
        };
        let left = engine.ours().await.unwrap_or_default();
        let used: Vec<String> = left.iter().filter_map(berth_of).map(str::to_owned).collect();
        let berths = left.into_iter().filter(|container| container.labels.as_ref().is_some_and(mine));
        let berths = berths.filter(|berth| berth.id.as_ref().is_none_or(|id| !used.contains(id)));
        for id in berths.filter_map(|berth| berth.id) {
            if let Err(error) = engine.remove(&id).await {
                tracing::warn!(berth = id, %error, "a berth was left behind; the next worker removes it");
            }
        }
    }
}
