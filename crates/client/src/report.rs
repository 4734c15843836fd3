//! The presentation of a run: its state changes and output while it is active, and its verdict or failure when it has
//! ended.

mod progress;
mod summary;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::client::{Client, read};
use crate::outcome::{Exit, Fault};
use crate::queue::Queue;
use crate::terminal::Style;
use assize_domain::run::{Cause, Evidence, FailureCode, StageName, Status};
use assize_domain::verdict::{Verdict, unsigned};

pub use progress::watch;
pub use summary::{print_summary, print_verdict};

/// A run, with the fields that this program shows.
#[derive(Debug, Clone, Deserialize)]
pub struct Run {
    pub id: Uuid,
    pub status: Status,
    #[serde(default)]
    pub phase: Option<StageName>,
    pub attempt: i32,
    #[serde(default)]
    pub template: String,
    #[serde(default)]
    pub user: String,
    #[serde(default)]
    pub score: Option<f64>,
    #[serde(default)]
    pub max_score: Option<f64>,
    #[serde(default)]
    pub failure: Option<Failed>,
    /// The queue position, if the run is queued and the request was for this run alone.
    #[serde(default)]
    pub queue: Option<Queue>,
    #[serde(default)]
    pub submitted_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub started_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub finished_at: Option<DateTime<Utc>>,
}

/// Why a run ended without a verdict.
#[derive(Debug, Clone, Deserialize)]
pub struct Failed {
    pub code: FailureCode,
    pub cause: Cause,
    #[serde(default)]
    pub evidence: Option<Evidence>,
}

impl Run {
    /// Requests the run with this id; also returns the JSON of the response.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn fetch(client: &Client, id: Uuid) -> Result<(Self, Value), Fault> {
        let value = client.run(id).await?;
        Ok((read("run", &value)?, value))
    }

    /// Returns the time from the claim to the end of the run.
    #[must_use]
    pub fn took(&self) -> Option<String> {
        let taken = self.finished_at? - self.started_at?;
        Some(seconds(taken.num_milliseconds()))
    }

    /// Returns the state of the run, with its stage.
    #[must_use]
    pub fn state_text(&self) -> String {
        state_text(self.status, self.phase)
    }
}

/// Returns a state in words, with the stage.
#[must_use]
pub fn state_text(status: Status, phase: Option<StageName>) -> String {
    match (status, phase) {
        (Status::Preparing | Status::Running, Some(stage)) => format!("{status}: {stage}"),
        (Status::TimedOut, _) => "timed out".to_owned(),
        (status, _) => status.to_string(),
    }
}

/// Returns the style of a state.
#[must_use]
pub const fn style_of(status: Status) -> Style {
    match status {
        Status::Queued => Style::Dim,
        Status::Preparing | Status::Running | Status::Parsing => Style::Plain,
        Status::Completed => Style::Good,
        Status::Failed | Status::TimedOut => Style::Bad,
        Status::Aborted => Style::Warn,
    }
}

fn seconds(milliseconds: i64) -> String {
    let hundredths = milliseconds.max(0) / 10;
    format!("{}.{:02} s", hundredths / 100, hundredths % 100)
}

/// Formats points without a needless fraction.
#[must_use]
pub fn points(score: f64) -> String {
    let text = format!("{:.2}", unsigned(score));
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Requests the verdict of a run, if it has one; also returns the JSON of the response.
///
/// # Errors
/// As [`Client::get`].
pub async fn verdict_of(client: &Client, run: &Run) -> Result<Option<(Verdict, Value)>, Fault> {
    if run.status != Status::Completed {
        return Ok(None);
    }
    let value = client.get(&format!("/v1/runs/{}/verdict", run.id)).await?;
    Ok(Some((read("verdict", &value)?, value)))
}

/// Returns the exit code for the end of a run.
#[must_use]
pub fn exit_of(run: &Run, verdict: Option<&Verdict>) -> Exit {
    match (run.status, verdict, &run.failure) {
        (Status::Completed, Some(verdict), _) if verdict.all_passed() => Exit::Success,
        (Status::Completed, ..) => Exit::TestsFailed,
        (Status::Aborted, ..) => Exit::Cancelled,
        (Status::Failed | Status::TimedOut, _, Some(failed)) => failed.cause.into(),
        (Status::Failed | Status::TimedOut, _, None) => Exit::Infrastructure,
        _ => Exit::Success,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assize_domain::verdict::Integrity;

    fn run(value: Value) -> Run {
        let mut whole = serde_json::json!({ "id": Uuid::nil(), "attempt": 1 });
        whole.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn the_exit_code_names_the_cause_of_a_failure() {
        let failed = |status: &str, code: &str, cause: &str| {
            run(
                serde_json::json!({ "status": status, "failure": { "code": code, "cause": cause, "transient": false } }),
            )
        };
        let exits = [
            failed("failed", "build_failed", "submission"),
            failed("timed_out", "stage_timeout", "submission"),
            failed("failed", "tests_interrupted", "submission"),
            failed("failed", "results_missing", "grader"),
            failed("failed", "worker_lost", "infrastructure"),
            failed("aborted", "cancelled", "platform"),
        ]
        .map(|run| exit_of(&run, None));
        assert_eq!(
            exits,
            [Exit::Submission, Exit::Submission, Exit::Submission, Exit::Grader, Exit::Infrastructure, Exit::Cancelled]
        );
    }

    #[test]
    fn only_full_marks_are_a_success() {
        let verdict = |score: f64| Verdict {
            score,
            max_score: 1.0,
            tests: Vec::new(),
            integrity: Integrity::Isolated,
            output: None,
        };
        let run = run(serde_json::json!({ "status": "completed", "score": 1.0, "max_score": 1.0 }));
        assert_eq!(exit_of(&run, Some(&verdict(1.0))), Exit::Success);
        assert_eq!(exit_of(&run, Some(&verdict(0.5))), Exit::TestsFailed);
        // With 0 of 0 points, nothing passed.
        let none = Verdict { max_score: 0.0, ..verdict(0.0) };
        assert_eq!(exit_of(&run, Some(&none)), Exit::TestsFailed);
    }

    #[test]
    fn points_have_no_needless_fraction() {
        assert_eq!([10.0, 7.5, 0.0, -0.0, 1.0 / 3.0].map(points), ["10", "7.5", "0", "0", "0.33"]);
    }
}
