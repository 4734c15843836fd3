//! `assize doctor --attack`: the hostile cases against an installation of their own.

mod report;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

use self::report::AttackReport;
use crate::cli::services::searchable;
use crate::cli::signals;
use crate::cli::up::{Installation, Place};
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
use assize_client::screen::{Ink, Screen};
use assize_config::{Config, ConfigError};

/// The longest time of the whole attack, which takes about five minutes on two cores.
const ATTACK_TIMEOUT: Duration = Duration::from_secs(20 * 60);

/// Arguments of the attack.
#[derive(Debug, clap::Args)]
pub(super) struct Attack {
    /// Attack an installation of its own on this host, and report what stopped each case.
    #[arg(long)]
    attack: bool,
    /// With --attack: try only cases whose id contains this text, or matches it with `*` for any characters.
    #[arg(long, requires = "attack", value_name = "PATTERN")]
    only: Option<String>,
    /// With --attack: list the cases and start nothing.
    #[arg(long, requires = "attack")]
    list: bool,
}

impl Attack {
    pub(super) const fn is_asked_for(&self) -> bool {
        self.attack
    }
}

/// Runs the command.
///
/// # Errors
/// A usage fault (exit code 2), whatever prevented the attack.
pub(super) async fn run(
    command: &Attack,
    as_json: bool,
    config: Result<Config, ConfigError>,
    config_file: Option<&Path>,
) -> Outcome {
    let wanted = |case: &Case| command.only.as_ref().is_none_or(|pattern| matches(pattern, &case.id));
    let cases: Vec<Case> = attack::cases().into_iter().filter(wanted).collect();
    if cases.is_empty() {
        let pattern = command.only.as_deref().unwrap_or_default();
        return Err(Fault::usage(format!(
            "no case matches {pattern:?}; list the cases with `assize doctor --attack --list`"
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
    let screen = Screen::progress(as_json);
    let scratch = tempfile::Builder::new()
        .prefix("assize-attack-")
        .permissions(searchable())
        .tempdir()
        .map_err(|error| Fault::infrastructure(format!("cannot make a temporary folder: {error}")))?;
    let templates_dir = scratch.path().join("templates");
    let outside = Outside::begin()
        .await
        .map_err(|error| Fault::infrastructure(format!("cannot listen on the loopback: {error}")))?;
    templates::write(&templates_dir, outside.registry_port)
        .map_err(|error| Fault::infrastructure(format!("cannot write to {}: {error}", templates_dir.display())))?;
    let place = Place {
        data: scratch.path().to_owned(),
        port: free_port()?,
        settings: settings(&templates_dir, &outside),
        throw_away: true,
    };
    let mut engine = Engine::connect(&config).await.map_err(Fault::infrastructure)?;
    for image in templates::IMAGES {
        engine.check_image(image).await.map_err(Fault::infrastructure)?;
    }
    let stop = signals::stop(false)?;
    let mut installation = Installation::start(&place, &config, config_file, screen, &stop).await?;
    engine.instance = installation.instance();
    let attack = Prepared { engine: engine.clone(), outside, cases };
    let outcome = attack_on(&mut installation, &place, attack, as_json, screen, &stop).await;
    installation.stop(screen).await;
    if let Ok(cgroups) = Cgroups::of(&engine).await {
        stale_cgroups::remove_parents(&cgroups);
    }
    outcome
}

/// What the attack needs once the installation runs.
struct Prepared {
    engine: Engine,
    outside: Outside,
    cases: Vec<Case>,
}

async fn attack_on(
    installation: &mut Installation,
    place: &Place,
    Prepared { engine, outside, cases }: Prepared,
    as_json: bool,
    screen: Screen,
    stop: &CancellationToken,
) -> Outcome {
    let target = Target {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, place.port)),
        key: installation.key.clone(),
        database_url: installation.database_url().to_owned(),
        root: place.data.clone(),
    };
    let mut report = AttackReport::new(screen, as_json, cases.clone());
    screen.line(screen.paint(Ink::Dim, format!("attacking {} with {} cases", installation.url, cases.len())));
    let (results, mut found) = unbounded_channel();
    let context = AttackContext::open(target, engine, outside, cases, results).await.map_err(Fault::infrastructure)?;
    {
        let attacking = async {
            attack::run(&context).await;
            // Results that are still in the channel are received below.
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

/// The first of three free ports in a row, for the API and the two metrics listeners.
fn free_port() -> Result<u16, Fault> {
    let bound = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    for _ in 0..100 {
        let Ok(first) = bound(0).and_then(|listener| Ok((listener.local_addr()?.port(), listener))) else { continue };
        let port = first.0;
        if port < u16::MAX - 2 && bound(port + 1).is_ok() && bound(port + 2).is_ok() {
            return Ok(port);
        }
    }
    Err(Fault::infrastructure("there are no three free ports in a row on 127.0.0.1"))
}

/// The settings that differ from an operator's installation: no limit delays a run, uploads are small, repositories may
/// come from any host, and pressure on the host does not pause claims.
fn settings(templates_dir: &Path, outside: &Outside) -> Vec<(&'static str, String)> {
    let text = |value: usize| value.to_string();
    vec![
        ("ASSIZE_TEMPLATES_DIR", templates_dir.display().to_string()),
        ("ASSIZE_WORKER_SLOTS", text(CONCURRENT_RUNS)),
        // More bytes than the cells of most templates can hold.
        ("ASSIZE_MAX_ARCHIVE_BYTES", text(24 << 20)),
        ("ASSIZE_MAX_STAGE_TIMEOUT_S", text(0)),
        ("ASSIZE_DRAIN_TIMEOUT_S", text(5)),
        // Every host of repositories is allowed.
        ("ASSIZE_GIT_HOSTS", format!("* 127.0.0.1:{}", outside.forge_port)),
        ("ASSIZE_EGRESS_PRIVATE_HOSTS", outside.private_hosts()),
        ("ASSIZE_PAUSE_AFTER_FAILURES", text(PAUSE_AFTER)),
        ("ASSIZE_MIN_FREE_DISK_MIB", text(0)),
        ("ASSIZE_MIN_AVAILABLE_MEMORY_MIB", text(0)),
        ("ASSIZE_MAX_MEMORY_PRESSURE", text(0)),
        ("ASSIZE_MAX_IO_PRESSURE", text(0)),
        ("ASSIZE_PER_ORG_MAX_ACTIVE", text(1000)),
        ("ASSIZE_PER_USER_MAX_ACTIVE", text(USER_MAX_ACTIVE)),
        ("ASSIZE_MAX_ACTIVE_API_EVALS", text(1000)),
        // 1 MiB of live output for each run: the measured neighbour writes that much before its output is first read.
        ("ASSIZE_MAX_ACTIVE_EVALUATIONS", text(32)),
    ]
}
