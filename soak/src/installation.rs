//! The installation that load and faults meet. All its services are real and started by this program.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use assize::embedded::{Durability, Embedded, ServerKind};
use assize::installation::{Settings, keys};
use assize_domain::key::KeyRole;
use assize_store::Store;
use rustix::process::Signal;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Command;
use uuid::Uuid;

use super::cells::Cells;
use super::engine::{self, Engine};
use super::engine_proxy::EngineProxy;
use super::load::Org;
use super::postgres_proxy::PostgresProxy;
use super::projects::{self, OUTPUT_LIMIT};
use super::service::{Service, Spec};
use super::signals;

/// The slots of each worker of chaos.
const CHAOS_WORKER_SLOTS: u32 = 2;

/// The drain timeout of a worker, in seconds.
pub const DRAIN_S: u64 = 3;

/// The longest that a process may take to be ready. A worker creates its sandbox containers first.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// How much longer a worker may take to be ready or to end for each slot, whose sandbox container it creates and removes.
const TIMEOUT_PER_SLOT: Duration = Duration::from_secs(4);

/// Bytes of each end of a stage's output that are stored: two ends are far below [`OUTPUT_LIMIT`].
const OUTPUT_END: &str = "16384";

/// The size of the file system of uploads and blobs, in MiB.
const SMALL_MIB: u64 = 512;

/// The organisations that submit the load, and one that submits single runs.
const ORGS: [&str; 4] = ["north", "south", "west", "canary"];

/// What distinguishes the installations of chaos and of a load.
pub struct Shape {
    pub worker_slots: u32,
    /// The slots of all workers together. Another worker exists while one is replaced.
    pub total_slots: u32,
    /// The images that are copied from the host's engine.
    pub images: Vec<String>,
    /// The folder of real templates, and the names of those that are copied from it.
    pub templates: Option<(PathBuf, Vec<String>)>,
    /// Whether uploads and blobs lie in a small file system that can be filled.
    pub is_small: bool,
    /// The settings that differ from those of chaos.
    pub settings: Settings,
}

impl Shape {
    pub fn chaos() -> Self {
        Self {
            worker_slots: CHAOS_WORKER_SLOTS,
            total_slots: 3 * CHAOS_WORKER_SLOTS,
            images: engine::BASE_IMAGES.map(str::to_owned).to_vec(),
            templates: None,
            is_small: true,
            settings: Settings::default()
                .with("per_user_max_active", 4)
                .with("output_limit_bytes", OUTPUT_LIMIT)
                // The small file system counts, unlike the rest of the host.
                .with("min_free_disk_mib", 8)
                .with("log", "info,assize=debug"),
        }
    }

    /// The longest that a worker may take to be ready.
    fn ready_timeout(&self) -> Duration {
        READY_TIMEOUT + TIMEOUT_PER_SLOT * self.worker_slots
    }

    /// The longest that a draining worker may take to end. After `drain_timeout_s` it stops its maintenance and removes its
    /// sandbox containers.
    pub fn drained(&self) -> Duration {
        Duration::from_secs(DRAIN_S + 40) + TIMEOUT_PER_SLOT * self.worker_slots
    }
}

pub struct Installation {
    pub shape: Shape,
    /// The settings of all processes.
    pub settings: Settings,
    pub instance: String,
    pub folder: PathBuf,
    pub url: String,
    pub embedded: Embedded,
    pub engine: Engine,
    pub engine_proxy: EngineProxy,
    pub postgres_proxy: PostgresProxy,
    pub cells: Cells,
    /// Connections to Postgres that bypass the proxy.
    pub pool: PgPool,
    pub orgs: Vec<Org>,
    pub api: Service,
    pub workers: Vec<Service>,
    /// The workers that were replaced.
    pub retired: Vec<Service>,
    /// The mount point of the file system that can be filled.
    pub small: PathBuf,
    program: PathBuf,
    environment: Vec<(String, String)>,
    named: AtomicU32,
    /// Removed with the installation; short, because sockets lie in it.
    run: tempfile::TempDir,
}

