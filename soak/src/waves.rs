//! `make load`: waves of 20, 40, 60 and 100 evaluations in flight, each with closed and then with open arrivals.
//!
//! With closed arrivals a client submits when its run has ended, so that a slow service is asked less. The open wave after
//! it keeps a schedule at 80 % of the measured throughput, and counts every time from the scheduled moment.
//!
//! The settings are environment variables: `WAVES` (default `20,40,60,100`), `WAVE_S` (900), `RAMP_S` (180), `ARRIVALS`
//! (`closed,open`), `SAMPLE_S` (5) and `SEED`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use assize_host::clock::Clock;

use super::recording::{Arrivals, Phase};
use super::stats;
use super::tables;
use super::testbed::{self, Testbed};

/// The share of the measured throughput at which open arrivals come.
const OPEN_SHARE: f64 = 0.8;

/// How many times as many evaluations as in the closed wave may be in flight with open arrivals.
const OPEN_IN_FLIGHT: u64 = 4;

struct Options {
    waves: Vec<u64>,
    wave: Duration,
    ramp: Duration,
    sample: Duration,
    is_open: bool,
    seed: u64,
}

fn options() -> Result<Options> {
    let text = |name: &str, default: &str| {
        std::env::var(name).ok().filter(|text| !text.is_empty()).unwrap_or_else(|| default.to_owned())
    };
    let waves = text("WAVES", "20,40,60,100");
    let waves = waves.split(',').map(|wave| wave.trim().parse()).collect::<Result<Vec<u64>, _>>();
    let waves = waves.context("WAVES must be whole numbers, separated by commas")?;
    ensure!(waves.iter().all(|wave| (1..=1000).contains(wave)), "each of WAVES must be 1 to 1000");
    let arrivals = text("ARRIVALS", "closed,open");
    ensure!(matches!(arrivals.as_str(), "closed" | "closed,open"), "ARRIVALS must be closed or closed,open");
    let seconds = |name: &str, default: f64| anyhow::Ok(Duration::from_secs_f64(testbed::number(name, default)?));
    let options = Options {
        waves,
        wave: seconds("WAVE_S", 900.0)?,
        ramp: seconds("RAMP_S", 180.0)?,
        sample: seconds("SAMPLE_S", 5.0)?,
        is_open: arrivals.contains("open"),
        seed: testbed::seed()?,
    };
    ensure!(!options.wave.is_zero() && !options.sample.is_zero(), "WAVE_S and SAMPLE_S must be above 0");
    Ok(options)
}

/// Runs all waves, and returns whether there was no violation.
pub async fn run() -> Result<bool> {
    let options = options()?;
    println!("load: SEED={}", options.seed);
    let (folder, _lock) = testbed::folder("load").await?;
    let result = testbed::result_folder(&folder, &Clock::system())?;
    let mut testbed = Testbed::start("load", &folder, options.seed, options.sample).await?;
    for in_flight in &options.waves {
        let rate = closed(&mut testbed, *in_flight, &options).await?;
        if options.is_open && rate > 0.0 {
            open(&mut testbed, *in_flight, rate * OPEN_SHARE, &options).await?;
        }
    }
    let recording = testbed.close(&result).await?;
    for violation in &recording.violations {
        println!("load: {}", testbed::describe(violation));
    }
    println!("{}", tables::waves(&recording));
    println!("load: the recording is in {}; `make gate RESULT={0}` judges it", result.display());
    Ok(recording.violations.is_empty())
}

/// Offers a closed wave, and returns the ends per second in its measured part.
async fn closed(testbed: &mut Testbed, in_flight: u64, options: &Options) -> Result<f64> {
    let from = testbed.clock.wall();
    println!("load: {in_flight} in flight, closed arrivals");
    let clients = testbed.load.begin(usize::try_from(in_flight)?, options.ramp);
    tokio::time::sleep(options.ramp).await;
    let measured_from = testbed.clock.wall();
    tokio::time::sleep(options.wave).await;
    let until = testbed.clock.wall();
    let name = format!("closed {in_flight}");
    let (arrivals, rate, unsent) = (Arrivals::Closed, None, 0);
    let phase = Phase { name, arrivals, in_flight, from, measured_from, until, rate, unsent };
    let records = testbed.load.records();
    let ends = records.iter().filter(|record| record.seen_end_at.is_some_and(|at| phase.measures(at))).count();
    let rate = stats::length(ends) / phase.measured_s();
    testbed.phases.push(phase);
    testbed.drain(clients).await?;
    println!("load: {ends} ended, {rate:.2} per second");
    Ok(rate)
}

async fn open(testbed: &mut Testbed, in_flight: u64, rate: f64, options: &Options) -> Result<()> {
    let from = testbed.clock.wall();
    println!("load: open arrivals, {rate:.2} per second");
    let most = usize::try_from(in_flight * OPEN_IN_FLIGHT)?;
    let (clients, unsent) = testbed.load.open(rate, options.ramp + options.wave, most).await;
    let until = testbed.clock.wall();
    let measured_from = from + chrono::TimeDelta::from_std(options.ramp)?;
    let name = format!("open {in_flight}");
    let (arrivals, rate) = (Arrivals::Open, Some(rate));
    testbed.phases.push(Phase { name, arrivals, in_flight, from, measured_from, until, rate, unsent });
    testbed.drain(clients).await
}
