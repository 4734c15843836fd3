//! `assize workers`: lists the workers, and what they do.

use assize_client::outcome::{Exit, Outcome};
use assize_client::terminal::{self, Style, Terminal, duration, printable};
use assize_config::Config;
use assize_domain::queue::{drained_by_operator, paused_by_operator};
use assize_store::operator_pauses::OperatorPause;
use assize_store::workers::WorkerRow;
use serde_json::{Value, json};

use super::{fault, owner_store};
use crate::leases::LEASE_TIMEOUT;
use crate::maintenance::process::host_of;

/// List the workers: name, version, slots in use, last heartbeat and state.
///
/// A worker that stopped in order is not listed. One that was killed is `gone`, and is listed for an hour. The command uses
/// the database directly (database_direct_url), so it needs no API key.
#[derive(Debug, clap::Args)]
#[command(after_help = "EXAMPLES:\n  assize workers\n  \
    assize workers --json | jq -r '.workers[] | select(.state == \"drained\") | .id'")]
pub struct Workers {
    /// Print the workers as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// A fault with a message for the user.
pub async fn run(command: Workers, config: Config) -> Outcome {
    let store = owner_store::open(&config).await?;
    let workers = store.list_workers().await.map_err(fault::store)?;
    let pause = store.operator_pause().await.map_err(fault::store)?;
    if command.json {
        let listed: Vec<Value> = workers.iter().map(as_json).collect();
        terminal::json(&json!({ "paused": pause.as_ref().map(pause_as_json), "workers": listed }));
        return Ok(Exit::Success);
    }
    let terminal = Terminal::stdout();
    if let Some(pause) = &pause {
        terminal.line(terminal.paint(Style::Warn, pause_line(pause)));
    }
    if workers.is_empty() {
        terminal.line("no worker has reported within the last hour; start one with `assize worker`");
        return Ok(Exit::Success);
    }
    let header = ["worker", "host", "version", "slots used", "runs", "heartbeat", "state", "detail"];
    terminal.table(&header, workers.iter().map(row).collect());
    Ok(Exit::Success)
}

fn row(worker: &WorkerRow) -> Vec<(Style, String)> {
    let (style, state) = state(worker);
    let version = if worker.version.is_empty() { "?" } else { &worker.version };
    vec![
        (Style::Plain, printable(&worker.id)),
        (Style::Plain, printable(host_of(&worker.id))),
        (Style::Plain, printable(version)),
        (Style::Plain, slots_used(worker)),
        (Style::Plain, worker.runs.to_string()),
        (if is_live(worker) { Style::Plain } else { Style::Bad }, format!("{} ago", duration(worker.seen_ago_s))),
        (style, state.to_owned()),
        (Style::Dim, printable(&detail(worker))),
    ]
}

/// Returns whether the worker has reported within the time after which its leases may be taken over.
pub fn is_live(worker: &WorkerRow) -> bool {
    worker.seen_ago_s < LEASE_TIMEOUT.as_secs_f64()
}

/// Returns the state of a worker: what it reported, unless the database knows better.
pub fn state(worker: &WorkerRow) -> (Style, &str) {
    if !is_live(worker) {
        return (Style::Bad, "gone");
    }
    match (&worker.drain_reason, worker.runs) {
        (Some(_), 0) => (Style::Warn, "drained"),
        (Some(_), _) => (Style::Warn, "draining"),
        (None, _) if worker.state == "claiming" => (Style::Good, "claiming"),
        (None, _) => (Style::Warn, &worker.state),
    }
}

fn detail(worker: &WorkerRow) -> String {
    worker.drain_reason.as_deref().map_or_else(|| worker.detail.clone(), drained_by_operator)
}

/// Returns the slots in use and all slots of a worker, as in "1.5 of 4".
pub fn slots_used(worker: &WorkerRow) -> String {
    format!("{} of {}", slots(worker.used_half_slots), slots(worker.half_slots.into()))
}

/// Returns half-slots as slots.
pub fn slots(half_slots: i64) -> f64 {
    f64::from(i32::try_from(half_slots).unwrap_or(i32::MAX)) / 2.0
}

/// Returns the worker as a JSON document.
pub fn as_json(worker: &WorkerRow) -> Value {
    json!({
        "id": worker.id, "host": host_of(&worker.id), "version": worker.version, "state": state(worker).1,
        "detail": detail(worker), "slots": slots(worker.half_slots.into()), "slots_used": slots(worker.used_half_slots),
        "runs": worker.runs, "started_at": worker.started_at, "heartbeat_age_s": tenths(worker.seen_ago_s),
    })
}

/// Returns the pause of all workers as a JSON document.
pub fn pause_as_json(pause: &OperatorPause) -> Value {
    json!({ "reason": pause.reason, "since": pause.since })
}

/// Returns the sentence about a pause of all workers.
pub fn pause_line(pause: &OperatorPause) -> String {
    let since = pause.since.format("%F %T UTC");
    format!("claims of all workers are {}, since {since}", printable(&paused_by_operator(&pause.reason)))
}

/// Returns seconds with one digit after the point.
pub fn tenths(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker() -> WorkerRow {
        WorkerRow {
            id: "node-1.40-812-99".to_owned(),
            version: "0.1.0".to_owned(),
            half_slots: 8,
            state: "claiming".to_owned(),
            detail: String::new(),
            started_at: chrono::DateTime::UNIX_EPOCH,
            seen_ago_s: 1.26,
            runs: 2,
            used_half_slots: 3,
            drain_reason: None,
        }
    }

    #[test]
    fn the_state_is_what_the_database_knows_and_else_what_the_worker_reported() {
        assert_eq!(state(&worker()), (Style::Good, "claiming"));
        let short = WorkerRow { state: "host_pressure".to_owned(), ..worker() };
        assert_eq!(state(&short), (Style::Warn, "host_pressure"));
        let draining = WorkerRow { drain_reason: Some("new disks".to_owned()), ..worker() };
        assert_eq!(state(&draining).1, "draining", "even before the worker has noticed");
        assert_eq!(state(&WorkerRow { runs: 0, ..draining.clone() }).1, "drained");
        assert_eq!(state(&WorkerRow { seen_ago_s: 30.0, ..draining }), (Style::Bad, "gone"));
        assert!(is_live(&WorkerRow { seen_ago_s: 29.9, ..worker() }));
    }

    #[test]
    fn a_worker_as_json_has_whole_slots_and_its_host() {
        let seen = as_json(&WorkerRow { drain_reason: Some("new disks".to_owned()), ..worker() });
        assert_eq!((seen["slots"].as_f64(), seen["slots_used"].as_f64()), (Some(4.0), Some(1.5)));
        assert_eq!((seen["host"].as_str(), seen["heartbeat_age_s"].as_f64()), (Some("node-1"), Some(1.3)));
        assert_eq!(seen["detail"], "drained by operator: new disks");
        assert_eq!(slots_used(&worker()), "1.5 of 4");
    }
}
