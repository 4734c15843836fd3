//! `assize migrate`: brings the database up to this program's version.

use crate::cli::fault;
use assize_client::outcome::{Exit, Outcome};
use assize_client::terminal::{self, Terminal};
use assize_config::Config;
use assize_store::Store;

/// Bring the database schema up to this program's version.
///
/// Safe to run again, and from several machines at once: one migrates, the others wait.
#[derive(Debug, clap::Args)]
#[command(after_help = "EXAMPLES:\n  assize migrate\n  ASSIZE_DATABASE_URL=postgres://assize@db/assize assize migrate")]
pub struct Migrate {
    /// The version as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// A fault for a person.
pub async fn run(command: Migrate, config: Config) -> Outcome {
    let store = Store::open(&config.database_url, 2).map_err(fault::store)?;
    // Its timeout is short; a migration's is as long as the migration.
    store.ping().await.map_err(fault::store)?;
    store.migrate().await.map_err(fault::store)?;
    let version = store.schema_version().await.map_err(fault::store)?;
    if command.json {
        terminal::json(&serde_json::json!({ "schema_version": version }));
    } else {
        Terminal::stdout().line(format!("the schema is at version {version}"));
    }
    Ok(Exit::Success)
}
