//! Injects each kind of fault: starts it, holds it for a while, and ends it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use assize::embedded::ServerKind;
use assize_host::clock::Clock;
use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use rustix::process::Signal;
use tokio::task::JoinSet;

use super::engine_proxy::Call;
use super::installation::{DRAIN_S, Installation};
use super::load::Load;
use super::schedule::{Fault, Kind};
use super::service::Service;
use super::{history, signals};

/// The library that shifts the clock of a process, from Debian's package libfaketime, for `LD_PRELOAD`.
pub const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// How long a proxy waits for a matching call or statement.
const CHANCE: Duration = Duration::from_secs(2);

/// The result of a fault that is over.
pub struct FaultResult {
    /// The time from which the installation can recover.
    pub at: DateTime<Utc>,
    /// The details of the fault.
    pub note: String,
    /// Violations that were observed during the fault.
    pub illegal: Vec<String>,
}

impl FaultResult {
    fn now(note: impl Into<String>) -> Self {
        Self { at: Clock::system().wall(), note: note.into(), illegal: Vec::new() }
    }

    /// Creates the result of a fault that could not be injected.
    pub fn failed(error: &anyhow::Error) -> Self {
        Self { illegal: vec![format!("{error:#}")], ..Self::now("") }
    }
}

/// Injects a fault.
pub async fn carry_out(installation: &mut Installation, load: &Load, fault: Fault) -> Result<FaultResult> {
    let mut random = StdRng::seed_from_u64(fault.seed);
    let random = &mut random;
    let pause = ms(random, 0, 800);
    let short = ms(random, 500, 2500);
    match fault.kind {
        Kind::WorkerKill => {
            let worker = victim(installation, random)?;
            installation.workers[worker].kill(pause).await?;
            installation.workers[worker].up().await?;
            Ok(FaultResult::now(format!("{} after {pause:?}", installation.workers[worker].name())))
        }
        Kind::WorkerStop | Kind::WorkerStopPastLease => {
            let held = if fault.kind == Kind::WorkerStop { short } else { ms(random, 32_000, 36_000) };
            let worker = victim(installation, random)?;
            hold(installation.workers[worker].pid().into_iter().collect(), held).await;
            Ok(FaultResult::now(format!("{} for {held:?}", installation.workers[worker].name())))
        }
        Kind::RollingRestart | Kind::RollingRestartKill => roll(installation, random, fault.kind).await,
        Kind::ClockShift => shift_clock(installation, load, random).await,
        Kind::ApiKill => {
            installation.api.kill(pause).await?;
            installation.api.up().await?;
            Ok(FaultResult::now(format!("after {pause:?}")))
        }
        Kind::ApiStop => {
            hold(installation.api.pid().into_iter().collect(), short).await;
            Ok(FaultResult::now(format!("for {short:?}")))
        }
        Kind::PostgresKill => killed(installation, ServerKind::Postgres, pause).await,
        Kind::RedisKill => killed(installation, ServerKind::Redis, pause).await,
        Kind::PostgresStop | Kind::RedisStop => {
            let server = if fault.kind == Kind::PostgresStop { ServerKind::Postgres } else { ServerKind::Redis };
            hold(installation.pids(server), short).await;
            // A process that was forked while the others were stopped.
            installation.signal(server, Signal::CONT);
            Ok(FaultResult::now(format!("for {short:?}")))
        }
        Kind::PostgresCut => cut(installation, random).await,
        Kind::RedisFlush => {
            installation.flush_redis().await?;
            Ok(FaultResult::now(""))
        }
        Kind::EngineRestart | Kind::EngineKill => {
            let signal = if fault.kind == Kind::EngineRestart { Signal::TERM } else { Signal::KILL };
            installation.engine.end(signal).await?;
            tokio::time::sleep(pause).await;
            installation.engine.again().await?;
            Ok(FaultResult::now(format!("away for {pause:?}")))
        }
        Kind::EngineStall | Kind::EngineStallLong => {
            let long = fault.kind == Kind::EngineStallLong;
            let held = if long { ms(random, 31_000, 40_000) } else { ms(random, 1000, 5000) };
            installation.engine_proxy.stall(true);
            tokio::time::sleep(held).await;
            installation.engine_proxy.stall(false);
            Ok(FaultResult::now(format!("for {held:?}")))
        }
        Kind::EngineDrop => {
            let count = random.random_range(1..=3);
            let calls: Vec<Call> = (0..count)
                .filter_map(|_| [Call::Create, Call::Create, Call::Start, Call::Remove].choose(random).copied())
                .collect();
            let lost = installation.engine_proxy.lose(&calls, CHANCE).await;
            Ok(FaultResult::now(format!("{lost} of {calls:?}")))
        }
        Kind::CellKill => kill_cell(installation, random).await,
        Kind::DiskFull => fill_disk(installation, load, random).await,
        Kind::CancelStorm => Ok(cancel_storm(load, random).await),
    }
}

