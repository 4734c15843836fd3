//! `assize up`: the whole service on one machine, for trying it out and for development.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::signals;
use crate::cli::fault;
use crate::embedded::{Durability, Embedded, EmbeddedError, Process};
use assize_client::outcome::{Exit, Fault, Outcome};
use assize_client::screen::{Ink, Screen, shorten};
use assize_config::Config;
use assize_domain::key;
use assize_domain::key::KeyRole;
use assize_host::Signal;
use assize_signing::{PrivateKey, key_file};
use assize_store::Store;
use assize_store::keys::NewKey;

/// The longest that the API and the worker may take to be ready; a worker probes its cells first.
const READY_PATIENCE: Duration = Duration::from_secs(120);

/// How long the API may take for the requests in progress.
const API_PATIENCE: Duration = Duration::from_secs(35);

/// Of a worker, on top of its own drain_timeout_s.
const WORKER_MARGIN: Duration = Duration::from_secs(15);

/// Organisation of the key that is made.
const ORGANIZATION: &str = "demo";

const EXAMPLES: &str = "\
EXAMPLES:
  assize up
  assize up --data /var/tmp/assize --port 8080
  assize submit ./my-project --template trivial --watch      (in another terminal)";

/// Run everything here: Postgres, Redis, the API and a worker.
///
/// For trying assize out and for development. Everything lies under one folder: the database, the
/// blobs, the logs, and a key for the organisation `demo`. Needs Postgres, Redis and Docker to be
/// installed. Stops all of it on ctrl-c; the data stay.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Up {
    #[command(flatten)]
    pub place: Place,
}

/// Where a local installation lives.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// Folder for everything that is kept.
    #[arg(long, env = "ASSIZE_DATA", default_value = "data", value_name = "DIR")]
    pub data: PathBuf,
    /// Port of the API on 127.0.0.1; the next two are for metrics.
    #[arg(long, default_value_t = 7700, value_parser = clap::value_parser!(u16).range(1..=65533))]
    pub port: u16,
    /// Settings of its own, as variables of the environment; an attack has some.
    #[arg(skip)]
    pub settings: Vec<(&'static str, String)>,
    /// Whether nothing of it is kept, so that nothing need be waited for.
    #[arg(skip)]
    pub throw_away: bool,
}

/// A local installation, running.
pub struct Installation {
    pub url: String,
    /// Of an administrator of [`ORGANIZATION`].
    pub key: String,
    embedded: Embedded,
    api: Process,
    worker: Process,
    drain: Duration,
}

/// Runs the command.
///
/// # Errors
/// [`Fault`] for a person.
pub async fn run(command: Up, config: Config, config_file: Option<&Path>) -> Outcome {
    let screen = Screen::stdout();
    let stop = signals::stop(false)?;
    let mut installation = Installation::start(&command.place, &config, config_file, screen, &stop).await?;
    installation.describe(screen, &config);
    let outcome = installation.serve(screen, &stop).await;
    installation.stop(screen).await;
    outcome
}

impl Installation {
    /// Starts everything and waits until it is ready. On failure nothing is left running.
    ///
    /// # Errors
    /// [`Fault`] that says which part failed and how.
    pub async fn start(
        place: &Place,
        config: &Config,
        config_file: Option<&Path>,
        screen: Screen,
        stop: &CancellationToken,
    ) -> Result<Self, Fault> {
        screen.line(screen.paint(Ink::Dim, "starting Postgres and Redis ..."));
        let durability = if place.throw_away { Durability::ThrowAway } else { Durability::Safe };
        let embedded = tokio::select! {
            embedded = Embedded::start(&place.data, durability) => embedded?,
            () = stop.cancelled() => return Err(interrupted()),
        };
        match Self::on(embedded, place, config, config_file, screen, stop).await {
            Ok(installation) => Ok(installation),
            Err((embedded, fault)) => {
                report(screen, embedded.stop().await);
                Err(fault)
            }
        }
    }

