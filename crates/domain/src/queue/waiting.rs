//! Why a queued run waits, as a code and as a sentence, and its estimated start. The facts come from Postgres, which
//! applies the rules of claims (`explain_queued` in `crates/store/sql/migrations/0005_admission.sql`).

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{AdmissionCaps, ClaimPause, paused_by_operator};
use crate::names;

/// The largest position that is counted. A run at this position may have more runs before it.
pub const MAX_COUNTED: i64 = 1000;

/// What a queued run waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WaitingFor {
    /// The run waits for free slots, or for its turn.
    Slots,
    /// Runs of class B and C are at their cap.
    BrowserCap,
    /// Runs of class A are at their cap.
    ApiCap,
    /// Its organisation's active runs are at their cap.
    OrgCap,
    /// Its user's active runs are at their cap.
    UserCap,
    /// Slots are reserved for a heavier run that has waited for long.
    ReservedForHeavy,
    /// The hosts of all workers are short of memory, disk or time.
    HostPressure,
    /// All workers are about to stop, or an operator drains them.
    Draining,
    /// There is no worker.
    NoWorker,
    /// An operator paused all workers, or they paused after faults of the infrastructure.
    Paused,
    /// The time of its next attempt.
    RetryBackoff,
}

names!(WaitingFor, "reason to wait", {
    Slots => "slots", BrowserCap => "browser_cap", ApiCap => "api_cap", OrgCap => "org_cap", UserCap => "user_cap",
    ReservedForHeavy => "reserved_for_heavy", HostPressure => "host_pressure", Draining => "draining",
    NoWorker => "no_worker", Paused => "paused", RetryBackoff => "retry_backoff",
});

/// The facts of Postgres about a queued run and the runs that it competes with.
#[derive(Debug, Clone)]
pub struct QueuedFacts {
    /// Half-slots that the run takes.
    pub half_slots: i32,
    /// Earliest start of the next attempt, if the run is waiting for a retry.
    pub not_before: Option<DateTime<Utc>>,
    /// Number of the attempt that waits, from 1.
    pub attempt: i32,
    /// Active, under each cap.
    pub active_half_slots: i64,
    /// Active runs of class B and C.
    pub browser_runs: i64,
    /// Active runs of class A.
    pub api_runs: i64,
    /// Active runs of the organisation.
    pub organization_runs: i64,
    /// Active runs of the user.
    pub user_runs: i64,
    /// The reason of an operator's pause of all workers; it may be empty.
    pub operator_pause: Option<String>,
    /// Workers that were seen within 30 s, and those of them that claim.
    pub live_workers: i64,
    /// Live workers that claim runs.
    pub claiming_workers: i64,
    /// Half-slots of all workers that claim runs.
    pub claiming_half_slots: i64,
    /// All and the free half-slots of the claiming worker that has most of them.
    pub largest_half_slots: Option<i32>,
    /// Free half-slots of that worker.
    pub free_half_slots: Option<i64>,
    /// Why the others do not claim.
    pub held_by: Option<ClaimPause>,
    /// Explanation of the pause, for a person.
    pub held_detail: Option<String>,
    /// The run for which slots are reserved.
    pub reserved_run: Option<Uuid>,
    /// Half-slots that are reserved.
    pub reserved_half_slots: Option<i32>,
    /// Places from 1, counted to [`MAX_COUNTED`].
    pub position_in_user: i64,
    /// Position among the queued runs of the organisation, from 1.
    pub position_in_organization: i64,
    /// Position among all queued runs, from 1.
    pub position: i64,
    /// In the mean of the last runs that ended; absent before the first.
    pub run_seconds: Option<f64>,
    /// Mean half-slots of those runs.
    pub run_half_slots: Option<f64>,
    /// Time of these facts, by the clock of the database.
    pub at: DateTime<Utc>,
}

