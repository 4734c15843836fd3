//! `assize migrate`: updates the database schema to the version of this program.

use crate::cli::fault;
use assize_client::outcome::{Exit, Outcome};
use assize_client::terminal::{self, Terminal};
use assize_config::Config;
use assize_store::migrations::{MigrationKind, PendingMigration};
use assize_store::{Granted, Store};

/// Update the database schema to the version of this program.
///
/// The command can be repeated, and can run on several hosts at once: one migrates, and the others wait. A schema that
/// is newer than this program is left as it is. The command connects to `database_direct_url` as the owner of the tables,
/// and then renews the rights of the roles of `postgres/roles.sql` if they exist.
///
/// With --dry-run, the command lists the migrations that are pending. A migration of the kind `expand` only adds:
/// programs of the release before work on while it is applied and afterwards. Stop them before one of the kind
/// `contract`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  assize migrate --dry-run\n  assize migrate\n  ASSIZE_DATABASE_URL=postgres://assize@db/assize assize migrate"
)]
pub struct Migrate {
    /// List the pending migrations, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the version of the schema, or the pending migrations, as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// A fault with a message for the user.
pub async fn run(command: Migrate, config: Config) -> Outcome {
    let store = Store::open(config.owner_database_url(), 2).map_err(fault::store)?;
    // A ping has a short timeout; a migration has none.
    store.ping().await.map_err(fault::store)?;
    if command.dry_run {
        let pending = store.pending_migrations().await.map_err(fault::store)?;
        show_pending(&pending, command.json);
        return Ok(Exit::Success);
    }
    store.migrate().await.map_err(fault::store)?;
    let granted = store.grant_rights().await.map_err(fault::store)?;
    let version = store.schema_version().await.map_err(fault::store)?;
    if command.json {
        let roles = granted == Granted::Renewed;
        terminal::json(&serde_json::json!({ "schema_version": version, "rights_renewed": roles }));
    } else {
        let rights = match granted {
            Granted::Renewed => "the roles of the processes have their rights",
            Granted::NewerSchema => "it is newer than this program, and the rights of the roles stay as they are",
            Granted::NoRoles => "there are no roles of the processes, so that the owner does everything",
        };
        Terminal::stdout().line(format!("the schema is at version {version}; {rights}"));
    }
    Ok(Exit::Success)
}

fn show_pending(pending: &[PendingMigration], as_json: bool) {
    let must_stop = pending.iter().any(|migration| migration.kind == MigrationKind::Contract);
    if as_json {
        let list: Vec<_> = pending.iter().map(as_object).collect();
        return terminal::json(&serde_json::json!({ "pending": list, "older_programs_must_stop": must_stop }));
    }
    let terminal = Terminal::stdout();
    for PendingMigration { version, description, kind } in pending {
        terminal.line(format!("{version:04}  {:<8}  {description}", kind.as_str()));
    }
    terminal.line(match (pending.is_empty(), must_stop) {
        (true, _) => "no migration is pending",
        (false, true) => "stop the programs of the release before, then run `assize migrate`",
        (false, false) => "the programs of the release before can run on; run `assize migrate`",
    });
}

fn as_object(migration: &PendingMigration) -> serde_json::Value {
    serde_json::json!({
        "version": migration.version,
        "description": migration.description,
        "kind": migration.kind.as_str(),
    })
}
