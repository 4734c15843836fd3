//! `assize key`: creates, lists and revokes API keys in the database.

mod signing;

use std::time::Duration;

use uuid::Uuid;

use crate::cli::fault;
use assize_client::outcome::{Exit, Fault, Outcome};
use assize_client::terminal::{self, Style, Terminal, printable};
use assize_config::Config;
use assize_domain::key;
use assize_domain::key::KeyRole;
use assize_host::clock::Clock;
use assize_store::Store;
use assize_store::keys::NewKey;
use clap::builder::{PossibleValuesParser, TypedValueParser};

const EXAMPLES: &str = "\
EXAMPLES:
  assize key create --org acme --role submit --label \"learning platform\"
  assize key create --org acme --role read --expires-in 30d --json | jq -r .key
  assize key list --org acme
  assize key revoke 01936f2e-7c1a-7000-8000-000000000001";

/// Parses a role, and lists all roles in the help.
fn role() -> impl TypedValueParser<Value = KeyRole> {
    PossibleValuesParser::new(KeyRole::ALL.iter().map(|role| role.as_str())).try_map(|name| name.parse())
}

/// Create, list and revoke API keys, and manage the signing keys.
///
/// The command uses the database directly (database_direct_url), so it needs no API key.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Key {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, clap::Subcommand)]
enum KeyCommand {
    Create(Create),
    List(List),
    Revoke(Revoke),
    Signing(signing::Signing),
}

/// Create a key and print it. It cannot be shown again, because only a hash of it is stored.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Create {
    /// Create the key for this organisation, which is created if it does not exist.
    #[arg(long, value_name = "NAME", value_parser = organization)]
    org: String,
    /// Allow the holder of the key what this role allows.
    #[arg(long, value_parser = role())]
    role: KeyRole,
    /// Store this note with the key.
    #[arg(long, default_value = "", hide_default_value = true)]
    label: String,
    /// Let the key expire after this time, such as 12h, 30d or 52w. Without it, the key does not expire.
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires_in: Option<Duration>,
    /// Print the key as JSON.
    #[arg(long)]
    json: bool,
}

/// List the keys, oldest first. Secrets are not shown, because they are not stored.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct List {
    /// List only the keys of this organisation.
    #[arg(long, value_name = "NAME")]
    org: Option<String>,
    /// Print the keys as JSON.
    #[arg(long)]
    json: bool,
}

