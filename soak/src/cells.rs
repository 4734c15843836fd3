//! The lifetimes of the cells, from the events of the engine: when each was created, started, died and was removed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use assize_cell::spec::{BERTH, LABEL_ATTEMPT, LABEL_CELL, LABEL_INSTANCE, LABEL_RUN, LABEL_WORKER};
use assize_host::clock::Clock;
use bollard::Docker;
use bollard::models::EventMessage;
use bollard::query_parameters::{EventsOptionsBuilder, ListContainersOptionsBuilder};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use uuid::Uuid;

/// The lifetime of one container of this installation.
#[derive(Debug, Clone, Default)]
pub struct ContainerLifetime {
    /// The run; `None` for a sandbox container (berth).
    pub run: Option<Uuid>,
    pub attempt: i32,
    /// `subject`, `driver` or `berth`.
    pub role: String,
    /// The worker that created it.
    pub worker: String,
    pub created: Option<DateTime<Utc>>,
    pub started: Option<DateTime<Utc>>,
    pub died: Option<DateTime<Utc>>,
    pub removed: Option<DateTime<Utc>>,
    /// Whether it had disappeared when the engine answered again, so that its time of death is unknown.
    pub died_unseen: bool,
}

/// All lifetimes so far, by container.
#[derive(Clone)]
pub struct Cells {
    docker: Docker,
    instance: String,
    lifetimes: Arc<Mutex<BTreeMap<String, ContainerLifetime>>>,
}

impl Cells {
    /// Starts to read the events of the engine.
    pub fn watch(docker: Docker, instance: &str) -> Self {
        let cells = Self { docker, instance: instance.to_owned(), lifetimes: Arc::default() };
        tokio::spawn(cells.clone().listen());
        cells
    }

    async fn listen(self) {
        let mut since = Clock::system().wall().timestamp();
        loop {
            let filters = HashMap::from([("label", vec![format!("{LABEL_INSTANCE}={}", self.instance)])]);
            let options = EventsOptionsBuilder::new().since(&since.to_string()).filters(&filters).build();
            let mut events = self.docker.events(Some(options));
            while let Some(Ok(event)) = events.next().await {
                since = event.time.unwrap_or(since);
                self.note(&event);
            }
            // The engine went away.
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.look_again().await.ok();
        }
    }

    fn note(&self, event: &EventMessage) {
        let (Some(actor), Some(action)) = (&event.actor, &event.action) else { return };
        let (Some(id), Some(labels)) = (&actor.id, &actor.attributes) else { return };
        let at = DateTime::from_timestamp_nanos(event.time_nano.unwrap_or_default());
        let Ok(mut lifetimes) = self.lifetimes.lock() else { return };
        let lifetime = lifetimes.entry(id.clone()).or_default();
        lifetime.describe(labels);
        // Events of the last second come twice after the stream broke.
        match action.as_str() {
            "create" => lifetime.created = Some(at),
            "start" => lifetime.started = Some(at),
            "die" => lifetime.died = lifetime.died.or(Some(at)),
            "destroy" => lifetime.removed = Some(at),
            _ => {}
        }
    }

    /// What happened while nobody listened.
    async fn look_again(&self) -> Result<()> {
        let seen = self.containers().await?;
        let now = Clock::system().wall();
        let Ok(mut lifetimes) = self.lifetimes.lock() else { return Ok(()) };
        for (id, lifetime) in lifetimes.iter_mut().filter(|(_, lifetime)| lifetime.removed.is_none()) {
            let state = seen.get(id);
            if lifetime.died.is_none() && lifetime.started.is_some() && state.is_none_or(|state| state != "running") {
                (lifetime.died, lifetime.died_unseen) = (Some(now), true);
            }
            if state.is_none() {
                lifetime.removed = Some(now);
            }
        }
        Ok(())
    }

    /// The containers that there are, and their states.
    pub async fn containers(&self) -> Result<BTreeMap<String, String>> {
        let label = HashMap::from([("label", vec![format!("{LABEL_INSTANCE}={}", self.instance)])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&label).build();
        let all = tokio::time::timeout(Duration::from_secs(10), self.docker.list_containers(Some(options))).await??;
        let mut found = BTreeMap::new();
        let mut lifetimes = self.lifetimes.lock().map_err(|_| anyhow::anyhow!("the list of lifetimes is broken"))?;
        for container in all {
            let id = container.id.unwrap_or_default();
            lifetimes.entry(id.clone()).or_default().describe(&container.labels.unwrap_or_default());
            found.insert(id, container.state.map(|state| state.to_string()).unwrap_or_default());
        }
        Ok(found)
    }

    pub fn lifetimes(&self) -> BTreeMap<String, ContainerLifetime> {
        self.lifetimes.lock().map(|lifetimes| lifetimes.clone()).unwrap_or_default()
    }

    /// Cells that run now, in the order of their ids.
    pub fn running(&self) -> Vec<String> {
        // Of one that went with its engine only the removal was seen.
        let ended = |lifetime: &ContainerLifetime| lifetime.died.is_some() || lifetime.removed.is_some();
        let runs =
            |lifetime: &ContainerLifetime| lifetime.run.is_some() && lifetime.started.is_some() && !ended(lifetime);
        self.lifetimes().into_iter().filter(|(_, lifetime)| runs(lifetime)).map(|(id, _)| id).collect()
    }
}

impl ContainerLifetime {
    /// For a person.
    pub fn named(&self, id: &str) -> String {
        let of = self.run.map_or_else(String::new, |run| format!(" of run {run}, attempt {}", self.attempt));
        format!("{} {}{of}, made by {},", self.role, id.get(..12).unwrap_or(id), self.worker)
    }

    /// Whether it is a berth of one of these processes; a worker's name holds its process id.
    pub fn is_berth_of(&self, pids: &[u32]) -> bool {
        self.role == BERTH && pids.iter().any(|pid| self.worker.contains(&format!("-{pid}-")))
    }

    fn describe(&mut self, labels: &HashMap<String, String>) {
        let label = |name: &str| labels.get(name).cloned();
        self.run = self.run.or_else(|| label(LABEL_RUN)?.parse().ok());
        if let Some(attempt) = label(LABEL_ATTEMPT).and_then(|text| text.parse().ok()) {
            self.attempt = attempt;
        }
        if let Some(role) = label(LABEL_CELL) {
            self.role = role;
        }
        if let Some(worker) = label(LABEL_WORKER) {
            self.worker = worker;
        }
    }
}
