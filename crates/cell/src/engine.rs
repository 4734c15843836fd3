//! The Docker engine, every call bounded in time. Its copy calls are never made (FAILURES 15).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::container::AttachContainerResults;
use bollard::models::{ContainerCreateBody, ContainerInspectResponse, ContainerSummary, SystemInfo};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::apparmor::{self, Confinement};
use super::call::{CALL_TIMEOUT, EngineError, bounded, sort};
use super::cpuset::CpuPool;
use super::slice::CgroupDriver;
use super::spec::{LABEL_ATTEMPT, LABEL_CELL, LABEL_INSTANCE, LABEL_RUN};
use super::stream::Cell;
use super::warden_store;
use assize_config::Config;
use assize_observe::event;

/// Where a cell finds its PID 1.
pub const WARDEN_IN_CELL: &str = "/.assize/warden";

/// Where the engine listens unless it was told otherwise.
const DEFAULT_SOCKET: &str = "unix:///var/run/docker.sock";

/// Says whether a cell may still be started.
pub type Wanted<'a> = &'a (dyn Fn() -> BoxFuture<'static, bool> + Send + Sync);

/// A connection to the engine, and what this installation calls itself there.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(super) docker: Docker,
    creates: Arc<Semaphore>,
    pub instance: String,
    pub runtime: Option<String>,
    /// Those that the engine knows.
    runtimes: Vec<String>,
    /// What AppArmor confines cells with.
    pub confinement: Confinement,
    pub cgroup_driver: CgroupDriver,
    /// On the host; bind-mounted read-only into every cell.
    pub warden: PathBuf,
    /// What cells are bound to.
    pub processors: Arc<CpuPool>,
}

/// What a cell was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellImage {
    /// As its label says; see [`super::Role`].
    pub role: String,
    /// SHA-256 of the image's configuration, in hexadecimal: what the engine calls its id.
    pub sha256: String,
}

impl Engine {
    /// Connects and agrees on a version of the API.
    ///
    /// # Errors
    /// [`EngineError`] if the engine does not answer or there is no warden to mount.
    pub async fn connect(config: &Config) -> Result<Self, EngineError> {
        let mut warden = find_warden(&config.warden_path)?;
        if !config.warden_store_dir.as_os_str().is_empty() {
            warden = warden_store::keep(&config.warden_store_dir, &warden)?;
        }
        check_access(&config.docker_host)?;
        let fault = |error: bollard::errors::Error| sort("answer", &error);
        let seconds = CALL_TIMEOUT.as_secs();
        let docker = match config.docker_host.as_str() {
            "" => Docker::connect_with_defaults().map_err(fault)?,
            host => match host.strip_prefix("unix://") {
                Some(path) => Docker::connect_with_unix(path, seconds, API_DEFAULT_VERSION).map_err(fault)?,
                None => Docker::connect_with_host(host).map_err(fault)?,
            },
        };
        let docker = bounded("agree on an API version", docker.with_timeout(CALL_TIMEOUT).negotiate_version()).await?;
        let info = bounded("describe itself", docker.info()).await?;
        let systemd = info.cgroup_driver.is_some_and(|driver| driver.to_string() == "systemd");
        let options = info.security_options.unwrap_or_default();
        let has_apparmor = options.iter().any(|option| option.split(',').any(|part| part == "name=apparmor"));
        let loaded = apparmor::loaded();
        let confinement = apparmor::choose(&config.apparmor_profile, has_apparmor, loaded.as_deref());
        let mut runtimes: Vec<String> = info.runtimes.unwrap_or_default().into_keys().collect();
        runtimes.sort_unstable();
        let engine = Self {
            docker,
            creates: Arc::new(Semaphore::new(assize_config::concurrent_creates())),
            instance: config.instance.clone(),
            runtime: (!config.runtime.is_empty()).then(|| config.runtime.clone()),
            runtimes,
            confinement: confinement.map_err(EngineError::Unfit)?,
            cgroup_driver: if systemd { CgroupDriver::Systemd } else { CgroupDriver::Cgroupfs },
            warden,
            processors: CpuPool::from_setting(&config.cells_cpuset).map_err(EngineError::Unfit)?,
        };
        engine.check_runtime(engine.runtime.as_deref(), "the setting runtime")?;
        Ok(engine)
    }

