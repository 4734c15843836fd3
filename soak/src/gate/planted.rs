//! Faults that are planted into a recording, to see that the gate finds each. A gate that was never seen failing proves
//! nothing.

use std::time::Duration;

use assize_domain::run::Class;
use chrono::TimeDelta;
use serde::Serialize;

use super::conditions::{self, Outcome};
use super::thresholds::Thresholds;
use crate::analysis;
use crate::recording::{Arrivals, Recording};
use crate::stats::{self, length};

/// A fault, and the check that must fail for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    Leak,
    LostRun,
    IllegalMove,
    StaleRun,
    InfrastructureFailures,
    LateP95,
    Hole,
}

/// Every fault with its description, and the condition and the check that must fail.
pub const PLANTED: [(Planted, &str, &str, &str); 7] = [
    (Planted::Leak, "the worker leaks 1 MB per 1,000 runs", "growth", "worker_rss_bytes"),
    (Planted::LostRun, "the row and the events of one accepted run are gone", "books", "lost"),
    (Planted::IllegalMove, "one run goes from queued to completed", "books", "illegal"),
    (Planted::StaleRun, "one run is left running", "books", "stale"),
    (
        Planted::InfrastructureFailures,
        "2.5 % of the runs fail because of the infrastructure",
        "infrastructure",
        "infrastructure failures",
    ),
    (
        Planted::LateP95,
        "the p95 of class A is 10 % above its target, as if on the claimed host",
        "p95",
        "run time, class A",
    ),
    (Planted::Hole, "samples are missing for three times the longest gap", "growth", "gap between samples"),
];

/// The outcome of a planted fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub fault: &'static str,
    pub check: String,
    pub found: bool,
}

/// Plants each fault into a copy of the recording, and returns whether the gate finds it.
pub fn findings(recording: &Recording, thresholds: &Thresholds) -> Vec<Finding> {
    let find = |(fault, description, condition, check): (Planted, &'static str, &str, &str)| {
        let mut copy = recording.clone();
        plant(&mut copy, fault, thresholds);
        let conditions = conditions::conditions(&copy, thresholds);
        let own = conditions.iter().find(|own| own.name == condition);
        let own = own.and_then(|own| own.checks.iter().find(|own| own.name == check));
        let found = own.is_some_and(|own| own.outcome == Outcome::Failed);
        Finding { fault: description, check: format!("{condition}: {check}"), found }
    };
    PLANTED.into_iter().map(find).collect()
}

/// Alters a recording as the fault would.
pub fn plant(recording: &mut Recording, fault: Planted, thresholds: &Thresholds) {
    match fault {
        Planted::Leak => leak(recording),
        Planted::LostRun => {
            if let Some(run) = recording.runs.iter_mut().find(|run| run.end.is_some()) {
                run.end = None;
                let id = run.run;
                recording.events.retain(|event| Some(event.run_id) != id);
            }
        }
        Planted::IllegalMove => {
            let first = recording.events.iter_mut().find(|event| event.from_status.as_deref() == Some("queued"));
            if let Some(event) = first {
                "completed".clone_into(&mut event.to_status);
            }
        }
        Planted::StaleRun => {
            let id = recording.runs.iter().find(|run| run.end.is_some()).and_then(|run| run.run);
            let is_end = |status: &str| matches!(status, "completed" | "failed" | "timed_out" | "aborted" | "parsing");
            recording.events.retain(|event| Some(event.run_id) != id || !is_end(&event.to_status));
        }
        Planted::InfrastructureFailures => {
            for (at, run) in recording.runs.iter_mut().enumerate() {
                if let Some(end) = run.end.as_mut().filter(|_| at % 40 == 0) {
                    "failed".clone_into(&mut end.status);
                    end.cause = Some("infrastructure".to_owned());
                    end.code = Some("cell_lost".to_owned());
                }
            }
        }
        Planted::LateP95 => late(recording, thresholds),
        Planted::Hole => {
            let longest = recording.phases.iter().max_by(|one, two| one.measured_s().total_cmp(&two.measured_s()));
            let Some(phase) = longest else { return };
            // In the last quarter, where no fault is.
            let from = phase.measured_from + (phase.until - phase.measured_from) / 8 * 7;
            let gap = Duration::from_secs_f64(thresholds.growth.max_gap_s * 3.0);
            let until = from + TimeDelta::from_std(gap).unwrap_or_default();
            recording.samples.retain(|sample| !(from..until).contains(&sample.at));
        }
    }
}

fn leak(recording: &mut Recording) {
    let mut ends: Vec<_> = recording.runs.iter().filter_map(|run| run.end.as_ref()?.finished_at).collect();
    ends.sort_unstable();
    for sample in &mut recording.samples {
        let runs = length(ends.partition_point(|end| *end <= sample.at));
        if let Some(bytes) = sample.values.get_mut("worker_rss_bytes") {
            *bytes += 1e6 * runs / 1000.0;
        }
    }
}

