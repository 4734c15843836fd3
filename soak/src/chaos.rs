//! Injects faults into a whole installation under load, and checks that no run is lost, duplicated or wrong.
//!
//! `make chaos FAULTS=n SEED=s` generates a list of faults from the seed and injects them one after another into a real
//! API, workers, Postgres, Redis and Docker engine, all of which this program starts. Meanwhile it submits projects whose
//! outcomes are known, also generated from the seed. After each fault, it submits one more run and measures how long that
//! run takes. At the end it stops everything in order and compares what was submitted with the rows and events of the
//! database, with the events of the engine, and with what is left on the host.
//!
//! The settings are environment variables: `FAULTS` (default 100), `SEED` (drawn and printed by default) and `KINDS`
//! (names of kinds of faults, separated by commas; only these are injected, and recovery is not measured).
//!
//! The exit code is 1 if anything was lost, duplicated, illegal, unexpected or leaked. The folder `target/chaos/site` with all logs
//! and the database is then preserved.

mod recovery;
mod summary;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use assize_host::clock::Stopwatch;
use futures_util::StreamExt;

use self::recovery::Figure;
use self::summary::{Done, Summary};
use crate::audit::{self, Findings, Violation, ViolationKind};
use crate::history::History;
use crate::installation::{Installation, Shape};
use crate::load::{Draw, Load, Offer};
use crate::operations::{self, FaultResult};
use crate::schedule::{self, Fault, KINDS, Kind};
use crate::{closing, projects, run_report, site};

/// The number of concurrent runs, which fill the slots of both workers, or nearly so.
const IN_FLIGHT: usize = 6;

/// The number of users of an organisation.
const USERS: u64 = 4;

/// The longest that a client follows a run.
const RUN_TIMEOUT: Duration = Duration::from_secs(300);

/// The longest that a run may take that is submitted after a fault. Leases go stale after 30 s.
const CANARY_TIMEOUT: Duration = Duration::from_secs(120);

/// The longest that a run may take to end after the last fault: a lease, its deadline and 60 s.
const END_TIMEOUT: Duration = Duration::from_secs(30 + projects::LONGEST_S + 60);

/// The number of faults that may fail to be injected because the installation was not as expected. Each is a violation;
/// after one more, the program stops.
const MAX_FAILED_FAULTS: usize = 3;

/// The number of runs whose report is printed. The reports of the others are only in the folder.
const MAX_PRINTED_REPORTS: usize = 5;

struct Options {
    faults: Vec<Fault>,
    /// Whether the times of recovery are measured.
    figures: bool,
    seed: u64,
    left_out: Vec<String>,
}

fn options() -> Result<Options> {
    let number = |name: &str| match std::env::var(name) {
        Ok(text) if !text.is_empty() => Ok(Some(text.parse::<u64>().with_context(|| format!("{name}={text}"))?)),
        _ => anyhow::Ok(None),
    };
    let count = usize::try_from(number("FAULTS")?.unwrap_or(100))?;
    let seed = number("SEED")?.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let names = std::env::var("KINDS").unwrap_or_default();
    let names: Vec<&str> = names.split(',').filter(|name| !name.is_empty()).collect();
    if let Some(unknown) = names.iter().find(|name| KINDS.iter().all(|(_, known, ..)| known != *name)) {
        let known: Vec<_> = KINDS.iter().map(|(_, name, ..)| *name).collect();
        anyhow::bail!("there is no kind of fault {unknown:?}; the kinds are: {}", known.join(", "));
    }
    let chosen = KINDS.iter().filter(|(_, name, ..)| names.is_empty() || names.contains(name));
    let mut kinds: Vec<Kind> = chosen.map(|(kind, ..)| *kind).collect();
    let missing: Vec<_> = kinds.iter().filter_map(|kind| Some((*kind, operations::missing(*kind)?))).collect();
    kinds.retain(|kind| missing.iter().all(|(other, _)| other != kind));
    let left_out = missing.into_iter().map(|(kind, why)| format!("{}: {why}", kind.name())).collect();
    let figures = names.is_empty();
    Ok(Options { figures, faults: schedule::generate(seed, count, &kinds), seed, left_out })
}

