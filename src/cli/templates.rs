//! `assize templates`: lists the templates of a service, and asks its processes to load them anew.

use std::time::Duration;

use crate::redis::{ProcessKind, Redis, ReloadReport};
use assize_client::outcome::{Exit, Fault, Outcome};
use assize_client::runs::{self, ListTemplates};
use assize_client::terminal::{self, Style, Terminal, printable};
use assize_config::{Config, ConfigError};
use serde_json::json;

/// The time that the processes have to answer. A worker asks the engine about the images of all changed templates.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

const EXAMPLES: &str = "\
EXAMPLES:
  assize templates
  assize templates --json
  assize --config /etc/assize/assize.toml templates reload";

/// List the templates that a project can be evaluated with, or load them anew.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Templates {
    #[command(flatten)]
    list: ListTemplates,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Reload(Reload),
}

/// Let all workers, and then all API processes, load the templates anew, without a restart.
///
/// A template that cannot be used is refused with its reason, and its earlier version stays in use; the others are
/// loaded. Runs that have begun end with the template that they began with. The command uses Redis directly
/// (redis_url, instance), so it needs no API key. SIGHUP does the same for one process.
#[derive(Debug, clap::Args)]
struct Reload {
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Fault`] with a message for the user.
pub async fn run(command: Templates, config: impl FnOnce() -> Result<Config, ConfigError>) -> Outcome {
    match command.action {
        None => runs::templates(command.list).await,
        Some(Action::Reload(reload)) => run_reload(&reload, &config()?).await,
    }
}

async fn run_reload(command: &Reload, config: &Config) -> Outcome {
    let redis = Redis::open(&config.redis_url, &config.instance).map_err(Fault::usage)?;
    let mut answers = Vec::new();
    // The workers come first: no submission is accepted that no worker can run.
    for kind in [ProcessKind::Worker, ProcessKind::Api] {
        let (reports, missing) = redis.request_reload(kind, ANSWER_TIMEOUT).await.map_err(|error| {
            Fault::infrastructure(format!("{error}; or send SIGHUP to each worker, and then to each API"))
        })?;
        answers.push(Answers { kind, reports, missing });
    }
    if command.json {
        let processes = answers.iter().map(
            |answers| json!({ "kind": answers.kind.as_str(), "reports": answers.reports, "missing": answers.missing }),
        );
        terminal::json(&json!({ "processes": processes.collect::<Vec<_>>() }));
    } else {
        let terminal = Terminal::stdout();
        answers.iter().for_each(|answers| answers.print(terminal));
    }
    let is_complete = answers.iter().all(Answers::is_complete);
    Ok(if is_complete { Exit::Success } else { Exit::Refused })
}

/// What the processes of one kind answered.
struct Answers {
    kind: ProcessKind,
    reports: Vec<ReloadReport>,
    /// The number of processes that did not answer.
    missing: usize,
}

impl Answers {
    fn is_complete(&self) -> bool {
        let is_loaded = |report: &ReloadReport| report.error.is_none() && report.refused.is_empty();
        self.missing == 0 && self.reports.iter().all(is_loaded)
    }

    fn print(&self, terminal: Terminal) {
        let kind = self.kind.as_str();
        if self.reports.is_empty() && self.missing == 0 {
            terminal.line(terminal.paint(Style::Warn, format!("{kind}: no process listens")));
        }
        for report in &self.reports {
            let process = printable(&report.process);
            let loaded = match report.loaded.as_slice() {
                [] => "nothing changed".to_owned(),
                names => format!("loaded {}", printable(&names.join(", "))),
            };
            match &report.error {
                None => terminal.line(format!("{kind} {process}: {loaded}")),
                Some(error) => {
                    let text = format!("{kind} {process}: all templates stay as they were: {}", printable(error));
                    terminal.line(terminal.paint(Style::Bad, text));
                }
            }
            for refused in &report.refused {
                let (name, reason) = (printable(&refused.name), printable(&refused.reason));
                terminal.line(terminal.paint(Style::Bad, format!("  {name} was refused: {reason}")));
            }
        }
        if self.missing > 0 {
            let text = format!(
                "{kind}: {} did not answer within {} s; look into their logs",
                self.missing,
                ANSWER_TIMEOUT.as_secs()
            );
            terminal.line(terminal.paint(Style::Bad, text));
        }
    }
}