    /// Whether the engine knows this runtime, which `whose` names.
    ///
    /// # Errors
    /// [`EngineError::UnknownRuntime`] with those that it knows.
    pub fn check_runtime(&self, runtime: Option<&str>, whose: &str) -> Result<(), EngineError> {
        match runtime {
            Some(name) if !self.runtimes.iter().any(|known| known == name) => Err(EngineError::UnknownRuntime {
                whose: whose.to_owned(),
                name: name.to_owned(),
                known: self.runtimes.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Whether the engine answers.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] if it does not.
    pub async fn ping(&self) -> Result<(), EngineError> {
        let answer = bounded("answer", self.docker.ping()).await;
        match &answer {
            Ok(_) => event::dependency("docker", true, ""),
            Err(error) => event::dependency("docker", false, &error.to_string()),
        }
        answer.map(drop)
    }

    /// What the engine says of itself and its host.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] without an answer.
    pub async fn info(&self) -> Result<SystemInfo, EngineError> {
        bounded("describe itself", self.docker.info()).await
    }

    /// Creates, attaches to and starts a container, in this order, so that not a byte is missed.
    /// If anything fails, nothing stays behind.
    ///
    /// A worker may be stopped between any two steps, and another may have taken its run over when it
    /// goes on. So `wanted` is asked before anything is started, and before a container that has the
    /// name already is taken for what a request of ours made whose reply never came.
    ///
    /// # Errors
    /// [`EngineError`] of the step that failed.
    pub async fn launch(&self, name: &str, body: ContainerCreateBody, wanted: Wanted<'_>) -> Result<Cell, EngineError> {
        let id = match self.create(name, &body).await {
            Err(EngineError::Refused { code: 409, .. }) => {
                // By its id, looked up before the lease is confirmed: whoever takes the run over later may
                // by then have a cell of the same name.
                let taken = match self.inspect(name).await {
                    Ok(found) => found.id,
                    Err(EngineError::Missing { .. }) => None,
                    Err(error) => return Err(error),
                };
                if !wanted().await {
                    return Err(EngineError::Unwanted);
                }
                if let Some(taken) = taken {
                    self.remove(&taken).await?;
                }
                self.create(name, &body).await?
            }
            created => created?,
        };
        match self.attach_and_start(&id, wanted).await {
            Ok(cell) => Ok(cell),
            Err(error) => {
                self.remove(&id).await.ok();
                Err(error)
            }
        }
    }

    /// Creates, attaches to and starts a container that no lease speaks for.
    ///
    /// # Errors
    /// [`EngineError`] of the step that failed; then nothing stays behind.
    pub(super) async fn launch_unleased(
        &self,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<(String, AttachContainerResults), EngineError> {
        let id = self.create(name, &body).await?;
        let options = AttachContainerOptionsBuilder::new().stream(true).stdin(true).stdout(true).build();
        let attaching = bounded("attach to a container", self.docker.attach_container(&id, Some(options)));
        let started = async {
            let attached = attaching.await?;
            let _permit = self.creates.acquire().await;
            bounded("start a container", self.docker.start_container(&id, None)).await?;
            Ok(attached)
        };
        match started.await {
            Ok(attached) => Ok((id, attached)),
            Err(error) => {
                self.remove(&id).await.ok();
                Err(error)
            }
        }
    }

    pub(super) async fn create(&self, name: &str, body: &ContainerCreateBody) -> Result<String, EngineError> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let creating = self.docker.create_container(Some(options), body.clone());
        match bounded("create a container", creating).await {
            Ok(created) => Ok(created.id),
            // It may also be the berth that is gone.
            Err(EngineError::Missing { reason, .. }) if reason.contains("No such image") => {
                Err(EngineError::ImageMissing { image: body.image.clone().unwrap_or_default() })
            }
            Err(error) => Err(error),
        }
    }

    /// The cells of one attempt that exist, running or not.
    ///
    /// # Errors
    /// [`EngineError`] without an answer.
    pub async fn cells_of(&self, run: Uuid, attempt: i32) -> Result<Vec<ContainerSummary>, EngineError> {
        self.list(vec![format!("{LABEL_RUN}={run}"), format!("{LABEL_ATTEMPT}={attempt}")]).await
    }

    /// The ids of the cells that earlier attempts at a run left.
    ///
    /// # Errors
    /// [`EngineError`] without an answer.
    pub async fn cells_before(&self, run: Uuid, attempt: i32) -> Result<Vec<String>, EngineError> {
        let earlier = |cell: &ContainerSummary| {
            let label = cell.labels.as_ref().and_then(|labels| labels.get(LABEL_ATTEMPT));
            label.and_then(|label| label.parse().ok()).is_some_and(|of: i32| of < attempt)
        };
        let cells = self.list(vec![format!("{LABEL_RUN}={run}")]).await?;
        Ok(cells.into_iter().filter(earlier).filter_map(|cell| cell.id).collect())
    }

    async fn attach_and_start(&self, id: &str, wanted: Wanted<'_>) -> Result<Cell, EngineError> {
        let options = AttachContainerOptionsBuilder::new().stream(true).stdin(true).stdout(true).stderr(true).build();
        let attaching = bounded("attach to a cell", self.docker.attach_container(id, Some(options)));
        let (attached, is_wanted) = tokio::join!(attaching, wanted());
        let attached = attached?;
        if !is_wanted {
            return Err(EngineError::Unwanted);
        }
        // More starts at one time add latency and no rate: the engine serialises most of the work.
        let _permit = self.creates.acquire().await;
        bounded("start a cell", self.docker.start_container(id, None)).await?;
        Ok(Cell::new(id.to_owned(), attached))
    }

    /// Waits until a container that is about to exit has exited; true if it has within `at_most`.
    /// Removing one that still runs costs the engine a kill, a process of its own.
    pub async fn has_exited(&self, id: &str, at_most: Duration) -> bool {
        let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
        let mut waiting = self.docker.wait_container(id, Some(options));
        tokio::time::timeout(at_most, waiting.next()).await.is_ok()
    }

    /// Kills and removes a container; one that is gone already is fine.
    ///
    /// # Errors
    /// [`EngineError`] if the engine cannot confirm that it is gone.
    pub async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match bounded("remove a container", self.docker.remove_container(id, Some(options))).await {
            Err(EngineError::Missing { .. }) | Ok(()) => Ok(()),
            // A predecessor asked for it before it was killed; the engine is at it.
            Err(EngineError::Refused { reason, .. }) if reason.contains("already in progress") => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What the engine knows of a container.
    ///
    /// # Errors
    /// [`EngineError`] without an answer.
    pub async fn inspect(&self, id: &str) -> Result<ContainerInspectResponse, EngineError> {
        bounded("inspect a container", self.docker.inspect_container(id, None)).await
    }

    /// The image that a cell was made from, whatever has its name by now.
    ///
    /// # Errors
    /// [`EngineError`] without an answer.
    pub async fn image_of(&self, id: &str) -> Result<CellImage, EngineError> {
        let seen = self.inspect(id).await?;
        let labels = seen.config.and_then(|config| config.labels).unwrap_or_default();
        let sha256 = seen.image.as_deref().and_then(|image| image.strip_prefix("sha256:")).map(str::to_owned);
        match (labels.get(LABEL_CELL), sha256) {
            (Some(role), Some(sha256)) => Ok(CellImage { role: role.clone(), sha256 }),
            _ => {
                let reason = "it has no role or no image".to_owned();
                Err(EngineError::Missing { what: "describe a cell", reason })
            }
        }
    }

    /// Every container of this installation, running or not.
    ///
    /// # Errors
    /// [`EngineError`] without an answer.
    pub async fn ours(&self) -> Result<Vec<ContainerSummary>, EngineError> {
        self.list(Vec::new()).await
    }

    async fn list(&self, mut labels: Vec<String>) -> Result<Vec<ContainerSummary>, EngineError> {
        labels.push(format!("{LABEL_INSTANCE}={}", self.instance));
        let filters = HashMap::from([("label", labels)]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        bounded("list containers", self.docker.list_containers(Some(options))).await
    }
}

/// Whether this process may open the socket of the engine. The client's own error does not say so.
fn check_access(docker_host: &str) -> Result<(), EngineError> {
    let variable = std::env::var("DOCKER_HOST").unwrap_or_default();
    let address = [docker_host, &variable, DEFAULT_SOCKET].into_iter().find(|address| !address.is_empty());
    let Some(path) = address.and_then(|address| address.strip_prefix("unix://")) else { return Ok(()) };
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(EngineError::Forbidden { path: PathBuf::from(path) })
        }
        // Another error may pass, and the client reports it.
        _ => Ok(()),
    }
}

/// The binary to mount: as configured, else beside this program.
fn find_warden(configured: &Path) -> Result<PathBuf, EngineError> {
    let path = if configured.as_os_str().is_empty() {
        let here = std::env::current_exe().unwrap_or_default();
        here.with_file_name("assize-warden")
    } else {
        configured.to_owned()
    };
    let fault = |reason: String| EngineError::Warden { path: path.clone(), reason };
    let path = path.canonicalize().map_err(|error| fault(format!("cannot be found ({error})")))?;
    if path.is_file() { Ok(path) } else { Err(fault("is not a file".to_owned())) }
}