    async fn on(
        embedded: Embedded,
        place: &Place,
        config: &Config,
        config_file: Option<&Path>,
        screen: Screen,
        stop: &CancellationToken,
    ) -> Result<Self, (Embedded, Fault)> {
        let key = match prepare(&embedded).await {
            Ok(key) => key,
            Err(fault) => return Err((embedded, fault)),
        };
        screen.line(screen.paint(Ink::Dim, "starting the API and a worker ..."));
        let spawned = spawn(&embedded, place, config_file, "api")
            .and_then(|api| Ok((api, spawn(&embedded, place, config_file, "worker")?)));
        let (api, worker) = match spawned {
            Ok(both) => both,
            // An API that was started dies with its `Process`.
            Err(fault) => return Err((embedded, fault)),
        };
        let url = format!("http://127.0.0.1:{}", place.port);
        let drain = Duration::from_secs(config.drain_timeout_s);
        let mut installation = Self { url, key, embedded, api, worker, drain };
        let ready = tokio::select! {
            ready = installation.ready(place.port) => ready.map_err(Fault::from),
            () = stop.cancelled() => Err(interrupted()),
        };
        match ready {
            Ok(()) => Ok(installation),
            Err(fault) => Err((installation.stop_own(screen).await, fault)),
        }
    }

    async fn ready(&mut self, port: u16) -> Result<(), EmbeddedError> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().unwrap_or_default();
        let answers = async |url: String| {
            let answer = http.get(&url).send().await.map_err(|error| error.to_string())?;
            let status = answer.status();
            let said = answer.text().await.unwrap_or_default();
            if status.is_success() { Ok(()) } else { Err(shorten(&said, 300)) }
        };
        self.api.until(READY_PATIENCE, || answers(format!("http://127.0.0.1:{port}/readyz"))).await?;
        self.worker.until(READY_PATIENCE, || answers(format!("http://127.0.0.1:{}/readyz", port + 2))).await
    }

    /// Waits for `stop`; a part that ends before it is a fault.
    ///
    /// # Errors
    /// [`Fault`] that says which part ended and how.
    pub async fn serve(&mut self, screen: Screen, stop: &CancellationToken) -> Outcome {
        tokio::select! {
            () = stop.cancelled() => Ok(Exit::Success),
            error = self.ended() => {
                screen.line(screen.paint(Ink::Bad, "a part of assize ended by itself; stopping the others"));
                Err(error.into())
            }
        }
    }

    /// The address of its database.
    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.embedded.database_url
    }

    /// The name that its containers carry.
    #[must_use]
    pub fn instance(&self) -> String {
        instance(&self.embedded)
    }

    /// Waits until a part ends by itself, and says which and how.
    pub async fn ended(&mut self) -> EmbeddedError {
        tokio::select! {
            error = self.worker.ended() => error,
            error = self.api.ended() => error,
            error = self.embedded.ended() => error,
        }
    }

    /// Stops the worker, the API, Redis and Postgres, in this order.
    pub async fn stop(self, screen: Screen) {
        let text = format!("stopping; what runs may end within {} s ...", self.drain.as_secs());
        screen.line(screen.paint(Ink::Dim, text));
        let embedded = self.stop_own(screen).await;
        report(screen, embedded.stop().await);
        screen.line(screen.paint(Ink::Dim, "stopped; the data stay"));
    }

    async fn stop_own(mut self, screen: Screen) -> Embedded {
        let worker = self.worker.stop(Signal::Terminate, self.drain + WORKER_MARGIN).await;
        let api = self.api.stop(Signal::Terminate, API_PATIENCE).await;
        report(screen, [worker, api].into_iter().flatten().collect());
        self.embedded
    }

    /// What runs where, and what to try.
    pub fn describe(&self, screen: Screen, config: &Config) {
        let root = self.embedded.folder.root();
        let port = self.url.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).unwrap_or_default();
        screen.line(screen.paint(Ink::Good, "assize is up"));
        for (name, what) in [
            ("API", self.url.clone()),
            (
                "metrics",
                format!("http://127.0.0.1:{}/metrics (API), http://127.0.0.1:{}/metrics (worker)", port + 1, port + 2),
            ),
            ("Postgres", format!("psql '{}'", self.embedded.database_url)),
            (
                "settings",
                format!(
                    "ASSIZE_DATABASE_URL='{}' ASSIZE_REDIS_URL='{}' (for assize key and doctor)",
                    self.embedded.database_url, self.embedded.redis_url
                ),
            ),
            ("Redis", format!("redis-cli -s {}", self.embedded.folder.sockets().join("redis.sock").display())),
            ("data", format!("{} (logs in log/)", root.display())),
            ("key", format!("{} (admin of the organisation {ORGANIZATION})", root.join("key").display())),
        ] {
            screen.line(format!("  {name:<9} {what}"));
        }
        let sample = config.templates_dir.join("trivial/sample/passing");
        let at = if port == 7700 { String::new() } else { format!(" --url {}", self.url) };
        let data = if root.ends_with("data") && root.parent() == std::env::current_dir().ok().as_deref() {
            String::new()
        } else {
            format!(" --data {}", root.display())
        };
        screen.line("try it, in another terminal:");
        screen.line(format!("  assize submit {} --template trivial --watch{at}{data}", sample.display()));
        screen.line(format!(
            "  curl -H \"Authorization: Bearer $(cat {})\" -F template=trivial -F user=me -F archive=@project.zip {}/v1/submissions",
            root.join("key").display(),
            self.url
        ));
        screen.line("ctrl-c stops everything");
    }
}

