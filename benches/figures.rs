//! The figures that assize promises, measured on this machine against the bare engine.
//!
//! `make bench`, or `cargo bench --bench figures -- [NAME].. [--quick]` for some of them. Every
//! measurement has services of its own (Postgres as durable as `assize up` has it, Redis, the API
//! and the worker as they are released) and removes what it made. What is compared with the engine
//! is measured in turns with it, because the speed of a machine varies from minute to minute; only
//! the ratios travel.
//!
//! The table goes to stdout, progress to stderr, and `target/bench/summary.json` keeps the values.

#[path = "figures/admission.rs"]
mod admission;
#[path = "figures/archives.rs"]
mod archives;
#[path = "figures/burst.rs"]
mod burst;
#[path = "figures/client.rs"]
mod client;
#[path = "figures/figure.rs"]
mod figure;
#[path = "figures/first.rs"]
mod first;
#[path = "figures/idle.rs"]
mod idle;
#[path = "figures/install.rs"]
mod install;
#[path = "figures/installation.rs"]
mod installation;
#[path = "figures/intake.rs"]
mod intake;
#[path = "figures/large.rs"]
mod large;
#[path = "figures/load.rs"]
mod load;
#[path = "figures/queue.rs"]
mod queue;
#[path = "figures/raw.rs"]
mod raw;
#[path = "figures/warden.rs"]
mod warden;

use std::path::Path;

use anyhow::{Context, Result, ensure};

use figure::Figure;

/// What can be measured, and how its figures' names begin.
const MEASUREMENTS: &[(&str, &str)] = &[
    ("intake", "time to the 202 at 200 requests/s, and requests/s with 1, 8 and 32 clients"),
    ("admission", "time of a claim in queues of up to 1,000,000 runs, fairness, and that no cap is passed"),
    ("first", "time from the 202 to the first instruction, against create and start"),
    ("burst", "runs/s of a burst of 64, against a loop of create, start, wait, remove; CPU per run"),
    ("warden", "CPU that the warden takes of its cell"),
    ("idle", "memory and CPU of the API and the worker with nothing to do"),
    ("install", "an npm install through the tunnel, against a plain CONNECT proxy; needs ASSIZE_NPM_REGISTRY"),
    ("large", "memory that an archive of 95 MB costs the API and the worker"),
];

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Repetitions behind a median.
    pub repetitions: usize,
    /// Rounds of a burst and a loop each.
    pub rounds: usize,
    /// Of the load on the API, in seconds.
    pub seconds: u64,
    /// Of idleness, in seconds.
    pub idle_seconds: u64,
    /// Runs in the queues of the admission bench, and claims from each.
    pub queues: [i64; 3],
    pub claims: usize,
    /// Runs that have ended before, and how long a transaction stays open.
    pub ended: i64,
    pub held_seconds: u64,
}

impl Scale {
    const FULL: Self = Self {
        repetitions: 30,
        rounds: 5,
        seconds: 10,
        idle_seconds: 30,
        queues: [1_000, 100_000, 1_000_000],
        claims: 1_000,
        ended: 1_000_000,
        held_seconds: 30,
    };
    const QUICK: Self = Self {
        repetitions: 7,
        rounds: 1,
        seconds: 3,
        idle_seconds: 10,
        queues: [1_000, 10_000, 100_000],
        claims: 300,
        ended: 50_000,
        held_seconds: 5,
    };
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.iter().any(|argument| argument == "--help") {
        println!("usage: cargo bench --bench figures -- [NAME].. [--quick]");
        MEASUREMENTS.iter().for_each(|(name, what)| println!("  {name:<9} {what}"));
        return Ok(());
    }
    let (options, names): (Vec<_>, Vec<_>) = arguments.iter().partition(|argument| argument.starts_with("--"));
    for option in &options {
        ensure!(*option == "--quick", "unknown option {option}; there is --quick");
    }
    for name in &names {
        ensure!(is_measurement(name), "there is no measurement {name}; `--help` lists them");
    }
    let scale = if options.is_empty() { Scale::FULL } else { Scale::QUICK };

    println!("{}", load::context().await?);
    let mut figures = Vec::new();
    for (name, _) in MEASUREMENTS {
        if !names.is_empty() && !names.iter().any(|wanted| *wanted == name) {
            continue;
        }
        eprintln!("measuring {name} ...");
        let measured = match *name {
            "intake" => intake::measure(scale).await,
            "admission" => admission::measure(scale).await,
            "first" => first::measure(scale).await,
            "burst" => burst::measure(scale).await,
            "warden" => warden::measure(scale).await,
            "idle" => idle::measure(scale).await,
            "install" => install::measure().await,
            _ => large::measure().await,
        };
        figures.extend(measured.with_context(|| format!("measuring {name}"))?);
    }
    println!("{}", figure::table(&figures));
    println!("{}", load::context().await?);
    keep(&figures)
}

fn is_measurement(name: &str) -> bool {
    MEASUREMENTS.iter().any(|(known, _)| *known == name)
}

fn keep(figures: &[Figure]) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench/summary.json");
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    std::fs::write(&path, figure::summary(figures)?).with_context(|| format!("writing {}", path.display()))?;
    eprintln!("kept in {}", path.display());
    Ok(())
}
