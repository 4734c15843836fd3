//! `assize pause`, `resume` and `drain`: an operator stops and starts the claims of all workers, or of one.

use std::time::Duration;

use assize_client::outcome::{Exit, Fault, Outcome};
use assize_client::terminal::{self, Style, Terminal, printable};
use assize_config::Config;
use assize_domain::unicode::is_hidden;
use assize_store::Store;
use assize_store::operator_pauses::{MAX_REASON_CHARS, PausedWorkers};
use assize_store::workers::WorkerRow;
use serde_json::json;

use super::workers::is_live;
use super::{fault, owner_store};
use crate::redis::Redis;

const EXAMPLES: &str = "\
EXAMPLES:
  assize pause --reason \"new disks until 15:00\"
  assize pause --wait 600 && systemctl restart docker && assize resume
  assize drain node-1.4026531836-812 --wait 1800 --reason \"replacing the host\"
  assize resume node-1.4026531836-812";

/// Time between two looks while the command waits for runs to end.
const WAIT_INTERVAL: Duration = Duration::from_secs(1);

/// Pause the claims of all workers.
///
/// Runs that have begun go on, and submissions are accepted. When the command returns, no run begins any more, and none will until `assize resume`, even if workers are restarted.
/// Platforms read the reason where they ask why a run waits. The command uses the database directly (database_direct_url), so it
/// needs no API key.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Pause {
    #[command(flatten)]
    options: PauseOptions,
}

/// Let one worker drain: it claims nothing, and its runs go on to their end.
///
/// It takes over no runs of other workers either. The worker stays up, because systemd would start it again if it ended. It claims again after `assize resume WORKER`, or
/// as a new worker when it was restarted.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Drain {
    /// The name of the worker, or a part of it that no other live worker has; `assize workers` lists the names.
    worker: String,
    #[command(flatten)]
    options: PauseOptions,
}

