//! Each fault as it is carried out: begun, held for a while, lifted.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use assize::embedded::ServerKind;
use assize_host::clock;
use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use rustix::process::Signal;
use tokio::task::JoinSet;

use super::deck::{Fault, Kind};
use super::engine_proxy::Call;
use super::load::Load;
use super::service::Service;
use super::site::{DRAIN_S, Site};
use super::{history, signals};

/// Shifts a process's clock; Debian's package of that name. As its environment wants it.
pub const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// How long a proxy waits for a call or a statement to come by.
const CHANCE: Duration = Duration::from_secs(2);

/// A draining worker stops its upkeep and removes its berths after `drain_timeout_s`.
pub const DRAINED: Duration = Duration::from_secs(DRAIN_S + 40);

/// A fault that is over.
pub struct Lifted {
    /// From here on the installation can recover.
    pub at: DateTime<Utc>,
    /// What exactly was done.
    pub note: String,
    /// What must not have happened meanwhile, but did.
    pub illegal: Vec<String>,
}

impl Lifted {
    fn now(note: impl Into<String>) -> Self {
        Self { at: clock::wall(), note: note.into(), illegal: Vec::new() }
    }

    /// A fault that could not be carried out as it should.
    pub fn failed(error: &anyhow::Error) -> Self {
        Self { illegal: vec![format!("{error:#}")], ..Self::now("") }
    }
}

/// Carries out one fault.
pub async fn carry_out(site: &mut Site, load: &Load, fault: Fault) -> Result<Lifted> {
    let mut random = StdRng::seed_from_u64(fault.seed);
    let random = &mut random;
    let pause = ms(random, 0, 800);
    let short = ms(random, 500, 2500);
    match fault.kind {
        Kind::WorkerKill => {
            let worker = victim(site, random)?;
            site.workers[worker].kill(pause).await?;
            site.workers[worker].up().await?;
            Ok(Lifted::now(format!("{} after {pause:?}", site.workers[worker].name())))
        }
        Kind::WorkerStop | Kind::WorkerStopPastLease => {
            let held = if fault.kind == Kind::WorkerStop { short } else { ms(random, 32_000, 36_000) };
            let worker = victim(site, random)?;
            hold(site.workers[worker].pid().into_iter().collect(), held).await;
            Ok(Lifted::now(format!("{} for {held:?}", site.workers[worker].name())))
        }
        Kind::RollingRestart | Kind::RollingRestartKill => roll(site, random, fault.kind).await,
        Kind::ClockShift => shift_clock(site, load, random).await,
        Kind::ApiKill => {
            site.api.kill(pause).await?;
            site.api.up().await?;
            Ok(Lifted::now(format!("after {pause:?}")))
        }
        Kind::ApiStop => {
            hold(site.api.pid().into_iter().collect(), short).await;
            Ok(Lifted::now(format!("for {short:?}")))
        }
        Kind::PostgresKill => killed(site, ServerKind::Postgres, pause).await,
        Kind::RedisKill => killed(site, ServerKind::Redis, pause).await,
        Kind::PostgresStop | Kind::RedisStop => {
            let server = if fault.kind == Kind::PostgresStop { ServerKind::Postgres } else { ServerKind::Redis };
            hold(site.pids(server), short).await;
            // A process that was forked while the others were stopped.
            site.signal(server, Signal::CONT);
            Ok(Lifted::now(format!("for {short:?}")))
        }
        Kind::PostgresCut => cut(site, random).await,
        Kind::RedisFlush => {
            site.flush_redis().await?;
            Ok(Lifted::now(""))
        }
        Kind::EngineRestart | Kind::EngineKill => {
            let signal = if fault.kind == Kind::EngineRestart { Signal::TERM } else { Signal::KILL };
            site.engine.end(signal).await?;
            tokio::time::sleep(pause).await;
            site.engine.again().await?;
            Ok(Lifted::now(format!("away for {pause:?}")))
        }
        Kind::EngineStall | Kind::EngineStallLong => {
            let long = fault.kind == Kind::EngineStallLong;
            let held = if long { ms(random, 31_000, 40_000) } else { ms(random, 1000, 5000) };
            site.engine_proxy.stall(true);
            tokio::time::sleep(held).await;
            site.engine_proxy.stall(false);
            Ok(Lifted::now(format!("for {held:?}")))
        }
        Kind::EngineDrop => {
            let count = random.random_range(1..=3);
            let calls: Vec<Call> = (0..count)
                .filter_map(|_| [Call::Create, Call::Create, Call::Start, Call::Remove].choose(random).copied())
                .collect();
            let lost = site.engine_proxy.lose(&calls, CHANCE).await;
            Ok(Lifted::now(format!("{lost} of {calls:?}")))
        }
        Kind::CellKill => kill_cell(site, random).await,
        Kind::DiskFull => fill_disk(site, load, random).await,
        Kind::CancelStorm => Ok(cancel_storm(load, random).await),
    }
}

fn ms(random: &mut StdRng, least: u64, most: u64) -> Duration {
    Duration::from_millis(random.random_range(least..most))
}

fn victim(site: &Site, random: &mut StdRng) -> Result<usize> {
    (0..site.workers.len()).collect::<Vec<_>>().choose(random).copied().context("there is no worker")
}

/// SIGSTOP, a while, SIGCONT.
async fn hold(pids: Vec<u32>, held: Duration) {
    for pid in &pids {
        signals::send(*pid, Signal::STOP);
    }
    tokio::time::sleep(held).await;
    for pid in &pids {
        signals::send(*pid, Signal::CONT);
    }
}

async fn killed(site: &mut Site, server: ServerKind, pause: Duration) -> Result<Lifted> {
    site.kill_and_start(server, pause).await?;
    Ok(Lifted::now(format!("after {pause:?}")))
}

