//! `assize queue`: how many runs wait, for what, for which template and of whom.

use assize_client::outcome::{Exit, Outcome};
use assize_client::terminal::{self, Style, Terminal, duration, printable};
use assize_config::Config;
use assize_domain::queue::{AdmissionCaps, WaitingFor};
use assize_store::operator_pauses::OperatorPause;
use assize_store::queue::{QueueGroup, WantedGroups};
use assize_store::workers::WorkerRow;
use assize_store::{Store, StoreError};
use serde_json::{Value, json};

use super::workers::{is_live, pause_as_json, pause_line, tenths};
use super::{fault, owner_store};
use crate::admission::caps;

/// The number of runs that the command counts. One statement reads them all.
const MAX_RUNS: i64 = 100_000;

/// Show how many runs wait, by reason, template and organisation.
///
/// Each group is shown with its longest wait. The reasons are those that the API gives for a single run (docs/api.md);
/// slots that are kept for a heavier run count as `slots`. The command uses the database directly (database_direct_url),
/// so it needs no API key.
#[derive(Debug, clap::Args)]
#[command(after_help = "EXAMPLES:\n  assize queue\n  assize queue --top 3\n  \
    assize queue --json | jq '.reasons[] | select(.name == \"no_worker\")'")]
pub struct Queue {
    /// Show so many groups of each kind, the largest first.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    top: u16,
    /// Print the groups as JSON.
    #[arg(long)]
    json: bool,
}

/// What waits at the moment.
#[derive(Debug, Clone)]
pub struct QueueView {
    /// The pause of all workers by an operator.
    pub pause: Option<OperatorPause>,
    /// The number of runs that wait, counted to a limit.
    pub runs: i64,
    /// Whether the count reached its limit.
    pub is_cut: bool,
    /// How long the oldest has waited, in seconds.
    pub oldest_wait_s: Option<f64>,
    /// The groups of each kind, the largest first.
    pub groups: Vec<QueueGroup>,
}

/// How much of the queue is read.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// Runs that are counted.
    pub max_runs: i64,
    /// Groups of each kind.
    pub max_groups: i64,
}

/// Runs the command.
///
/// # Errors
/// A fault with a message for the user.
pub async fn run(command: Queue, config: Config) -> Outcome {
    let store = owner_store::open(&config).await?;
    let workers = store.list_workers().await.map_err(fault::store)?;
    let limits = QueueLimits { max_runs: MAX_RUNS, max_groups: command.top.into() };
    let view = QueueView::read(&store, &workers, caps(&config), limits).await.map_err(fault::store)?;
    if command.json {
        terminal::json(&view.as_json());
    } else {
        print(&view);
    }
    Ok(Exit::Success)
}

fn print(view: &QueueView) {
    let terminal = Terminal::stdout();
    if let Some(pause) = &view.pause {
        terminal.line(terminal.paint(Style::Warn, pause_line(pause)));
    }
    terminal.line(view.sentence());
    for (kind, header) in [("reason", "waits for"), ("template", "template"), ("organization", "organisation")] {
        let rows: Vec<Vec<(Style, String)>> = view
            .of_kind(kind)
            .map(|group| {
                vec![
                    (Style::Plain, printable(&group.name)),
                    (Style::Plain, group.runs.to_string()),
                    (Style::Plain, group.oldest_wait_s.map_or_else(String::new, duration)),
                ]
            })
            .collect();
        if !rows.is_empty() {
            terminal.line("");
            terminal.table(&[header, "runs", "longest wait"], rows);
        }
    }
}

impl QueueView {
    /// Reads the queue. `workers` are those of the installation: they show whether any run can begin at all.
    ///
    /// # Errors
    /// [`StoreError`] if Postgres does not answer.
    pub async fn read(
        store: &Store,
        workers: &[WorkerRow],
        caps: AdmissionCaps,
        limits: QueueLimits,
    ) -> Result<Self, StoreError> {
        let pause = store.operator_pause().await?;
        let reason = common_reason(workers, pause.is_some()).as_str();
        let QueueLimits { max_runs, max_groups } = limits;
        let groups = store.queue_groups(WantedGroups { caps, reason, max_runs, max_groups }).await?;
        let (all, groups): (Vec<_>, Vec<_>) = groups.into_iter().partition(|group| group.kind == "all");
        let (runs, oldest_wait_s) = all.first().map_or((0, None), |all| (all.runs, all.oldest_wait_s));
        Ok(Self { pause, runs, is_cut: runs >= max_runs, oldest_wait_s, groups })
    }