fn interrupted() -> Fault {
    Fault::infrastructure("stopped before everything was up")
}

fn report(screen: Screen, complaints: Vec<String>) {
    complaints.iter().for_each(|complaint| screen.line(screen.paint(Ink::Warn, complaint)));
}

/// Brings the schema up to date and gives the key of this installation.
async fn prepare(embedded: &Embedded) -> Result<String, Fault> {
    let store = Store::open(&embedded.database_url, 2).map_err(fault::store)?;
    store.migrate().await.map_err(fault::store)?;
    // API and worker make its public half known.
    let signing_key = signing_key(embedded);
    if !signing_key.exists() {
        key_file::create(&signing_key, &PrivateKey::generate())?;
    }
    let path = embedded.folder.root().join("key");
    if let Ok(text) = std::fs::read_to_string(&path)
        && is_live(&store, text.trim()).await?
    {
        return Ok(text.trim().to_owned());
    }
    let minted = key::mint();
    let new = NewKey {
        id: minted.id,
        organization_id: store.ensure_organization(ORGANIZATION).await.map_err(fault::store)?,
        role: KeyRole::Admin,
        secret_sha256: &minted.secret_sha256,
        label: "assize up",
        expires_at: None,
    };
    store.insert_key(new).await.map_err(fault::store)?;
    keep(&path, minted.text())
        .map_err(|error| Fault::infrastructure(format!("cannot write the key to {}: {error}", path.display())))?;
    Ok(minted.text().to_owned())
}

/// The key that the API and the worker sign with.
fn signing_key(embedded: &Embedded) -> PathBuf {
    embedded.folder.root().join("signing.key")
}

/// Whether the key in the folder is one of this database, which may be newer than the key.
async fn is_live(store: &Store, text: &str) -> Result<bool, Fault> {
    let Some(presented) = key::Presented::read(text) else { return Ok(false) };
    Ok(store
        .find_key(presented.id)
        .await
        .map_err(fault::store)?
        .is_some_and(|stored| presented.proves(&stored.secret_sha256)))
}

/// Whole or not at all, and never readable for others.
fn keep(path: &Path, text: &str) -> std::io::Result<()> {
    let aside = path.with_extension("new");
    let mut file = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    writeln!(file, "{text}")?;
    std::fs::rename(&aside, path)
}

fn instance(embedded: &Embedded) -> String {
    format!("up-{}", embedded.folder.short_name())
}

/// Starts this program again as one of its services.
fn spawn(embedded: &Embedded, place: &Place, config_file: Option<&Path>, service: &str) -> Result<Process, Fault> {
    let program = std::env::current_exe()
        .map_err(|error| Fault::infrastructure(format!("cannot find this program to start it again: {error}")))?;
    let root = embedded.folder.root();
    let mut command = Command::new(program);
    if let Some(file) = config_file {
        command.arg("--config").arg(file);
    }
    command.arg(service).arg("--lifeline");
    let listen = |offset: u16| format!("127.0.0.1:{}", place.port + offset);
    for (key, value) in [
        ("ASSIZE_INSTANCE", instance(embedded)),
        ("ASSIZE_DATABASE_URL", embedded.database_url.clone()),
        ("ASSIZE_REDIS_URL", embedded.redis_url.clone()),
        ("ASSIZE_API_LISTEN", listen(0)),
        ("ASSIZE_API_METRICS_LISTEN", listen(1)),
        ("ASSIZE_WORKER_METRICS_LISTEN", listen(2)),
        ("ASSIZE_BLOB_URL", format!("file:{}", root.join("blobs").display())),
        ("ASSIZE_SPOOL_DIR", root.join("spool").display().to_string()),
        ("ASSIZE_SIGNING_KEY_FILE", signing_key(embedded).display().to_string()),
    ] {
        command.env(key, value);
    }
    command.envs(place.settings.iter().map(|(key, value)| (key, value)));
    let name = if service == "api" { "the API" } else { "the worker" };
    Ok(Process::spawn(name, command, &embedded.folder.logs().join(format!("{service}.log")))?)
}
