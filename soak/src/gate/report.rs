//! The report of a gate as Markdown.

use std::fmt::Write;

use super::conditions::{Clocks, Condition, Outcome};
use super::planted::Finding;
use super::thresholds;
use crate::recording::Recording;
use crate::tables;

/// Returns the report. `plots` are the names of the charts.
pub fn markdown(
    recording: &Recording,
    conditions: &[Condition],
    findings: &[Finding],
    plots: &[&str],
    files: &[(String, String)],
) -> String {
    let head = &recording.head;
    let host = &head.host;
    let mut text = format!("# Readiness of assize\n\n**{}**\n\n", summary(conditions, findings));
    let time = |at: chrono::DateTime<chrono::Utc>| at.format("%F %T UTC").to_string();
    let templates: Vec<String> = head.templates.iter().map(|(class, name)| format!("{class}: {name}")).collect();
    let mut rows = vec![
        ["clocks", &Clocks::of_recording(recording).text()].map(str::to_owned).to_vec(),
        [
            "load",
            &format!(
                "`make {}` from {} to {}, seed {}",
                head.command,
                time(head.begun_at),
                time(head.ended_at),
                head.seed
            ),
        ]
        .map(str::to_owned)
        .to_vec(),
        [
            "host",
            &format!("{} processors ({}), {} MiB, kernel {}", host.cpus, host.cpu_model, host.memory_mib, host.kernel),
        ]
        .map(str::to_owned)
        .to_vec(),
        ["engine", &format!("{}, cgroups {}, files on {}", host.engine, host.cgroups, host.file_system)]
            .map(str::to_owned)
            .to_vec(),
        ["Postgres", host.postgres.as_str()].map(str::to_owned).to_vec(),
        ["templates", &templates.join(", ")].map(str::to_owned).to_vec(),
        ["commit", head.commit.as_str()].map(str::to_owned).to_vec(),
    ];
    rows.extend(head.programs.iter().map(|(name, sha256)| vec![format!("`{name}`"), format!("sha256 {sha256}")]));
    rows.push(vec!["thresholds".to_owned(), format!("`soak/thresholds.toml`, sha256 {}", thresholds::sha256())]);
    text += &tables::table(&["", ""], &rows);
    for note in &head.notes {
        write!(text, "\n- {note}").ok();
    }
    text += "\n\n## Conditions\n";
    for (number, condition) in (1..).zip(conditions) {
        let outcome = condition.outcome().text();
        write!(
            text,
            "\n### {number}. {}: {outcome}\n\nClaim: {}.\n\nMethod: {}.\n\n",
            condition.name, condition.claim, condition.method
        )
        .ok();
        let row = |check: &super::conditions::Check| {
            let outcome = match check.outcome {
                Outcome::Passed => "passed".to_owned(),
                other => format!("**{}**: {}", other.text(), check.reason),
            };
            vec![check.name.clone(), check.threshold.clone(), check.value.clone(), outcome]
        };
        let rows: Vec<_> = condition.checks.iter().map(row).collect();
        text += &tables::table(&["check", "required", "seen", "outcome"], &rows);
    }
    text += "\n## Planted faults\n\nEach fault was planted into a copy of the data. The gate must find it.\n\n";
    let row = |finding: &Finding| {
        let found = if finding.found { "found" } else { "**NOT FOUND**: this recording cannot show such a fault" };
        vec![finding.fault.to_owned(), finding.check.clone(), found.to_owned()]
    };
    text += &tables::table(&["fault", "check", "outcome"], &findings.iter().map(row).collect::<Vec<_>>());
    write!(text, "\n## Figures\n\n{}", tables::waves(recording)).ok();
    text += "\n## Injected faults\n\n";
    let rows: Vec<_> =
        recording.faults.iter().map(|fault| vec![time(fault.from), fault.kind.clone(), fault.note.clone()]).collect();
    text += &tables::table(&["time", "fault", "details"], &rows);
    text += "\n## Charts\n\nShaded spans are injected faults.\n\n";
    for plot in plots {
        writeln!(text, "![{0}]({0})\n", plot).ok();
    }
    text += "## Data\n\n";
    let rows: Vec<_> = files.iter().map(|(name, sha256)| vec![format!("`{name}`"), sha256.clone()]).collect();
    text + &tables::table(&["file", "sha256"], &rows)
}

/// Returns the outcome of all conditions in a sentence.
pub fn summary(conditions: &[Condition], findings: &[Finding]) -> String {
    let count = |outcome| conditions.iter().filter(|condition| condition.outcome() == outcome).count();
    let all = conditions.len();
    let mut text = format!(
        "{} of {all} conditions passed, {} failed, {} not shown here.",
        count(Outcome::Passed),
        count(Outcome::Failed),
        count(Outcome::NotShown)
    );
    let found = findings.iter().filter(|finding| finding.found).count();
    write!(text, " {found} of {} planted faults were found.", findings.len()).ok();
    text
}
