//! Condition 5: what grows with the number of runs, and what is left. It fails closed: a missing sample is a failure.

use chrono::{DateTime, Utc};

use super::conditions::{Check, Outcome};
use super::thresholds::GrowthThresholds;
use crate::analysis;
use crate::audit::ViolationKind;
use crate::recording::{Arrivals, Phase, Recording, Sample};
use crate::stats::{self, Interval, length};

/// The second half of a phase, in which nothing is broken on purpose.
struct Half<'a> {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    samples: Vec<&'a Sample>,
    /// The ends of all runs, in their order.
    ends: Vec<DateTime<Utc>>,
}

impl Half<'_> {
    /// Returns the ended runs at a moment, in thousands.
    fn thousands(&self, at: DateTime<Utc>) -> f64 {
        length(self.ends.partition_point(|end| *end <= at)) / 1000.0
    }

    /// Returns the readings of a series over the ended runs.
    fn points(&self, name: &str) -> Vec<(f64, f64)> {
        self.samples.iter().filter_map(|sample| Some((self.thousands(sample.at), sample.get(name)?))).collect()
    }
}

pub fn checks(recording: &Recording, phase: Option<&Phase>, thresholds: &GrowthThresholds) -> Vec<Check> {
    let Some(phase) = phase else {
        return vec![Check::new("growth", "none", "-").with(Outcome::NotShown, "no phase has so many in flight")];
    };
    let mut checks = vec![left(recording), holes(recording, phase, thresholds)];
    let half = second_half(recording, phase, thresholds);
    checks.push(processes(&half));
    let runs = half.ends.iter().filter(|end| (half.from..half.until).contains(*end)).count();
    for (name, limit) in &thresholds.limits {
        let points = series(recording, &half, name, thresholds.blocks);
        let gap = if is_derived(name) { None } else { widest_gap(recording, &half, name, thresholds) };
        let check = slope(name, *limit, &points, thresholds);
        let check = match gap {
            Some(gap) if gap > thresholds.max_gap_s => {
                check.with(Outcome::Failed, format!("no reading for {gap:.0} s"))
            }
            _ => check,
        };
        let few = format!("{runs} runs in the judged half, {} are required", thresholds.min_runs);
        checks.push(check.not_shown_if((runs as u64) < thresholds.min_runs, few));
    }
    checks
}

/// What the audit found after the last run.
fn left(recording: &Recording) -> Check {
    let left = recording.violations.iter().filter(|violation| violation.sort == ViolationKind::Leaked);
    let count = left.clone().count();
    let first = left.map(|violation| violation.what.clone()).next().unwrap_or_default();
    Check::new("left after the end", "0", count.to_string()).failed_if(count > 0, first)
}

/// Finds the widest gap between samples in the whole phase, but for faults and the time after them.
fn holes(recording: &Recording, phase: &Phase, thresholds: &GrowthThresholds) -> Check {
    let times = recording.samples.iter().map(|sample| sample.at).filter(|at| phase.measures(*at));
    let gap = gap(recording, phase.measured_from, phase.until, times, thresholds);
    Check::new("gap between samples", format!("<= {} s", thresholds.max_gap_s), format!("{gap:.0} s"))
        .failed_if(gap > thresholds.max_gap_s, "samples are missing, so nothing is known of that time")
}

fn widest_gap(recording: &Recording, half: &Half<'_>, name: &str, thresholds: &GrowthThresholds) -> Option<f64> {
    let times = half.samples.iter().filter(|sample| sample.values.contains_key(name)).map(|sample| sample.at);
    Some(gap(recording, half.from, half.until, times, thresholds))
}

fn gap(
    recording: &Recording,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    times: impl Iterator<Item = DateTime<Utc>>,
    thresholds: &GrowthThresholds,
) -> f64 {
    let (mut last, mut widest) = (from, 0.0_f64);
    for at in times.chain(std::iter::once(until)) {
        let is_calm = |at| !recording.is_disturbed(at, thresholds.recovery_s);
        if is_calm(last) && is_calm(at) {
            widest = widest.max((at - last).as_seconds_f64());
        }
        last = at;
    }
    widest
}