fn ms(random: &mut StdRng, least: u64, most: u64) -> Duration {
    Duration::from_millis(random.random_range(least..most))
}

fn victim(installation: &Installation, random: &mut StdRng) -> Result<usize> {
    (0..installation.workers.len()).collect::<Vec<_>>().choose(random).copied().context("there is no worker")
}

/// Stops processes with SIGSTOP for this time, then continues them with SIGCONT.
async fn hold(pids: Vec<u32>, held: Duration) {
    for pid in &pids {
        signals::send(*pid, Signal::STOP);
    }
    tokio::time::sleep(held).await;
    for pid in &pids {
        signals::send(*pid, Signal::CONT);
    }
}

async fn killed(installation: &mut Installation, server: ServerKind, pause: Duration) -> Result<FaultResult> {
    installation.kill_and_start(server, pause).await?;
    Ok(FaultResult::now(format!("after {pause:?}")))
}

/// Replaces a worker, which drains, by a new one.
async fn roll(installation: &mut Installation, random: &mut StdRng, kind: Kind) -> Result<FaultResult> {
    let worker = victim(installation, random)?;
    let new = installation.worker(&[]).await?;
    let old = std::mem::replace(&mut installation.workers[worker], new);
    let note = format!("{} for {}", installation.workers[worker].name(), old.name());
    let before = old.ends().len();
    let mut result = if kind == Kind::RollingRestartKill {
        let drained = ms(random, 100, DRAIN_S * 1000);
        old.stop_and_kill(drained).await?;
        FaultResult::now(format!("{note}, killed after {drained:?}"))
    } else {
        let stopped = old.stop(installation.shape.drained()).await;
        let mut result = FaultResult::now(note);
        result.illegal.extend(stopped.err().map(|error| format!("drain: {error:#}")));
        result
    };
    result.illegal.extend(old.ends().into_iter().skip(before).map(|end| format!("in its drain {end}")));
    installation.retired.push(old);
    Ok(result)
}

