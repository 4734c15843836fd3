//! `assize restore`: puts a backup back, or proves that it could be.

use std::path::PathBuf;

use super::backup::seconds;
use super::fault;
use super::with_services::searchable;
use crate::backup::restore::restore;
use crate::backup::textfile::{self, Gauge};
use crate::backup::{BackupSet, drill};
use assize_client::outcome::{Exit, Fault, Outcome};
use assize_client::terminal::{self, Terminal};
use assize_config::Config;
use assize_host::clock::{Clock, Stopwatch};

const EXAMPLES: &str = "\
EXAMPLES:
  assize restore --from /var/backups/assize
  assize restore --from /var/backups/assize/2026-11-30T03-30-00.123Z
  assize restore --drill --from /var/backups/assize --textfile /var/lib/prometheus/node-exporter/assize-drill.prom";

/// Restore a backup into an empty database, or rehearse it.
///
/// The command checks every file of the backup, restores the database and the blobs, and compares the rows with those
/// that were copied. It refuses a database that has tables. Stop the API and the workers first.
///
/// With --drill, it restores into a scratch cluster that it starts and removes, checks that the backup has every blob
/// that the database names, and verifies 100 signed ends. The installation is not touched.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Restore {
    /// The folder of a backup, or of all backups: then the newest is used.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Restore into a scratch cluster, compare, and remove it.
    #[arg(long)]
    drill: bool,
    /// With --drill: keep the scratch cluster below this folder while it is used. It needs as much space as the database.
    #[arg(long, requires = "drill", value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// With --drill: write the time and the duration to this file, for the textfile collector of the node exporter.
    #[arg(long, requires = "drill", value_name = "FILE")]
    textfile: Option<PathBuf>,
    /// Print what was found as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// A fault with a message for the user. A drill that found a difference is one.
pub async fn run(command: Restore, config: Config) -> Outcome {
    let set = BackupSet::open(&command.from).map_err(fault::backup)?;
    if command.drill {
        return rehearse(command, set).await;
    }
    let restored = restore(&config, &set).await.map_err(fault::backup)?;
    if command.json {
        terminal::json(&serde_json::json!({ "folder": set.folder, "restored": restored }));
    } else {
        let key = if restored.has_signing_key { ", and the signing key" } else { "" };
        Terminal::stdout().line(format!(
            "{} is restored: schema {}, {} blobs{key}; run `assize doctor`, then start the API and a worker",
            set.folder.display(),
            restored.schema_version,
            restored.blobs
        ));
    }
    Ok(Exit::Success)
}

async fn rehearse(command: Restore, set: BackupSet) -> Outcome {
    let begun = Stopwatch::start();
    let mut scratch = tempfile::Builder::new();
    let scratch = scratch.prefix("assize-drill-").permissions(searchable());
    let scratch = match &command.scratch {
        Some(folder) => scratch.tempdir_in(folder),
        None => scratch.tempdir(),
    };
    let scratch =
        scratch.map_err(|error| Fault::infrastructure(format!("cannot create a temporary folder: {error}")))?;
    let drilled = drill::drill(&set, scratch.path()).await.map_err(fault::backup)?;
    let taken = begun.elapsed();
    if let Some(path) = &command.textfile {
        let gauges = [
            Gauge {
                name: "assize_restore_drill_last_success_timestamp_seconds",
                help: "When the last restore drill succeeded.",
                value: seconds(Clock::system().wall()),
            },
            Gauge {
                name: "assize_restore_drill_duration_seconds",
                help: "How long the last restore drill took.",
                value: taken.as_secs_f64(),
            },
        ];
        textfile::write(path, &gauges).map_err(fault::backup)?;
    }
    if command.json {
        let seconds = taken.as_secs_f64();
        terminal::json(&serde_json::json!({ "folder": set.folder, "seconds": seconds, "drilled": drilled }));
    } else {
        Terminal::stdout().line(format!(
            "{} can be restored: {} files, {} rows of schema {}, {} archives, {} artifacts, {} signed ends and the output \
             of {} of them, in {:.1} s",
            set.folder.display(),
            drilled.files,
            drilled.rows,
            drilled.schema_version,
            drilled.archives,
            drilled.artifacts,
            drilled.signed_ends,
            drilled.outputs,
            taken.as_secs_f64()
        ));
    }
    Ok(Exit::Success)
}