/// The explanation why a run waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Position among all queued runs, from 1; at most [`MAX_COUNTED`].
    pub position: i64,
    /// What the run waits for.
    pub waiting_for: WaitingFor,
    /// The same in a sentence, with the limit and the value.
    pub detail: String,
    /// Estimated start; absent if there is no basis for an estimate.
    pub estimated_start: Option<DateTime<Utc>>,
}

impl QueuedFacts {
    /// Explains what `run` waits for under `caps`.
    #[must_use]
    pub fn explain(&self, run: Uuid, caps: &AdmissionCaps) -> Waiting {
        let (waiting_for, detail) = self
            .backoff()
            .or_else(|| self.workers())
            .or_else(|| self.caps(caps))
            .unwrap_or_else(|| self.slots(run, caps));
        Waiting { position: self.position, waiting_for, detail, estimated_start: self.estimate(caps) }
    }

    fn backoff(&self) -> Option<(WaitingFor, String)> {
        let until = self.not_before.filter(|until| *until > self.at)?;
        let until = until.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        Some((WaitingFor::RetryBackoff, format!("attempt {} may start at {until}", self.attempt)))
    }

    fn workers(&self) -> Option<(WaitingFor, String)> {
        if let Some(reason) = &self.operator_pause {
            return Some((WaitingFor::Paused, paused_by_operator(reason)));
        }
        if self.claiming_workers > 0 {
            return None;
        }
        let waiting_for = match self.held_by {
            None => return Some((WaitingFor::NoWorker, "no worker was seen in the last 30 s".to_owned())),
            Some(ClaimPause::HostPressure) => WaitingFor::HostPressure,
            Some(ClaimPause::Paused | ClaimPause::PausedByOperator) => WaitingFor::Paused,
            Some(ClaimPause::Draining | ClaimPause::DrainedByOperator) => WaitingFor::Draining,
        };
        let workers = self.live_workers;
        let detail = self.held_detail.as_deref().filter(|detail| !detail.is_empty());
        let why = detail.map_or_else(|| waiting_for.to_string(), str::to_owned);
        Some((waiting_for, format!("none of {workers} live workers takes on runs: {why}")))
    }

    /// The narrowest cap that is reached.
    fn caps(&self, caps: &AdmissionCaps) -> Option<(WaitingFor, String)> {
        let (class, class_runs, class_cap, name) = if self.half_slots == 1 {
            (WaitingFor::ApiCap, self.api_runs, caps.api, "A")
        } else {
            (WaitingFor::BrowserCap, self.browser_runs, caps.browser, "B and C")
        };
        let (user, organization) = (self.user_runs, self.organization_runs);
        let (waiting_for, detail) = if user >= caps.per_user.into() {
            (WaitingFor::UserCap, format!("{user} of the user's {} runs are active", caps.per_user))
        } else if organization >= caps.per_org.into() {
            (WaitingFor::OrgCap, format!("{organization} of the organisation's {} runs are active", caps.per_org))
        } else if class_runs >= class_cap.into() {
            (class, format!("{class_runs} of {class_cap} runs of class {name} are active"))
        } else {
            return None;
        };
        Some((waiting_for, detail))
    }

    fn slots(&self, run: Uuid, caps: &AdmissionCaps) -> (WaitingFor, String) {
        let needs = slots(self.half_slots.into());
        let largest = i64::from(self.largest_half_slots.unwrap_or(0).min(caps.total_half_slots));
        if i64::from(self.half_slots) > largest {
            return (
                WaitingFor::Slots,
                format!("it takes {needs} slots, the most that a worker has is {}", slots(largest)),
            );
        }
        let (active, total) = (self.active_half_slots, i64::from(caps.total_half_slots));
        let free = self.free_half_slots.unwrap_or(0).min(total - active).max(0);
        if let (Some(reserved), Some(weight)) = (self.reserved_run, self.reserved_half_slots)
            && reserved != run
        {
            let (weight, patience) = (slots(weight.into()), caps.heavy_reserve_after_s);
            let detail = format!(
                "{weight} slots are kept for a run that has waited for more than {patience} s, {} are free",
                slots(free)
            );
            return (WaitingFor::ReservedForHeavy, detail);
        }
        let detail = if i64::from(self.half_slots) > free {
            let (active, total) = (slots(active), slots(total));
            format!("it takes {needs} slots, {} are free on one worker; {active} of {total} are active", slots(free))
        } else if self.position > 1 {
            format!("{} slots are free, {} runs come before it", slots(free), self.position - 1)
        } else {
            format!("{} slots are free, it is the next", slots(free))
        };
        (WaitingFor::Slots, detail)
    }

