//! `assize top`: a live screen of the installation: slots, queue, failures, workers, and how this host stalls.

mod screen;
mod stalls;

use std::time::Duration;

use assize_client::outcome::{Exit, Outcome};
use assize_client::terminal::{self, Terminal};
use assize_config::Config;
use assize_domain::queue::AdmissionCaps;
use assize_domain::run::Status;
use assize_host::clock::Clock;
use assize_store::queue::EndCount;
use assize_store::workers::WorkerRow;
use assize_store::{Store, StoreError};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use super::queue::{QueueLimits, QueueView};
use super::workers::{as_json, is_live, slots};
use super::{fault, owner_store, signals};
use crate::admission::caps;
use crate::leases::LEASE_TIMEOUT;
use stalls::Stalls;

/// Time between two pictures.
const INTERVAL: Duration = Duration::from_secs(1);

/// How far back failures are counted, in seconds.
const FAILURES_S: f64 = 900.0;

/// The part of the queue that each picture reads.
const QUEUE: QueueLimits = QueueLimits { max_runs: 10_000, max_groups: 10 };

/// Show slots, queue, failures and workers on a live screen.
///
/// Failures are those of the last 15 minutes. The screen also shows how this host stalls. The picture is renewed every
/// second until ctrl-c. If stdout is not a terminal, one picture is printed. The command uses the database directly
/// (database_direct_url), so it needs no API key.
#[derive(Debug, clap::Args)]
#[command(after_help = "EXAMPLES:\n  assize top\n  assize top --once\n  assize top --json | jq .slots.used")]
pub struct Top {
    /// Print one picture and end.
    #[arg(long)]
    once: bool,
    /// Print one picture as JSON and end.
    #[arg(long)]
    json: bool,
}

/// What one picture shows.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub at: DateTime<Utc>,
    pub queue: QueueView,
    pub workers: Vec<WorkerRow>,
    /// Runs whose lease was not renewed in time.
    pub stale_runs: i64,
    pub ends: Vec<EndCount>,
    pub stalls: Stalls,
}

/// Runs the command.
///
/// # Errors
/// A fault with a message for the user.
pub async fn run(command: Top, config: Config) -> Outcome {
    let store = owner_store::open(&config).await?;
    let (clock, caps) = (Clock::system(), caps(&config));
    let first = Snapshot::read(&store, &clock, caps).await.map_err(fault::store)?;
    let terminal = Terminal::stdout();
    if command.json {
        terminal::json(&first.as_json());
    } else if command.once || !terminal.is_terminal() {
        for (style, line) in screen::lines(&first) {
            terminal.line(terminal.paint(style, line));
        }
    } else {
        follow(&store, &clock, caps, first).await?;
    }
    Ok(Exit::Success)
}

/// Shows one picture after the other until the user stops the command.
async fn follow(store: &Store, clock: &Clock, caps: AdmissionCaps, first: Snapshot) -> Outcome {
    let stop = signals::shutdown_token(false)?;
    let terminal = Terminal::stdout();
    let _screen = AlternateScreen::enter(terminal);
    let mut tick = tokio::time::interval(INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut lines = screen::lines(&first);
    loop {
        terminal.raw(&screen::frame(terminal, &lines));
        tokio::select! {
            () = stop.cancelled() => return Ok(Exit::Success),
            _ = tick.tick() => {}
        }
        let read = tokio::select! {
            () = stop.cancelled() => return Ok(Exit::Success),
            read = Snapshot::read(store, clock, caps) => read,
        };
        match read {
            Ok(snapshot) => lines = screen::lines(&snapshot),
            // The last picture stays, so that the operator sees how things were.
            Err(error) => screen::show_fault(&mut lines, &error.to_string()),
        }
    }
}

/// The second screen of a terminal, without a cursor; the first one comes back when this is dropped.
struct AlternateScreen(Terminal);

impl AlternateScreen {
    fn enter(terminal: Terminal) -> Self {
        terminal.raw("\x1b[?1049h\x1b[?25l");
        Self(terminal)
    }
}

impl Drop for AlternateScreen {
    fn drop(&mut self) {
        self.0.raw("\x1b[?25h\x1b[?1049l");
    }
}

impl Snapshot {
    async fn read(store: &Store, clock: &Clock, caps: AdmissionCaps) -> Result<Self, StoreError> {
        let workers = store.list_workers().await?;
        Ok(Self {
            at: clock.wall(),
            queue: QueueView::read(store, &workers, caps, QUEUE).await?,
            stale_runs: store.stale_runs(LEASE_TIMEOUT.as_secs_f64()).await?,
            ends: store.recent_ends(FAILURES_S).await?,
            stalls: Stalls::read(),
            workers,
        })
    }

    /// Returns the half-slots in use, all half-slots and the active runs of the workers that live.
    fn load(&self) -> (i64, i64, i64) {
        let live = self.workers.iter().filter(|worker| is_live(worker));
        live.fold((0, 0, 0), |(used, all, runs), worker| {
            (used + worker.used_half_slots, all + i64::from(worker.half_slots), runs + worker.runs)
        })
    }

    /// Returns the runs that ended, those of them that have a verdict, and the failures by code, the most frequent first.
    fn ended(&self) -> (i64, i64, Vec<(&'static str, i64)>) {
        let all = self.ends.iter().map(|end| end.runs).sum();
        let completed = self.ends.iter().filter(|end| end.status == Status::Completed).map(|end| end.runs).sum();
        let failures = self.ends.iter().filter_map(|end| Some((end.failure_code?.as_str(), end.runs)));
        let mut failures: Vec<_> = failures.collect();
        failures.sort_by_key(|(code, runs)| (-runs, *code));
        (all, completed, failures)
    }

    fn as_json(&self) -> Value {
        let (used, all, runs) = self.load();
        let (ended, completed, failures) = self.ended();
        let codes: serde_json::Map<String, Value> =
            failures.into_iter().map(|(code, runs)| (code.to_owned(), runs.into())).collect();
        json!({
            "at": self.at, "slots": { "used": slots(used), "all": slots(all) },
            "active_runs": runs, "stale_runs": self.stale_runs, "queue": self.queue.as_json(),
            "ended": { "seconds": FAILURES_S, "runs": ended, "completed": completed, "failures": codes },
            "stalls": self.stalls.as_json(), "workers": self.workers.iter().map(as_json).collect::<Vec<_>>(),
        })
    }
}
