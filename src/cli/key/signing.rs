//! `assize key signing`: manages the keys that sign receipts and verdicts.

use std::path::Path;

use crate::cli::fault;
use assize_client::outcome::{Exit, Fault, Outcome};
use assize_client::terminal::{self, Style, Terminal};
use assize_signing::keys::{PublishedKey, SigningKeys};
use assize_signing::{KeyFileError, PrivateKey, PublicKey, key_file};
use assize_store::Store;

const EXAMPLES: &str = "\
EXAMPLES:
  assize key signing create
  assize key signing export > keys.json      (for `assize verify --keys`)
  assize key signing rotate
  assize key signing list
  assize key signing retire 5f0c...          (when no process signs with this key any more)";

/// Create, list, rotate, retire and export the signing keys.
///
/// The private key is stored in the file signing_key_file on this host. The API and the worker may share it. The
/// public keys of all hosts are stored in the database and are never deleted.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Signing {
    #[command(subcommand)]
    command: SigningCommand,
}

#[derive(Debug, clap::Subcommand)]
enum SigningCommand {
    /// Create the signing key of this host, if it has none.
    #[command(after_help = EXAMPLES)]
    Create(Plain),
    /// List the public keys of all hosts, oldest first.
    #[command(after_help = EXAMPLES)]
    List(Plain),
    /// Replace the signing key of this host with a new one.
    ///
    /// Running processes use the new key from their next signature on. Signatures of the old key are valid until
    /// that key is retired.
    #[command(after_help = EXAMPLES)]
    Rotate(Plain),
    /// Retire a signing key. Its signatures with a later date are not valid.
    #[command(after_help = EXAMPLES)]
    Retire(Retire),
    /// Print the public keys of all hosts as JSON, for `assize verify --keys`.
    #[command(after_help = EXAMPLES)]
    Export,
}

#[derive(Debug, clap::Args)]
struct Plain {
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Retire {
    /// The id of the key, as `assize key signing list` shows it.
    id: String,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command on the key at `path`.
///
/// # Errors
/// [`Fault`] with a message for the user.
pub async fn run(command: Signing, path: &Path, store: &Store) -> Outcome {
    match command.command {
        SigningCommand::Create(plain) => {
            check_path(path)?;
            if std::fs::symlink_metadata(path).is_ok() {
                return Err(KeyFileError::Exists(path.to_owned()).into());
            }
            let key = introduced(store).await?;
            key_file::create(path, &key)?;
            print_key(&key, path, plain.json, "signs from now on");
            Ok(Exit::Success)
        }
        SigningCommand::Rotate(plain) => {
            check_path(path)?;
            let old = std::fs::symlink_metadata(path).map_err(|_| KeyFileError::Missing(path.to_owned()))?;
            if !old.is_file() {
                return Err(KeyFileError::NotAFile(path.to_owned()).into());
            }
            let key = introduced(store).await?;
            key_file::replace(path, &key)?;
            print_key(
                &key,
                path,
                plain.json,
                "signs from now on; retire the old key when no other process uses a copy of it",
            );
            Ok(Exit::Success)
        }
        SigningCommand::List(plain) => list(store, path, plain.json).await,
        SigningCommand::Retire(retire) => run_retire(&retire, path, store).await,
        SigningCommand::Export => {
            terminal::json(&SigningKeys { keys: published(store).await? });
            Ok(Exit::Success)
        }
    }
}

fn check_path(path: &Path) -> Result<(), Fault> {
    if path.as_os_str().is_empty() {
        return Err(Fault::usage("signing_key_file is empty, so nothing is signed; set it to the path of the key"));
    }
    Ok(())
}

/// Generates a key and stores its public half before any process can sign with it.
async fn introduced(store: &Store) -> Result<PrivateKey, Fault> {
    let key = PrivateKey::generate();
    store.ensure_signing_key(key.public()).await.map_err(fault::store)?;
    Ok(key)
}

fn print_key(key: &PrivateKey, path: &Path, json: bool, note: &str) {
    let public = key.public().to_pem();
    if json {
        terminal::json(&serde_json::json!({ "id": key.id(), "file": path, "public_key": public }));
        return;
    }
    Terminal::stdout().line(key.id());
    Terminal::stderr().line(Terminal::stderr().paint(Style::Dim, format!("the key in {} {note}", path.display())));
}

async fn published(store: &Store) -> Result<Vec<PublishedKey>, Fault> {
    let rows = store.list_signing_keys().await.map_err(fault::store)?;
    let keys = rows.into_iter().map(|row| {
        let key = PublicKey::from_bytes(&row.public_key).map_err(|error| {
            Fault::infrastructure(format!("the table signing_keys contains an invalid key: {error}"))
        })?;
        Ok(PublishedKey::new(key, row.created_at, row.retired_at))
    });
    keys.collect()
}

/// Returns the id of the key of this host, if it has one that can be used.
fn own(path: &Path) -> Option<String> {
    key_file::read(path).ok().map(|(key, _)| key.id().to_owned())
}

async fn list(store: &Store, path: &Path, json: bool) -> Outcome {
    let keys = published(store).await?;
    let own = own(path);
    if json {
        terminal::json(&serde_json::json!({ "keys": keys, "active_here": own }));
        return Ok(Exit::Success);
    }
    let terminal = Terminal::stdout();
    if keys.is_empty() {
        terminal.line("no signing keys; create one with `assize key signing create`");
        return Ok(Exit::Success);
    }
    let rows = keys.into_iter().map(|key| {
        let state = match key.retired_at {
            Some(at) => (Style::Dim, format!("retired {}", at.format("%F %T"))),
            None if own.as_ref() == Some(&key.id) => (Style::Good, "signs here".to_owned()),
            None => (Style::Plain, "valid".to_owned()),
        };
        vec![(Style::Plain, key.id), state, (Style::Dim, key.created_at.format("%F %T").to_string())]
    });
    terminal.table(&["id", "state", "created (UTC)"], rows.collect());
    Ok(Exit::Success)
}

async fn run_retire(retire: &Retire, path: &Path, store: &Store) -> Outcome {
    if own(path).as_ref() == Some(&retire.id) {
        return Err(Fault::usage("this host signs with this key; run `assize key signing rotate` first"));
    }
    let retired = store.retire_signing_key(&retire.id).await.map_err(fault::store)?;
    if retire.json {
        terminal::json(&serde_json::json!({ "id": retire.id, "retired": retired }));
    } else if retired {
        Terminal::stdout().line(format!("key {} is retired; export the keys again for those who verify", retire.id));
    }
    if retired || retire.json {
        return Ok(if retired { Exit::Success } else { Exit::Usage });
    }
    Err(Fault::usage("no key that is not retired has this id; `assize key signing list` lists the keys"))
}
