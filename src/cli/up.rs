//! `assize up`: the whole service on one machine, for trying it out and for development.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::signals;
use crate::embedded::Durability;
use crate::installation::{Installation, InstallationError, Launcher, Listen, Part, Settings};
use assize_client::outcome::{Exit, Fault, Outcome};
use assize_client::terminal::{Style, Terminal};
use assize_config::Config;

/// The default port of the API.
const PORT: u16 = 7700;

/// The organisation of the key that is created.
const ORGANIZATION: &str = "demo";

const EXAMPLES: &str = "\
EXAMPLES:
  assize up
  assize up --data /var/tmp/assize --port 8080
  assize submit ./my-project --template trivial --watch      (in another terminal)";

/// Run the whole service here: Postgres, Redis, the API and a worker.
///
/// This command is for trying assize out and for development. One folder holds everything: the
/// database, the archives, the logs, and a key for the organisation `demo`. Postgres, Redis and
/// Docker must be installed. Ctrl-c stops all processes; the data stay.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Up {
    #[command(flatten)]
    options: UpOptions,
}

/// Where a local installation stores its data, and where it listens.
#[derive(Debug, Clone, clap::Args)]
struct UpOptions {
    /// Store all data in this folder.
    #[arg(long, env = "ASSIZE_DATA", default_value = "data", value_name = "DIR")]
    data: PathBuf,
    /// Serve the API on this port of 127.0.0.1. The next two ports serve the metrics.
    #[arg(long, default_value_t = PORT, value_parser = clap::value_parser!(u16).range(1..=65533))]
    port: u16,
}

/// An installation whose API and worker are ready, with the key of its administrator.
pub(super) struct LocalService {
    pub(super) installation: Installation,
    pub(super) key: String,
}

/// Runs the command.
///
/// # Errors
/// [`Fault`] with a message for the user.
pub async fn run(command: Up, config: Config, config_file: Option<&Path>) -> Outcome {
    let terminal = Terminal::stdout();
    let stop = signals::shutdown_token(false)?;
    let UpOptions { data, port } = command.options;
    let launcher = launcher(data, Listen::from_port(port), &config, config_file)?;
    let mut service = LocalService::start(launcher, terminal, &stop).await?;
    service.describe(terminal, &config);
    let outcome = service.serve(terminal, &stop).await;
    service.stop(terminal).await;
    outcome
}

/// Returns the launcher of an installation that runs this program as an operator would, with durable data.
///
/// # Errors
/// [`Fault`] if the path of this program is not known.
pub(super) fn launcher(
    data: PathBuf,
    listen: Listen,
    config: &Config,
    config_file: Option<&Path>,
) -> Result<Launcher, Fault> {
    let program = std::env::current_exe()
        .map_err(|error| Fault::infrastructure(format!("cannot find this program to start it again: {error}")))?;
    Ok(Launcher {
        data,
        durability: Durability::Safe,
        program,
        config_file: config_file.map(Path::to_owned),
        instance_prefix: "up",
        organization: ORGANIZATION,
        listen,
        settings: Settings::default(),
        drain: Duration::from_secs(config.drain_timeout_s),
    })
}

impl LocalService {
    /// Starts everything, prints each step, and waits until all parts are ready. On failure nothing is left running.
    ///
    /// # Errors
    /// [`Fault`] names the part that failed, and the reason.
    pub(super) async fn start(launcher: Launcher, terminal: Terminal, stop: &CancellationToken) -> Result<Self, Fault> {
        terminal.line(terminal.paint(Style::Dim, "starting Postgres and Redis ..."));
        let mut installation = tokio::select! {
            installation = launcher.start_servers() => installation?,
            () = stop.cancelled() => return Err(interrupted()),
        };
        let starting = async {
            let key = installation.prepare().await?;
            terminal.line(terminal.paint(Style::Dim, "starting the API and a worker ..."));
            installation.start(&[Part::Api, Part::Worker]).await?;
            Ok::<_, InstallationError>(key)
        };
        let started = tokio::select! {
            started = starting => started.map_err(Fault::from),
            () = stop.cancelled() => Err(interrupted()),
        };
        match started {
            Ok(key) => Ok(Self { installation, key: key.text }),
            Err(fault) => {
                report(terminal, installation.stop().await);
                Err(fault)
            }
        }
    }

    /// Serves until `stop` is cancelled. A part that ends earlier is a fault.
    ///
    /// # Errors
    /// [`Fault`] names the part that ended, and how it ended.
    pub(super) async fn serve(&mut self, terminal: Terminal, stop: &CancellationToken) -> Outcome {
        tokio::select! {
            () = stop.cancelled() => Ok(Exit::Success),
            error = self.installation.ended() => {
                terminal.line(terminal.paint(Style::Bad, "a process of assize ended unexpectedly; stopping the others"));
                Err(error.into())
            }
        }
    }

    /// Stops the worker, the API, Redis and Postgres, in this order, and prints what had to be killed.
    pub(super) async fn stop(self, terminal: Terminal) {
        let text = format!("stopping; active runs may end within {} s ...", self.installation.drain().as_secs());
        terminal.line(terminal.paint(Style::Dim, text));
        report(terminal, self.installation.stop().await);
        terminal.line(terminal.paint(Style::Dim, "stopped; the data stay"));
    }

    /// Prints the addresses and files of the installation, and commands to try.
    pub(super) fn describe(&self, terminal: Terminal, config: &Config) {
        let installation = &self.installation;
        let (root, url, listen) = (installation.root(), installation.url(), installation.listen());
        let servers = &installation.embedded;
        let metrics =
            format!("http://{}/metrics (API), http://{}/metrics (worker)", listen.api_metrics, listen.worker_metrics);
        let settings = format!(
            "ASSIZE_DATABASE_URL='{}' ASSIZE_REDIS_URL='{}' (for assize key and doctor)",
            servers.database_url, servers.redis_url
        );
        let key_file = installation.key_file();
        terminal.line(terminal.paint(Style::Good, "assize is up"));
        for (name, what) in [
            ("API", url.clone()),
            ("metrics", metrics),
            ("Postgres", format!("psql '{}'", servers.database_url)),
            ("settings", settings),
            ("Redis", format!("redis-cli -s {}", servers.folder.sockets().join("redis.sock").display())),
            ("data", format!("{} (logs in log/)", root.display())),
            ("key", format!("{} (admin of the organisation {ORGANIZATION})", key_file.display())),
        ] {
            terminal.line(format!("  {name:<9} {what}"));
        }
        let sample = config.templates_dir.join("trivial/sample/passing");
        let at = if *listen == Listen::from_port(PORT) { String::new() } else { format!(" --url {url}") };
        let data = if root.ends_with("data") && root.parent() == std::env::current_dir().ok().as_deref() {
            String::new()
        } else {
            format!(" --data {}", root.display())
        };
        terminal.line("try it, in another terminal:");
        terminal.line(format!("  assize submit {} --template trivial --watch{at}{data}", sample.display()));
        terminal.line(format!(
            "  curl -H \"Authorization: Bearer $(cat {})\" -F template=trivial -F user=me -F archive=@project.zip {url}/v1/submissions",
            key_file.display(),
        ));
        terminal.line("ctrl-c stops everything");
    }
}

fn interrupted() -> Fault {
    Fault::infrastructure("interrupted before all processes were ready")
}

fn report(terminal: Terminal, complaints: Vec<String>) {
    complaints.iter().for_each(|complaint| terminal.line(terminal.paint(Style::Warn, complaint)));
}