impl Installation {
    /// Starts everything but the workers, with files under `folder`, which is emptied first.
    pub async fn start(folder: &Path, shape: Shape) -> Result<Self> {
        ensure!(rustix::process::geteuid().is_root(), "soak mounts file systems and starts an engine; run it as root");
        let program = std::env::current_exe()?.with_file_name("assize");
        ensure!(program.is_file(), "there is no {}: run `cargo build`", program.display());
        let warden = program.with_file_name("assize-warden");
        ensure!(warden.is_file(), "there is no {}: run `make warden`", warden.display());
        engine::release(folder).await;
        if folder.exists() {
            std::fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        let run = tempfile::Builder::new().prefix("assize-chaos-").tempdir()?;
        let small = folder.join("small");
        std::fs::create_dir_all(&small)?;
        if shape.is_small {
            let size = format!("size={SMALL_MIB}m");
            let mounted =
                Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&small).status().await?;
            ensure!(mounted.success(), "a file system cannot be mounted at {}", small.display());
        }
        write_templates(&folder.join("templates"), &shape).await?;

        let embedded = Embedded::start(&folder.join("data"), Durability::Safe).await?;
        let engine = Engine::start(&folder.join("engine"), run.path(), &shape.images).await?;
        let instance = format!("chaos-{}", Uuid::now_v7().simple());
        let instance: String = instance.chars().take(40).collect();
        let cells = Cells::watch(engine.docker.clone(), &instance);
        let engine_socket = run.path().join("proxied-docker.sock");
        let engine_proxy = EngineProxy::listen(engine_socket.clone(), engine.socket.clone())?;
        const SOCKET: &str = ".s.PGSQL.5432";
        let real = embedded.folder.sockets().to_owned();
        let postgres_proxy = PostgresProxy::listen(run.path().join(SOCKET), real.join(SOCKET))?;
        let (server, _) = embedded.database_url.split_once('?').context("the database's address has no socket")?;
        let database_url = format!("{server}?host={}", run.path().display());

        let store = Store::open(&embedded.database_url, 2)?;
        store.migrate().await?;
        let mut orgs = Vec::new();
        for name in ORGS {
            orgs.push(Org { key: keys::create_key(&store, name, KeyRole::Admin, "chaos").await?.text });
        }
        let pool = PgPoolOptions::new()
            .max_connections(4)
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy(&embedded.database_url)?;
        let api_listen = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        keys::ensure_signing_key(&Settings::signing_key_file(folder))?;
        let settings = Settings::in_folder(&small)
            .ignoring_host_load()
            .with("signing_key_file", Settings::signing_key_file(folder).display())
            .with("instance", &instance)
            .with("database_url", database_url)
            .with("redis_url", &embedded.redis_url)
            .with("api_listen", &api_listen)
            .with("api_metrics_listen", "127.0.0.1:0")
            .with("worker_metrics_listen", "127.0.0.1:0")
            .with("templates_dir", folder.join("templates").display())
            .with("docker_host", format!("unix://{}", engine_socket.display()))
            .with("worker_slots", shape.worker_slots)
            .with("max_active_evaluations", shape.total_slots)
            .with("drain_timeout_s", DRAIN_S)
            .with("log_format", "json")
            .overridden_by(&shape.settings);
        let environment: Vec<_> = settings.variables().collect();
        let log = embedded.folder.logs().join("api.log");
        let spec = Spec { name: "api".to_owned(), program: program.clone(), arguments: &["api"], environment, log };
        let environment = spec.environment.clone();
        let api = Service::start(spec);
        let installation = Self {
            shape,
            settings,
            instance,
            folder: folder.to_owned(),
            url: format!("http://{api_listen}"),
            embedded,
            engine,
            engine_proxy,
            postgres_proxy,
            cells,
            pool,
            orgs,
            api,
            workers: Vec::new(),
            retired: Vec::new(),
            small,
            program,
            environment,
            named: AtomicU32::new(1),
            run,
        };
        installation.api_ready().await?;
        Ok(installation)
    }

