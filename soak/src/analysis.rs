//! The figures of each phase of a recording. Everything here is pure.

use std::collections::BTreeMap;

use assize_domain::run::Class;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::recording::{Arrivals, Phase, Recording, RunRecord, Sample};
use super::stats::{length, quantile, real};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::fixture;

    fn near(seen: f64, wanted: f64) -> bool {
        (seen - wanted).abs() <= wanted.abs() * 0.02
    }

    #[test]
    fn the_figures_of_a_phase_follow_from_its_runs_and_samples() {
        let all = figures(&fixture::recording());
        let [hold] = all.as_slice() else { panic!("one phase") };
        assert!(near(hold.per_second, 1.0 / 8.0), "{}", hold.per_second);
        assert!(near(hold.queue_wait.unwrap().p95, 740.0) && near(hold.run_time[&Class::B].p50, 60.0));
        let (counted, law) = hold.little.unwrap();
        assert!(near(counted, 100.0) && near(law, 100.0), "{counted} {law}");
        let (error, bias) = (hold.estimate_error.unwrap(), hold.estimate_bias_s.unwrap());
        assert!(near(error.p95, 30.0) && near(bias, 30.0));
        assert_eq!(hold.waiting_for["slots"], hold.ended);
        let value = |of: &[(&'static str, f64)], name: &str| of.iter().find(|(other, _)| *other == name).unwrap().1;
        assert!(near(value(&hold.cost, "cells"), 8.0) && near(value(&hold.cost, "whole host"), 240.0));
        assert!(near(value(&hold.saturation, "PSI cpu some %"), 20.0));
        assert!(hold.void().is_none() && hold.timeouts.is_empty());
    }

    #[test]
    fn time_outs_and_failures_are_counted_by_class_and_stage() {
        let mut recording = fixture::recording();
        let at = recording.runs.iter().position(|run| run.class == Some(Class::C) && run.number > 500).unwrap();
        let end = recording.runs[at].end.as_mut().unwrap();
        (end.status, end.code) = ("timed_out".to_owned(), Some("stage_timeout".to_owned()));
        let all = figures(&recording);
        let class = || "C".to_owned();
        assert_eq!(all[0].timeouts[&(class(), "tests".to_owned())], 1);
        assert_eq!(all[0].outcomes[&(class(), "timed_out: stage_timeout".to_owned())], 1);
    }

    #[test]
    fn an_open_wave_whose_generator_was_late_or_left_arrivals_out_is_void() {
        let mut recording = fixture::recording();
        recording.phases[0].arrivals = Arrivals::Open;
        assert!(figures(&recording)[0].void().is_none());
        for run in &mut recording.runs {
            run.sent_at = run.intended_at + chrono::TimeDelta::milliseconds(51);
        }
        assert!(figures(&recording)[0].void().unwrap().contains("51 ms late"));
        recording.phases[0].unsent = 2;
        assert!(figures(&recording)[0].void().unwrap().contains("2 scheduled arrivals"));
    }

    #[test]
    fn a_total_that_begins_anew_is_added_where_it_falls() {
        let sample = |at: i64, value: f64| Sample {
            at: DateTime::from_timestamp(at, 0).unwrap(),
            values: BTreeMap::from([("cpu".to_owned(), value)]),
        };
        let samples = [sample(0, 5.0), sample(1, 7.0), sample(2, 1.0), sample(3, 4.0)];
        assert_eq!(growth(&samples.iter().collect::<Vec<_>>(), "cpu"), Some(2.0 + 1.0 + 3.0));
        assert_eq!(growth(&[], "cpu"), None);
    }
}