/// Revoke a key. Requests with it are rejected from now on.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Revoke {
    /// The id of the key, as `assize key list` shows it.
    id: Uuid,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Fault`] with a message for the user.
pub async fn run(command: Key, config: Config) -> Outcome {
    let store = Store::open(config.owner_database_url(), 2).map_err(fault::store)?;
    store.check_schema().await.map_err(fault::store)?;
    match command.command {
        KeyCommand::Create(create) => run_create(create, &store).await,
        KeyCommand::List(list) => run_list(list, &store).await,
        KeyCommand::Revoke(revoke) => run_revoke(revoke, &store).await,
        KeyCommand::Signing(command) => signing::run(command, &config.signing_key_file, &store).await,
    }
}

async fn run_create(create: Create, store: &Store) -> Outcome {
    let length = create.label.chars().count();
    if length > 200 {
        return Err(Fault::usage(format!("--label has {length} characters, and the limit is 200; shorten it")));
    }
    let organization_id = store.ensure_organization(&create.org).await.map_err(fault::store)?;
    let expires_at = create.expires_in.map(|time| Clock::system().wall() + time);
    let minted = key::mint();
    let new = NewKey {
        id: minted.id,
        organization_id,
        role: create.role,
        secret_sha256: &minted.secret_sha256,
        label: &create.label,
        expires_at,
    };
    store.insert_key(new).await.map_err(fault::store)?;
    if create.json {
        terminal::json(&serde_json::json!({
            "id": minted.id, "organization": create.org, "role": create.role, "label": create.label,
            "expires_at": expires_at, "key": minted.text(),
        }));
        return Ok(Exit::Success);
    }
    Terminal::stdout().line(minted.text());
    let until = expires_at.map_or_else(String::new, |at| format!(", until {}", at.format("%F %T UTC")));
    let note = format!("a key for {} with the role {}{until}; it is not shown again", create.org, create.role);
    Terminal::stderr().line(Terminal::stderr().paint(Style::Dim, note));
    Ok(Exit::Success)
}

async fn run_list(list: List, store: &Store) -> Outcome {
    let keys = store.list_keys(list.org.as_deref()).await.map_err(fault::store)?;
    if list.json {
        terminal::json(&keys);
        return Ok(Exit::Success);
    }
    let terminal = Terminal::stdout();
    if keys.is_empty() {
        terminal.line("no keys; create one with `assize key create`");
        return Ok(Exit::Success);
    }
    let now = Clock::system().wall();
    let rows = keys.into_iter().map(|key| {
        let state = match (key.revoked_at, key.expires_at) {
            (Some(_), _) => (Style::Bad, "revoked".to_owned()),
            (None, Some(at)) if at <= now => (Style::Warn, "expired".to_owned()),
            (None, Some(at)) => (Style::Plain, format!("until {}", at.format("%F %T"))),
            (None, None) => (Style::Good, "valid".to_owned()),
        };
        vec![
            (Style::Plain, key.id.to_string()),
            (Style::Plain, key.organization),
            (Style::Plain, key.role.to_string()),
            state,
            (Style::Dim, key.created_at.format("%F %T").to_string()),
            (Style::Plain, printable(&key.label)),
        ]
    });
    terminal.table(&["id", "organisation", "role", "state", "created (UTC)", "label"], rows.collect());
    Ok(Exit::Success)
}

async fn run_revoke(revoke: Revoke, store: &Store) -> Outcome {
    let revoked = store.revoke_key(revoke.id).await.map_err(fault::store)?;
    if revoke.json {
        terminal::json(&serde_json::json!({ "id": revoke.id, "revoked": revoked }));
    } else if revoked {
        Terminal::stdout().line(format!("key {} is revoked", revoke.id));
    }
    if revoked || revoke.json {
        return Ok(if revoked { Exit::Success } else { Exit::Usage });
    }
    Err(Fault::usage(format!("no valid key has the id {}; `assize key list` lists the keys", revoke.id)))
}

/// Parses the name of an organisation, as the database allows it.
fn organization(name: &str) -> Result<String, String> {
    let first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let rest = |c: char| first(c) || matches!(c, '.' | '_' | '-');
    let is_one = name.chars().next().is_some_and(first) && name.chars().all(rest) && name.len() <= 63;
    if is_one {
        Ok(name.to_owned())
    } else {
        Err("it must be 1 to 63 characters of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit".to_owned())
    }
}

/// Parses a lifetime: a number and a unit.
fn lifetime(text: &str) -> Result<Duration, String> {
    const DAY: u64 = 86_400;
    const MAX_SECONDS: u64 = 100 * 366 * DAY;
    let wrong = || "it must be a number and one of m, h, d, w, as in 30d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        'm' => 60,
        'h' => 3600,
        'd' => DAY,
        'w' => 7 * DAY,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    match count.checked_mul(seconds) {
        Some(seconds @ 1..=MAX_SECONDS) => Ok(Duration::from_secs(seconds)),
        _ => Err("it must be more than 0 and at most 100 years".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_a_number_and_a_unit() {
        assert_eq!(lifetime("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(lifetime("90m"), Ok(Duration::from_secs(5400)));
        for wrong in ["", "d", "30", "30x", "-1d", "0d", "99999999999999999999d", "1000000w", "3ö"] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_organisation_is_named_as_the_table_allows() {
        assert!(["a", "0-x", "acme.edu_1"].iter().all(|name| organization(name).is_ok()));
        assert!(["", "-a", "A", "a b", "ä", &"a".repeat(64)].iter().all(|name| organization(name).is_err()));
    }
}
