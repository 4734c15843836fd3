//! The five conditions of the plan, as checks of a recording. Everything here is pure.

use std::collections::{BTreeMap, BTreeSet};

use assize_domain::run::{Class, Status};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::growth;
use super::thresholds::Thresholds;
use crate::analysis::{self, Figures};
use crate::audit::{self, ViolationKind};
use crate::history::Event;
use crate::recording::{Arrivals, Phase, Recording, Sample};
use crate::stats::{self, Interval, length, real};

/// The outcome of a check or of a condition; a condition has the worst one of its checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Passed,
    /// The recording, or the host that it is from, cannot show it.
    NotShown,
    Failed,
}

impl Outcome {
    pub const fn text(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::NotShown => "not shown here",
            Self::Failed => "FAILED",
        }
    }
}

/// A value, and what is required of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    pub name: String,
    pub threshold: String,
    pub value: String,
    pub outcome: Outcome,
    /// Why it did not pass; empty if it did.
    pub reason: String,
}

impl Check {
    pub fn new(name: impl Into<String>, threshold: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, threshold, value) = (name.into(), threshold.into(), value.into());
        Self { name, threshold, value, outcome: Outcome::Passed, reason: String::new() }
    }

    pub fn with(mut self, outcome: Outcome, reason: impl Into<String>) -> Self {
        if outcome > self.outcome {
            (self.outcome, self.reason) = (outcome, reason.into());
        }
        self
    }

    pub fn failed_if(self, failed: bool, reason: impl Into<String>) -> Self {
        if failed { self.with(Outcome::Failed, reason) } else { self }
    }

    pub fn not_shown_if(self, not_shown: bool, reason: impl Into<String>) -> Self {
        if not_shown { self.with(Outcome::NotShown, reason) } else { self }
    }
}

/// A condition for production.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Condition {
    pub name: &'static str,
    pub claim: &'static str,
    pub method: &'static str,
    pub checks: Vec<Check>,
}

impl Condition {
    pub fn outcome(&self) -> Outcome {
        self.checks.iter().map(|check| check.outcome).max().unwrap_or(Outcome::NotShown)
    }
}

/// Checks all five conditions.
pub fn conditions(recording: &Recording, thresholds: &Thresholds) -> Vec<Condition> {
    let phase = judged_phase(recording, thresholds.load.in_flight);
    vec![
        Condition {
            name: "load",
            claim: "100 evaluations are in flight for a day on the claimed host",
            method: "samples of the database in the measured part of the phase, without faults and the time after them",
            checks: load(recording, phase, thresholds),
        },
        Condition {
            name: "books",
            claim: "every accepted run ends once, by legal moves, as its project must",
            method: "the client's records against rows and events of the database; one-sided bounds of Clopper and Pearson, 95 %",
            checks: books(recording, thresholds),
        },
        Condition {
            name: "infrastructure",
            claim: "less than 2 % of the runs fail because of the infrastructure",
            method: "all ended runs, those that met an injected fault too; upper bound of Clopper and Pearson, 95 %",
            checks: vec![infrastructure(recording, thresholds)],
        },
        Condition {
            name: "p95",
            claim: "queue wait and run time of 95 of 100 runs are within their targets with 100 in flight",
            method: "order statistics with their interval of 95 %; the upper end counts",
            checks: p95(recording, phase, thresholds),
        },
        Condition {
            name: "growth",
            claim: "nothing grows with the number of runs, and nothing is left",
            method: "floors of blocks in the second half of the phase, slope of Theil and Sen per 1,000 runs with Sen's interval of 95 %",
            checks: growth::checks(recording, phase, &thresholds.growth),
        },
    ]
}

/// Returns the longest phase with closed arrivals and enough in flight.
fn judged_phase(recording: &Recording, in_flight: u64) -> Option<&Phase> {
    let all = recording.phases.iter();
    let fitting = all.filter(|phase| phase.arrivals == Arrivals::Closed && phase.in_flight >= in_flight);
    fitting.max_by(|one, two| one.measured_s().total_cmp(&two.measured_s()))
}

/// Returns why the host cannot show a claim about speed; `None` if it is as large as the claimed one.
fn smaller_host(recording: &Recording, thresholds: &Thresholds) -> Option<String> {
    let (host, claimed) = (&recording.head.host, &thresholds.load);
    (host.cpus < claimed.host_cpus || host.memory_mib < claimed.host_memory_mib).then(|| {
        format!(
            "the host has {} processors and {} MiB, the claimed one {} and {}",
            host.cpus, host.memory_mib, claimed.host_cpus, claimed.host_memory_mib
        )
    })
}

