//! `assize cleanup`: runs the janitor's jobs once, or shows what they would remove.

use std::time::Duration;

use assize_cell::Engine;
use assize_cell::counters::Cgroups;
use assize_cell::slice::Slice;
use assize_client::outcome::{Exit, Fault, Outcome};
use assize_client::terminal::{self, Style, Terminal, bytes, printable};
use assize_config::Config;
use assize_host::clock::{Clock, Deadline};
use serde_json::{Value, json};

use super::owner_store;
use crate::intake::blob::Blobs;
use crate::maintenance::janitor::find_unknown_workers;
use crate::maintenance::preview::{Removable, preview};
use crate::maintenance::schedule::{Janitor, run_each_once};

/// The time after which a preview counts nothing more.
const PREVIEW_TIMEOUT: Duration = Duration::from_secs(60);

/// Run every cleaning job of the workers once, or show what they would remove.
///
/// Workers do the same by themselves at fixed times; this command is for an operator who needs the room now, or wants to know
/// what a change of the retention settings does. It needs the database, the blob store and the engine of this host. The exit
/// code is 5 if a job failed.
#[derive(Debug, clap::Args)]
#[command(after_help = "EXAMPLES:\n  assize cleanup --dry-run\n  \
    ASSIZE_ARCHIVE_RETENTION_DAYS=7 assize cleanup --dry-run --json | jq '.jobs[] | select(.job == \"archives\")'\n  \
    assize cleanup")]
pub struct Cleanup {
    /// Remove nothing, and show what would be removed.
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// A row of the table: a job, its number of objects, their bytes, and a fault.
struct Row {
    job: &'static str,
    count: Result<Removable, String>,
}

/// Runs the command.
///
/// # Errors
/// A fault with a message for the user.
pub async fn run(command: Cleanup, config: Config) -> Outcome {
    let clock = Clock::system();
    let janitor = open(&clock, config).await?;
    let rows: Vec<Row> = if command.dry_run {
        let deadline = Deadline::after(&clock, PREVIEW_TIMEOUT);
        let previews = preview(&janitor, &deadline).await;
        previews
            .into_iter()
            .map(|(job, found)| Row { job, count: found.map_err(|error| format!("{error:#}")) })
            .collect()
    } else {
        let results = run_each_once(&clock, &janitor.jobs()).await;
        let removed = |objects| Removable { objects, ..Removable::default() };
        results.into_iter().map(|(job, result)| Row { job, count: result.map(removed) }).collect()
    };
    if command.json {
        let jobs: Vec<Value> = rows.iter().map(|row| as_json(row, command.dry_run)).collect();
        terminal::json(&json!({ "dry_run": command.dry_run, "jobs": jobs }));
    } else if command.dry_run {
        Terminal::stdout().table(&["job", "would remove", "bytes"], rows.iter().map(shown).collect());
    } else {
        Terminal::stdout().table(&["job", "removed"], rows.iter().map(|row| shown(row)[..2].to_vec()).collect());
    }
    let failed: Vec<&str> = rows.iter().filter(|row| row.count.is_err()).map(|row| row.job).collect();
    if failed.is_empty() {
        return Ok(Exit::Success);
    }
    Err(Fault::infrastructure(format!(
        "{} of {} jobs failed ({}); repair what their messages name and run the command again",
        failed.len(),
        rows.len(),
        failed.join(", ")
    )))
}

async fn open(clock: &Clock, config: Config) -> Result<Janitor, Fault> {
    let store = owner_store::open(&config).await?;
    let blobs = Blobs::open(&config.blob_url).map_err(Fault::usage)?;
    let engine = Engine::connect(&config).await.map_err(Fault::infrastructure)?;
    let cgroups = Cgroups::detect(&engine).await.map_err(Fault::infrastructure)?;
    let slice = Slice::open(&engine, &cgroups, &config).await.map_err(Fault::infrastructure)?;
    let unknown =
        find_unknown_workers(&engine, &store).await.map_err(|error| Fault::infrastructure(format!("{error:#}")))?;
    if let Some(worker) = unknown.first() {
        return Err(Fault::usage(format!(
            "worker {} has containers here, but the database of these settings does not know it; name the settings of the \
             workers with --config",
            printable(worker)
        )));
    }
    Ok(Janitor { clock: clock.clone(), store, engine, blobs, cgroups, slice, config })
}

fn shown(row: &Row) -> Vec<(Style, String)> {
    let job = (Style::Plain, row.job.to_owned());
    match &row.count {
        Ok(found) => {
            let more = if found.is_cut { " or more" } else { "" };
            let style = if found.objects == 0 { Style::Dim } else { Style::Plain };
            let size = found.bytes.map_or_else(String::new, |size| format!("{}{more}", bytes(size)));
            vec![job, (style, format!("{}{more}", found.objects)), (style, size)]
        }
        Err(error) => vec![job, (Style::Bad, format!("failed: {}", printable(error))), (Style::Plain, String::new())],
    }
}

fn as_json(row: &Row, dry_run: bool) -> Value {
    match &row.count {
        Ok(found) if dry_run => {
            json!({ "job": row.job, "objects": found.objects, "bytes": found.bytes, "is_cut": found.is_cut })
        }
        Ok(found) => json!({ "job": row.job, "removed": found.objects }),
        Err(error) => json!({ "job": row.job, "error": error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maintenance::preview::MAX_OBJECTS;

    #[test]
    fn a_count_that_was_cut_and_a_fault_are_shown_as_such() {
        let cut = Removable { objects: MAX_OBJECTS, bytes: Some(3 << 30), is_cut: true };
        let row = Row { job: "archives", count: Ok(cut) };
        let cells: Vec<String> = shown(&row).into_iter().map(|(_, text)| text).collect();
        assert_eq!(cells, ["archives", "10000 or more", "3.0 GiB or more"]);
        assert_eq!(as_json(&row, true)["is_cut"], true);
        let failed = Row { job: "images", count: Err("the engine is away".to_owned()) };
        assert_eq!(shown(&failed)[1], (Style::Bad, "failed: the engine is away".to_owned()));
        assert_eq!(as_json(&failed, true)["error"], "the engine is away");
    }
}
