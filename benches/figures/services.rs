//! One measurement's own installation: Postgres, Redis, the API and the worker as released.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use assize::embedded::{Durability, Embedded, Process};
use assize_cell::Engine;
use assize_config::Config;
use assize_domain::key;
use assize_domain::key::KeyRole;
use assize_host::Signal;
use assize_signing::{PrivateKey, key_file};
use assize_store::Store;
use assize_store::keys::NewKey;
use assize_store::runs::RunRow;
use tempfile::TempDir;
use tokio::process::Command;
use uuid::Uuid;

use crate::client::Client;

/// The released program; cargo builds it with the bench.
const PROGRAM: &str = env!("CARGO_BIN_EXE_assize");

/// A worker probes its cells and makes its berths before it is ready.
const PATIENCE: Duration = Duration::from_secs(120);

/// The longest that a batch of runs may take.
const RUNS_PATIENCE: Duration = Duration::from_secs(180);

/// Between two looks at the database while runs are under way; nobody else is asked.
const LOOK: Duration = Duration::from_millis(200);

/// An installation, running.
pub struct Services {
    pub client: Client,
    pub store: Store,
    pub organization: Uuid,
    /// Ours as the API and the worker have it.
    pub config: Config,
    embedded: Embedded,
    api: Process,
    worker: Option<Process>,
    /// Last, so that it outlives whoever writes there.
    folder: TempDir,
}

impl Services {
    /// Everything but the worker.
    pub async fn without_worker(templates: &Path) -> Result<Self> {
        let folder = folder()?;
        let embedded = Embedded::start(folder.path(), Durability::Safe).await?;
        let store = Store::open(&embedded.database_url, 2)?;
        store.migrate().await?;
        let organization = store.ensure_organization("figures").await?;
        let minted = key::mint();
        let new = NewKey {
            id: minted.id,
            organization_id: organization,
            role: KeyRole::Admin,
            secret_sha256: &minted.secret_sha256,
            label: "figures",
            expires_at: None,
        };
        store.insert_key(new).await?;
        let mut config = config(templates)?;
        config.instance = format!("figures-{}", embedded.folder.short_name());
        let mut api = spawn(&embedded, &config, "api")?;
        let url = format!("http://{}", config.api_listen);
        api.until(PATIENCE, || answers(format!("{url}/readyz"))).await?;
        let client = Client::new(&url, minted.text())?;
        Ok(Self { client, store, organization, config, embedded, api, worker: None, folder })
    }

    /// Everything.
    pub async fn start(templates: &Path) -> Result<Self> {
        let mut services = Self::without_worker(templates).await?;
        let log = services.embedded.folder.logs().join("worker.log");
        let mut worker = spawn(&services.embedded, &services.config, "worker")?;
        let ready = worker.until(PATIENCE, async || {
            let said = std::fs::read_to_string(&log).map_err(|error| error.to_string())?;
            if said.contains("worker ready") { Ok(()) } else { Err("it has not said that it is ready".to_owned()) }
        });
        let ready = ready.await;
        services.worker = Some(worker);
        match ready {
            Ok(()) => Ok(services),
            Err(error) => {
                services.stop().await?;
                Err(error.into())
            }
        }
    }

    pub fn api_pid(&self) -> Result<u32> {
        self.api.id().context("the API is gone")
    }

    pub fn worker_pid(&self) -> Result<u32> {
        self.worker.as_ref().and_then(Process::id).context("the worker is gone")
    }

    pub fn postgres_pid(&self) -> Result<u32> {
        first_line(&self.embedded.folder.postgres().join("postmaster.pid"))
    }

    pub fn redis_pid(&self) -> Result<u32> {
        first_line(&self.embedded.folder.redis().join("redis.pid"))
    }