/// Replaces a worker by one whose clock is wrong and jumps while it runs. No lease of a live worker may be lost.
async fn shift_clock(installation: &mut Installation, load: &Load, random: &mut StdRng) -> Result<FaultResult> {
    let offsets = ["+60", "-60", "+3600", "-3600"];
    let (first, second) = (pick(&offsets, random), pick(&offsets, random));
    let file = installation.folder.join("clock");
    std::fs::write(&file, first)?;
    let more = [
        ("LD_PRELOAD", FAKETIME.to_owned()),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        ("FAKETIME_CACHE_DURATION", "1".to_owned()),
        // The monotonic clock of the process stays correct.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let more: Vec<_> = more.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let worker = victim(installation, random)?;
    replace(installation, worker, &more).await?;
    let begun = Clock::system().wall();
    load.canary(Duration::from_secs(60)).await.ok();
    tokio::time::sleep(ms(random, 500, 2500)).await;
    std::fs::write(&file, second)?;
    tokio::time::sleep(ms(random, 1500, 3000)).await;
    load.canary(Duration::from_secs(60)).await.ok();
    let ended = Clock::system().wall();
    let stolen = history::stolen(&installation.pool, begun, ended).await?;
    replace(installation, worker, &[]).await?;
    let mut result = FaultResult::now(format!("{first} s, then {second} s"));
    result.illegal = stolen.iter().map(|run| format!("run {run} was taken from a live worker")).collect();
    Ok(result)
}

fn pick(of: &[&'static str], random: &mut StdRng) -> &'static str {
    of.choose(random).copied().unwrap_or_default()
}

/// Replaces a worker, which stops in order, by another one.
async fn replace(installation: &mut Installation, worker: usize, more: &[(String, String)]) -> Result<()> {
    let new = installation.worker(more).await?;
    let old: Service = std::mem::replace(&mut installation.workers[worker], new);
    old.stop(installation.shape.drained()).await?;
    installation.retired.push(old);
    Ok(())
}

/// Drops the reply to a committed write: one of the drawn kind, or any write if there is none of this kind.
async fn cut(installation: &Installation, random: &mut StdRng) -> Result<FaultResult> {
    let sorts = [
        "FROM claim_runs",
        "INSERT INTO project_evaluation_runs",
        "status = 'running', phase",
        "SET phase",
        "status = 'parsing'\n",
        "status = 'completed'",
        "status = $5",
        "SET heartbeat_at = clock_timestamp()\n",
        "",
        "",
    ];
    let sort = pick(&sorts, random);
    let mut cut = installation.postgres_proxy.cut(sort, CHANCE).await;
    if cut.is_none() {
        cut = installation.postgres_proxy.cut("", CHANCE).await;
    }
    let what = cut.map_or_else(|| "no write came by".to_owned(), |text| one_line(&text));
    Ok(FaultResult::now(what))
}

/// Returns the beginning of a statement on one line, without comments.
fn one_line(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("--"));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    words.join(" ").chars().take(60).collect()
}

async fn kill_cell(installation: &Installation, random: &mut StdRng) -> Result<FaultResult> {
    let deadline = Clock::system().monotonic() + CHANCE;
    while Clock::system().monotonic() < deadline {
        if let Some(cell) = installation.cells.running().choose(random) {
            let killed = installation.engine.docker.kill_container(cell, None).await;
            let how = if killed.is_ok() { "" } else { " (it was gone)" };
            return Ok(FaultResult::now(format!("{}{how}", &cell[..12.min(cell.len())])));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(FaultResult::now("no cell came by"))
}

async fn fill_disk(installation: &Installation, load: &Load, random: &mut StdRng) -> Result<FaultResult> {
    installation.fill_disk(true)?;
    let mut archive = vec![0; 32 << 10];
    random.fill(archive.as_mut_slice());
    let answer = load.probe(archive).await;
    tokio::time::sleep(ms(random, 500, 2500)).await;
    installation.fill_disk(false)?;
    let mut result = FaultResult::now(match &answer {
        Ok(status) => format!("a submission was answered with {status}"),
        Err(error) => format!("a submission was not answered: {error:#}"),
    });
    if !matches!(answer, Ok(503 | 507 | 429)) {
        result.illegal.push(format!("the disk was full, and {}", result.note));
    }
    Ok(result)
}

/// Cancels up to 10 active runs within a second, half of them twice at the same time.
async fn cancel_storm(load: &Load, random: &mut StdRng) -> FaultResult {
    let mut runs = load.under_way();
    runs.shuffle(random);
    runs.truncate(random.random_range(3..=10));
    let count = runs.len();
    let plan: Vec<_> = runs.into_iter().map(|run| (run, ms(random, 0, 1000), random.random_bool(0.5))).collect();
    let asking = plan.into_iter().map(async |((number, run), wait, twice)| {
        tokio::time::sleep(wait).await;
        if twice {
            tokio::join!(load.cancel(number, run), load.cancel(number, run));
        } else {
            load.cancel(number, run).await;
        }
    });
    futures_util::future::join_all(asking).await;
    FaultResult::now(format!("{count} runs"))
}

/// Returns what a kind of fault requires and this host does not have; `None` if nothing is missing.
pub fn missing(kind: Kind) -> Option<String> {
    (kind == Kind::ClockShift && !Path::new(FAKETIME).exists())
        .then(|| format!("there is no {FAKETIME}: `apt-get install libfaketime`, or `scripts/setup --chaos`"))
}

/// Waits until all clients of the load have ended; returns whether they did so in time.
pub async fn all_ended(mut clients: JoinSet<()>, timeout: Duration) -> bool {
    let ended = async { while clients.join_next().await.is_some() {} };
    tokio::time::timeout(timeout, ended).await.is_ok()
}