/// Stretches the run times of class A.
fn late(recording: &mut Recording, thresholds: &Thresholds) {
    recording.head.host.cpus = recording.head.host.cpus.max(thresholds.load.host_cpus);
    recording.head.host.memory_mib = recording.head.host.memory_mib.max(thresholds.load.host_memory_mib);
    let claims = analysis::first_claims(recording);
    let own = |run: &&mut crate::recording::RunRecord| run.class == Some(Class::A);
    let times: Vec<f64> = recording
        .runs
        .iter_mut()
        .filter(own)
        .filter_map(|run| analysis::times(run, Arrivals::Closed, &claims))
        .map(|(_, time)| time)
        .collect();
    let Some(p95) = stats::quantile(&times, 0.95).filter(|p95| *p95 > 0.0) else { return };
    let factor = thresholds.p95.run_time_a_s * 1.1 / p95;
    for run in recording.runs.iter_mut().filter(|run| run.class == Some(Class::A)) {
        let Some((_, time)) = analysis::times(run, Arrivals::Closed, &claims) else { continue };
        let later = TimeDelta::from_std(Duration::from_secs_f64((time * factor).max(0.0))).unwrap_or_default();
        let claimed = run.run.and_then(|id| claims.get(&id));
        if let (Some(end), Some(claimed)) = (run.end.as_mut(), claimed) {
            end.finished_at = Some(*claimed + later);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::fixture;

    #[test]
    fn a_clean_recording_passes_every_condition() {
        let thresholds = Thresholds::committed().unwrap();
        for condition in conditions::conditions(&fixture::recording(), &thresholds) {
            let wrong: Vec<_> = condition.checks.iter().filter(|check| check.outcome != Outcome::Passed).collect();
            assert!(wrong.is_empty(), "{}: {wrong:#?}", condition.name);
        }
    }

    #[test]
    fn each_planted_fault_fails_its_check_and_no_other_condition() {
        let thresholds = Thresholds::committed().unwrap();
        let recording = fixture::recording();
        assert!(findings(&recording, &thresholds).iter().all(|finding| finding.found));
        for (fault, description, condition, check) in PLANTED {
            let mut copy = recording.clone();
            plant(&mut copy, fault, &thresholds);
            let failed: Vec<_> = conditions::conditions(&copy, &thresholds)
                .into_iter()
                .flat_map(|own| own.checks.into_iter().map(move |check| (own.name, check)))
                .filter(|(_, own)| own.outcome == Outcome::Failed)
                .collect();
            assert!(
                failed.iter().any(|(own, failed)| *own == condition && failed.name == check),
                "{description}: {failed:#?}"
            );
            assert!(failed.iter().all(|(own, _)| *own == condition), "{description}: {failed:#?}");
        }
    }

    #[test]
    fn a_small_host_and_a_short_time_are_not_shown_and_do_not_fail() {
        let thresholds = Thresholds::committed().unwrap();
        let mut recording = fixture::recording();
        recording.head.host.cpus = 2;
        recording.head.ended_at = recording.head.begun_at + TimeDelta::hours(2);
        let conditions = conditions::conditions(&recording, &thresholds);
        let outcomes: Vec<_> = conditions.iter().map(|condition| (condition.name, condition.outcome())).collect();
        let (passed, not_shown) = (Outcome::Passed, Outcome::NotShown);
        assert_eq!(
            outcomes,
            [
                ("load", not_shown),
                ("books", passed),
                ("infrastructure", passed),
                ("p95", not_shown),
                ("growth", passed)
            ]
        );
    }

    #[test]
    fn an_unexpected_outcome_fails_on_the_claimed_host_and_shows_nothing_on_a_smaller_one() {
        let thresholds = Thresholds::committed().unwrap();
        let mut recording = fixture::recording();
        recording.runs[100].end.as_mut().unwrap().is_expected = false;
        let books = |recording: &Recording| conditions::conditions(recording, &thresholds)[1].outcome();
        assert_eq!(books(&recording), Outcome::Failed);
        recording.head.host.cpus = 2;
        assert_eq!(books(&recording), Outcome::NotShown);
    }

    #[test]
    fn an_empty_recording_shows_nothing() {
        let thresholds = Thresholds::committed().unwrap();
        let mut recording = fixture::recording();
        recording.phases.clear();
        recording.runs.clear();
        recording.events.clear();
        recording.samples.clear();
        let conditions = conditions::conditions(&recording, &thresholds);
        assert!(conditions.iter().all(|condition| condition.outcome() == Outcome::NotShown), "{conditions:#?}");
    }

    #[test]
    fn a_series_without_readings_and_a_replaced_process_fail() {
        let thresholds = Thresholds::committed().unwrap();
        let failed = |recording: &Recording, name: &str| {
            let conditions = conditions::conditions(recording, &thresholds);
            let mut checks = conditions.iter().flat_map(|condition| &condition.checks);
            checks.any(|check| check.name == name && check.outcome == Outcome::Failed)
        };
        let mut recording = fixture::recording();
        for sample in &mut recording.samples {
            sample.values.remove("redis_bytes");
        }
        assert!(failed(&recording, "redis_bytes"));
        let mut recording = fixture::recording();
        let last = recording.samples.len() - 1;
        recording.samples[last].values.insert("generation".to_owned(), 99.0);
        assert!(failed(&recording, "processes in the judged half"));
    }
}
