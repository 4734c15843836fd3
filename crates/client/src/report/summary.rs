//! The summary of a run that has ended: its verdict, or its failure with the cause.

use super::{Failed, Run, points, style_of};
use crate::terminal::{Style, Terminal, printable, shorten};
use assize_domain::run::Cause;
use assize_domain::verdict::{Integrity, TestStatus, Verdict};

/// The number of lines of the last output that are shown with a failure.
const SHOWN_LAST_OUTPUT: usize = 20;

/// Prints how a run ended.
pub fn print_summary(terminal: Terminal, run: &Run, verdict: Option<&Verdict>) {
    terminal.line("");
    match (verdict, &run.failure) {
        (Some(verdict), _) => print_verdict(terminal, verdict, run.took()),
        (None, Some(failed)) => print_failure(terminal, run, failed),
        (None, None) => terminal.line(format!("run {} is {}", run.id, run.state_text())),
    }
}

/// Prints a verdict, and how long its run took, if that is known.
pub fn print_verdict(terminal: Terminal, verdict: &Verdict, took: Option<String>) {
    let rows = verdict.tests.iter().map(|test| {
        let style = match test.status {
            TestStatus::Passed => Style::Good,
            TestStatus::Failed | TestStatus::Errored => Style::Bad,
            TestStatus::Skipped | TestStatus::Pending | TestStatus::Other => Style::Warn,
        };
        let message = test.message.as_deref().unwrap_or_default();
        let first = message.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        vec![
            (Style::Plain, printable(&test.name)),
            (style, test.status.as_str().to_owned()),
            (Style::Plain, format!("{}/{}", points(test.score), points(test.max_score))),
            (Style::Dim, test.duration_ms.map_or_else(String::new, |ms| ms.to_string())),
            (Style::Dim, shorten(&printable(first.trim()), 200)),
        ]
    });
    terminal.table(&["test", "status", "score", "ms", "message"], rows.collect());
    let total = format!("{} of {} points", points(verdict.score), points(verdict.max_score));
    let style = if verdict.all_passed() { Style::Good } else { Style::Bad };
    let counts = [TestStatus::Passed, TestStatus::Failed, TestStatus::Errored, TestStatus::Skipped]
        .into_iter()
        .filter_map(|status| Some((status, verdict.count(status))).filter(|(_, count)| *count > 0))
        .map(|(status, count)| format!("{count} {}", status.as_str()))
        .collect::<Vec<_>>()
        .join(", ");
    let took = took.map_or_else(String::new, |took| format!("  in {took}"));
    terminal.line(format!("{}  {counts}{took}", terminal.paint(style, total)));
    let integrity = match verdict.integrity {
        Integrity::Isolated => {
            "integrity: isolated (the tests ran in a cell of their own, which the project cannot reach)"
        }
        Integrity::Shared => {
            "integrity: shared (the tests ran inside the project's process, which could have forged them)"
        }
    };
    terminal.line(terminal.paint(Style::Dim, integrity));
    if let Some(output) = &verdict.output {
        terminal.line("");
        output.lines().for_each(|line| terminal.line(printable(line)));
    }
}

fn print_failure(terminal: Terminal, run: &Run, failed: &Failed) {
    let whose = match failed.cause {
        Cause::Submission => "caused by the project",
        Cause::Grader => "caused by the template or its tests, not by the project",
        Cause::Infrastructure => "caused by the infrastructure, not by the project",
        Cause::Platform => "cancelled on request",
    };
    let took = run.took().map_or_else(String::new, |took| format!("  after {took}"));
    let head = format!("{}: {}", run.state_text(), failed.code);
    terminal.line(format!("{}  ({whose}){took}", terminal.paint(style_of(run.status), head)));
    let Some(evidence) = &failed.evidence else { return };
    if !evidence.message.is_empty() {
        evidence.message.lines().for_each(|line| terminal.line(format!("  {}", printable(line))));
    }
    let facts = [
        evidence.stage.map(|stage| format!("stage {stage}")),
        evidence.exit_code.map(|code| format!("exit code {code}")),
        evidence.signal.map(|signal| format!("signal {signal}")),
    ];
    let facts = facts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    if !facts.is_empty() {
        terminal.line(terminal.paint(Style::Dim, format!("  {facts}")));
    }
    if let Some(last) = &evidence.last_output {
        let lines: Vec<&str> = last.lines().collect();
        terminal.line("  last output:");
        for line in &lines[lines.len().saturating_sub(SHOWN_LAST_OUTPUT)..] {
            terminal.line(terminal.paint(Style::Dim, format!("  | {}", printable(line))));
        }
    }
}
