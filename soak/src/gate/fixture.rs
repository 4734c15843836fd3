//! A recording of a day without a fault on the claimed host, for tests.

use std::collections::BTreeMap;

use assize_domain::run::Class;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::history::Event;
use crate::recording::{Arrivals, End, Estimate, Head, Host, InjectedFault, Phase, Recording, RunRecord, Sample};

/// The time of the day, in seconds, the time between two runs and that between two samples.
const DAY_S: i64 = 86_400;
const RUN_EVERY_S: i64 = 8;
const SAMPLE_EVERY_S: i64 = 20;

/// The time of a run in the queue. With the 60 s that a run takes, 100 are in flight.
const WAIT_S: i64 = 100 * RUN_EVERY_S - 60;

fn begun() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap_or_default()
}

fn at(seconds: i64) -> DateTime<Utc> {
    begun() + TimeDelta::seconds(seconds)
}

/// Returns a number from -0.5 to 0.5 that looks drawn.
fn noise(of: i64) -> f64 {
    f64::from(i32::try_from(of.wrapping_mul(7919).rem_euclid(1009)).unwrap_or(0)) / 1009.0 - 0.5
}

/// Returns the recording.
pub fn recording() -> Recording {
    // Runs that were submitted before the first second fill the queue from the beginning.
    let first = -(WAIT_S + 60);
    let numbers: Vec<i64> = (0..).take_while(|number| first + number * RUN_EVERY_S + WAIT_S + 61 < DAY_S).collect();
    Recording {
        head: head(),
        phases: vec![Phase {
            name: "hold 100".to_owned(),
            arrivals: Arrivals::Closed,
            in_flight: 100,
            from: at(0),
            measured_from: at(0),
            until: at(DAY_S),
            rate: None,
            unsent: 0,
        }],
        faults: vec![InjectedFault {
            kind: "worker_kill".to_owned(),
            from: at(30_000),
            until: at(30_002),
            note: String::new(),
        }],
        runs: numbers.iter().map(|number| run(*number, first + number * RUN_EVERY_S)).collect(),
        events: numbers.iter().flat_map(|number| events(*number, first + number * RUN_EVERY_S)).collect(),
        samples: (0..DAY_S / SAMPLE_EVERY_S).map(|sample| read(sample * SAMPLE_EVERY_S)).collect(),
        violations: Vec::new(),
    }
}

fn head() -> Head {
    Head {
        command: "soak".to_owned(),
        begun_at: at(0),
        ended_at: at(DAY_S),
        seed: 7,
        host: Host {
            cpus: 48,
            cpu_model: "a processor".to_owned(),
            memory_mib: 190_000,
            kernel: "6.1".to_owned(),
            engine: "Docker 20".to_owned(),
            cgroups: "version 2, driver systemd".to_owned(),
            postgres: "15".to_owned(),
            file_system: "ext4".to_owned(),
        },
        commit: "0".repeat(40),
        programs: BTreeMap::from([("assize".to_owned(), "a".repeat(64)), ("assize-warden".to_owned(), "b".repeat(64))]),
        settings: BTreeMap::from([("worker_slots".to_owned(), "40".to_owned())]),
        templates: BTreeMap::from([(Class::A, "python-api".to_owned())]),
        slots: 40,
        sample_s: 20.0,
        notes: Vec::new(),
    }
}

fn id(number: i64) -> Uuid {
    Uuid::from_u128(u128::try_from(number + 1).unwrap_or_default())
}

fn class(number: i64) -> Class {
    match number % 10 {
        0..3 => Class::A,
        3..7 => Class::B,
        _ => Class::C,
    }
}

/// Returns the end of a run that was submitted at `from`.
fn finished(number: i64, from: i64) -> DateTime<Utc> {
    let jitter = TimeDelta::milliseconds(number.wrapping_mul(7919).rem_euclid(20_011) - 10_005);
    at(from + WAIT_S + 60) + jitter
}