fn load(recording: &Recording, phase: Option<&Phase>, thresholds: &Thresholds) -> Vec<Check> {
    let wanted = &thresholds.load;
    let Some(phase) = phase else {
        let check = Check::new("in flight", format!(">= {}", wanted.in_flight), "-");
        return vec![check.with(Outcome::NotShown, "no phase has so many in flight")];
    };
    let calm = |sample: &&Sample| {
        phase.measures(sample.at) && !recording.is_disturbed(sample.at, thresholds.growth.recovery_s)
    };
    let counted = |sample: &Sample| Some(sample.get("queued")? + sample.get("active")?);
    let counts: Vec<f64> = recording.samples.iter().filter(calm).filter_map(counted).collect();
    let enough = counts.iter().filter(|count| **count >= real(wanted.in_flight) * 0.95).count();
    let share = length(enough) / length(counts.len()).max(1.0);
    let mut checks = vec![
        Check::new(
            "in flight",
            format!(">= 95 % of {} in {} % of the samples", wanted.in_flight, wanted.held_share * 100.0),
            format!("{:.2} % of {} samples", share * 100.0, counts.len()),
        )
        .failed_if(share < wanted.held_share, "the load was not held"),
    ];
    let all = analysis::figures(recording);
    let own = all.iter().find(|figures| figures.phase == *phase);
    if let Some((counted, law)) = own.and_then(|figures| figures.little) {
        let apart = (counted - law).abs() / counted.max(f64::EPSILON);
        let check = Check::new(
            "in flight = rate x time in the system",
            format!("within {} %", wanted.little_share * 100.0),
            format!("{counted:.1} counted, {law:.1} by the client's times: {:.1} % apart", apart * 100.0),
        );
        checks.push(check.failed_if(apart > wanted.little_share, "the generator and the database disagree"));
    }
    for figures in all.iter().filter(|figures| figures.phase.arrivals == Arrivals::Open) {
        checks.push(lag(figures));
    }
    let clocks = Clocks::of_recording(recording);
    let check = Check::new("wall time", format!(">= {} h", wanted.hours), clocks.text());
    checks.push(check.not_shown_if(clocks.wall_h < wanted.hours, "iterations are no substitute for wall time"));
    let size = format!("{} processors, {} MiB", recording.head.host.cpus, recording.head.host.memory_mib);
    let check = Check::new("host", format!(">= {} processors, {} MiB", wanted.host_cpus, wanted.host_memory_mib), size);
    let smaller = smaller_host(recording, thresholds);
    checks.push(check.not_shown_if(smaller.is_some(), smaller.unwrap_or_default()));
    checks
}

fn lag(figures: &Figures) -> Check {
    let value = figures.lag_p99_ms.map_or("-".to_owned(), |lag| format!("{lag:.0} ms"));
    let check = Check::new(
        format!("lateness of the generator, {}", figures.phase.name),
        format!("p99 <= {} ms", analysis::MAX_LAG_MS),
        value,
    );
    let void = figures.void();
    check.not_shown_if(void.is_some(), void.unwrap_or_default())
}

/// The three clocks of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Clocks {
    pub wall_h: f64,
    /// Ended runs, and how many days of the plan they are: 40 slots with runs of 60 s end 57,600 runs a day.
    pub runs: u64,
    pub iteration_days: f64,
    /// Looks of the janitor, one each 30 s, and how many days they are.
    pub cycles: f64,
    pub cycle_days: f64,
}

/// The runs and the looks of the janitor in a day of the plan.
const RUNS_OF_A_DAY: f64 = 57_600.0;
const CYCLES_OF_A_DAY: f64 = 2880.0;

impl Clocks {
    pub fn of_recording(recording: &Recording) -> Self {
        let wall_h = recording.wall_s() / 3600.0;
        let ended = |end: &&crate::recording::End| end.finished_at.is_some();
        let runs = recording.runs.iter().filter_map(|run| run.end.as_ref()).filter(ended).count() as u64;
        // The periods are those of the service: nothing shortens them here.
        let cycles = (recording.wall_s() / 30.0).floor();
        let iteration_days = real(runs) / RUNS_OF_A_DAY;
        Self { wall_h, runs, iteration_days, cycles, cycle_days: cycles / CYCLES_OF_A_DAY }
    }

    pub fn text(&self) -> String {
        format!(
            "{:.2} h of wall time, {} runs ({:.2} days of iterations), {:.0} cycles of periodic jobs ({:.2} days)",
            self.wall_h, self.runs, self.iteration_days, self.cycles, self.cycle_days
        )
    }
}

