//! The figures of each phase of a recording. Everything here is pure.

use std::collections::BTreeMap;

use assize_domain::run::Class;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::recording::{Arrivals, Phase, Recording, RunRecord, Sample};
use super::stats::{self, length, quantile, real};

/// The longest that the generator may be late for 99 of 100 open arrivals, in milliseconds. The wave is void above it.
pub const MAX_LAG_MS: f64 = 50.0;

/// Some quantiles of a time, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantiles {
    pub count: usize,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

impl Quantiles {
    pub fn from(values: &[f64]) -> Option<Self> {
        let at = |share| quantile(values, share);
        Some(Self { count: values.len(), p50: at(0.5)?, p95: at(0.95)?, p99: at(0.99)?, max: at(1.0)? })
    }
}

/// The figures of the measured part of a phase.
#[derive(Debug, Clone)]
pub struct Figures {
    pub phase: Phase,
    pub ended: u64,
    pub per_second: f64,
    /// The number of runs by class and by outcome: `completed`, or the state with the failure code.
    pub outcomes: BTreeMap<(String, String), u64>,
    /// The runs that failed because of the infrastructure after all retries.
    pub infrastructure: u64,
    pub retried: u64,
    /// The time-outs by class and stage.
    pub timeouts: BTreeMap<(String, String), u64>,
    /// From the submission to the first claim; with open arrivals from the scheduled moment.
    pub queue_wait: Option<Quantiles>,
    /// From the first claim to the end, by class.
    pub run_time: BTreeMap<Class, Quantiles>,
    /// From the scheduled moment until the client saw the end.
    pub latency: Option<Quantiles>,
    /// How far the first estimate of the start was from the start, and the median of start less estimate.
    pub estimate_error: Option<Quantiles>,
    pub estimate_bias_s: Option<f64>,
    /// What runs waited for when the client first asked.
    pub waiting_for: BTreeMap<String, u64>,
    /// The lateness of the generator for 99 of 100 arrivals, in milliseconds.
    pub lag_p99_ms: Option<f64>,
    /// The mean number in flight as the database counted it, and as rate times time in the system.
    pub little: Option<(f64, f64)>,
    /// Shares in percent, times and amounts by name.
    pub saturation: Vec<(&'static str, f64)>,
    /// CPU seconds per ended evaluation, by part.
    pub cost: Vec<(&'static str, f64)>,
}

impl Figures {
    /// Returns why the wave says nothing; `None` if it is valid.
    pub fn void(&self) -> Option<String> {
        if self.phase.unsent > 0 {
            return Some(format!("{} scheduled arrivals were not sent", self.phase.unsent));
        }
        let lag = self.lag_p99_ms.filter(|lag| self.phase.arrivals == Arrivals::Open && *lag > MAX_LAG_MS)?;
        Some(format!("the generator was {lag:.0} ms late, the limit is {MAX_LAG_MS} ms"))
    }
}

/// The moments of a run that its events know.
pub type Claims = BTreeMap<Uuid, DateTime<Utc>>;

/// Returns the first claim of each run.
pub fn first_claims(recording: &Recording) -> Claims {
    let mut claims = Claims::new();
    for event in recording.events.iter().filter(|event| event.to_status == "preparing") {
        claims.entry(event.run_id).or_insert(event.at);
    }
    claims
}

/// Returns the time from the submission to the first claim, and from there to the end.
pub fn times(run: &RunRecord, arrivals: Arrivals, claims: &Claims) -> Option<(f64, f64)> {
    let claimed = claims.get(&run.run?)?;
    let submitted = if arrivals == Arrivals::Open { run.intended_at } else { run.accepted_at? };
    let finished = run.end.as_ref()?.finished_at?;
    Some(((*claimed - submitted).as_seconds_f64().max(0.0), (finished - *claimed).as_seconds_f64()))
}

/// Returns the figures of every phase.
pub fn figures(recording: &Recording) -> Vec<Figures> {
    let claims = first_claims(recording);
    recording.phases.iter().map(|phase| of_phase(recording, phase, &claims)).collect()
}

fn of_phase(recording: &Recording, phase: &Phase, claims: &Claims) -> Figures {
    let ended =
        |run: &&RunRecord| run.end.as_ref().and_then(|end| end.finished_at).is_some_and(|at| phase.measures(at));
    let runs: Vec<&RunRecord> = recording.runs.iter().filter(ended).collect();
    let samples: Vec<&Sample> = recording.samples.iter().filter(|sample| phase.measures(sample.at)).collect();
    let class = |run: &RunRecord| run.class.map_or_else(|| "-".to_owned(), |class| class.to_string());
    let (mut outcomes, mut timeouts, mut waiting_for) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let (mut infrastructure, mut retried) = (0, 0);
    let (mut waits, mut latencies, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    let mut run_times: BTreeMap<Class, Vec<f64>> = BTreeMap::new();
    for run in &runs {
        let Some(end) = &run.end else { continue };
        let outcome = end.code.as_ref().filter(|_| end.status != "completed");
        let outcome = outcome.map_or_else(|| end.status.clone(), |code| format!("{}: {code}", end.status));
        *outcomes.entry((class(run), outcome)).or_default() += 1;
        infrastructure += u64::from(end.cause.as_deref() == Some("infrastructure"));
        retried += u64::from(end.attempt > 1);
        if end.status == "timed_out" {
            let stage = end.stage.clone().unwrap_or_else(|| "-".to_owned());
            *timeouts.entry((class(run), stage)).or_default() += 1;
        }
        if let Some((wait, time)) = times(run, phase.arrivals, claims) {
            waits.push(wait);
            if let Some(class) = run.class {
                run_times.entry(class).or_default().push(time);
            }
        }
        latencies.extend(run.seen_end_at.map(|seen| (seen - run.intended_at).as_seconds_f64()));
        if let Some(estimate) = &run.estimate {
            *waiting_for.entry(estimate.waiting_for.clone()).or_default() += 1;
            let claimed = run.run.and_then(|run| claims.get(&run));
            errors.extend(estimate.start.zip(claimed).map(|(start, claimed)| (*claimed - start).as_seconds_f64()));
        }
    }
    let sent = recording.runs.iter().filter(|run| phase.measures(run.intended_at));
    let lags: Vec<f64> = sent.map(|run| (run.sent_at - run.intended_at).as_seconds_f64() * 1000.0).collect();
    let count = runs.len() as u64;
    let absolute: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
    Figures {
        phase: phase.clone(),
        ended: count,
        per_second: real(count) / phase.measured_s().max(f64::EPSILON),
        outcomes,
        infrastructure,
        retried,
        timeouts,
        queue_wait: Quantiles::from(&waits),
        run_time: run_times.iter().filter_map(|(class, times)| Some((*class, Quantiles::from(times)?))).collect(),
        latency: Quantiles::from(&latencies),
        estimate_error: Quantiles::from(&absolute),
        estimate_bias_s: quantile(&errors, 0.5),
        waiting_for,
        lag_p99_ms: quantile(&lags, 0.99),
        little: little(&runs, &samples, phase),
        saturation: saturation(&samples, recording.head.host.cpus),
        cost: cost(&samples, count),
    }
}

/// Little's law, from two sources that know nothing of each other: the samples of the database, and the client's times.
fn little(runs: &[&RunRecord], samples: &[&Sample], phase: &Phase) -> Option<(f64, f64)> {
    let in_flight = samples.iter().filter_map(|sample| Some(sample.get("queued")? + sample.get("active")?));
    let in_flight: Vec<f64> = in_flight.collect();
    let stays = runs.iter().filter_map(|run| Some((run.seen_end_at? - run.accepted_at?).as_seconds_f64()));
    let total: f64 = stays.sum();
    if in_flight.is_empty() || phase.measured_s() <= 0.0 {
        return None;
    }
    Some((in_flight.iter().sum::<f64>() / length(in_flight.len()), total / phase.measured_s()))
}

/// Returns how much a total grew from the first to the last sample. Totals that begin anew with a process are added
/// where they fall.
pub fn growth(samples: &[&Sample], name: &str) -> Option<f64> {
    let values: Vec<f64> = samples.iter().filter_map(|sample| sample.get(name)).collect();
    (values.len() > 1)
        .then(|| values.windows(2).map(|pair| if pair[1] >= pair[0] { pair[1] - pair[0] } else { pair[1] }).sum())
}

fn seconds(samples: &[&Sample]) -> Option<f64> {
    let (first, last) = (samples.first()?, samples.last()?);
    Some((last.at - first.at).as_seconds_f64()).filter(|seconds| *seconds > 0.0)
}

fn saturation(samples: &[&Sample], cpus: u64) -> Vec<(&'static str, f64)> {
    let Some(wall) = seconds(samples) else { return Vec::new() };
    let share = |name: &str| Some(100.0 * growth(samples, name)? / wall);
    let least = |name: &str| samples.iter().filter_map(|sample| sample.get(name)).min_by(f64::total_cmp);
    let disk_wait = growth(samples, "disk_wait_ms").zip(growth(samples, "disk_requests"));
    let mib = f64::from(1 << 20);
    let figures = [
        ("CPU busy %", share("host_busy_s").map(|share| share / real(cpus.max(1)))),
        ("PSI cpu some %", share("psi_cpu_some_s")),
        ("PSI memory some %", share("psi_memory_some_s")),
        ("PSI memory full %", share("psi_memory_full_s")),
        ("PSI io some %", share("psi_io_some_s")),
        ("PSI io full %", share("psi_io_full_s")),
        ("memory available, least MiB", least("host_available_bytes").map(|bytes| bytes / mib)),
        ("disk wait ms", disk_wait.map(|(wait, requests)| wait / requests.max(1.0))),
        ("disk written MiB/s", growth(samples, "disk_written_bytes").map(|bytes| bytes / mib / wall)),
        ("sampler %", share_of_sampler(samples, wall)),
    ];
    figures.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// Returns the share of the wall time that the sampler was reading.
fn share_of_sampler(samples: &[&Sample], wall: f64) -> Option<f64> {
    let total: f64 = samples.iter().filter_map(|sample| sample.get("sampler_ms")).sum();
    (total > 0.0).then_some(total / 10.0 / wall)
}

fn cost(samples: &[&Sample], ended: u64) -> Vec<(&'static str, f64)> {
    const PARTS: [(&str, &str); 7] = [
        ("cells", "cells_cpu_s"),
        ("worker", "worker_cpu_s"),
        ("API", "api_cpu_s"),
        ("dockerd", "dockerd_cpu_s"),
        ("containerd", "containerd_cpu_s"),
        ("Postgres and Redis", "servers_cpu_s"),
        ("generator", "generator_cpu_s"),
    ];
    if ended == 0 {
        return Vec::new();
    }
    let per_run = |name: &str| Some(growth(samples, name)? / real(ended));
    let mut cost: Vec<_> = PARTS.iter().filter_map(|(part, name)| Some((*part, per_run(name)?))).collect();
    if let Some(all) = per_run("host_busy_s") {
        let known: f64 = cost.iter().map(|(_, seconds)| seconds).sum();
        cost.push(("shims, kernel and others", (all - known).max(0.0)));
        cost.push(("whole host", all));
    }
    cost
}

/// Returns the figures of all phases as tables in Markdown.
pub fn waves(recording: &Recording) -> String {
    tables(&figures(recording))
}

/// Returns a table in Markdown.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let rule = format!("|{}\n", "---|".repeat(header.len()));
    line(&header) + &rule + &rows.iter().map(|row| line(row)).collect::<String>()
}

/// Returns the figures as tables in Markdown.
pub fn tables(all: &[Figures]) -> String {
    let quantiles = |of: &Option<Quantiles>| {
        of.map_or_else(
            || vec!["-".to_owned(); 3],
            |q| [q.p50, q.p95, q.p99].map(|value| format!("{value:.1}")).to_vec(),
        )
    };
    let mut overview = Vec::new();
    for figures in all {
        let little = figures.little.map_or("-".to_owned(), |(counted, law)| format!("{counted:.1} / {law:.1}"));
        let infrastructure = stats::share(figures.infrastructure, figures.ended);
        let lag = figures.lag_p99_ms.map_or("-".to_owned(), |lag| format!("{lag:.0}"));
        let mut row = vec![
            figures.phase.name.clone(),
            figures.ended.to_string(),
            format!("{:.2}", figures.per_second),
            format!("{} (< {:.2} %)", figures.infrastructure, infrastructure.upper * 100.0),
            figures.retried.to_string(),
        ];
        row.extend(quantiles(&figures.queue_wait));
        row.extend([figures.latency.map_or("-".to_owned(), |latency| format!("{:.1}", latency.p95))]);
        row.extend([little, lag, figures.void().map_or("yes".to_owned(), |why| format!("no: {why}"))]);
        overview.push(row);
    }
    let mut text = table(
        &[
            "phase",
            "ended",
            "per s",
            "infrastructure",
            "retried",
            "queue wait p50 s",
            "p95",
            "p99",
            "whole p95",
            "in flight / rate x time",
            "lag p99 ms",
            "valid",
        ],
        &overview,
    );
    let mut classes = Vec::new();
    for figures in all {
        for (class, times) in &figures.run_time {
            let mut row = vec![figures.phase.name.clone(), class.to_string(), times.count.to_string()];
            row.extend(quantiles(&Some(*times)));
            row.push(format!("{:.1}", times.max));
            classes.push(row);
        }
    }
    text += &format!("\n{}", table(&["phase", "class", "runs", "run time p50 s", "p95", "p99", "max"], &classes));
    text += &format!("\n{}", counts("outcome", all, |figures| &figures.outcomes));
    text += &format!("\n{}", counts("time-out in stage", all, |figures| &figures.timeouts));
    text += &format!("\n{}", estimates(all));
    text += &format!("\n{}", named("saturation", all, |figures| &figures.saturation));
    text += &format!("\n{}", named("CPU seconds per evaluation", all, |figures| &figures.cost));
    text
}

fn counts(name: &str, all: &[Figures], counts: impl Fn(&Figures) -> &BTreeMap<(String, String), u64>) -> String {
    let rows: Vec<Vec<String>> = all
        .iter()
        .flat_map(|figures| counts(figures).iter().map(|(key, count)| (figures.phase.name.clone(), key, count)))
        .map(|(phase, (class, key), count)| vec![phase, class.clone(), key.clone(), count.to_string()])
        .collect();
    table(&["phase", "class", name, "runs"], &rows)
}

fn estimates(all: &[Figures]) -> String {
    let row = |figures: &Figures| {
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
        let error = figures.estimate_error;
        let shares: Vec<String> = figures.waiting_for.iter().map(|(code, count)| format!("{code} {count}")).collect();
        vec![
            figures.phase.name.clone(),
            error.map_or(0, |error| error.count).to_string(),
            number(error.map(|error| error.p50)),
            number(error.map(|error| error.p95)),
            number(figures.estimate_bias_s),
            shares.join(", "),
        ]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    table(&["phase", "estimates", "error p50 s", "p95", "start less estimate, median s", "waited for"], &rows)
}

fn named<'a>(name: &str, all: &'a [Figures], values: impl Fn(&'a Figures) -> &'a Vec<(&'static str, f64)>) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (value, _) in all.iter().flat_map(&values) {
        if !names.contains(value) {
            names.push(value);
        }
    }
    let header: Vec<&str> =
        std::iter::once(name).chain(all.iter().map(|figures| figures.phase.name.as_str())).collect();
    let row = |name: &&str| {
        let value = |figures| values(figures).iter().find(|(other, _)| other == name).map(|(_, value)| *value);
        let cells = all.iter().map(|figures| value(figures).map_or("-".to_owned(), |value| format!("{value:.2}")));
        std::iter::once((*name).to_owned()).chain(cells).collect::<Vec<_>>()
    };
    table(&header, &names.iter().map(row).collect::<Vec<_>>())
}
