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
//! The exit code is 1 if anything was lost, duplicated, illegal or leaked. The folder `target/chaos/site` with all logs
//! and the database is then preserved.

mod audit;
mod cells;
mod engine;
mod engine_proxy;
mod history;
mod installation;
mod load;
mod operations;
mod postgres_proxy;
mod projects;
mod recovery;
mod run_report;
mod schedule;
mod service;
mod signals;
mod summary;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use assize_host::clock::Stopwatch;
use bollard::query_parameters::ListVolumesOptions;
use futures_util::StreamExt;

use audit::{Findings, Violation, ViolationKind};
use history::History;
use installation::Installation;
use load::Load;
use operations::FaultResult;
use recovery::Figure;
use schedule::{Fault, KINDS, Kind};
use summary::{Done, Summary};

/// The number of concurrent runs, which fill the slots of both workers, or nearly so.
const IN_FLIGHT: usize = 6;

/// The longest that a run may take that is submitted after a fault. Leases go stale after 30 s.
const CANARY_TIMEOUT: Duration = Duration::from_secs(120);

/// The longest that a run may take to end after the last fault: a lease, its deadline and 60 s.
const END_TIMEOUT: Duration = Duration::from_secs(30 + projects::LONGEST_S + 60);

/// The longest that an orphaned container may exist: 60 s, and some time for a busy host.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(70);

/// The number of faults that may fail to be injected because the installation was not as expected. Each is a violation;
/// after one more, the program stops.
const MAX_FAILED_FAULTS: usize = 3;

/// The number of runs whose report is printed. The reports of the others are only in the folder.
const MAX_PRINTED_REPORTS: usize = 5;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("chaos: error: {error:#}");
            ExitCode::from(2)
        }
    }
}

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

async fn run() -> Result<bool> {
    let options = options()?;
    println!("chaos: FAULTS={} SEED={}", options.faults.len(), options.seed);
    let chaos = target().join("chaos");
    std::fs::create_dir_all(&chaos)?;
    let lock = std::fs::File::create(chaos.join("lock"))?;
    ensure!(lock.try_lock().is_ok(), "another chaos runs in {}; wait until it has ended", chaos.display());
    engine_of_before(&chaos).await;
    let begun = Stopwatch::start();
    let mut installation = Installation::start(&chaos.join("site")).await?;
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

/// Returns the folder of the build. This program is in `<target>/<profile>/`.
fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program.ancestors().nth(2).unwrap_or(Path::new("target")).to_owned()
}

/// Stops the engine of an earlier chaos that was killed. The folder in its command line identifies it.
async fn engine_of_before(chaos: &Path) {
    let ours = chaos.join("site/engine").display().to_string();
    for program in ["dockerd", "containerd"] {
        for pid in signals::with_words(program, &ours) {
            println!("chaos: stopping the {program} of an earlier chaos that was killed (process {pid})");
            signals::send(pid, rustix::process::Signal::TERM);
            while !signals::command_line(pid).is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

type Ended = (Vec<Done>, Findings, Vec<Figure>, Arc<Load>);

async fn under_load(installation: &mut Installation, options: &Options, begun: Stopwatch) -> Result<Ended> {
    let mut violations = Vec::new();
    let load = Load::new(&installation.url, installation.orgs.clone(), options.seed)?;
    for _ in 0..2 {
        let worker = installation.worker(&[]).await?;
        installation.workers.push(worker);
    }
    let took = load.canary(CANARY_TIMEOUT).await?;
    println!("chaos: ready after {:.1} s, a run takes {:.2} s", begun.elapsed().as_secs_f64(), took.as_secs_f64());
    let clients = load.begin(IN_FLIGHT);
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
    wait_for_ends(installation).await?;
    let mut figures = Vec::new();
    if options.figures {
        println!("{:>7.1} recovery", begun.elapsed().as_secs_f64());
        figures = recovery::measure(installation, &load).await?;
        wait_for_ends(installation).await?;
    }
    println!("{:>7.1} comparing", begun.elapsed().as_secs_f64());
    violations.extend(repeated_stages(installation, &load).await?);
    violations.extend(stop(installation).await?);
    let history = History::read(&installation.pool).await?;
    let mut findings = audit::examine(&history, &load.records(), &installation.cells.lifetimes());
    findings.violations.extend(violations);
    Ok((done, findings, figures, load))
}

/// Waits until every run has ended. If one does not end in time, the audit reports it.
async fn wait_for_ends(installation: &Installation) -> Result<()> {
    let begun = Stopwatch::start();
    while history::open(&installation.pool).await? > 0 && begun.elapsed() < END_TIMEOUT {
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(())
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

/// Stops all workers in order. Everything that is left after that is leaked.
async fn stop(installation: &mut Installation) -> Result<Vec<Violation>> {
    let mut found = Vec::new();
    let mut leak = |what: String| found.push(Violation::new(ViolationKind::Leaked, what));
    let begun = Stopwatch::start();
    let pids: Vec<u32> = installation.workers.iter().filter_map(service::Service::pid).collect();
    let orphans = async || -> Result<Vec<_>> {
        let there = installation.cells.containers().await?;
        let lifetimes = installation.cells.lifetimes().into_iter();
        Ok(lifetimes.filter(|(id, lifetime)| there.contains_key(id) && !lifetime.is_berth_of(&pids)).collect())
    };
    while begun.elapsed() < ORPHAN_TIMEOUT && !orphans().await?.is_empty() {
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    for (id, lifetime) in orphans().await? {
        leak(format!(
            "{} exists {} s after its run ended or its worker died",
            lifetime.named(&id),
            ORPHAN_TIMEOUT.as_secs()
        ));
    }
    for worker in std::mem::take(&mut installation.workers) {
        if let Err(error) = worker.stop(operations::DRAINED).await {
            leak(format!("{error:#}"));
        }
        installation.retired.push(worker);
    }
    let there = installation.cells.containers().await?;
    let lifetimes = installation.cells.lifetimes();
    for (id, state) in &there {
        leak(format!(
            "{} ({state}) is left after every worker has stopped",
            lifetimes.get(id).cloned().unwrap_or_default().named(id)
        ));
    }
    let volumes =
        installation.engine.docker.list_volumes(None::<ListVolumesOptions>).await?.volumes.unwrap_or_default();
    volumes.iter().for_each(|volume| leak(format!("volume {}", volume.name)));
    audit::cgroups(lifetimes.keys().filter(|id| !there.contains_key(*id)))
        .into_iter()
        .for_each(|folder| leak(format!("cgroup {folder}")));
    let leases = "SELECT count(*) FROM project_evaluation_runs WHERE status IN ('preparing', 'running', 'parsing')";
    let leases = history::count(&installation.pool, leases).await?;
    if leases > 0 {
        leak(format!("{leases} leases"));
    }
    Ok(found)
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
