//! Finds what was lost, duplicated, illegal, unexpected or leaked.
//!
//! The audit uses the database, the events of the engine and the record of submissions. It does not rely on what the
//! service reports about itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use assize_domain::run::retry::MAX_RETRIES;
use assize_domain::run::{StageName, Status};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::cells::ContainerLifetime;
use super::history::{Event, History, Row};
use super::load::Record;
use super::projects::Expected;

/// A kind of violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ViolationKind {
    /// A run was accepted and did not end.
    Lost,
    /// Something was done twice, or two things existed at the same time of which only one may exist.
    Duplicated,
    /// A state change or an end is impossible.
    Illegal,
    /// A run ended by legal moves, and not as its project must. A host that gives cells less CPU time than their templates
    /// promise can cause it.
    Unexpected,
    /// Something was left behind.
    Leaked,
}

pub const VIOLATION_KINDS: [(ViolationKind, &str); 5] = [
    (ViolationKind::Lost, "lost"),
    (ViolationKind::Duplicated, "duplicated"),
    (ViolationKind::Illegal, "illegal"),
    (ViolationKind::Unexpected, "unexpected"),
    (ViolationKind::Leaked, "leaked"),
];

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Violation {
    pub sort: ViolationKind,
    pub what: String,
    pub run: Option<Uuid>,
}

impl Violation {
    pub fn new(sort: ViolationKind, what: impl Into<String>) -> Self {
        Self { sort, what: what.into(), run: None }
    }

    pub fn in_run(run: Uuid, sort: ViolationKind, what: impl Into<String>) -> Self {
        Self { sort, what: what.into(), run: Some(run) }
    }
}

/// The results of the audit.
#[derive(Default)]
pub struct Findings {
    pub violations: Vec<Violation>,
    /// The number of runs by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// The number of runs that failed because of the infrastructure after all retries, by code.
    pub infrastructure: BTreeMap<String, u64>,
    /// The number of attempts that failed and were retried, by code.
    pub retries: BTreeMap<String, u64>,
}

/// Examines all runs of an installation with this number of slots.
pub fn examine(
    history: &History,
    records: &[Record],
    lifetimes: &BTreeMap<String, ContainerLifetime>,
    slots: u32,
) -> Findings {
    let mut findings = Findings::default();
    let by_number: BTreeMap<u64, &Record> = records.iter().map(|record| (record.number, record)).collect();
    let mut seen = BTreeSet::new();
    for row in history.rows.values() {
        let events = history.events.get(&row.id).map_or(&[][..], Vec::as_slice);
        findings.violations.extend(trail(row.id, events));
        for code in events.iter().filter(|event| event.to_status == "queued").filter_map(|e| e.failure_code.clone()) {
            *findings.retries.entry(code).or_default() += 1;
        }
        let record = row.number().and_then(|number| by_number.get(&number).copied());
        if let Some(number) = row.number().filter(|number| !seen.insert(*number)) {
            let what = format!("submission {number} was accepted twice");
            findings.violations.push(Violation::in_run(row.id, ViolationKind::Duplicated, what));
        }
        findings.outcome(row, record);
    }
    for record in records {
        if let Some(run) = record.run.filter(|run| !history.rows.contains_key(run)) {
            let what = format!("submission {} was answered with 202 and has no run", record.number);
            findings.violations.push(Violation::in_run(run, ViolationKind::Lost, what));
        }
    }
    findings.violations.extend(side_by_side(lifetimes));
    findings.violations.extend(over_the_cap(history, slots));
    findings
}

