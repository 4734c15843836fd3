//! `assize doctor --attack`: runs the hostile cases against a separate installation.

mod report;

use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

use self::report::AttackReport;
use crate::cli::signals;
use crate::cli::up::{self, LocalService};
use crate::cli::with_services::searchable;
use crate::embedded::Durability;
use crate::installation::{Launcher, Listen, Settings};
use crate::maintenance::stale_cgroups;
use assize_attack as attack;
use assize_attack::blame::PAUSE_AFTER;
use assize_attack::blame::outside::Outside;
use assize_attack::case::{Case, matches};
use assize_attack::context::{AttackContext, CONCURRENT_RUNS, Target};
use assize_attack::http::alike::USER_MAX_ACTIVE;
use assize_attack::templates;
use assize_cell::Engine;
use assize_cell::counters::Cgroups;
use assize_client::outcome::{Exit, Fault, Outcome};
use assize_client::terminal::{Style, Terminal};
use assize_config::{Config, ConfigError};

/// The longest that all cases may take together. They take about five minutes on two cores.
const ATTACK_TIMEOUT: Duration = Duration::from_secs(20 * 60);

/// The options of an attack.
#[derive(Debug, clap::Args)]
pub(super) struct AttackOptions {
    /// Attack a separate installation on this host, and print what stopped each case.
    #[arg(long)]
    attack: bool,
    /// With --attack: run only the cases whose name contains this text, or matches it as a pattern with `*`.
    #[arg(long, requires = "attack", value_name = "PATTERN")]
    only: Option<String>,
    /// With --attack: list the cases without starting anything.
    #[arg(long, requires = "attack")]
    list: bool,
}

impl AttackOptions {
    pub(super) const fn is_asked_for(&self) -> bool {
        self.attack
    }
}

/// Runs the command.
///
/// # Errors
/// A fault of usage (exit code 2) for every reason why the attack could not be made.
pub(super) async fn run(
    command: &AttackOptions,
    as_json: bool,
    config: Result<Config, ConfigError>,
    config_file: Option<&Path>,
) -> Outcome {
    let wanted = |case: &Case| command.only.as_ref().is_none_or(|pattern| matches(pattern, &case.id));
    let cases: Vec<Case> = attack::cases().into_iter().filter(wanted).collect();
    if cases.is_empty() {
        let pattern = command.only.as_deref().unwrap_or_default();
        return Err(Fault::usage(format!(
            "no case matches {pattern:?}; `assize doctor --attack --list` lists all cases"
        )));
    }
    if command.list {
        report::list(&cases, as_json);
        return Ok(Exit::Success);
    }
    let could_not = |fault: Fault| Fault::usage(format!("the attack could not start: {fault}"));
    make(cases, as_json, config?, config_file).await.map_err(could_not)
}

async fn make(cases: Vec<Case>, as_json: bool, config: Config, config_file: Option<&Path>) -> Outcome {
    let terminal = Terminal::progress(as_json);
    let scratch = tempfile::Builder::new()
        .prefix("assize-attack-")
        .permissions(searchable())
        .tempdir()
        .map_err(|error| Fault::infrastructure(format!("cannot create a temporary folder: {error}")))?;
    let templates_dir = scratch.path().join("templates");
    let outside = Outside::begin()
        .await
        .map_err(|error| Fault::infrastructure(format!("cannot listen on the loopback: {error}")))?;
    templates::write(&templates_dir, outside.registry_port)
        .map_err(|error| Fault::infrastructure(format!("cannot write to {}: {error}", templates_dir.display())))?;
    let listen = Listen::free()
        .map_err(|error| Fault::infrastructure(format!("there are no three free ports on 127.0.0.1: {error}")))?;
    let launcher = Launcher {
        durability: Durability::ThrowAway,
        settings: settings(&templates_dir, &outside),
        ..up::launcher(scratch.path().to_owned(), listen, &config, config_file)?
    };
    let mut engine = Engine::connect(&config).await.map_err(Fault::infrastructure)?;
    for image in templates::IMAGES {
        engine.check_image(image).await.map_err(Fault::infrastructure)?;
    }
    let stop = signals::shutdown_token(false)?;
    let mut service = LocalService::start(launcher, terminal, &stop).await?;
    engine.instance = service.installation.instance();
    let attack = Prepared { engine: engine.clone(), outside, cases };
    let outcome = attack_on(&mut service, scratch.path(), attack, as_json, terminal, &stop).await;
    service.stop(terminal).await;
    if let Ok(cgroups) = Cgroups::detect(&engine).await {
        stale_cgroups::remove_parents(&cgroups);
    }
    outcome
}

/// The engine, the servers outside, and the cases of an attack.
struct Prepared {
    engine: Engine,
    outside: Outside,
    cases: Vec<Case>,
}

async fn attack_on(
    LocalService { installation, key }: &mut LocalService,
    root: &Path,
    Prepared { engine, outside, cases }: Prepared,
    as_json: bool,
    terminal: Terminal,
    stop: &CancellationToken,
) -> Outcome {
    let target = Target {
        address: installation.listen().api.parse().map_err(Fault::infrastructure)?,
        worker_metrics: installation.listen().worker_metrics.parse().map_err(Fault::infrastructure)?,
        key: key.clone(),
        database_url: installation.embedded.database_url.clone(),
        root: root.to_owned(),
    };
    let mut report = AttackReport::new(terminal, as_json, cases.clone());
    terminal.line(terminal.paint(Style::Dim, format!("attacking {} with {} cases", installation.url(), cases.len())));
    let (results, mut found) = unbounded_channel();
    let context = AttackContext::open(target, engine, outside, cases, results).await.map_err(Fault::infrastructure)?;
    {
        let attacking = async {
            attack::run(&context).await;
            // Results that are still in the channel are recorded below.
        };
        tokio::pin!(attacking);
        let late = tokio::time::sleep(ATTACK_TIMEOUT);
        tokio::pin!(late);
        loop {
            tokio::select! {
                () = &mut attacking => break,
                Some(result) = found.recv() => report.record(result),
                () = &mut late => break,
                error = installation.ended() => return Err(error.into()),
                () = stop.cancelled() => return Ok(Exit::Interrupted),
            }
        }
    }
    while let Ok(result) = found.try_recv() {
        report.record(result);
    }
    Ok(report.conclude())
}

/// What differs from an operator's installation: nobody waits for a turn, uploads are small, repositories may
/// come from anywhere, and a busy host does not keep the worker from claiming.
fn settings(templates_dir: &Path, outside: &Outside) -> Settings {
    Settings::default()
        .ignoring_host_load()
        .with("templates_dir", templates_dir.display())
        .with("worker_slots", CONCURRENT_RUNS)
        // More than the cells of most templates can hold.
        .with("max_archive_bytes", 24 << 20)
        .with("max_stage_timeout_s", 0)
        .with("drain_timeout_s", 5)
        // No repository is refused because its host is not listed.
        .with("git_hosts", format!("* 127.0.0.1:{}", outside.forge_port))
        .with("egress_private_hosts", outside.private_hosts())
        .with("pause_after_failures", PAUSE_AFTER)
        .with("per_org_max_active", 1000)
        .with("per_user_max_active", USER_MAX_ACTIVE)
        .with("max_active_api_evals", 1000)
        // A MiB of live output for each run: what the measured neighbour writes until it is first looked at.
        .with("max_active_evaluations", 32)
}