    /// From its place, the time that runs take, and how many can be active at once. Nothing is known
    /// without a worker that claims or while an operator paused them, before the first run has ended, and where the count was cut.
    fn estimate(&self, caps: &AdmissionCaps) -> Option<DateTime<Utc>> {
        let (seconds, weight) = (self.run_seconds?, self.run_half_slots?);
        let half_slots = self.claiming_half_slots.min(caps.total_half_slots.into());
        if half_slots == 0 || self.operator_pause.is_some() || self.position >= MAX_COUNTED {
            return None;
        }
        let class = if self.half_slots == 1 { caps.api } else { caps.browser };
        // Places that come free in the time of one run; a run that takes all of a worker is one of them.
        let rounds = [
            place(self.position) / (place(half_slots) / weight).max(1.0).min(f64::from(class)),
            place(self.position_in_organization) / f64::from(caps.per_org),
            place(self.position_in_user) / f64::from(caps.per_user),
        ];
        let wait = rounds.into_iter().fold(0.0, f64::max) * seconds;
        #[expect(clippy::cast_possible_truncation, reason = "whole milliseconds; `as` saturates")]
        let wait = TimeDelta::try_milliseconds((wait * 1000.0) as i64)?;
        let start = self.at.checked_add_signed(wait)?;
        Some(self.not_before.map_or(start, |until| until.max(start)))
    }
}

/// Half-slots as slots: 3 is "1.5".
fn slots(half_slots: i64) -> String {
    let half = if half_slots % 2 == 0 { "" } else { ".5" };
    format!("{}{half}", half_slots / 2)
}

