//! A run as a person reads it: its moves and its output while it goes, its verdict or its failure
//! when it has ended.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;
use warden::event::Stream;

use super::client::{Client, read};
use super::follow::{Follow, Move, Told};
use super::outcome::{Exit, Fault, Outcome};
use super::queue::Queue;
use super::screen::{self, Ink, Screen, printable, shorten};
use crate::output::Entry;
use crate::run::{Cause, Evidence, FailureCode, StageName, Status};
use crate::verdict::{Integrity, TestStatus, Verdict};

/// Lines of the last output that are shown with a failure.
const SHOWN_LAST_OUTPUT: usize = 20;

/// A run is queued this long before it is told where it stands.
const QUEUE_GRACE: Duration = Duration::from_secs(1);

/// Between two looks at the place of a run that is queued.
const QUEUE_LOOK: Duration = Duration::from_secs(3);

/// Bytes of a line of output that is shown as one line; a project may write megabytes without an end.
const MAX_LINE: usize = 4096;

/// A run, as far as this program tells it.
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
    /// While it is queued, and only where it was asked for alone.
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
    /// The run with this id.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn fetch(client: &Client, id: Uuid) -> Result<(Self, Value), Fault> {
        let value = client.run(id).await?;
        Ok((read("run", &value)?, value))
    }

    /// From its claim to its end.
    #[must_use]
    pub fn took(&self) -> Option<String> {
        let taken = self.finished_at? - self.started_at?;
        Some(seconds(taken.num_milliseconds()))
    }

    /// Where it is, with the stage it is in.
    #[must_use]
    pub fn whereabouts(&self) -> String {
        whereabouts(self.status, self.phase)
    }
}

/// Where a run is, in words.
#[must_use]
pub fn whereabouts(status: Status, phase: Option<StageName>) -> String {
    match (status, phase) {
        (Status::Preparing | Status::Running, Some(stage)) => format!("{status}: {stage}"),
        (Status::TimedOut, _) => "timed out".to_owned(),
        (status, _) => status.to_string(),
    }
}

/// The colour of a state.
#[must_use]
pub const fn ink_of(status: Status) -> Ink {
    match status {
        Status::Queued => Ink::Dim,
        Status::Preparing | Status::Running | Status::Parsing => Ink::Plain,
        Status::Completed => Ink::Good,
        Status::Failed | Status::TimedOut => Ink::Bad,
        Status::Aborted => Ink::Warn,
    }
}

fn seconds(milliseconds: i64) -> String {
    let hundredths = milliseconds.max(0) / 10;
    format!("{}.{:02} s", hundredths / 100, hundredths % 100)
}