fn second_half<'a>(recording: &'a Recording, phase: &Phase, thresholds: &GrowthThresholds) -> Half<'a> {
    let from = phase.measured_from + (phase.until - phase.measured_from) / 2;
    let is_in = |sample: &&Sample| {
        (from..phase.until).contains(&sample.at) && !recording.is_disturbed(sample.at, thresholds.recovery_s)
    };
    let mut ends: Vec<_> = recording.runs.iter().filter_map(|run| run.end.as_ref()?.finished_at).collect();
    ends.sort_unstable();
    Half { from, until: phase.until, samples: recording.samples.iter().filter(is_in).collect(), ends }
}

/// A series of a process that was replaced says nothing of its growth.
fn processes(half: &Half<'_>) -> Check {
    let mut seen: Vec<f64> = half.samples.iter().filter_map(|sample| sample.get("generation")).collect();
    seen.dedup();
    Check::new("processes in the judged half", "one generation", seen.len().to_string())
        .failed_if(seen.len() != 1, "a process was replaced, or its samples are missing")
}

fn is_derived(name: &str) -> bool {
    matches!(name, "wal_bytes_per_run" | "run_time_p95_s" | "queue_wait_p95_s")
}

/// Returns the points of a series. Floors leave out what is cleared again and again.
fn series(recording: &Recording, half: &Half<'_>, name: &str, blocks: usize) -> Vec<(f64, f64)> {
    match name {
        "wal_bytes_per_run" => {
            let points = half.points("wal_bytes");
            let size = points.len().div_ceil(blocks.max(1)).max(1);
            let per_run = |block: &[(f64, f64)]| {
                let (first, last) = (block.first()?, block.last()?);
                let runs = (last.0 - first.0) * 1000.0;
                (runs >= 1.0).then(|| (last.0, (last.1 - first.1) / runs))
            };
            points.chunks(size).filter_map(per_run).collect()
        }
        "run_time_p95_s" => p95s(recording, half, blocks, |(_, time)| time),
        "queue_wait_p95_s" => p95s(recording, half, blocks, |(wait, _)| wait),
        _ => stats::floors(&half.points(name), blocks),
    }
}

/// Returns the 95th percentile of each block of ended runs.
fn p95s(recording: &Recording, half: &Half<'_>, blocks: usize, pick: impl Fn((f64, f64)) -> f64) -> Vec<(f64, f64)> {
    let claims = analysis::first_claims(recording);
    let mut ended: Vec<(DateTime<Utc>, f64)> = recording
        .runs
        .iter()
        .filter_map(|run| {
            let at = run.end.as_ref()?.finished_at.filter(|at| (half.from..half.until).contains(at))?;
            Some((at, pick(analysis::times(run, Arrivals::Closed, &claims)?)))
        })
        .collect();
    ended.sort_by_key(|(at, _)| *at);
    let size = ended.len().div_ceil(blocks.max(1)).max(1);
    let block = |block: &[(DateTime<Utc>, f64)]| {
        let values: Vec<f64> = block.iter().map(|(_, value)| *value).collect();
        Some((half.thousands(block.last()?.0), stats::quantile(&values, 0.95)?))
    };
    ended.chunks(size).filter_map(block).collect()
}

fn slope(name: &str, limit: f64, points: &[(f64, f64)], thresholds: &GrowthThresholds) -> Check {
    let threshold = format!("<= {} per 1,000 runs", amount(limit));
    let Some(slope) = stats::slope(points) else {
        let few = format!("{} blocks have a value, {} are required", points.len(), stats::MIN_POINTS);
        return Check::new(name, threshold, "-").with(Outcome::NotShown, few);
    };
    let last = points.get(points.len() / 2..).and_then(stats::slope);
    let Interval { value, lower, upper } = slope;
    let mut text = format!("{} ({} to {})", amount(value), amount(lower), amount(upper));
    if let Some(last) = last {
        text += &format!(", in the last quarter {}", amount(last.value));
    }
    let blocks = format!("the interval reaches above the limit with {} blocks", thresholds.blocks);
    Check::new(name, threshold, text)
        .failed_if(value > limit && lower > 0.0, "it grows")
        .failed_if(last.is_some_and(|last| last.lower > limit), "it grows in the last quarter")
        .not_shown_if(upper > limit, blocks)
}

/// Writes a number with as many digits as a reader needs.
pub fn amount(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.2} M", value / 1e6),
        size if size >= 1e4 => format!("{:.1} k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}