fn books(recording: &Recording, thresholds: &Thresholds) -> Vec<Check> {
    let mut events: BTreeMap<Uuid, Vec<Event>> = BTreeMap::new();
    for event in &recording.events {
        events.entry(event.run_id).or_default().push(event.clone());
    }
    let accepted: BTreeSet<Uuid> = recording.runs.iter().filter_map(|run| run.run).collect();
    let found = |kind: ViolationKind| {
        let recorded = recording.violations.iter().filter(move |violation| violation.sort == kind);
        recorded.cloned().collect::<BTreeSet<_>>()
    };
    let mut lost: BTreeSet<Uuid> =
        found(ViolationKind::Lost).into_iter().filter_map(|violation| violation.run).collect();
    let mut stale = BTreeSet::new();
    let (mut illegal, mut duplicated) = (found(ViolationKind::Illegal), found(ViolationKind::Duplicated));
    for run in &accepted {
        let trail = events.get(run).map_or(&[][..], Vec::as_slice);
        for violation in audit::trail(*run, trail) {
            match violation.sort {
                ViolationKind::Duplicated => duplicated.insert(violation),
                _ => illegal.insert(violation),
            };
        }
        let last = trail.last().and_then(|event| event.to_status.parse::<Status>().ok());
        match last {
            Some(status) if status.is_terminal() => {}
            Some(status) if status.is_active() => {
                stale.insert(*run);
            }
            _ => {
                lost.insert(*run);
            }
        }
    }
    let found = found(ViolationKind::Unexpected).into_iter().filter_map(|violation| violation.run);
    let mut unexpected: BTreeSet<Uuid> = found.collect();
    for run in &recording.runs {
        let (Some(id), Some(end)) = (run.run, &run.end) else { continue };
        if end.finished_at.is_some() && !end.is_expected && end.cause.as_deref() != Some("infrastructure") {
            unexpected.insert(id);
        }
    }
    lost.retain(|run| !stale.contains(run));
    let calm = recording.samples.iter().filter(|sample| !recording.is_disturbed(sample.at, 60.0));
    let overdue = calm.filter_map(|sample| sample.get("stale")).fold(0.0, f64::max);
    let all = accepted.len() as u64;
    let none = |name: &str, count: usize| {
        let bound = stats::share(count as u64, all).upper * 100.0;
        let value = format!("{count} of {all}: below {bound:.4} %");
        Check::new(name, "0", value)
            .failed_if(count > 0, format!("{count} {name}"))
            .not_shown_if(all == 0, "no run was accepted")
    };
    let mut outcomes = none("unexpected outcomes", unexpected.len());
    if let Some(smaller) = smaller_host(recording, thresholds).filter(|_| !unexpected.is_empty()) {
        // Tests with deadlines of their own fail where cells do not get the CPU time that their templates promise.
        outcomes.outcome = Outcome::NotShown;
        outcomes.reason = format!("cells may have had too little CPU time: {smaller}");
    }
    vec![
        none("lost", lost.len()),
        none("stale", stale.len()).failed_if(overdue > 0.0, format!("{overdue:.0} leases were overdue in calm")),
        none("duplicated", duplicated.len()),
        none("illegal", illegal.len()),
        outcomes,
    ]
}

fn infrastructure(recording: &Recording, thresholds: &Thresholds) -> Check {
    let ended = || recording.runs.iter().filter_map(|run| run.end.as_ref()).filter(|end| end.finished_at.is_some());
    let counted = || ended().filter(|end| end.status != "aborted");
    let bad = counted().filter(|end| end.cause.as_deref() == Some("infrastructure")).count() as u64;
    let all = counted().count() as u64;
    let (share, limit) = (stats::share(bad, all), thresholds.infrastructure.share);
    let value = format!("{bad} of {all}: {:.3} %, below {:.3} %", share.value * 100.0, share.upper * 100.0);
    Check::new("infrastructure failures", format!("upper bound < {} %", limit * 100.0), value)
        .failed_if(all > 0 && share.value >= limit, "the share itself is above the limit")
        .not_shown_if(share.upper >= limit, "too few runs for so small a share")
}

fn p95(recording: &Recording, phase: Option<&Phase>, thresholds: &Thresholds) -> Vec<Check> {
    let claims = analysis::first_claims(recording);
    let mut waits = Vec::new();
    let mut times: BTreeMap<Class, Vec<f64>> = BTreeMap::new();
    for run in &recording.runs {
        let finished = run.end.as_ref().and_then(|end| end.finished_at);
        if !phase.is_some_and(|phase| finished.is_some_and(|at| phase.measures(at))) {
            continue;
        }
        if let Some((wait, time)) = analysis::times(run, Arrivals::Closed, &claims) {
            waits.push(wait);
            if let Some(class) = run.class {
                times.entry(class).or_default().push(time);
            }
        }
    }
    let smaller = smaller_host(recording, thresholds);
    let check = |name: String, values: &[f64], limit: f64| {
        let interval = stats::quantile_interval(values, 0.95);
        let value = interval.map_or("-".to_owned(), |p95| seconds(p95, values.len()));
        let check = Check::new(name, format!("<= {limit} s"), value);
        match (&smaller, interval) {
            (_, None) => check.with(Outcome::NotShown, "no run ended in the phase"),
            (Some(smaller), _) => check.with(Outcome::NotShown, smaller.clone()),
            (None, Some(p95)) => check
                .failed_if(p95.value > limit, "it is above the target")
                .not_shown_if(p95.upper > limit, "the interval reaches above the target"),
        }
    };
    let wanted = &thresholds.p95;
    let of_class = |class: Class| times.get(&class).map_or(&[][..], Vec::as_slice);
    let classes = [(Class::A, wanted.run_time_a_s), (Class::B, wanted.run_time_b_s), (Class::C, wanted.run_time_c_s)];
    let mut checks = vec![check("queue wait".to_owned(), &waits, wanted.queue_wait_s)];
    checks.extend(classes.map(|(class, limit)| check(format!("run time, class {class}"), of_class(class), limit)));
    checks
}

fn seconds(p95: Interval, count: usize) -> String {
    format!("{:.1} s ({:.1} to {:.1}), {count} runs", p95.value, p95.lower, p95.upper)
}
