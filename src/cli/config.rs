//! `assize config`: checks the settings without starting anything.

use std::path::Path;

use assize_client::outcome::{Exit, Outcome};
use assize_client::terminal::{self, Terminal};
use assize_config::{Config, SettingsFiles};

const EXAMPLES: &str =
    "EXAMPLES:\n  assize config check --config /etc/assize/assize.toml\n  assize config check --json";

/// Check the settings without starting anything.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ConfigCommand {
    #[command(subcommand)]
    command: ConfigSubcommand,
}

#[derive(Debug, clap::Subcommand)]
enum ConfigSubcommand {
    Check(Check),
}

/// Check that every setting is known, has the right type and is in its range.
///
/// Nothing is started, and no service is asked. The check names the sources that this version of the program reads: the
/// file, the file of this version in assize.d, the credentials, and the environment variables. Exit code 0: the
/// settings can be used. 2: they cannot, and the message names the source, the setting, and what it must be.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Check {
    /// Print the sources as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`assize_client::outcome::Fault`] of wrong usage, if a setting cannot be used.
pub fn run(command: &ConfigCommand, file: Option<&Path>) -> Outcome {
    let ConfigSubcommand::Check(check) = &command.command;
    Config::load(file)?;
    let sources = sources(file);
    if check.json {
        terminal::json(&serde_json::json!({ "ok": true, "version": env!("CARGO_PKG_VERSION"), "sources": sources }));
    } else {
        Terminal::stdout().line(format!("the settings are right; they come from {}", sources.join(", ")));
    }
    Ok(Exit::Success)
}

/// Returns what the settings are read from, in the order in which each source overrides those before it. No value is
/// named.
pub(super) fn sources(file: Option<&Path>) -> Vec<String> {
    let SettingsFiles { file, version_file, credentials } = SettingsFiles::find(file);
    let mut sources =
        vec![file.map_or_else(|| "defaults (no assize.toml here)".to_owned(), |file| file.display().to_string())];
    sources.extend(version_file.map(|file| file.display().to_string()));
    sources.extend(credentials.iter().map(|(key, _)| format!("credential {key}")));
    let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut variables: Vec<String> = variables.filter(|name| name.starts_with("ASSIZE_")).collect();
    variables.sort();
    sources.extend(variables);
    sources
}