impl Findings {
    fn outcome(&mut self, row: &Row, record: Option<&Record>) {
        let Ok(status) = row.status() else { return };
        let mut violate = |sort, what| self.violations.push(Violation::in_run(row.id, sort, what));
        if !status.is_terminal() {
            *self.outcomes.entry(format!("{status}, not ended")).or_default() += 1;
            return violate(ViolationKind::Lost, format!("it is {status} at the end, attempt {}", row.attempt));
        }
        let code = row.failure_code.as_deref().unwrap_or_default();
        let is_fault = row.cause.as_deref() == Some("infrastructure");
        let name = match status {
            Status::Completed => "completed".to_owned(),
            _ => format!("{status}: {code}"),
        };
        *self.outcomes.entry(name.clone()).or_default() += 1;
        if is_fault {
            *self.infrastructure.entry(code.to_owned()).or_default() += 1;
            if row.attempt <= MAX_RETRIES && row.crashes < 3 {
                let message = message(row);
                violate(ViolationKind::Illegal, format!("{code} is final after attempt {}: {message}", row.attempt));
            }
            return;
        }
        let Some(record) = record else { return };
        if status == Status::Aborted {
            if !record.cancel_asked {
                violate(ViolationKind::Illegal, "it was aborted without a request to cancel it".to_owned());
            }
            return;
        }
        let score = (row.score.unwrap_or(-1.0), row.max_score.unwrap_or(-1.0));
        if !is_expected(row, status, record.expected) {
            let what = format!(
                "project {} must end with {:?}, and ended as {name} with {:?}: {}",
                record.project,
                record.expected,
                score,
                message(row)
            );
            violate(ViolationKind::Unexpected, what);
        }
        if let Some(reported) = &record.end
            && (reported.status.as_deref() != Some(row.status.as_str()) || reported.score != row.score)
        {
            let what = format!("the API returned {reported:?}, and the row has {name} {score:?}");
            violate(ViolationKind::Illegal, what);
        }
    }
}

/// Returns whether a run ended as its project must.
pub fn is_expected(row: &Row, status: Status, expected: Expected) -> bool {
    let score = (row.score.unwrap_or(-1.0), row.max_score.unwrap_or(-1.0));
    status == expected.status()
        && match expected {
            Expected::Scored { score: wanted, max_score } => score == (wanted, max_score),
            Expected::Ended { code } => row.failure_code.as_deref() == Some(code.as_str()),
        }
}

fn message(row: &Row) -> String {
    let text = |evidence: &Value| evidence["message"].as_str().map(str::to_owned);
    row.evidence.as_ref().and_then(text).unwrap_or_default()
}

/// Checks that every state change is legal, that attempts count up, that no stage begins twice in one attempt, and that
/// the run ends once.
pub fn trail(run: Uuid, events: &[Event]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut violate = |sort, what| found.push(Violation::in_run(run, sort, what));
    let (mut at, mut attempt, mut ends) = (None::<Status>, 1, 0);
    let mut begun: BTreeSet<(i32, String)> = BTreeSet::new();
    let mut last: Option<StageName> = None;
    for event in events {
        let (Ok(to), from) = (event.to_status.parse::<Status>(), event.from_status.as_deref()) else { continue };
        if from != at.map(Status::as_str) {
            violate(ViolationKind::Illegal, format!("event {} comes from {from:?}, the run was {at:?}", event.id));
        }
        if event.attempt != attempt {
            violate(
                ViolationKind::Illegal,
                format!("event {} is of attempt {}, not {attempt}", event.id, event.attempt),
            );
        }
        let phase: Option<StageName> = event.phase.as_deref().and_then(|phase| phase.parse().ok());
        let stays = at == Some(to) && to == Status::Running && phase > last;
        let is_first = at.is_none() && to == Status::Queued;
        if !(is_first || stays || at.is_some_and(|from| from.may_become(to))) {
            violate(
                ViolationKind::Illegal,
                format!("event {}: a run cannot go from {at:?} to {to} ({phase:?})", event.id),
            );
        }
        if to == Status::Running
            && let Some(phase) = phase
            && !begun.insert((event.attempt, phase.to_string()))
        {
            violate(ViolationKind::Duplicated, format!("stage {phase} began twice in attempt {}", event.attempt));
        }
        ends += u32::from(to.is_terminal());
        attempt = if to == Status::Queued && at.is_some() { event.attempt + 1 } else { event.attempt };
        last = phase.filter(|_| to == Status::Running);
        at = Some(to);
    }
    if ends > 1 {
        violate(ViolationKind::Duplicated, format!("it ended {ends} times"));
    }
    found
}

