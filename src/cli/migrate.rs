//! `assize migrate`: updates the database schema to the version of this program.

use crate::cli::fault;
use assize_client::outcome::{Exit, Outcome};
use assize_client::terminal::{self, Terminal};
use assize_config::Config;
use assize_store::Store;

/// Update the database schema to the version of this program.
///
/// The command can be repeated, and can run on several hosts at once: one migrates, and the others wait.
#[derive(Debug, clap::Args)]
#[command(after_help = "EXAMPLES:\n  assize migrate\n  ASSIZE_DATABASE_URL=postgres://assize@db/assize assize migrate")]
pub struct Migrate {
    /// Print the version of the schema as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// A fault with a message for the user.
pub async fn run(command: Migrate, config: Config) -> Outcome {
    let store = Store::open(&config.database_url, 2).map_err(fault::store)?;
    // A ping has a short timeout; a migration has none.
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
