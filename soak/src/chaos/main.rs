//! Chaos: a whole installation under load, broken on purpose, again and again.
//!
//! `make chaos FAULTS=n SEED=s`. A seeded list of faults is carried out one after another against a
//! real API, workers, Postgres, Redis and Docker engine, all of them this program's own, while a
//! seeded load of projects whose outcomes are known goes on. After each fault a run is handed in and
//! timed. In the end everything is stopped in good order and the books are compared: what was
//! submitted, what the database says happened, what the engine saw, what is left.
//!
//! Settings, all from the environment: `FAULTS` (100), `SEED` (drawn and printed), `KINDS` (names of
//! kinds, with commas, to look into those alone: then the scripted recovery figures are left out).
//!
//! Exit 1 if anything was lost, duplicated, illegal or leaked. The folder `target/chaos/site` with all
//! logs and the database then stays.

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
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use assize_host::clock;
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

/// Runs under way at one time: the slots of both workers are full, or nearly.
const IN_FLIGHT: usize = 6;

/// The longest that a run may take that is handed in after a fault: leases go stale in 30 s.
const CANARY_TIMEOUT: Duration = Duration::from_secs(120);

/// After the last fault every run ends within a lease, its deadline and 60 s.
const END_TIMEOUT: Duration = Duration::from_secs(30 + projects::LONGEST_S + 60);

/// No orphan is older. Source: FAILURES 8; and some for a busy host.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(70);

/// Faults that may fail to be carried out, because the installation was not what it should be: each is a
/// violation; one more and there is no use in going on.
const MAX_FAILED_FAULTS: usize = 3;

/// Runs whose whole report is printed; the others' are in the folder.
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
    /// Whether recovery is measured.
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
        anyhow::bail!("there is no kind of fault {unknown:?}; there are: {}", known.join(", "));
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
    ensure!(lock.try_lock().is_ok(), "another chaos is at work in {}", chaos.display());
    engine_of_before(&chaos).await;
    let begun = clock::monotonic();
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
                error.context(format!("the installation's logs are in {}", chaos.join("site/data/log").display()))
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
        println!("kept: {}", chaos.join("site").display());
    }
    Ok(clean)
}

/// The folder of the build: this program lies in `<target>/<profile>/`.
fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program.ancestors().nth(2).unwrap_or(Path::new("target")).to_owned()
}

/// Ends the engine of a chaos that was killed; it is known by the folder that it works in.
async fn engine_of_before(chaos: &Path) {
    let ours = chaos.join("site/engine").display().to_string();
    for program in ["dockerd", "containerd"] {
        for pid in signals::with_words(program, &ours) {
            println!("chaos: ending the {program} of a chaos that was killed (process {pid})");
            signals::send(pid, rustix::process::Signal::TERM);
            while !signals::command_line(pid).is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

type Ended = (Vec<Done>, Findings, Vec<Figure>, Arc<Load>);

async fn under_load(installation: &mut Installation, options: &Options, begun: Instant) -> Result<Ended> {
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
    println!("{:>7.1} the books", begun.elapsed().as_secs_f64());
    violations.extend(repeated_stages(installation, &load).await?);
    violations.extend(stop(installation).await?);
    let history = History::read(&installation.pool).await?;
    let mut findings = audit::examine(&history, &load.records(), &installation.cells.lifetimes());
    findings.violations.extend(violations);
    Ok((done, findings, figures, load))
}

/// Every run ends in time, or the audit finds it.
async fn wait_for_ends(installation: &Installation) -> Result<()> {
    let begun = clock::monotonic();
    while history::open(&installation.pool).await? > 0 && begun.elapsed() < END_TIMEOUT {
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(())
}

/// Output of completed runs in which a stage begins twice.
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

/// Stops all workers in good order; what is left then is leaked.
async fn stop(installation: &mut Installation) -> Result<Vec<Violation>> {
    let mut found = Vec::new();
    let mut leak = |what: String| found.push(Violation::new(ViolationKind::Leaked, what));
    let begun = clock::monotonic();
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
        leak(format!("{} outlived whom it was for by {} s", lifetime.named(&id), ORPHAN_TIMEOUT.as_secs()));
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

/// Prints what went wrong, and for the first few runs all that is known of them.
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
