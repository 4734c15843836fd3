//! The summary of all faults, as a table and as JSON.

use std::collections::BTreeMap;

use assize_domain::run::Status;
use chrono::{DateTime, Utc};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use super::recovery::Figure;
use crate::audit::{Findings, VIOLATION_KINDS, ViolationKind};
use crate::history::History;
use crate::schedule::{KINDS, Kind};
use crate::stats::quantile;

/// A fault that was injected.
#[derive(Debug, Clone)]
pub struct Done {
    pub kind: Kind,
    /// The time when the fault was over.
    pub result: DateTime<Utc>,
    /// Seconds from then until a run that was submitted then had passed; `None` if it did not pass.
    pub canary_s: Option<f64>,
}

/// The results of all faults.
pub struct Summary<'a> {
    pub seed: u64,
    pub took_s: f64,
    pub done: &'a [Done],
    pub findings: &'a Findings,
    pub figures: &'a [Figure],
    pub refusals: &'a BTreeMap<String, u64>,
    /// The unexpected ends of processes.
    pub ends: &'a [String],
    /// The kinds that this host cannot inject, with the reason.
    pub left_out: &'a [String],
    /// Seconds from the end of each fault until each run that was active then changed its state, by kind.
    pub moved: BTreeMap<Kind, Vec<f64>>,
}

/// Returns, for every fault, how long the runs that were active at its end took to change their state. A run that an
/// earlier fault had already stopped counts only for that fault.
pub fn moved(history: &History, done: &[Done]) -> BTreeMap<Kind, Vec<f64>> {
    let mut by_kind: BTreeMap<Kind, Vec<f64>> = BTreeMap::new();
    let mut earlier = DateTime::<Utc>::MIN_UTC;
    for fault in done {
        let times = by_kind.entry(fault.kind).or_default();
        for events in history.events.values() {
            let after = events.partition_point(|event| event.at <= fault.result);
            let (Some(before), Some(next)) = (after.checked_sub(1).and_then(|at| events.get(at)), events.get(after))
            else {
                continue;
            };
            if before.at > earlier && before.to_status.parse::<Status>().is_ok_and(Status::is_active) {
                times.push((next.at - fault.result).as_seconds_f64());
            }
        }
        earlier = fault.result;
    }
    by_kind
}

fn seconds(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

impl Summary<'_> {
    pub fn count(&self, sort: ViolationKind) -> usize {
        self.findings.violations.iter().filter(|violation| violation.sort == sort).count()
    }

    pub fn is_clean(&self) -> bool {
        self.findings.violations.is_empty()
    }

    fn of_kind(&self, kind: Kind) -> (usize, Vec<f64>, &[f64]) {
        let done: Vec<_> = self.done.iter().filter(|done| done.kind == kind).collect();
        let canaries = done.iter().filter_map(|done| done.canary_s).collect();
        (done.len(), canaries, self.moved.get(&kind).map_or(&[], Vec::as_slice))
    }

    pub fn table(&self) -> String {
        let mut kinds = table(&["fault", "count", "new run p50 s", "p99", "active runs move p50 s", "p99"]);
        for (kind, name, ..) in KINDS {
            let (count, canaries, moved) = self.of_kind(*kind);
            if count > 0 {
                let figures = [&canaries[..], moved].map(|of| [0.5, 0.99].map(|share| seconds(quantile(of, share))));
                let row = [(*name).to_owned(), count.to_string()].into_iter().chain(figures.into_iter().flatten());
                kinds.add_row(row);
            }
        }
        let mut runs = table(&["runs by outcome", "count"]);
        for (outcome, count) in &self.findings.outcomes {
            runs.add_row([outcome.clone(), count.to_string()]);
        }
        let mut retries = table(&["attempts tried again", "count", "runs that ended so"]);
        let mut codes: Vec<_> = self.findings.retries.keys().chain(self.findings.infrastructure.keys()).collect();
        codes.sort_unstable();
        codes.dedup();
        for code in codes {
            let of = |map: &BTreeMap<String, u64>| map.get(code).copied().unwrap_or(0).to_string();
            retries.add_row([code.clone(), of(&self.findings.retries), of(&self.findings.infrastructure)]);
        }
        let mut figures = table(&["recovery", "seconds", "bar", ""]);
        for figure in self.figures {
            let met = if figure.met() { "met" } else { "NOT MET" };
            figures.add_row([
                figure.name.to_owned(),
                seconds(figure.seconds),
                figure.bar_s.to_string(),
                met.to_owned(),
            ]);
        }
        let mut text = format!("{kinds}\n\n{runs}\n\n{retries}\n\n{figures}\n\n");
        text += &format!("answers other than 202: {:?}\n", self.refusals);
        for left_out in self.left_out {
            text += &format!("left out: {left_out}\n");
        }
        for end in self.ends {
            text += &format!("ended unexpectedly: {end}\n");
        }
        let sorts: Vec<String> =
            VIOLATION_KINDS.iter().map(|(sort, name)| format!("{} {name}", self.count(*sort))).collect();
        let runs: u64 = self.findings.outcomes.values().sum();
        text += &format!(
            "{} faults, {runs} runs in {:.0} s (SEED={}): {}",
            self.done.len(),
            self.took_s,
            self.seed,
            sorts.join(", ")
        );
        text
    }

    pub fn json(&self) -> Value {
        let kinds: BTreeMap<&str, Value> = KINDS
            .iter()
            .filter_map(|(kind, name, ..)| {
                let (count, canaries, moved) = self.of_kind(*kind);
                let value = json!({
                    "count": count,
                    "recovered": canaries.len(),
                    "new_run_p50_s": quantile(&canaries, 0.5),
                    "new_run_p99_s": quantile(&canaries, 0.99),
                    "active_runs_move_p50_s": quantile(moved, 0.5),
                    "active_runs_move_p99_s": quantile(moved, 0.99),
                });
                (count > 0).then_some((*name, value))
            })
            .collect();
        let figures: BTreeMap<&str, Value> = self
            .figures
            .iter()
            .map(|figure| {
                (figure.name, json!({ "seconds": figure.seconds, "bar_s": figure.bar_s, "met": figure.met() }))
            })
            .collect();
        let violations: Vec<Value> = self
            .findings
            .violations
            .iter()
            .map(|violation| {
                json!({ "sort": format!("{:?}", violation.sort).to_lowercase(), "run": violation.run, "what": violation.what })
            })
            .collect();
        let mut summary = json!({
            "seed": self.seed,
            "took_s": self.took_s,
            "faults": self.done.len(),
            "faults_by_kind": kinds,
            "runs": self.findings.outcomes.values().sum::<u64>(),
            "runs_by_outcome": self.findings.outcomes,
            "attempts_tried_again": self.findings.retries,
            "infrastructure_ends": self.findings.infrastructure,
            "figures": figures,
            "answers_but_202": self.refusals,
            "ended_by_itself": self.ends,
            "left_out": self.left_out,
            "violations": violations,
        });
        for (sort, name) in VIOLATION_KINDS {
            summary[name] = self.count(sort).into();
        }
        summary
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
