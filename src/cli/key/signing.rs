//! `assize key signing`: the keys that sign receipts and ends of runs.

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
  assize key signing export > keys.json      (for those who verify)
  assize key signing rotate
  assize key signing list
  assize key signing retire 5f0c...          (its id, when no process signs with it any more)";

/// Make, list, rotate, retire and export the keys that sign.
///
/// The private key is the file signing_key_file on this host; API and worker need one each or may share it. The
/// public keys of all hosts are in the database and are never deleted.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Signing {
    #[command(subcommand)]
    command: SigningCommand,
}

#[derive(Debug, clap::Subcommand)]
enum SigningCommand {
    /// Make the key of this host, where there is none.
    Create(Plain),
    /// List the public keys of all hosts, oldest first.
    List(Plain),
    /// Replace the key of this host with a new one.
    ///
    /// Processes that run use it from their next signature on. What the old key signed stays valid, and so does what
    /// it signs until it is retired.
    Rotate(Plain),
    /// Say that a key signs no more: what is dated after this moment and signed by it is not believed.
    Retire(Retire),
    /// Print the public keys of all hosts as JSON, for `assize verify --keys`.
    Export,
}

#[derive(Debug, clap::Args)]
struct Plain {
    /// The answer as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Retire {
    /// The key's id, as `assize key signing list` shows it.
    id: String,
    /// The outcome as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command on the key at `path`.
///
/// # Errors
/// [`Fault`] for a person.
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
                "signs from now on; retire the old one when no other process uses a copy of it",
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
        return Err(Fault::usage("signing_key_file is empty, so nothing is signed; set it to where the key is to be"));
    }
    Ok(())
}

/// A new key, whose public half is in the table before anyone can sign with it.
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
            Fault::infrastructure(format!("the table signing_keys has a key that is none: {error}"))
        })?;
        Ok(PublishedKey::new(key, row.created_at, row.retired_at))
    });
    keys.collect()
}

/// The id of the key of this host, if it has one that can be used.
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
        terminal.line("no signing keys; make one with `assize key signing create`");
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
        return Err(Fault::usage("this host signs with that key; run `assize key signing rotate` first"));
    }
    let retired = store.retire_signing_key(&retire.id).await.map_err(fault::store)?;
    if retire.json {
        terminal::json(&serde_json::json!({ "id": retire.id, "retired": retired }));
    } else if retired {
        Terminal::stdout().line(format!("key {} is retired; export the keys anew for those who verify", retire.id));
    }
    if retired || retire.json {
        return Ok(if retired { Exit::Success } else { Exit::Usage });
    }
    Err(Fault::usage("there is no such key that is not retired; see `assize key signing list`"))
}