    /// Returns the groups of one kind.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &QueueGroup> {
        self.groups.iter().filter(move |group| group.kind == kind)
    }

    /// Returns the length of the queue as a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let least = if self.is_cut { "at least " } else { "" };
        match (self.runs, self.oldest_wait_s) {
            (0, _) => "no run waits".to_owned(),
            (1, wait) => format!("1 run waits, for {}", duration(wait.unwrap_or(0.0))),
            (runs, wait) => format!("{least}{runs} runs wait, the oldest for {}", duration(wait.unwrap_or(0.0))),
        }
    }

    /// Returns the queue as a JSON document.
    #[must_use]
    pub fn as_json(&self) -> Value {
        let groups = |kind: &str| -> Vec<Value> {
            let of_kind = self.of_kind(kind);
            of_kind
                .map(|group| {
                    json!({
                        "name": group.name, "runs": group.runs,
                        "oldest_wait_s": group.oldest_wait_s.map(tenths),
                    })
                })
                .collect()
        };
        json!({
            "paused": self.pause.as_ref().map(pause_as_json), "runs": self.runs, "is_cut": self.is_cut,
            "oldest_wait_s": self.oldest_wait_s.map(tenths), "reasons": groups("reason"),
            "templates": groups("template"), "organizations": groups("organization"),
        })
    }
}

/// What every run waits for that no cap holds back: slots, or what keeps all workers from claiming.
fn common_reason(workers: &[WorkerRow], is_paused: bool) -> WaitingFor {
    if is_paused {
        return WaitingFor::Paused;
    }
    let mut held = Vec::new();
    for worker in workers.iter().filter(|worker| is_live(worker)) {
        match (&worker.drain_reason, worker.state.parse()) {
            (Some(_), _) => held.push(WaitingFor::Draining),
            (None, Ok(reason)) => held.push(reason),
            // `claiming`, or a state that this version does not know.
            (None, Err(_)) => return WaitingFor::Slots,
        }
    }
    // The order of `explain_queued`.
    [WaitingFor::HostPressure, WaitingFor::Paused, WaitingFor::Draining]
        .into_iter()
        .find(|reason| held.contains(reason))
        .unwrap_or(WaitingFor::NoWorker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(state: &str) -> WorkerRow {
        WorkerRow {
            id: "node-1.40-812-99".to_owned(),
            version: String::new(),
            half_slots: 8,
            state: state.to_owned(),
            detail: String::new(),
            started_at: chrono::DateTime::UNIX_EPOCH,
            seen_ago_s: 1.0,
            runs: 0,
            used_half_slots: 0,
            drain_reason: None,
        }
    }

    #[test]
    fn one_worker_that_claims_is_enough_and_else_the_others_are_the_reason() {
        let [claiming, short, paused] = ["claiming", "host_pressure", "paused"].map(worker);
        let draining = WorkerRow { drain_reason: Some(String::new()), ..worker("claiming") };
        let gone = WorkerRow { seen_ago_s: 31.0, ..worker("claiming") };
        let reason = |workers: &[&WorkerRow]| {
            common_reason(&workers.iter().map(|worker| (*worker).clone()).collect::<Vec<_>>(), false)
        };
        assert_eq!(reason(&[&paused, &claiming, &draining]), WaitingFor::Slots);
        assert_eq!(reason(&[&draining, &paused, &short]), WaitingFor::HostPressure);
        assert_eq!(reason(&[&draining, &paused]), WaitingFor::Paused);
        assert_eq!(reason(&[&draining, &gone]), WaitingFor::Draining);
        assert_eq!(reason(&[&gone]), WaitingFor::NoWorker);
        assert_eq!(common_reason(&[claiming], true), WaitingFor::Paused);
    }

    #[test]
    fn the_sentence_names_the_number_and_the_longest_wait() {
        let view = |runs, oldest_wait_s| QueueView {
            pause: None,
            runs,
            is_cut: runs >= MAX_RUNS,
            oldest_wait_s,
            groups: Vec::new(),
        };
        assert_eq!(view(0, None).sentence(), "no run waits");
        assert_eq!(view(1, Some(3.2)).sentence(), "1 run waits, for 3 s");
        assert_eq!(view(MAX_RUNS, Some(725.0)).sentence(), "at least 100000 runs wait, the oldest for 12 min");
    }
}