    /// Waits until the API is ready.
    pub async fn api_ready(&self) -> Result<()> {
        let asking = async {
            loop {
                let answer = reqwest::get(format!("{}/readyz", self.url)).await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(READY_TIMEOUT, asking)
            .await
            .with_context(|| format!("the API is not ready; {:?}", self.api.ends()))
    }

    /// Starts another worker with these additional environment variables, and waits until it claims.
    pub async fn worker(&self, more: &[(String, String)]) -> Result<Service> {
        let name = format!("worker-{}", self.named.fetch_add(1, Ordering::SeqCst));
        let log = self.embedded.folder.logs().join(format!("{name}.log"));
        let environment = self.environment.iter().chain(more).cloned().collect();
        let arguments = &["worker", "--output-end-bytes", OUTPUT_END];
        let worker = Service::start(Spec { name, program: self.program.clone(), arguments, environment, log });
        if let Err(error) = self.ready(&worker).await {
            worker.kill_for_good().await.ok();
            return Err(error);
        }
        Ok(worker)
    }

    /// Waits until a worker claims.
    pub async fn ready(&self, worker: &Service) -> Result<()> {
        worker.up().await?;
        worker
            .wait_for_log("worker ready", self.shape.ready_timeout())
            .await
            .with_context(|| format!("its ends so far: {:?}", worker.ends()))
    }

    /// Returns the ids of all processes of a server.
    pub fn pids(&self, server: ServerKind) -> Vec<u32> {
        let first = self.embedded.id(server);
        first.map(signals::family).unwrap_or_default()
    }

    pub fn signal(&self, server: ServerKind, signal: Signal) {
        for pid in self.pids(server) {
            signals::send(pid, signal);
        }
    }

    /// Kills all processes of a server with SIGKILL, and restarts it after `pause`.
    pub async fn kill_and_start(&mut self, server: ServerKind, pause: Duration) -> Result<()> {
        self.signal(server, Signal::KILL);
        tokio::time::sleep(pause).await;
        Ok(self.embedded.start_again(server).await?)
    }

    /// Removes everything from Redis with FLUSHALL.
    pub async fn flush_redis(&self) -> Result<()> {
        let mut redis = UnixStream::connect(self.embedded.folder.sockets().join("redis.sock")).await?;
        redis.write_all(b"FLUSHALL\r\n").await?;
        let mut answer = [0; 5];
        redis.read_exact(&mut answer).await?;
        ensure!(&answer == b"+OK\r\n", "Redis answered {:?}", String::from_utf8_lossy(&answer));
        Ok(())
    }

    /// Fills the small file system completely, or frees it again.
    pub fn fill_disk(&self, fill: bool) -> Result<()> {
        let path = self.small.join("ballast");
        if !fill {
            return std::fs::remove_file(&path).context("the ballast cannot be removed");
        }
        let piece = vec![0; 1 << 20];
        let mut file = std::fs::File::create(path)?;
        // The loop ends when a write fails because no space is left.
        while std::io::Write::write_all(&mut file, &piece).is_ok() {}
        Ok(())
    }

    /// Returns every unexpected end of a process, each as a sentence.
    pub fn ends(&self) -> Vec<String> {
        let all = self.workers.iter().chain(&self.retired).chain(std::iter::once(&self.api));
        all.flat_map(Service::ends).collect()
    }

    /// Stops everything that still runs. The files are preserved if `keep` is set.
    pub async fn close(mut self, keep: bool) -> Result<()> {
        for worker in &self.workers {
            worker.kill_for_good().await.ok();
        }
        self.api.stop(Duration::from_secs(40)).await.ok();
        self.pool.close().await;
        for container in self.cells.containers().await.unwrap_or_default().keys() {
            let options = bollard::query_parameters::RemoveContainerOptionsBuilder::new().force(true).build();
            self.engine.docker.remove_container(container, Some(options)).await.ok();
        }
        self.engine.close().await?;
        for trouble in self.embedded.stop().await {
            eprintln!("soak: {trouble}");
        }
        engine::release(&self.folder).await;
        self.run.close().ok();
        // The files of the engine are large and do not help to explain a violation.
        std::fs::remove_dir_all(self.folder.join("engine/data")).ok();
        if !keep {
            std::fs::remove_dir_all(&self.folder)?;
        }
        Ok(())
    }
}

/// Writes the templates of chaos, and copies the real ones of the shape beside them.
async fn write_templates(folder: &Path, shape: &Shape) -> Result<()> {
    projects::write_templates(folder)?;
    let Some((from, names)) = &shape.templates else { return Ok(()) };
    for name in names {
        let copied = Command::new("cp").arg("-r").arg(from.join(name)).arg(folder).status().await?;
        ensure!(copied.success(), "the template {} cannot be copied", from.join(name).display());
    }
    Ok(())
}
