//! One measurement's own installation: Postgres, Redis, the API and the worker as released.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use assize::embedded::{Durability, ServerKind};
use assize::installation::{Installation, Launcher, Listen, Part, Settings};
use assize_cell::Engine;
use assize_config::Config;
use assize_store::Store;
use assize_store::runs::RunRow;
use tempfile::TempDir;
use uuid::Uuid;

use crate::client::Client;

/// The released program; cargo builds it with the bench.
const PROGRAM: &str = env!("CARGO_BIN_EXE_assize");

/// The longest that a batch of runs may take.
const RUNS_TIMEOUT: Duration = Duration::from_secs(180);

/// Between two looks at the database while runs are under way; nobody else is asked.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// An installation with a client and a store of its own.
pub struct MeasuredInstallation {
    pub client: Client,
    pub store: Store,
    pub organization: Uuid,
    /// The settings of the API and the worker, as this process needs them.
    pub config: Config,
    installation: Installation,
    /// The last field, so that the folder outlives the processes that write there.
    folder: TempDir,
}

impl MeasuredInstallation {
    /// Starts everything but the worker.
    pub async fn without_worker(templates: &Path) -> Result<Self> {
        Self::start_parts(templates, &[Part::Api]).await
    }

    /// Starts everything.
    pub async fn start(templates: &Path) -> Result<Self> {
        Self::start_parts(templates, &[Part::Api, Part::Worker]).await
    }

    async fn start_parts(templates: &Path, parts: &[Part]) -> Result<Self> {
        let folder = folder()?;
        let mut config = config(templates)?;
        let launcher = Launcher {
            data: folder.path().to_owned(),
            durability: Durability::Safe,
            program: PROGRAM.into(),
            config_file: None,
            instance_prefix: "figures",
            organization: "figures",
            listen: Listen {
                api: config.api_listen.clone(),
                api_metrics: config.api_metrics_listen.clone(),
                worker_metrics: config.worker_metrics_listen.clone(),
            },
            settings: settings(&config),
            drain: Duration::from_secs(config.drain_timeout_s),
        };
        let mut installation = launcher.start_servers().await?;
        config.instance = installation.instance();
        let key = installation.prepare().await?;
        let store = Store::open(&installation.embedded.database_url, 2)?;
        let client = Client::new(&installation.url(), &key.text)?;
        let started = installation.start(parts).await;
        let installation = Self { client, store, organization: key.organization, config, installation, folder };
        match started {
            Ok(()) => Ok(installation),
            Err(error) => {
                installation.stop().await?;
                Err(error.into())
            }
        }
    }

    pub fn api_pid(&self) -> Result<u32> {
        self.installation.id(Part::Api).context("the API does not run")
    }

    pub fn worker_pid(&self) -> Result<u32> {
        self.installation.id(Part::Worker).context("the worker does not run")
    }

    pub fn postgres_pid(&self) -> Result<u32> {
        self.installation.embedded.id(ServerKind::Postgres).context("Postgres does not run")
    }

    pub fn redis_pid(&self) -> Result<u32> {
        self.installation.embedded.id(ServerKind::Redis).context("Redis does not run")
    }

    /// Waits until all of them have ended, asking nobody but the database.
    pub async fn ended(&self, runs: &[Uuid]) -> Result<Vec<RunRow>> {
        let all = async {
            loop {
                let rows = self.store.runs_by_ids(self.organization, runs).await?;
                if rows.len() == runs.len() && rows.iter().all(|row| row.status.is_terminal()) {
                    return anyhow::Ok(rows);
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        let rows = tokio::time::timeout(RUNS_TIMEOUT, all).await;
        let rows = rows.map_err(|_| anyhow!("{} runs did not end within {RUNS_TIMEOUT:?}", runs.len()))??;
        if let Some(bad) = rows.iter().find(|row| row.score != Some(1.0)) {
            return Err(anyhow!("run {} ended as {:?} {:?}", bad.id, bad.status, bad.evidence));
        }
        Ok(rows)
    }

    /// Stops everything, and removes what the worker may have left on the engine.
    pub async fn stop(self) -> Result<()> {
        self.installation.stop().await;
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
    let listen = Listen::free()?;
    Ok(Config {
        instance: format!("figures-{}", std::process::id()),
        api_listen: listen.api,
        api_metrics_listen: listen.api_metrics,
        worker_metrics_listen: listen.worker_metrics,
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

/// The settings that differ from the defaults.
fn settings(config: &Config) -> Settings {
    Settings::default()
        .with("templates_dir", config.templates_dir.display())
        .with("warden_path", config.warden_path.display())
        .with("max_queued", config.max_queued)
        .with("per_org_max_queued", config.per_org_max_queued)
        // All requests have one key and come from one address.
        .with("rate_per_key", 0)
        .with("rate_per_address", 0)
}