/// Points without a needless fraction.
#[must_use]
pub fn points(score: f64) -> String {
    let text = format!("{score:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Shows a run as it happens, line by line.
struct Telling {
    screen: Screen,
    begun: Option<DateTime<Utc>>,
    /// The unfinished line of each stage and stream.
    open: HashMap<(StageName, bool), String>,
    is_queued: bool,
    /// What was said last of its place in the queue.
    place: String,
}

impl Telling {
    fn tell(&mut self, told: &Told) {
        match told {
            Told::Output(entry) => self.output(entry),
            Told::Moved(moved) => self.moved(moved),
            Told::Cut { reason } => {
                let text = format!("            connection cut ({}), connecting again", printable(reason));
                self.screen.line(self.screen.paint(Ink::Warn, text));
            }
        }
    }

    fn moved(&mut self, moved: &Move) {
        self.close();
        self.is_queued = moved.status == Status::Queued;
        let begun = *self.begun.get_or_insert(moved.at);
        let at = seconds((moved.at - begun).num_milliseconds());
        let again = if moved.attempt > 1 { format!(" (attempt {})", moved.attempt) } else { String::new() };
        let why = moved.failure_code.map_or_else(String::new, |code| format!(": {code}"));
        let what = self.screen.paint(ink_of(moved.status), whereabouts(moved.status, moved.phase));
        self.screen.line(format!("{}  {what}{again}{why}", self.screen.paint(Ink::Dim, format!("{at:>10}"))));
    }

    /// Tells a queued run's place, if it is another than before.
    fn queued(&mut self, run: &Run) {
        let Some(queue) = run.queue.as_ref().filter(|_| self.is_queued) else { return };
        let place = queue.phrase();
        if place != self.place {
            self.screen.line(self.screen.paint(Ink::Dim, format!("{:>10}  queued: {place}", "")));
            self.place = place;
        }
    }

    fn output(&mut self, entry: &Entry) {
        let key = (entry.stage, entry.stream == Stream::Stderr);
        let mut open = self.open.remove(&key).unwrap_or_default();
        open.push_str(&entry.text);
        while let Some((line, rest)) = open.split_once('\n') {
            self.output_line(entry.stage, line);
            open = rest.to_owned();
        }
        if open.len() > MAX_LINE {
            self.output_line(entry.stage, &std::mem::take(&mut open));
        }
        if !open.is_empty() {
            self.open.insert(key, open);
        }
    }

    fn output_line(&self, stage: StageName, line: &str) {
        let shown = printable(line.strip_suffix('\r').unwrap_or(line));
        self.screen.line(self.screen.paint(Ink::Dim, format!("{:>10}  | {shown}", stage.as_str())));
    }

    /// Shows lines that will not be finished any more.
    fn close(&mut self) {
        let mut open: Vec<_> = self.open.drain().collect();
        open.sort_by_key(|((stage, _), _)| *stage);
        for ((stage, _), line) in open {
            self.output_line(stage, &line);
        }
    }
}

/// Follows a run to its end, tells it, and ends with its verdict or its failure.
///
/// # Errors
/// If the service refuses, or stays away.
pub async fn watch(client: &Client, id: Uuid, as_json: bool) -> Outcome {
    let screen = Screen::progress(as_json);
    let mut telling = Telling { screen, begun: None, open: HashMap::new(), is_queued: false, place: String::new() };
    let mut follow = Follow::new(client, id);
    let mut look = tokio::time::interval(QUEUE_LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let told = tokio::select! {
            told = next_told(&mut follow, client, id, &mut telling, &mut look) => told?,
            _ = tokio::signal::ctrl_c() => {
                telling.close();
                screen.line(format!("the run goes on; follow it again with `assize watch {id}`, end it with `assize cancel {id}`"));
                return Ok(Exit::Interrupted);
            }
        };
        match told {
            Some(told) => {
                telling.tell(&told);
                if matches!(told, Told::Moved(_)) {
                    // What is claimed at once need not be told where it stood.
                    look.reset_after(QUEUE_GRACE);
                }
            }
            None => break,
        }
    }
    telling.close();
    let (run, mut document) = Run::fetch(client, id).await?;
    let verdict = verdict_of(client, &run).await?;
    let exit = exit_of(&run, verdict.as_ref().map(|(verdict, _)| verdict));
    if as_json {
        if let (Some(fields), Some((_, raw))) = (document.as_object_mut(), verdict) {
            fields.insert("verdict".to_owned(), raw);
        }
        screen::json(&document);
    } else {
        conclude(screen, &run, verdict.as_ref().map(|(verdict, _)| verdict));
    }
    Ok(exit)
}

/// What happens next; meanwhile, while the run is queued, its place is told now and then.
async fn next_told(
    follow: &mut Follow<'_>,
    client: &Client,
    id: Uuid,
    telling: &mut Telling,
    look: &mut tokio::time::Interval,
) -> Result<Option<Told>, Fault> {
    let mut next = std::pin::pin!(follow.next());
    loop {
        tokio::select! {
            biased;
            told = &mut next => return told,
            _ = look.tick(), if telling.is_queued => {
                // A place that cannot be asked for is not worth a word: the stream says what is wrong.
                if let Ok((run, _)) = Run::fetch(client, id).await {
                    telling.queued(&run);
                }
            }
        }
    }
}

/// The verdict of a run that has one, also as the service sent it.
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

/// The exit code that tells a script how a run ended.
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

/// How a run ended.
pub fn conclude(screen: Screen, run: &Run, verdict: Option<&Verdict>) {
    screen.line("");
    match (verdict, &run.failure) {
        (Some(verdict), _) => tell_verdict(screen, run, verdict),
        (None, Some(failed)) => tell_failure(screen, run, failed),
        (None, None) => screen.line(format!("run {} is {}", run.id, run.whereabouts())),
    }
}

fn tell_verdict(screen: Screen, run: &Run, verdict: &Verdict) {
    let rows = verdict.tests.iter().map(|test| {
        let ink = match test.status {
            TestStatus::Passed => Ink::Good,
            TestStatus::Failed | TestStatus::Errored => Ink::Bad,
            TestStatus::Skipped | TestStatus::Pending | TestStatus::Other => Ink::Warn,
        };
        let message = test.message.as_deref().unwrap_or_default();
        let first = message.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        vec![
            (Ink::Plain, printable(&test.name)),
            (ink, test.status.as_str().to_owned()),
            (Ink::Plain, format!("{}/{}", points(test.score), points(test.max_score))),
            (Ink::Dim, test.duration_ms.map_or_else(String::new, |ms| ms.to_string())),
            (Ink::Dim, shorten(&printable(first.trim()), 200)),
        ]
    });
    screen.table(&["test", "status", "score", "ms", "message"], rows.collect());
    let total = format!("{} of {} points", points(verdict.score), points(verdict.max_score));
    let ink = if verdict.all_passed() { Ink::Good } else { Ink::Bad };
    let counts = [TestStatus::Passed, TestStatus::Failed, TestStatus::Errored, TestStatus::Skipped]
        .into_iter()
        .filter_map(|status| Some((status, verdict.count(status))).filter(|(_, count)| *count > 0))
        .map(|(status, count)| format!("{count} {}", status.as_str()))
        .collect::<Vec<_>>()
        .join(", ");
    let took = run.took().map_or_else(String::new, |took| format!("  in {took}"));
    screen.line(format!("{}  {counts}{took}", screen.paint(ink, total)));
    let integrity = match verdict.integrity {
        Integrity::Isolated => "integrity: isolated (the tests ran in a cell of their own, out of the project's reach)",
        Integrity::Shared => {
            "integrity: shared (the tests ran inside the project's process, which could have forged them)"
        }
    };
    screen.line(screen.paint(Ink::Dim, integrity));
}

fn tell_failure(screen: Screen, run: &Run, failed: &Failed) {
    let whose = match failed.cause {
        Cause::Submission => "the project's own fault",
        Cause::Grader => "a fault of the template or its tests, not of the project",
        Cause::Infrastructure => "a fault of the infrastructure, not of the project",
        Cause::Platform => "someone asked for it",
    };
    let took = run.took().map_or_else(String::new, |took| format!("  after {took}"));
    let head = format!("{}: {}", run.whereabouts(), failed.code);
    screen.line(format!("{}  ({whose}){took}", screen.paint(ink_of(run.status), head)));
    let Some(evidence) = &failed.evidence else { return };
    if !evidence.message.is_empty() {
        evidence.message.lines().for_each(|line| screen.line(format!("  {}", printable(line))));
    }
    let facts = [
        evidence.stage.map(|stage| format!("stage {stage}")),
        evidence.exit_code.map(|code| format!("exit code {code}")),
        evidence.signal.map(|signal| format!("signal {signal}")),
    ];
    let facts = facts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    if !facts.is_empty() {
        screen.line(screen.paint(Ink::Dim, format!("  {facts}")));
    }
    if let Some(last) = &evidence.last_output {
        let lines: Vec<&str> = last.lines().collect();
        screen.line("  its last output:");
        for line in &lines[lines.len().saturating_sub(SHOWN_LAST_OUTPUT)..] {
            screen.line(screen.paint(Ink::Dim, format!("  | {}", printable(line))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(value: Value) -> Run {
        let mut whole = serde_json::json!({ "id": Uuid::nil(), "attempt": 1 });
        whole.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn a_script_learns_whose_fault_it_was() {
        let failed = |status: &str, code: &str, cause: &str| {
            run(
                serde_json::json!({ "status": status, "failure": { "code": code, "cause": cause, "transient": false } }),
            )
        };
        let exits = [
            failed("failed", "build_failed", "submission"),
            failed("timed_out", "stage_timeout", "submission"),
            failed("failed", "results_missing", "grader"),
            failed("failed", "worker_lost", "infrastructure"),
            failed("aborted", "cancelled", "platform"),
        ]
        .map(|run| exit_of(&run, None));
        assert_eq!(exits, [Exit::Submission, Exit::Submission, Exit::Grader, Exit::Infrastructure, Exit::Cancelled]);
    }

    #[test]
    fn only_full_marks_are_a_success() {
        let verdict = |score: f64| Verdict { score, max_score: 1.0, tests: Vec::new(), integrity: Integrity::Isolated };
        let run = run(serde_json::json!({ "status": "completed", "score": 1.0, "max_score": 1.0 }));
        assert_eq!(exit_of(&run, Some(&verdict(1.0))), Exit::Success);
        assert_eq!(exit_of(&run, Some(&verdict(0.5))), Exit::TestsFailed);
    }

    #[test]
    fn points_have_no_needless_fraction() {
        assert_eq!([10.0, 7.5, 0.0, 1.0 / 3.0].map(points), ["10", "7.5", "0", "0.33"]);
    }
}
