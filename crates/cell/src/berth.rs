//! Berths: empty network namespaces, kept ready, one run each at a time.
//!
//! A run that used a namespace leaves traces in it that outlive its processes: sockets in TIME_WAIT that keep a
//! port, counters, and whatever else a kernel keeps for each namespace. So no run gets a namespace that another
//! was in. PID 1 of a berth moves into a new one when it is asked to (`warden/src/berth.rs`), which takes a
//! millisecond where a new container takes a hundred of CPU.
//!
//! What must hold:
//! - A berth is renewed when it is made and after each run, before it is free again: [`Berths::take`] only ever gives
//!   out a namespace that no cell has been in.
//! - It is never renewed while a cell is in it, so subject and driver of a run are in one namespace. A berth that came
//!   with an adopted run is not renewed at all but destroyed after that run: its stream belonged to the dead worker.
//! - A renewal that fails, or is not confirmed in time, replaces the berth.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::models::ContainerSummary;
use futures_util::{Stream, StreamExt};
use parking_lot::Mutex;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use uuid::Uuid;

use super::call::EngineError;
use super::engine::Engine;
use super::spec::{BERTH, LABEL_CELL, LABEL_WORKER, berth_body};

/// What a berth is made from: an image without a single file.
pub const BERTH_IMAGE: &str = "assize/berth:1";

/// A renewal takes about 1 ms, and a busy host some tens. One that takes longer is no faster than a new berth.
const RENEW_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of the longest answer: `renewed ` and an inode, or a reason.
const MAX_ANSWER_BYTES: usize = 512;

/// A network namespace that one run may use.
pub struct Berth {
    /// The container that holds it.
    pub id: String,
    /// Inode of the namespace, as the berth reported it.
    pub namespace: u64,
    runs: u32,
    /// Locked by nobody: it makes the berth shareable between threads.
    stream: Mutex<BerthStream>,
}

impl std::fmt::Debug for Berth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Berth").field("id", &self.id).field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// Both ends of the stream to a berth's PID 1.
struct BerthStream {
    input: Pin<Box<dyn AsyncWrite + Send>>,
    output: Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>,
}

impl BerthStream {
    /// Asks for one renewal and returns the inode of the new namespace, or why there is none.
    async fn renew(&mut self) -> Result<u64, String> {
        self.input.write_all(b"r").await.map_err(|error| error.to_string())?;
        self.input.flush().await.map_err(|error| error.to_string())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\n") {
            match self.output.next().await {
                Some(Ok(piece)) => answer.extend_from_slice(&piece.into_bytes()),
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("its stream ended".to_owned()),
            }
            if answer.len() > MAX_ANSWER_BYTES {
                return Err(format!("it answered more than {MAX_ANSWER_BYTES} bytes"));
            }
        }
        let answer = String::from_utf8_lossy(&answer);
        let inode = answer.trim_end().strip_prefix("renewed ").and_then(|inode| inode.parse().ok());
        inode.ok_or_else(|| format!("it answered {:?}", answer.trim_end()))
    }
}

impl Berth {
    /// Makes a berth whose namespace no cell has been in.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be made, or cannot renew itself; then nothing stays behind.
    pub async fn launch(engine: &Engine, worker: &str) -> Result<Self, EngineError> {
        let name = format!("{}-berth-{}", engine.instance, Uuid::now_v7().simple());
        let (id, attached) = engine.launch_unleased(&name, berth_body(engine, worker, BERTH_IMAGE)).await?;
        let AttachContainerResults { input, output } = attached;
        let mut berth = Self { id, namespace: 0, runs: 0, stream: Mutex::new(BerthStream { input, output }) };
        // The first namespace is the engine's; renewed, all runs find the same, and a host where a berth cannot
        // renew itself is known before any run is.
        if let Err(error) = berth.renew().await {
            engine.remove(&berth.id).await.ok();
            return Err(error);
        }
        Ok(berth)
    }

    /// Moves the berth into a new namespace. Call it only while no cell is in it.
    ///
    /// # Errors
    /// [`EngineError`] if that was not confirmed: the berth must not be used again.
    async fn renew(&mut self) -> Result<(), EngineError> {
        let before = self.namespace;
        let stream = self.stream.get_mut();
        self.namespace = match tokio::time::timeout(RENEW_TIMEOUT, stream.renew()).await {
            Ok(renewed) => renewed.map_err(EngineError::Unrenewed)?,
            Err(_) => return Err(EngineError::Unrenewed(format!("no answer in {} s", RENEW_TIMEOUT.as_secs()))),
        };
        if self.namespace == before {
            return Err(EngineError::Unrenewed(format!("it is still in namespace {before}")));
        }
        Ok(())
    }
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
                    Err(error @ (EngineError::Unavailable { .. } | EngineError::Unrenewed(_))) if tries < TRIES => {
                        tracing::warn!(%error, "a berth could not be made, trying again");
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
        self.shared.free.lock().push_back(berth);
        self.shared.came.notify_one();
    }

    fn pop(&self) -> Option<Berth> {
        self.shared.free.lock().pop_front()
    }

    /// A berth for one run; waits for one to come free, and makes one if that takes long because
    /// earlier attempts to make one failed.
    ///
    /// # Errors
    /// [`EngineError`] if there is none and none can be made.
    pub async fn take(&self) -> Result<Berth, EngineError> {
        /// A berth comes back when its run's cells are removed, which takes tens of milliseconds.
        const RETURN_TIMEOUT: Duration = Duration::from_millis(500);
        loop {
            let came = self.shared.came.notified();
            if let Some(mut berth) = self.pop() {
                berth.runs += 1;
                return Ok(berth);
            }
            if tokio::time::timeout(RETURN_TIMEOUT, came).await.is_err() {
                self.add().await?;
            }
        }
    }

    /// Gives a berth back after the engine confirmed that the run's cells are gone. It is renewed before it is
    /// free again.
    pub async fn give_back(&self, mut berth: Berth) {
        if berth.runs >= self.shared.max_runs {
            return self.replace(berth).await;
        }
        match berth.renew().await {
            Ok(()) => self.put(berth),
            Err(error) => {
                tracing::warn!(berth = berth.id, %error, "a berth could not renew itself and is replaced");
                self.replace(berth).await;
            }
        }
    }

    /// A berth that was made this moment, beside those of the pool: for a run that found one of those
    /// dead, as all are after the engine was restarted.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be made.
    pub async fn make(&self) -> Result<Berth, EngineError> {
        Berth::launch(&self.shared.engine, &self.shared.worker).await
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
