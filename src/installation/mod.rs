//! An installation of assize on this machine: Postgres, Redis, the API and a worker, all with files under one folder.
//!
//! A [`Launcher`] describes the installation, [`Launcher::start_servers`] starts Postgres and Redis, and the
//! [`Installation`] that it returns starts the API and the worker when its caller asks for them. `assize up`,
//! `assize demo --up`, `assize doctor --attack` and `make bench` use all of it.
//!
//! Three others share only the parts, [`Settings`] and [`keys`], because their processes must live differently:
//!
//! - `make chaos` kills, stops and restarts each process as a supervisor would, and puts proxies between the worker
//!   and Postgres and between the worker and the engine.
//! - The tests of the pipeline start many installations against one Postgres and one Redis that `assize with-services`
//!   started, and wait for single lines in the output of a process.
//! - The tests of the API run the API in their own process, without a worker, in order to reach its state.

mod error;
pub mod keys;
mod listen;
mod settings;

use std::path::{Path, PathBuf};
use std::time::Duration;

use assize_host::Signal;
use assize_store::Store;
use tokio::process::Command;

use crate::embedded::{Durability, Embedded, EmbeddedError, Process};

pub use error::InstallationError;
pub use keys::IssuedKey;
pub use listen::Listen;
pub use settings::Settings;

/// The longest that the API and the worker may each take to be ready. A worker probes its cells first.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// The longest that one request for readiness may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest that the API may take to finish the requests in progress after SIGTERM.
const API_STOP_TIMEOUT: Duration = Duration::from_secs(35);

/// How much longer than its `drain_timeout_s` a worker may take to end after SIGTERM.
const WORKER_STOP_MARGIN: Duration = Duration::from_secs(15);

/// Characters of an answer that are shown when a process does not become ready.
const MAX_SHOWN_ANSWER: usize = 300;

/// A process of assize itself, as opposed to Postgres and Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `assize api`.
    Api,
    /// `assize worker`.
    Worker,
}

impl Part {
    /// Returns the command of the program that runs this part; its log has the same name.
    const fn command(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
        }
    }

    /// Returns the name that errors use.
    const fn name(self) -> &'static str {
        match self {
            Self::Api => "the API",
            Self::Worker => "the worker",
        }
    }
}

/// What an installation is started with.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The folder that holds everything. It is created if it does not exist.
    pub data: PathBuf,
    /// How much a crash of the host may cost.
    pub durability: Durability,
    /// The `assize` binary that runs the API and the worker.
    pub program: PathBuf,
    /// The settings file that is passed to both, if any.
    pub config_file: Option<PathBuf>,
    /// The prefix of the instance name that the containers carry; a hash of the folder follows it.
    pub instance_prefix: &'static str,
    /// The organisation that the administrator's key belongs to.
    pub organization: &'static str,
    /// The addresses of the API and of the two metrics listeners.
    pub listen: Listen,
    /// Settings that differ from the defaults. They override what the launcher derives from the folder.
    pub settings: Settings,
    /// How long a worker may drain after SIGTERM: its setting `drain_timeout_s`.
    pub drain: Duration,
}

impl Launcher {
    /// Starts Postgres and Redis and waits until both answer. On failure nothing is left running.
    ///
    /// # Errors
    /// [`EmbeddedError`] names the server that could not be started, and the reason.
    pub async fn start_servers(self) -> Result<Installation, EmbeddedError> {
        let embedded = Embedded::start(&self.data, self.durability).await?;
        Ok(Installation { launcher: self, embedded, api: None, worker: None })
    }
}

/// An installation whose Postgres and Redis run. Its processes are killed when it is dropped; [`Installation::stop`]
/// stops them in order.
pub struct Installation {
    /// Postgres and Redis, with the folder.
    pub embedded: Embedded,
    launcher: Launcher,
    api: Option<Process>,
    worker: Option<Process>,
}

impl Installation {
    /// Migrates the database, creates the signing key if there is none, and returns the administrator's key. A key
    /// that an earlier start stored in the folder is returned again while the database has it.
    ///
    /// # Errors
    /// [`InstallationError`] names the part that failed, and the reason.
    pub async fn prepare(&self) -> Result<IssuedKey, InstallationError> {
        let store = Store::open(&self.embedded.database_url, 2)?;
        store.migrate().await?;
        // The API and the worker store its public half in the database.
        keys::ensure_signing_key(&Settings::signing_key_file(self.root()))?;
        keys::stored_admin_key(&store, self.launcher.organization, &self.key_file()).await
    }