/// Finds two cells of one role that were alive for one run at the same time.
fn side_by_side(lifetimes: &BTreeMap<String, ContainerLifetime>) -> Vec<Violation> {
    let mut by_role: BTreeMap<(Uuid, &str), Vec<(&String, &ContainerLifetime)>> = BTreeMap::new();
    for (id, lifetime) in lifetimes.iter().filter(|(_, lifetime)| lifetime.started.is_some()) {
        if let Some(run) = lifetime.run {
            by_role.entry((run, lifetime.role.as_str())).or_default().push((id, lifetime));
        }
    }
    let mut found = Vec::new();
    for ((run, role), mut cells) in by_role {
        cells.sort_by_key(|(_, lifetime)| lifetime.started);
        for pair in cells.windows(2) {
            let [(_, first), (_, second)] = pair else { continue };
            // A removed container has ended, even if its end was not observed because the engine was killed too.
            let died = first.died.or(first.removed);
            if !first.died_unseen && died.is_none_or(|died| Some(died) > second.started) {
                let both = died.zip(second.started).map(|(died, started)| died - started);
                let long = both.map_or("to the end".to_owned(), |both| format!("for {} ms", both.num_milliseconds()));
                let what = format!(
                    "two {role} cells, of attempts {} and {}, were alive at one time, {long}",
                    first.attempt, second.attempt
                );
                found.push(Violation::in_run(run, ViolationKind::Duplicated, what));
            }
        }
    }
    found
}

/// Finds a moment at which more half-slots were active than all workers together have. Events are in the order in which
/// they were written, and an end is written before it is committed, so every finding really happened.
fn over_the_cap(history: &History, slots: u32) -> Vec<Violation> {
    let mut all: Vec<&Event> = history.events.values().flatten().collect();
    all.sort_by_key(|event| event.id);
    let cap = i32::try_from(slots * 2).unwrap_or(i32::MAX);
    let mut active: BTreeMap<Uuid, i32> = BTreeMap::new();
    for event in all {
        let Some(row) = history.rows.get(&event.run_id) else { continue };
        if event.to_status.parse::<Status>().is_ok_and(Status::is_active) {
            active.insert(event.run_id, row.half_slots);
        } else {
            active.remove(&event.run_id);
        }
        let sum: i32 = active.values().sum();
        if sum > cap {
            let what = format!("{sum} half-slots were active at {}, the cap is {cap}", event.at);
            return vec![Violation::in_run(event.run_id, ViolationKind::Illegal, what)];
        }
    }
    Vec::new()
}

/// Finds a stage that began more than once according to the output of one attempt.
pub fn repeated_stages(run: Uuid, by_attempt: &BTreeMap<String, String>) -> Option<Violation> {
    let twice = |(attempt, output): (&String, &String)| {
        let mut begun = BTreeSet::new();
        let twice = output.lines().filter(|line| line.starts_with("begin ")).find(|line| !begun.insert(*line))?;
        Some(Violation::in_run(
            run,
            ViolationKind::Duplicated,
            format!("the output of attempt {attempt} has {twice:?} twice"),
        ))
    };
    by_attempt.iter().find_map(twice)
}