fn place(number: i64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPS: AdmissionCaps = AdmissionCaps {
        total_half_slots: 80,
        browser: 20,
        api: 20,
        per_org: 10,
        per_user: 2,
        heavy_reserve_after_s: 60.0,
    };

    /// A run of class B at a quiet moment, with a worker of 8 slots.
    fn quiet() -> QueuedFacts {
        QueuedFacts {
            half_slots: 2,
            not_before: None,
            attempt: 1,
            active_half_slots: 0,
            browser_runs: 0,
            api_runs: 0,
            organization_runs: 0,
            user_runs: 0,
            operator_pause: None,
            live_workers: 1,
            claiming_workers: 1,
            claiming_half_slots: 16,
            largest_half_slots: Some(16),
            free_half_slots: Some(16),
            held_by: None,
            held_detail: None,
            reserved_run: None,
            reserved_half_slots: None,
            position_in_user: 1,
            position_in_organization: 1,
            position: 1,
            run_seconds: Some(10.0),
            run_half_slots: Some(2.0),
            at: DateTime::UNIX_EPOCH,
        }
    }

    fn explained(facts: &QueuedFacts) -> (WaitingFor, String) {
        let waiting = facts.explain(Uuid::nil(), &CAPS);
        (waiting.waiting_for, waiting.detail)
    }

    fn starts_in(facts: &QueuedFacts) -> Option<i64> {
        let waiting = facts.explain(Uuid::nil(), &CAPS);
        waiting.estimated_start.map(|start| (start - facts.at).num_seconds())
    }

    #[test]
    fn the_narrowest_cap_is_named_first_with_what_was_seen() {
        let capped = QueuedFacts { user_runs: 2, organization_runs: 10, browser_runs: 20, api_runs: 20, ..quiet() };
        assert_eq!(explained(&capped), (WaitingFor::UserCap, "2 of the user's 2 runs are active".to_owned()));
        let capped = QueuedFacts { user_runs: 1, ..capped };
        assert_eq!(explained(&capped).0, WaitingFor::OrgCap);
        let capped = QueuedFacts { organization_runs: 9, ..capped };
        assert_eq!(
            explained(&capped),
            (WaitingFor::BrowserCap, "20 of 20 runs of class B and C are active".to_owned())
        );
        let capped = QueuedFacts { half_slots: 1, ..capped };
        assert_eq!(explained(&capped).0, WaitingFor::ApiCap);
    }

    #[test]
    fn slots_are_told_with_their_number() {
        assert_eq!(explained(&quiet()).1, "8 slots are free, it is the next");
        let behind = QueuedFacts { position: 4, ..quiet() };
        assert_eq!(explained(&behind).1, "8 slots are free, 3 runs come before it");
        let full = QueuedFacts { active_half_slots: 15, free_half_slots: Some(1), ..quiet() };
        let words = "it takes 1 slots, 0.5 are free on one worker; 7.5 of 40 are active";
        assert_eq!(explained(&full), (WaitingFor::Slots, words.to_owned()));
        let small = QueuedFacts { half_slots: 4, largest_half_slots: Some(2), ..quiet() };
        assert_eq!(explained(&small).1, "it takes 2 slots, the most that a worker has is 1");
        let reserved = QueuedFacts { reserved_run: Some(Uuid::max()), reserved_half_slots: Some(4), ..quiet() };
        assert_eq!(explained(&reserved).0, WaitingFor::ReservedForHeavy);
        let itself = QueuedFacts { reserved_run: Some(Uuid::nil()), ..reserved };
        assert_eq!(explained(&itself).0, WaitingFor::Slots);
    }

    #[test]
    fn workers_come_before_caps_and_backoff_before_workers() {
        let none = QueuedFacts { claiming_workers: 0, live_workers: 0, user_runs: 2, ..quiet() };
        assert_eq!(explained(&none).0, WaitingFor::NoWorker);
        for (hold, waiting_for) in [
            (ClaimPause::HostPressure, WaitingFor::HostPressure),
            (ClaimPause::Paused, WaitingFor::Paused),
            (ClaimPause::Draining, WaitingFor::Draining),
        ] {
            let detail = Some("why".to_owned());
            let held = QueuedFacts { live_workers: 2, held_by: Some(hold), held_detail: detail, ..none.clone() };
            assert_eq!(explained(&held), (waiting_for, "none of 2 live workers takes on runs: why".to_owned()));
        }
        let paused = QueuedFacts { operator_pause: Some("new disks".to_owned()), ..quiet() };
        assert_eq!(explained(&paused), (WaitingFor::Paused, "paused by operator: new disks".to_owned()));
        assert_eq!(starts_in(&paused), None, "nobody knows when the pause ends");
        let later = Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(5));
        let words = "attempt 2 may start at 1970-01-01T00:00:05Z".to_owned();
        assert_eq!(
            explained(&QueuedFacts { not_before: later, attempt: 2, ..none }),
            (WaitingFor::RetryBackoff, words)
        );
    }

    #[test]
    fn the_start_is_estimated_from_all_that_is_known() {
        assert_eq!(starts_in(&QueuedFacts { position: 16, ..quiet() }), Some(20), "8 at a time, 10 s each");
        assert_eq!(starts_in(&QueuedFacts { position: 8, position_in_user: 8, ..quiet() }), Some(40), "2 at a time");
        assert_eq!(starts_in(&QueuedFacts { run_seconds: None, ..quiet() }), None);
        assert_eq!(starts_in(&QueuedFacts { claiming_half_slots: 0, ..quiet() }), None);
        assert_eq!(starts_in(&QueuedFacts { position: MAX_COUNTED, ..quiet() }), None);
        let later = Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(500));
        assert_eq!(starts_in(&QueuedFacts { not_before: later, ..quiet() }), Some(500));
    }
}
