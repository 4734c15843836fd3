//! `assize doctor`: checks whether this host, with these settings, enforces what assize promises.

mod advice;
mod attack;
mod cells;
mod database;
mod egress;
mod engine;
mod memory;
mod services;
mod warden;

use std::path::Path;

use serde::Serialize;

use self::advice::Advised;
use crate::template::Templates;
use assize_client::outcome::{Exit, Outcome};
use assize_client::terminal::{self, Style, Terminal};
use assize_config::{Config, ConfigError};

const EXAMPLES: &str = "\
EXAMPLES:
  assize doctor
  assize doctor --config /etc/assize/assize.toml
  assize doctor --json | jq '.checks[] | select(.level == \"fail\")'
  assize doctor --attack                       (every hostile case, in a separate installation)
  assize doctor --attack --only 'code/*warden*'
  assize doctor --attack --list";

/// Check that this host can run assize.
///
/// The command checks the settings, Postgres, Redis, the blob store, the disk, the templates and Docker. Then it
/// starts a cell with the limits of each template and tries, from inside the cell, to exceed each limit. For each
/// check it prints what was observed and what to do. The exit code is 0 if no check failed, otherwise 5.
///
/// With --attack, the command starts a separate installation on the engine of this host, attacks it with hostile
/// archives, code, reports and requests, and prints what stopped each of them. The exit code is then 0 if all cases
/// were contained, 1 if one was not, and 2 if the result of a case is unknown.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Doctor {
    /// Print all checks as JSON.
    #[arg(long)]
    json: bool,
    /// Skip the checks inside cells. No container is started.
    #[arg(long)]
    no_cells: bool,
    #[command(flatten)]
    attack: attack::AttackOptions,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// One check: its name, its result, what was observed, and what to do.
#[derive(Debug, Clone, Serialize)]
struct Check {
    level: Level,
    what: String,
    seen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    todo: Option<String>,
}

/// The checks so far. Each is printed as soon as its result is known.
#[derive(Debug)]
pub(in crate::cli) struct Report {
    terminal: Option<Terminal>,
    checks: Vec<Check>,
}

impl Report {
    fn new(as_json: bool) -> Self {
        Self { terminal: (!as_json).then(Terminal::stdout), checks: Vec::new() }
    }

    fn ok(&mut self, what: &str, seen: impl Into<String>) {
        self.add(Check { level: Level::Ok, what: what.to_owned(), seen: seen.into(), todo: None });
    }

    fn warn(&mut self, what: &str, seen: impl Into<String>, todo: &str) {
        self.add(Check { level: Level::Warn, what: what.to_owned(), seen: seen.into(), todo: Some(todo.to_owned()) });
    }

    fn fail(&mut self, what: &str, seen: impl Into<String>, todo: &str) {
        self.add(Check { level: Level::Fail, what: what.to_owned(), seen: seen.into(), todo: Some(todo.to_owned()) });
    }

    /// Adds a failed check for an error, with the advice that the error has.
    fn fault(&mut self, what: &str, error: &impl Advised) {
        let (seen, todo) = (error.problem(), error.advice());
        self.add(Check { level: Level::Fail, what: what.to_owned(), seen, todo });
    }

    /// Adds a failed check for an error that concerns these templates.
    fn fault_in(&mut self, what: &str, owners: &str, error: &impl Advised) {
        let (seen, todo) = (format!("{owners}: {}", error.problem()), error.advice());
        self.add(Check { level: Level::Fail, what: what.to_owned(), seen, todo });
    }

    fn add(&mut self, check: Check) {
        if let Some(terminal) = self.terminal {
            let (style, sign) = match check.level {
                Level::Ok => (Style::Good, "ok  "),
                Level::Warn => (Style::Warn, "warn"),
                Level::Fail => (Style::Bad, "FAIL"),
            };
            let seen = check.seen.lines().map(terminal::printable).collect::<Vec<_>>().join(" ");
            let todo = check.todo.as_ref().map_or_else(String::new, |todo| format!("  -> {todo}"));
            terminal.line(format!("{}  {:<14} {seen}{todo}", terminal.paint(style, sign), check.what));
        }
        self.checks.push(check);
    }

    fn count(&self, level: Level) -> usize {
        self.checks.iter().filter(|check| check.level == level).count()
    }
}

/// Runs the command. Settings that cannot be read are a failed check here.
///
/// # Errors
/// [`assize_client::outcome::Fault`] if the attack cannot be started. Failed checks are in the report instead.
pub async fn run(command: Doctor, config: Result<Config, ConfigError>, config_file: Option<&Path>) -> Outcome {
    if command.attack.is_asked_for() {
        return attack::run(&command.attack, command.json, config, config_file).await;
    }
    let mut report = Report::new(command.json);
    match config {
        Ok(config) => {
            report.ok("settings", super::config::sources(config_file).join(", "));
            examine(&command, &config, &mut report).await;
        }
        Err(error) => report.fault("settings", &error),
    }
    let (failed, warned) = (report.count(Level::Fail), report.count(Level::Warn));
    if let Some(terminal) = report.terminal {
        let (style, text) = match (failed, warned) {
            (0, 0) => (Style::Good, format!("all {} checks are ok", report.checks.len())),
            (0, _) => (Style::Warn, format!("this host can run assize; warnings: {warned}")),
            _ => (Style::Bad, format!("this host cannot run assize; failed checks: {failed}")),
        };
        terminal.line(terminal.paint(style, text));
    } else {
        terminal::json(&serde_json::json!({ "ok": failed == 0, "checks": report.checks }));
    }
    Ok(if failed == 0 { Exit::Success } else { Exit::Infrastructure })
}

async fn examine(command: &Doctor, config: &Config, report: &mut Report) {
    services::postgres(config, report).await;
    let session = database::examine(config, report).await;
    memory::examine(config, session.as_ref(), report);
    services::redis(config, report).await;
    services::blobs(config, report).await;
    services::spool(config, report);
    services::signing_key(config, report);
    let templates = match Templates::load(&config.templates_dir) {
        Ok(templates) => {
            report.ok("templates", format!("{} in {}", templates.names(), config.templates_dir.display()));
            templates
        }
        Err(error) => {
            report.fault("templates", &error);
            Templates::default()
        }
    };
    egress::examine(config, &templates, report).await;
    let Some(engine) = engine::examine(config, &templates, report).await else { return };
    if !command.no_cells {
        cells::examine(engine, config, &templates, report).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::RedisError;
    use assize_store::StoreError;

    #[test]
    fn the_advice_of_an_error_is_a_field_of_its_check() {
        let mut report = Report { terminal: None, checks: Vec::new() };
        report.fault("redis", &RedisError::late(std::time::Duration::from_millis(5)));
        report.fault("postgres", &StoreError::Address("gone; away".to_owned()));
        assert_eq!(report.checks[0].seen, "Redis did not answer: nothing within 5 ms");
        assert_eq!(report.checks[0].todo.as_deref(), Some("check that it runs and that redis_url is right"));
        let second = &report.checks[1];
        assert_eq!((second.seen.as_str(), &second.todo), ("database_url is not a Postgres address: gone; away", &None));
    }

    #[test]
    fn a_warning_is_not_a_failure() {
        let mut report = Report { terminal: None, checks: Vec::new() };
        report.ok("a", "1");
        report.warn("b", "2", "look");
        assert_eq!((report.count(Level::Fail), report.count(Level::Warn)), (0, 1));
        let json = serde_json::to_value(&report.checks).unwrap();
        assert_eq!(json[1], serde_json::json!({ "level": "warn", "what": "b", "seen": "2", "todo": "look" }));
    }
}
