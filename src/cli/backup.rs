//! `assize backup`: copies the database and the blobs into a folder.

use std::path::{Path, PathBuf};

use super::fault;
use crate::backup::create::{BackupPlan, create};
use crate::backup::textfile::{self, Gauge};
use assize_client::outcome::{Exit, Outcome};
use assize_client::terminal::{self, Terminal, bytes};
use assize_config::Config;
use assize_host::clock::Clock;

const EXAMPLES: &str = "\
EXAMPLES:
  assize backup --to /var/backups/assize
  assize backup --to /mnt/backup --keep 30 --include /etc/assize --include /var/lib/assize/keys
  assize backup --to /var/backups/assize --no-blobs      (if blob_url is a bucket)";

/// Make a backup of the database, the blobs, the signing key and the settings.
///
/// Nothing has to stop. The database is dumped from one snapshot, and the blobs are copied afterwards; those that the
/// backup before has too become hard links to it. The new folder appears when it is complete. A dump keeps a snapshot
/// open, which slows claims: run it outside the working hours, and use pgBackRest on a large installation.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Backup {
    /// Write the backup to a new folder in this one.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Keep this number of backups, and remove older ones.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    keep: u16,
    /// Copy this file or folder too. The option can be repeated. The signing key and the settings file always are copied.
    #[arg(long, value_name = "PATH")]
    include: Vec<PathBuf>,
    /// Leave out the blobs.
    #[arg(long)]
    no_blobs: bool,
    /// Write the time of the backup to this file, for the textfile collector of the node exporter.
    #[arg(long, value_name = "FILE")]
    textfile: Option<PathBuf>,
    /// Print what was copied as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// A fault with a message for the user.
pub async fn run(command: Backup, config: Config, config_file: Option<&Path>) -> Outcome {
    let mut include = command.include;
    include.extend(Some(config.signing_key_file.clone()).filter(|path| path.is_file()));
    include.extend(config_file.map(Path::to_owned));
    let plan = BackupPlan { to: command.to, keep: command.keep.into(), include, with_blobs: !command.no_blobs };
    let set = create(&config, &plan).await.map_err(fault::backup)?;
    if let Some(path) = &command.textfile {
        let now = Clock::system().wall();
        let gauges = [Gauge {
            name: "assize_backup_last_success_timestamp_seconds",
            help: "When the last backup was complete.",
            value: seconds(now),
        }];
        textfile::write(path, &gauges).map_err(fault::backup)?;
    }
    if command.json {
        terminal::json(&serde_json::json!({ "folder": set.folder, "manifest": set.manifest }));
    } else {
        let manifest = &set.manifest;
        Terminal::stdout().line(format!(
            "{}: {} rows of schema {}, {} blobs ({}, {} of them links to the backup before)",
            set.folder.display(),
            manifest.database.rows.values().sum::<i64>(),
            manifest.database.schema_version,
            manifest.blobs,
            bytes(manifest.blob_bytes),
            manifest.linked_blobs
        ));
    }
    Ok(Exit::Success)
}

/// Returns a time as Prometheus writes it.
#[expect(clippy::cast_precision_loss, reason = "seconds of this century fit 53 bits")]
pub(super) fn seconds(at: chrono::DateTime<chrono::Utc>) -> f64 {
    at.timestamp() as f64
}