fn run(number: i64, from: i64) -> RunRecord {
    let end = End {
        status: "completed".to_owned(),
        cause: None,
        code: None,
        stage: Some("tests".to_owned()),
        attempt: 1,
        score: Some(10.0),
        started_at: Some(at(from + WAIT_S)),
        finished_at: Some(finished(number, from)),
        is_expected: true,
    };
    RunRecord {
        number: number.unsigned_abs(),
        run: Some(id(number)),
        class: Some(class(number)),
        template: "python-api".to_owned(),
        project: "python-api/passing".to_owned(),
        intended_at: at(from),
        sent_at: at(from),
        accepted_at: Some(at(from)),
        seen_end_at: Some(finished(number, from)),
        estimate: Some(Estimate {
            asked_at: at(from),
            start: Some(at(from + WAIT_S - 30)),
            waiting_for: "slots".to_owned(),
        }),
        cancel_asked: false,
        end: Some(end),
    }
}

/// From, to, stage, time.
type Move = (Option<&'static str>, &'static str, Option<&'static str>, DateTime<Utc>);

fn events(number: i64, from: i64) -> Vec<Event> {
    let moves = [
        (None, "queued", None, at(from)),
        (Some("queued"), "preparing", None, at(from + WAIT_S)),
        (Some("preparing"), "running", Some("tests"), at(from + WAIT_S + 2)),
        (Some("running"), "parsing", Some("tests"), finished(number, from) - TimeDelta::milliseconds(20)),
        (Some("parsing"), "completed", Some("tests"), finished(number, from)),
    ];
    let event = |(step, (from_status, to_status, phase, at)): (i64, Move)| Event {
        id: number * 10 + step,
        run_id: id(number),
        attempt: 1,
        at,
        from_status: from_status.map(str::to_owned),
        to_status: to_status.to_owned(),
        phase: phase.map(str::to_owned),
        failure_code: None,
        evidence: None,
    };
    (0..).zip(moves).map(event).collect()
}

/// Returns a sample: level values with noise, sawtooths, and totals that grow with the runs.
fn read(second: i64) -> Sample {
    let seconds = f64::from(i32::try_from(second).unwrap_or(0));
    let runs = seconds / f64::from(i32::try_from(RUN_EVERY_S).unwrap_or(1));
    let tooth = f64::from(i32::try_from(second.rem_euclid(600)).unwrap_or(0)) / 600.0;
    let noise = noise(second);
    let mut values = BTreeMap::from([("generation".to_owned(), 1234.0), ("sampler_ms".to_owned(), 9.0)]);
    let mut set = |name: &str, value: f64| {
        values.insert(name.to_owned(), value);
    };
    for (name, mib) in [("api", 90.0), ("worker", 140.0), ("dockerd", 110.0), ("containerd", 60.0)] {
        set(&format!("{name}_rss_bytes"), (mib + 20.0 * tooth + noise) * 1048576.0);
        set(&format!("{name}_fds"), 80.0 + (noise * 10.0).round());
        set(&format!("{name}_threads"), 12.0);
        set(&format!("{name}_cpu_s"), runs * 0.1);
    }
    for (name, value) in [
        ("queued", 95.0),
        ("active", 5.0 + noise.round()),
        ("active_half_slots", 11.0),
        ("stale", 0.0),
        ("containers", 50.0 + (noise * 4.0).round()),
        ("cgroups", 50.0),
        ("connections", 18.0),
        ("rows", runs * 12.0),
        ("dead_tuples", 4000.0 * tooth + 50.0 * noise),
        ("relation_bytes", runs * 40_000.0),
        ("wal_bytes", runs * (60_000.0 + noise)),
        ("redis_bytes", 40e6 + 1e6 * noise),
        ("host_busy_s", seconds * 30.0),
        ("cells_cpu_s", runs * 8.0),
        ("host_available_bytes", 90e9),
        ("disk_free_bytes", 500e9 - runs * 1e5),
        ("psi_cpu_some_s", seconds * 0.2),
    ] {
        set(name, value);
    }
    Sample { at: at(second), values }
}