    /// Starts these parts at the same time and waits until each is ready.
    ///
    /// # Errors
    /// [`InstallationError`] names the part that did not start, and the reason. Other parts may still run: the caller
    /// stops the installation.
    pub async fn start(&mut self, parts: &[Part]) -> Result<(), InstallationError> {
        for part in parts {
            let process = self.spawn(*part)?;
            *self.process(*part) = Some(process);
        }
        let http = reqwest::Client::builder().timeout(PROBE_TIMEOUT).build().unwrap_or_default();
        for part in parts {
            let address = match part {
                Part::Api => &self.launcher.listen.api,
                Part::Worker => &self.launcher.listen.worker_metrics,
            };
            let url = format!("http://{address}/readyz");
            if let Some(process) = self.process(*part) {
                process.until(READY_TIMEOUT, || is_ready(&http, &url)).await?;
            }
        }
        Ok(())
    }

    /// Waits until a process ends by itself, and returns which one ended and how.
    pub async fn ended(&mut self) -> EmbeddedError {
        tokio::select! {
            error = ended(&mut self.worker) => error,
            error = ended(&mut self.api) => error,
            error = self.embedded.ended() => error,
        }
    }

    /// Stops the worker, the API, Redis and Postgres, in this order. Returns a sentence for each process that had to
    /// be killed.
    pub async fn stop(mut self) -> Vec<String> {
        let mut complaints = Vec::new();
        if let Some(worker) = &mut self.worker {
            complaints.extend(worker.stop(Signal::Terminate, self.launcher.drain + WORKER_STOP_MARGIN).await);
        }
        if let Some(api) = &mut self.api {
            complaints.extend(api.stop(Signal::Terminate, API_STOP_TIMEOUT).await);
        }
        complaints.extend(self.embedded.stop().await);
        complaints
    }

    /// Returns the address of the API, as a client needs it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.launcher.listen.api)
    }

    /// Returns the addresses that the API and the worker listen on.
    #[must_use]
    pub const fn listen(&self) -> &Listen {
        &self.launcher.listen
    }

    /// Returns the name that the containers of this installation carry.
    #[must_use]
    pub fn instance(&self) -> String {
        format!("{}-{}", self.launcher.instance_prefix, self.embedded.folder.short_name())
    }

    /// Returns the longest that a worker may drain.
    #[must_use]
    pub const fn drain(&self) -> Duration {
        self.launcher.drain
    }

    /// Returns the folder of the installation, absolute.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.embedded.folder.root()
    }

    /// Returns the file that stores the administrator's key.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.root().join("key")
    }

    /// Returns the process id of a part, while it runs.
    #[must_use]
    pub fn id(&self, part: Part) -> Option<u32> {
        match part {
            Part::Api => self.api.as_ref().and_then(Process::id),
            Part::Worker => self.worker.as_ref().and_then(Process::id),
        }
    }

    const fn process(&mut self, part: Part) -> &mut Option<Process> {
        match part {
            Part::Api => &mut self.api,
            Part::Worker => &mut self.worker,
        }
    }

    fn spawn(&self, part: Part) -> Result<Process, EmbeddedError> {
        let mut command = Command::new(&self.launcher.program);
        if let Some(file) = &self.launcher.config_file {
            command.arg("--config").arg(file);
        }
        command.arg(part.command()).arg("--lifeline");
        command.envs(self.settings().variables());
        let log = self.embedded.folder.logs().join(format!("{}.log", part.command()));
        Process::spawn(part.name(), command, &log)
    }

    fn settings(&self) -> Settings {
        let listen = &self.launcher.listen;
        Settings::in_folder(self.root())
            .with("instance", self.instance())
            .with("database_url", &self.embedded.database_url)
            .with("redis_url", &self.embedded.redis_url)
            .with("api_listen", &listen.api)
            .with("api_metrics_listen", &listen.api_metrics)
            .with("worker_metrics_listen", &listen.worker_metrics)
            .overridden_by(&self.launcher.settings)
    }
}

/// Waits until the process ends; a part that was not started never ends.
async fn ended(process: &mut Option<Process>) -> EmbeddedError {
    match process {
        Some(process) => process.ended().await,
        None => std::future::pending().await,
    }
}

async fn is_ready(http: &reqwest::Client, url: &str) -> Result<(), String> {
    let response = http.get(url).send().await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = response.text().await.unwrap_or_default();
    if status.is_success() { Ok(()) } else { Err(body.chars().take(MAX_SHOWN_ANSWER).collect()) }
}