/// Returns a cgroup folder for each of these containers of an instance that still has one.
pub fn cgroups<'a>(instance: &str, containers: impl Iterator<Item = &'a String>) -> Vec<String> {
    let root = Path::new("/sys/fs/cgroup");
    let controllers: Vec<_> =
        std::fs::read_dir(root).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path()).collect();
    let mut left = Vec::new();
    for id in containers {
        let names =
            [format!("assize-{instance}/{id}"), format!("docker/{id}"), format!("system.slice/docker-{id}.scope")];
        let places = controllers.iter().map(AsRef::as_ref).chain(std::iter::once(root));
        left.extend(
            places
                .flat_map(|place: &Path| names.iter().map(move |name| place.join(name)))
                .find(|path| path.is_dir())
                .map(|path| path.display().to_string()),
        );
    }
    left
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::*;

    /// Attempt, from, to, phase.
    type Move = (i32, Option<&'static str>, &'static str, Option<&'static str>);

    fn events(moves: &[Move]) -> Vec<Event> {
        let event = |(id, (attempt, from, to, phase)): (i64, &Move)| Event {
            id,
            run_id: Uuid::nil(),
            attempt: *attempt,
            at: DateTime::UNIX_EPOCH,
            from_status: from.map(str::to_owned),
            to_status: (*to).to_owned(),
            phase: phase.map(str::to_owned),
            failure_code: None,
            evidence: None,
        };
        (1..).zip(moves).map(event).collect()
    }

    fn sorts(moves: &[Move]) -> Vec<ViolationKind> {
        trail(Uuid::nil(), &events(moves)).into_iter().map(|violation| violation.sort).collect()
    }

    #[test]
    fn a_retried_run_has_no_violation() {
        let moves = [
            (1, None, "queued", None),
            (1, Some("queued"), "preparing", None),
            (1, Some("preparing"), "running", Some("install")),
            (1, Some("running"), "running", Some("tests")),
            (1, Some("running"), "queued", None),
            (2, Some("queued"), "preparing", None),
            (2, Some("preparing"), "running", Some("install")),
            (2, Some("running"), "parsing", Some("install")),
            (2, Some("parsing"), "completed", Some("install")),
        ];
        assert_eq!(sorts(&moves), []);
    }

    #[test]
    fn a_second_verdict_a_stage_that_begins_twice_and_a_jump_are_found() {
        let start = [
            (1, None, "queued", None),
            (1, Some("queued"), "preparing", None),
            (1, Some("preparing"), "running", Some("tests")),
        ];
        let with = |more: &[Move]| sorts(&[&start[..], more].concat());
        assert!(with(&[(1, Some("running"), "running", Some("tests"))]).contains(&ViolationKind::Duplicated));
        assert_eq!(with(&[(1, Some("running"), "completed", Some("tests"))]), [ViolationKind::Illegal]);
        let twice = [
            (1, Some("running"), "parsing", Some("tests")),
            (1, Some("parsing"), "completed", Some("tests")),
            (1, Some("completed"), "completed", Some("tests")),
        ];
        assert!(with(&twice).contains(&ViolationKind::Duplicated));
        assert_eq!(with(&[(2, Some("running"), "parsing", Some("tests"))]), [ViolationKind::Illegal]);
    }

    #[test]
    fn cells_of_one_run_may_follow_each_other_but_not_overlap() {
        let at = |second| Some(DateTime::<Utc>::UNIX_EPOCH + TimeDelta::seconds(second));
        let lifetime = |attempt, started, died| ContainerLifetime {
            run: Some(Uuid::nil()),
            attempt,
            role: "subject".to_owned(),
            started: at(started),
            died: at(died),
            ..ContainerLifetime::default()
        };
        let found = |second: ContainerLifetime| {
            side_by_side(&BTreeMap::from([("a".to_owned(), lifetime(1, 0, 10)), ("b".to_owned(), second)])).len()
        };
        assert_eq!(found(lifetime(2, 11, 20)), 0);
        assert_eq!(found(lifetime(2, 9, 20)), 1);
        assert_eq!(found(ContainerLifetime { role: "driver".to_owned(), ..lifetime(1, 5, 20) }), 0);
    }

    #[test]
    fn output_that_shows_a_stage_twice_is_found() {
        let found = |attempts: &[(&str, &str)]| {
            let attempts = attempts.iter().map(|(attempt, text)| ((*attempt).to_owned(), (*text).to_owned()));
            repeated_stages(Uuid::nil(), &attempts.collect()).is_some()
        };
        assert!(!found(&[("1", "begin install\nbegin tests\n"), ("2", "begin install\n")]));
        assert!(found(&[("1", "begin tests\nx\nbegin tests\n")]));
    }
}