/// A new worker takes the place of one that drains.
async fn roll(site: &mut Site, random: &mut StdRng, kind: Kind) -> Result<Lifted> {
    let worker = victim(site, random)?;
    let new = site.worker(&[]).await?;
    let old = std::mem::replace(&mut site.workers[worker], new);
    let note = format!("{} for {}", site.workers[worker].name(), old.name());
    let before = old.ends().len();
    let mut lifted = if kind == Kind::RollingRestartKill {
        let drained = ms(random, 100, DRAIN_S * 1000);
        old.stop_and_kill(drained).await?;
        Lifted::now(format!("{note}, killed after {drained:?}"))
    } else {
        let stopped = old.stop(DRAINED).await;
        let mut lifted = Lifted::now(note);
        lifted.illegal.extend(stopped.err().map(|error| format!("drain: {error:#}")));
        lifted
    };
    lifted.illegal.extend(old.ends().into_iter().skip(before).map(|end| format!("in its drain {end}")));
    site.retired.push(old);
    Ok(lifted)
}

/// A worker whose clock is off, and jumps while it runs. Nothing that is alive may be taken from anyone.
async fn shift_clock(site: &mut Site, load: &Load, random: &mut StdRng) -> Result<Lifted> {
    let offsets = ["+60", "-60", "+3600", "-3600"];
    let (first, second) = (pick(&offsets, random), pick(&offsets, random));
    let file = site.folder.join("clock");
    std::fs::write(&file, first)?;
    let more = [
        ("LD_PRELOAD", FAKETIME.to_owned()),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        ("FAKETIME_CACHE_DURATION", "1".to_owned()),
        // The clock that never jumps does not jump.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let more: Vec<_> = more.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let worker = victim(site, random)?;
    replace(site, worker, &more).await?;
    let begun = clock::wall();
    load.canary(Duration::from_secs(60)).await.ok();
    tokio::time::sleep(ms(random, 500, 2500)).await;
    std::fs::write(&file, second)?;
    tokio::time::sleep(ms(random, 1500, 3000)).await;
    load.canary(Duration::from_secs(60)).await.ok();
    let ended = clock::wall();
    let stolen = history::stolen(&site.pool, begun, ended).await?;
    replace(site, worker, &[]).await?;
    let mut lifted = Lifted::now(format!("{first} s, then {second} s"));
    lifted.illegal = stolen.iter().map(|run| format!("run {run} was taken from a live worker")).collect();
    Ok(lifted)
}

fn pick(of: &[&'static str], random: &mut StdRng) -> &'static str {
    of.choose(random).copied().unwrap_or_default()
}

/// A worker stops in good order and another takes its place.
async fn replace(site: &mut Site, worker: usize, more: &[(String, String)]) -> Result<()> {
    let new = site.worker(more).await?;
    let old: Service = std::mem::replace(&mut site.workers[worker], new);
    old.stop(DRAINED).await?;
    site.retired.push(old);
    Ok(())
}

/// A committed write whose reply is lost: one of this sort, or any if none of it comes by.
async fn cut(site: &Site, random: &mut StdRng) -> Result<Lifted> {
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
    let mut cut = site.postgres_proxy.cut(sort, CHANCE).await;
    if cut.is_none() {
        cut = site.postgres_proxy.cut("", CHANCE).await;
    }
    let what = cut.map_or_else(|| "nothing came by".to_owned(), |text| one_line(&text));
    Ok(Lifted::now(what))
}

/// A statement without its comments, short.
fn one_line(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("--"));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    words.join(" ").chars().take(60).collect()
}

async fn kill_cell(site: &Site, random: &mut StdRng) -> Result<Lifted> {
    let deadline = clock::monotonic() + CHANCE;
    while clock::monotonic() < deadline {
        if let Some(cell) = site.cells.running().choose(random) {
            let killed = site.engine.docker.kill_container(cell, None).await;
            let how = if killed.is_ok() { "" } else { " (it was gone)" };
            return Ok(Lifted::now(format!("{}{how}", &cell[..12.min(cell.len())])));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(Lifted::now("no cell came by"))
}

async fn fill_disk(site: &Site, load: &Load, random: &mut StdRng) -> Result<Lifted> {
    site.fill_disk(true)?;
    let mut archive = vec![0; 32 << 10];
    random.fill(archive.as_mut_slice());
    let said = load.probe(archive).await;
    tokio::time::sleep(ms(random, 500, 2500)).await;
    site.fill_disk(false)?;
    let mut lifted = Lifted::now(match &said {
        Ok(status) => format!("a submission was answered with {status}"),
        Err(error) => format!("a submission was not answered: {error:#}"),
    });
    if !matches!(said, Ok(503 | 507 | 429)) {
        lifted.illegal.push(format!("the disk was full, and {}", lifted.note));
    }
    Ok(lifted)
}

/// Up to 10 runs under way are cancelled within a second, every other one twice at once.
async fn cancel_storm(load: &Load, random: &mut StdRng) -> Lifted {
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
    Lifted::now(format!("{count} runs"))
}

/// Whether everything that a kind needs is installed; else what is missing.
pub fn missing(kind: Kind) -> Option<String> {
    (kind == Kind::ClockShift && !Path::new(FAKETIME).exists())
        .then(|| format!("there is no {FAKETIME}: `apt-get install libfaketime`, or `scripts/setup --chaos`"))
}

/// What is left of tasks that were started beside the faults.
pub async fn all_ended(mut clients: JoinSet<()>, patience: Duration) -> bool {
    let ended = async { while clients.join_next().await.is_some() {} };
    tokio::time::timeout(patience, ended).await.is_ok()
}