/// End the pause of all workers, or let one worker claim again that drains.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Resume {
    /// Let this worker claim again. Without it, the pause of all workers ends, and workers that drain go on draining.
    worker: Option<String>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct PauseOptions {
    /// Why, in at most 200 characters. Everybody whose run waits can read it.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, value_parser = reason)]
    reason: String,
    /// Wait so many seconds for the runs to end that have begun. If some have not ended by then, the exit code is 5, and
    /// the pause stays.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    wait: Option<u64>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `assize pause`.
///
/// # Errors
/// [`Fault`] with a message for the user.
pub async fn pause(command: Pause, config: Config) -> Outcome {
    let store = owner_store::open(&config).await?;
    let PauseOptions { reason, wait, json } = command.options;
    store.pause_claims(PausedWorkers::Every, &reason).await.map_err(fault::store)?;
    announce(&config).await;
    let runs = wait_for_runs(&store, None, wait).await?;
    if json {
        terminal::json(&json!({ "paused": true, "reason": reason, "active_runs": runs }));
    } else {
        Terminal::stdout().line(format!("claims of all workers are paused; {}", go_on(runs)));
    }
    still_active(runs, wait)
}

/// Runs `assize drain`.
///
/// # Errors
/// [`Fault`] with a message for the user.
pub async fn drain(command: Drain, config: Config) -> Outcome {
    let store = owner_store::open(&config).await?;
    let workers = store.list_workers().await.map_err(fault::store)?;
    let live: Vec<&WorkerRow> = workers.iter().filter(|worker| is_live(worker)).collect();
    let id = find(&live, &command.worker)?;
    let PauseOptions { reason, wait, json } = command.options;
    store.pause_claims(PausedWorkers::One(id), &reason).await.map_err(fault::store)?;
    announce(&config).await;
    let runs = wait_for_runs(&store, Some(id), wait).await?;
    if json {
        terminal::json(&json!({ "worker": id, "drained": runs == 0, "reason": reason, "active_runs": runs }));
    } else if runs == 0 {
        Terminal::stdout().line(format!("worker {} is drained", printable(id)));
    } else {
        Terminal::stdout().line(format!("worker {} drains; {}", printable(id), go_on(runs)));
    }
    still_active(runs, wait)
}

/// Runs `assize resume`.
///
/// # Errors
/// [`Fault`] with a message for the user.
pub async fn resume(command: Resume, config: Config) -> Outcome {
    let store = owner_store::open(&config).await?;
    let workers = store.list_workers().await.map_err(fault::store)?;
    let draining: Vec<&WorkerRow> = workers.iter().filter(|worker| worker.drain_reason.is_some()).collect();
    let id = match &command.worker {
        None => None,
        Some(name) if draining.is_empty() => {
            return not_paused(&command, &format!("no worker drains, so {:?} need not resume", printable(name)));
        }
        Some(name) => Some(find(&draining, name)?),
    };
    let which = id.map_or(PausedWorkers::Every, PausedWorkers::One);
    if !store.resume_claims(which).await.map_err(fault::store)? {
        return not_paused(&command, "no operator has paused the claims of all workers");
    }
    announce(&config).await;
    let left: Vec<&str> = draining.iter().map(|worker| worker.id.as_str()).filter(|left| Some(*left) != id).collect();
    if command.json {
        terminal::json(&json!({ "resumed": true, "worker": id, "draining": left }));
        return Ok(Exit::Success);
    }
    let who = id.map_or_else(|| "all workers".to_owned(), |id| format!("worker {}", printable(id)));
    Terminal::stdout().line(format!("claims of {who} resume"));
    for left in left {
        let note = format!("worker {} still drains; `assize resume WORKER` ends that", printable(left));
        Terminal::stderr().line(Terminal::stderr().paint(Style::Dim, note));
    }
    Ok(Exit::Success)
}

/// Ending a pause that does not exist is no mistake: a script may end it twice.
fn not_paused(command: &Resume, message: &str) -> Outcome {
    if command.json {
        terminal::json(&json!({ "resumed": false, "worker": command.worker, "draining": [] }));
    } else {
        Terminal::stdout().line(message);
    }
    Ok(Exit::Success)
}

/// Lets the workers know at once. Without Redis they learn of it with their next heartbeat; the database keeps the pause.
async fn announce(config: &Config) {
    let announced = match Redis::open(&config.redis_url, &config.instance) {
        Ok(redis) => redis.request_heartbeats().await,
        Err(error) => Err(error),
    };
    if let Err(error) = announced {
        let note = format!("the workers notice within 5 s and not at once: {error}");
        Terminal::stderr().line(Terminal::stderr().paint(Style::Dim, note));
    }
}

/// The worker that `name` means: the one of this name, or else the only one whose name contains it.
fn find<'a>(workers: &[&'a WorkerRow], name: &str) -> Result<&'a str, Fault> {
    if let Some(same) = workers.iter().find(|worker| worker.id == name) {
        return Ok(&same.id);
    }
    let alike: Vec<&'a str> =
        workers.iter().map(|worker| worker.id.as_str()).filter(|id| !name.is_empty() && id.contains(name)).collect();
    match alike.as_slice() {
        [one] => Ok(one),
        [] => Err(Fault::usage(format!(
            "no such worker has {:?} in its name; `assize workers` lists the workers",
            printable(name)
        ))),
        several => Err(Fault::usage(format!(
            "{} workers have {:?} in their names: {}; give the whole name",
            several.len(),
            printable(name),
            several.iter().map(|id| printable(id)).collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// The number of active runs of this worker, or of all, once there are none or the time is over.
async fn wait_for_runs(store: &Store, worker: Option<&str>, wait_s: Option<u64>) -> Result<i64, Fault> {
    let count = async || {
        let workers = store.list_workers().await.map_err(fault::store)?;
        let counted = workers.iter().filter(|row| worker.is_none_or(|worker| row.id == worker));
        Ok::<i64, Fault>(counted.map(|row| row.runs).sum())
    };
    let Some(seconds) = wait_s else { return count().await };
    let ended = async {
        while count().await? > 0 {
            tokio::time::sleep(WAIT_INTERVAL).await;
        }
        Ok(0)
    };
    match tokio::time::timeout(Duration::from_secs(seconds), ended).await {
        Ok(runs) => runs,
        Err(_) => count().await,
    }
}

/// Fails if the command waited and runs are left.
fn still_active(runs: i64, wait_s: Option<u64>) -> Outcome {
    match wait_s {
        Some(seconds) if runs > 0 => Err(Fault::infrastructure(format!(
            "{} still active after {seconds} s; the pause stays, so wait longer, or end it with `assize resume`",
            if runs == 1 { "1 run is".to_owned() } else { format!("{runs} runs are") }
        ))),
        _ => Ok(Exit::Success),
    }
}

/// Says what becomes of the runs that have begun.
fn go_on(runs: i64) -> String {
    match runs {
        0 => "no run is active".to_owned(),
        1 => "1 active run goes on".to_owned(),
        runs => format!("{runs} active runs go on"),
    }
}

/// Parses a reason: one line that a terminal and a web page can show.
fn reason(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if length > MAX_REASON_CHARS {
        return Err(format!("it has {length} characters, and the limit is {MAX_REASON_CHARS}; shorten it"));
    }
    match text.chars().find(|c| is_hidden(*c)) {
        Some(hidden) => Err(format!("it contains the hidden character U+{:04X}; remove it", u32::from(hidden))),
        None => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(id: &str) -> WorkerRow {
        WorkerRow {
            id: id.to_owned(),
            version: String::new(),
            half_slots: 2,
            state: "claiming".to_owned(),
            detail: String::new(),
            started_at: chrono::DateTime::UNIX_EPOCH,
            seen_ago_s: 0.0,
            runs: 0,
            used_half_slots: 0,
            drain_reason: None,
        }
    }

    #[test]
    fn a_worker_is_found_by_its_name_or_by_a_part_that_is_its_own() {
        let rows = [worker("node-1.40-812-99"), worker("node-1.40-813-99"), worker("node-1.40-812-991")];
        let workers: Vec<&WorkerRow> = rows.iter().collect();
        assert_eq!(find(&workers, "node-1.40-812-99").unwrap(), "node-1.40-812-99", "the whole name comes first");
        assert_eq!(find(&workers, "813").unwrap(), "node-1.40-813-99");
        let several = find(&workers, "node-1").unwrap_err().to_string();
        assert!(several.contains("3 workers") && several.contains("node-1.40-813-99"), "{several}");
        for none in ["", "node-2"] {
            assert!(find(&workers, none).unwrap_err().to_string().contains("assize workers"), "{none:?}");
        }
    }

    #[test]
    fn a_reason_is_one_short_line() {
        assert_eq!(reason("neue Platten, 15:00 Uhr"), Ok("neue Platten, 15:00 Uhr".to_owned()));
        assert!(reason(&"ä".repeat(200)).is_ok());
        assert_eq!(reason(&"ä".repeat(201)), Err("it has 201 characters, and the limit is 200; shorten it".to_owned()));
        assert_eq!(reason("a\u{202e}b"), Err("it contains the hidden character U+202E; remove it".to_owned()));
        assert!(reason("two\nlines").is_err());
    }

    #[test]
    fn only_a_command_that_waited_fails_for_runs_that_are_left() {
        assert_eq!(still_active(3, None).unwrap(), Exit::Success);
        assert_eq!(still_active(0, Some(1)).unwrap(), Exit::Success);
        let left = still_active(1, Some(60)).unwrap_err();
        assert_eq!(left.exit(), Exit::Infrastructure);
        assert!(left.to_string().starts_with("1 run is still active after 60 s"), "{left}");
    }
}
