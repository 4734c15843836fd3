//! `make soak HOURS=n`: 100 evaluations in flight for hours, with faults in the second quarter.
//!
//! The trends are read from the second half, in which nothing is broken on purpose. The settings are environment
//! variables: `HOURS` (default 24, fractions are allowed), `IN_FLIGHT` (100), `RAMP_S` (180), `FAULT_EVERY_S` (600, or less
//! so that 10 faults fit; 0 injects none), `SAMPLE_S` (5) and `SEED`.

use std::time::Duration;

use anyhow::{Result, ensure};
use assize_host::clock::{Clock, Stopwatch};

use super::operations::{self, FaultResult};
use super::recording::{Arrivals, InjectedFault, Phase};
use super::schedule::{self, Fault, Kind};
use super::tables;
use super::testbed::{self, Testbed};

/// The faults of a soak: those of chaos that need no file system of their own, no shifted clock, and no limit of time that
/// a host with 100 evaluations in flight cannot keep.
const KINDS: [Kind; 18] = [
    Kind::WorkerKill,
    Kind::WorkerStop,
    Kind::WorkerStopPastLease,
    Kind::RollingRestart,
    Kind::ApiKill,
    Kind::ApiStop,
    Kind::PostgresKill,
    Kind::PostgresStop,
    Kind::PostgresCut,
    Kind::RedisKill,
    Kind::RedisStop,
    Kind::RedisFlush,
    Kind::EngineRestart,
    Kind::EngineKill,
    Kind::EngineStall,
    Kind::EngineDrop,
    Kind::CellKill,
    Kind::CancelStorm,
];

/// The least number of faults that is aimed at.
const FAULTS: f64 = 10.0;

/// The time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(60);

struct Options {
    hold: Duration,
    in_flight: u64,
    ramp: Duration,
    fault_every: Duration,
    sample: Duration,
    seed: u64,
}

fn options() -> Result<Options> {
    let seconds = |name: &str, default: f64| anyhow::Ok(Duration::from_secs_f64(testbed::number(name, default)?));
    let hold = Duration::from_secs_f64(testbed::number("HOURS", 24.0)? * 3600.0);
    let every = (hold.as_secs_f64() / 4.0 / FAULTS).min(600.0);
    let in_flight = testbed::whole("IN_FLIGHT")?.unwrap_or(100);
    ensure!((1..=1000).contains(&in_flight), "IN_FLIGHT={in_flight} must be 1 to 1000");
    let options = Options {
        hold,
        in_flight,
        ramp: seconds("RAMP_S", 180.0)?,
        fault_every: seconds("FAULT_EVERY_S", every)?,
        sample: seconds("SAMPLE_S", 5.0)?,
        seed: testbed::seed()?,
    };
    ensure!(!options.hold.is_zero() && !options.sample.is_zero(), "HOURS and SAMPLE_S must be above 0");
    Ok(options)
}

/// Holds the load, and returns whether there was no violation.
pub async fn run() -> Result<bool> {
    let options = options()?;
    println!("soak: HOURS={:.2} SEED={}", options.hold.as_secs_f64() / 3600.0, options.seed);
    let (folder, _lock) = testbed::folder("soak").await?;
    let result = testbed::result_folder(&folder, &Clock::system())?;
    let mut testbed = Testbed::start("soak", &folder, options.seed, options.sample).await?;
    let from = testbed.clock.wall();
    let clients = testbed.load.begin(usize::try_from(options.in_flight)?, options.ramp);
    tokio::time::sleep(options.ramp).await;
    let measured_from = testbed.clock.wall();
    let interrupted = hold(&mut testbed, &options).await;
    let until = testbed.clock.wall();
    let (name, arrivals) = (format!("hold {}", options.in_flight), Arrivals::Closed);
    let (in_flight, rate, unsent) = (options.in_flight, None, 0);
    testbed.phases.push(Phase { name, arrivals, in_flight, from, measured_from, until, rate, unsent });
    if interrupted {
        testbed.note("The soak was interrupted before its end.");
    }
    println!("soak: the last runs");
    testbed.drain(clients).await?;
    let recording = testbed.close(&result).await?;
    for violation in &recording.violations {
        println!("soak: {}", testbed::describe(violation));
    }
    println!("{}", tables::waves(&recording));
    println!("soak: the recording is in {}; `make gate RESULT={0}` judges it", result.display());
    Ok(recording.violations.is_empty())
}

/// Waits, injects the faults when they are due, and reports progress. Returns whether it was interrupted.
async fn hold(testbed: &mut Testbed, options: &Options) -> bool {
    let begun = Stopwatch::start();
    let mut faults = due(options).into_iter().peekable();
    let mut reported = Duration::ZERO;
    while begun.elapsed() < options.hold {
        if begun.elapsed() >= reported {
            reported += PROGRESS;
            progress(testbed, &begun);
        }
        if let Some((_, fault)) = faults.next_if(|(at, _)| begun.elapsed() >= *at) {
            inject(testbed, fault).await;
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            _ = tokio::signal::ctrl_c() => return true,
        }
    }
    false
}

/// Returns the faults with the time of each: all in the second quarter.
fn due(options: &Options) -> Vec<(Duration, Fault)> {
    if options.fault_every.is_zero() {
        return Vec::new();
    }
    let quarter = options.hold / 4;
    let mut times = Vec::new();
    let mut at = quarter;
    while at < quarter * 2 {
        times.push(at);
        at += options.fault_every;
    }
    let faults = schedule::generate(options.seed, times.len(), &KINDS);
    times.into_iter().zip(faults).collect()
}

async fn inject(testbed: &mut Testbed, fault: Fault) {
    let from = testbed.clock.wall();
    let result = operations::carry_out(&mut testbed.installation, &testbed.load, fault).await;
    let result = result.unwrap_or_else(|error| FaultResult::failed(&error));
    for what in &result.illegal {
        testbed.violate(format!("{}: {what}", fault.kind.name()));
    }
    println!("soak: fault {}: {} {}", fault.kind.name(), result.note, result.illegal.join("; "));
    let (kind, until) = (fault.kind.name().to_owned(), testbed.clock.wall());
    testbed.faults.push(InjectedFault { kind, from, until, note: result.note });
}

fn progress(testbed: &Testbed, begun: &Stopwatch) {
    let last = testbed.sampler.samples().pop();
    let value = |name: &str| last.as_ref().and_then(|sample| sample.get(name)).unwrap_or(f64::NAN);
    println!(
        "soak: {:>6.0} s, {} ended, {:.0} queued, {:.0} active, API {:.0} MiB, worker {:.0} MiB",
        begun.elapsed().as_secs_f64(),
        testbed.load.records().iter().filter(|record| record.end.is_some()).count(),
        value("queued"),
        value("active"),
        value("api_rss_bytes") / f64::from(1 << 20),
        value("worker_rss_bytes") / f64::from(1 << 20),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(hold_s: u64, every_s: u64) -> Options {
        let second = Duration::from_secs(1);
        let (hold, fault_every) = (second * u32::try_from(hold_s).unwrap(), second * u32::try_from(every_s).unwrap());
        Options { hold, in_flight: 100, ramp: second, fault_every, sample: second, seed: 7 }
    }

    #[test]
    fn all_faults_are_in_the_second_quarter() {
        let faults = due(&options(4000, 100));
        assert_eq!(faults.len(), 10);
        assert!(faults.iter().all(|(at, _)| (1000..2000).contains(&at.as_secs())));
        assert!(due(&options(4000, 0)).is_empty());
    }
}