/// Runs chaos, and returns whether there was no violation.
pub async fn run() -> Result<bool> {
    let options = options()?;
    println!("chaos: FAULTS={} SEED={}", options.faults.len(), options.seed);
    let chaos = site::target().join("chaos");
    let _lock = site::lock(&chaos).await?;
    let begun = Stopwatch::start();
    let mut installation = Installation::start(&chaos.join("site"), Shape::chaos()).await?;
    let done = tokio::select! {
        done = under_load(&mut installation, &options, begun) => done,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    let (done, findings, figures, load) = match done {
        Ok(done) => done,
        Err(error) => {
            for end in installation.ends() {
                eprintln!("chaos: ended by itself: {end}");
            }
            installation.close(true).await?;
            return Err(
                error.context(format!("the logs of the installation are in {}", chaos.join("site/data/log").display()))
            );
        }
    };
    let history = History::read(&installation.pool).await?;
    let (refusals, ends) = (load.refusals(), installation.ends());
    let summary = Summary {
        seed: options.seed,
        took_s: begun.elapsed().as_secs_f64(),
        done: &done,
        findings: &findings,
        figures: &figures,
        refusals: &refusals,
        ends: &ends,
        left_out: &options.left_out,
        moved: summary::moved(&history, &done),
    };
    write_run_reports(&installation, &history, &findings)?;
    std::fs::write(chaos.join("summary.json"), format!("{:#}\n", summary.json()))?;
    println!("\n{}", summary.table());
    let clean = summary.is_clean();
    installation.close(!clean).await?;
    if !clean {
        println!("preserved: {}", chaos.join("site").display());
    }
    Ok(clean)
}

type Ended = (Vec<Done>, Findings, Vec<Figure>, Arc<Load>);

async fn under_load(installation: &mut Installation, options: &Options, begun: Stopwatch) -> Result<Ended> {
    let mut violations = Vec::new();
    let seed = options.seed;
    let draw: Draw = Box::new(move |number| projects::draw(seed, number));
    let offer = Offer { draw, users: USERS, run_timeout: RUN_TIMEOUT };
    let load = Load::new(&installation.url, installation.orgs.clone(), offer)?;
    for _ in 0..2 {
        let worker = installation.worker(&[]).await?;
        installation.workers.push(worker);
    }
    let took = load.canary(CANARY_TIMEOUT).await?;
    println!("chaos: ready after {:.1} s, a run takes {:.2} s", begun.elapsed().as_secs_f64(), took.as_secs_f64());
    let clients = load.begin(IN_FLIGHT, Duration::ZERO);
    let mut done = Vec::new();
    let mut failed = 0;
    for (at, fault) in options.faults.iter().enumerate() {
        tokio::time::sleep(Duration::from_millis(fault.pause_ms)).await;
        let result = operations::carry_out(installation, &load, *fault).await;
        let result = match result {
            Ok(result) => result,
            Err(error) if failed < MAX_FAILED_FAULTS => {
                failed += 1;
                FaultResult::failed(&error)
            }
            Err(error) => return Err(error.context(format!("fault {} ({})", at + 1, fault.kind.name()))),
        };
        let canary_s = load.canary(CANARY_TIMEOUT).await.ok().map(|took| took.as_secs_f64());
        let illegal = result.illegal.iter().map(|what| Violation::new(ViolationKind::Illegal, what.clone()));
        violations.extend(illegal);
        println!(
            "{:>7.1} {:>4}/{} {:<22} {:>7} {}{}",
            begun.elapsed().as_secs_f64(),
            at + 1,
            options.faults.len(),
            fault.kind.name(),
            canary_s.map_or_else(|| "NEVER".to_owned(), |took| format!("{took:.2} s")),
            result.note,
            result.illegal.iter().map(|what| format!("; ILLEGAL: {what}")).collect::<String>(),
        );
        done.push(Done { kind: fault.kind, result: result.at, canary_s });
    }
    println!("{:>7.1} the last runs", begun.elapsed().as_secs_f64());
    load.stop();
    operations::all_ended(clients, END_TIMEOUT).await;
    closing::wait_for_ends(installation, END_TIMEOUT).await?;
    let mut figures = Vec::new();
    if options.figures {
        println!("{:>7.1} recovery", begun.elapsed().as_secs_f64());
        figures = recovery::measure(installation, &load).await?;
        closing::wait_for_ends(installation, END_TIMEOUT).await?;
    }
    println!("{:>7.1} comparing", begun.elapsed().as_secs_f64());
    violations.extend(repeated_stages(installation, &load).await?);
    violations.extend(closing::stop_workers(installation).await?);
    let history = History::read(&installation.pool).await?;
    let mut findings =
        audit::examine(&history, &load.records(), &installation.cells.lifetimes(), installation.shape.total_slots);
    findings.violations.extend(violations);
    Ok((done, findings, figures, load))
}

/// Returns a violation for each completed run whose output shows that a stage began twice.
async fn repeated_stages(installation: &Installation, load: &Load) -> Result<Vec<Violation>> {
    let history = History::read(&installation.pool).await?;
    let completed = history.rows.values().filter(|row| row.status == "completed");
    let runs: Vec<_> = completed.filter_map(|row| Some((row.number()?, row.id))).collect();
    let looking = runs.into_iter().map(|(number, run)| async move {
        let output = load.output(number, run).await.ok()?;
        audit::repeated_stages(run, &output)
    });
    Ok(futures_util::stream::iter(looking).buffer_unordered(8).filter_map(async |found| found).collect().await)
}

/// Prints the violations, and the reports of the first few runs that have one.
fn write_run_reports(installation: &Installation, history: &History, findings: &Findings) -> Result<()> {
    let (lifetimes, logs) = (installation.cells.lifetimes(), installation.embedded.folder.logs());
    let mut reported = Vec::new();
    for violation in &findings.violations {
        println!(
            "{:?}: {} {}",
            violation.sort,
            violation.run.map(|run| run.to_string()).unwrap_or_default(),
            violation.what
        );
        let Some(run) = violation.run.filter(|run| !reported.contains(run)) else { continue };
        let report = run_report::write(run, history, &lifetimes, logs.as_path());
        std::fs::create_dir_all(installation.folder.join("run-reports"))?;
        std::fs::write(installation.folder.join("run-reports").join(run.to_string()), &report)?;
        if reported.len() < MAX_PRINTED_REPORTS {
            println!("{report}");
        }
        reported.push(run);
    }
    Ok(())
}