    /// Waits until all of them have ended, asking nobody but the database.
    pub async fn ended(&self, runs: &[Uuid]) -> Result<Vec<RunRow>> {
        let all = async {
            loop {
                let rows = self.store.runs_by_ids(self.organization, runs).await?;
                if rows.len() == runs.len() && rows.iter().all(|row| row.status.is_terminal()) {
                    return anyhow::Ok(rows);
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let rows = tokio::time::timeout(RUNS_PATIENCE, all).await;
        let rows = rows.map_err(|_| anyhow!("{} runs did not end within {RUNS_PATIENCE:?}", runs.len()))??;
        if let Some(bad) = rows.iter().find(|row| row.score != Some(1.0)) {
            return Err(anyhow!("run {} ended as {:?} {:?}", bad.id, bad.status, bad.evidence));
        }
        Ok(rows)
    }

    /// Stops everything, and removes what the worker may have left on the engine.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(worker) = &mut self.worker {
            worker.stop(Signal::Terminate, Duration::from_secs(75)).await;
        }
        self.api.stop(Signal::Terminate, Duration::from_secs(35)).await;
        self.embedded.stop().await;
        let engine = Engine::connect(&self.config).await?;
        for left in engine.ours().await? {
            engine.remove(&left.id.unwrap_or_default()).await?;
        }
        self.folder.close()?;
        Ok(())
    }
}

/// The templates as they come.
pub fn templates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("templates")
}

/// Settings as they come, but for where things are.
pub fn config(templates: &Path) -> Result<Config> {
    Ok(Config {
        instance: format!("figures-{}", std::process::id()),
        api_listen: free_address()?,
        api_metrics_listen: free_address()?,
        worker_metrics_listen: free_address()?,
        templates_dir: templates.to_owned(),
        // One organisation sends all that the API can take.
        max_queued: 1_000_000,
        per_org_max_queued: 1_000_000,
        warden_path: Path::new(PROGRAM).with_file_name("assize-warden"),
        ..Config::default()
    })
}

/// On the disk of the build, for durable means durable; the servers' user must be able to go through it.
pub fn folder() -> Result<TempDir> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    std::fs::create_dir_all(&target)?;
    let searchable = std::fs::Permissions::from_mode(0o711);
    Ok(tempfile::Builder::new().prefix("data-").permissions(searchable).tempdir_in(target)?)
}

fn spawn(embedded: &Embedded, config: &Config, service: &str) -> Result<Process> {
    let root = embedded.folder.root();
    let mut command = Command::new(PROGRAM);
    command.arg(service).arg("--lifeline");
    let path = |path: &Path| path.display().to_string();
    let signing_key = root.join("signing.key");
    if !signing_key.exists() {
        key_file::create(&signing_key, &PrivateKey::generate())?;
    }
    for (key, value) in [
        ("ASSIZE_INSTANCE", config.instance.clone()),
        ("ASSIZE_DATABASE_URL", embedded.database_url.clone()),
        ("ASSIZE_REDIS_URL", embedded.redis_url.clone()),
        ("ASSIZE_API_LISTEN", config.api_listen.clone()),
        ("ASSIZE_API_METRICS_LISTEN", config.api_metrics_listen.clone()),
        ("ASSIZE_WORKER_METRICS_LISTEN", config.worker_metrics_listen.clone()),
        ("ASSIZE_TEMPLATES_DIR", path(&config.templates_dir)),
        ("ASSIZE_WARDEN_PATH", path(&config.warden_path)),
        ("ASSIZE_MAX_QUEUED", config.max_queued.to_string()),
        ("ASSIZE_PER_ORG_MAX_QUEUED", config.per_org_max_queued.to_string()),
        // All requests are one key's, from one address.
        ("ASSIZE_RATE_PER_KEY", "0".to_owned()),
        ("ASSIZE_RATE_PER_ADDRESS", "0".to_owned()),
        ("ASSIZE_BLOB_URL", format!("file:{}", root.join("blobs").display())),
        ("ASSIZE_SPOOL_DIR", path(&root.join("spool"))),
        ("ASSIZE_SIGNING_KEY_FILE", path(&signing_key)),
    ] {
        command.env(key, value);
    }
    Ok(Process::spawn(&format!("assize {service}"), command, &embedded.folder.logs().join(format!("{service}.log")))?)
}

async fn answers(url: String) -> Result<(), String> {
    let answer = reqwest::get(&url).await.map_err(|error| error.to_string())?;
    answer.error_for_status().map(drop).map_err(|error| error.to_string())
}

/// Free a moment ago.
fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn first_line(path: &Path) -> Result<u32> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(text.lines().next().unwrap_or_default().trim().parse()?)
}
