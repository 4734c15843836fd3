//! The report about a run with a violation: its events, its cells, and the log lines that contain its id.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use uuid::Uuid;

use super::cells::ContainerLifetime;
use super::history::History;

/// The largest number of log lines in a report.
const LINES: usize = 200;

pub fn write(run: Uuid, history: &History, lifetimes: &BTreeMap<String, ContainerLifetime>, logs: &Path) -> String {
    let mut report = format!("run {run}\n");
    let mut append = |line: String| writeln!(report, "  {line}").ok();
    if let Some(row) = history.rows.get(&run) {
        append(format!(
            "submission {} number {:?} attempt {} crashes {}",
            row.submission,
            row.number(),
            row.attempt,
            row.crashes
        ));
    }
    for event in history.events.get(&run).into_iter().flatten() {
        let from = event.from_status.as_deref().unwrap_or("-");
        let (phase, code) = (event.phase.as_deref().unwrap_or(""), event.failure_code.as_deref().unwrap_or(""));
        let why = event.evidence.as_ref().and_then(|evidence| evidence["message"].as_str()).unwrap_or("");
        append(format!(
            "{} #{} attempt {} {from} -> {} {phase} {code} {why}",
            event.at.format("%T%.3f"),
            event.id,
            event.attempt,
            event.to_status
        ));
    }
    for (id, lifetime) in lifetimes.iter().filter(|(_, lifetime)| lifetime.run == Some(run)) {
        let at =
            |at: Option<chrono::DateTime<chrono::Utc>>| at.map_or("-".to_owned(), |at| at.format("%T%.3f").to_string());
        let unseen = if lifetime.died_unseen { " (unseen)" } else { "" };
        append(format!(
            "cell {} {} attempt {}: created {} started {} died {}{unseen} removed {}",
            &id[..12.min(id.len())],
            lifetime.role,
            lifetime.attempt,
            at(lifetime.created),
            at(lifetime.started),
            at(lifetime.died),
            at(lifetime.removed)
        ));
    }
    let (spelled, simple) = (run.to_string(), run.simple().to_string());
    let mut lines: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(logs).into_iter().flatten().filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = std::fs::read(entry.path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let ours = text.lines().filter(|line| line.contains(&spelled) || line.contains(&simple));
        lines.extend(ours.map(|line| format!("{line} [{name}]")));
    }
    // Each line begins with its time, so sorting puts the lines of all logs in order.
    lines.sort();
    for line in lines.into_iter().take(LINES) {
        append(line);
    }
    report
}
