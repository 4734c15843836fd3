//! How a run ended: its verdict, or whose fault it was that there is none.

use super::{Failed, Run, ink_of, points};
use crate::screen::{Ink, Screen, printable, shorten};
use assize_domain::run::Cause;
use assize_domain::verdict::{Integrity, TestStatus, Verdict};

/// Lines of the last output that are shown with a failure.
const SHOWN_LAST_OUTPUT: usize = 20;

/// How a run ended.
pub fn conclude(screen: Screen, run: &Run, verdict: Option<&Verdict>) {
    screen.line("");
    match (verdict, &run.failure) {
        (Some(verdict), _) => tell_verdict(screen, run, verdict),
        (None, Some(failed)) => tell_failure(screen, run, failed),
        (None, None) => screen.line(format!("run {} is {}", run.id, run.whereabouts())),
    }
}

fn tell_verdict(screen: Screen, run: &Run, verdict: &Verdict) {
    let rows = verdict.tests.iter().map(|test| {
        let ink = match test.status {
            TestStatus::Passed => Ink::Good,
            TestStatus::Failed | TestStatus::Errored => Ink::Bad,
            TestStatus::Skipped | TestStatus::Pending | TestStatus::Other => Ink::Warn,
        };
        let message = test.message.as_deref().unwrap_or_default();
        let first = message.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        vec![
            (Ink::Plain, printable(&test.name)),
            (ink, test.status.as_str().to_owned()),
            (Ink::Plain, format!("{}/{}", points(test.score), points(test.max_score))),
            (Ink::Dim, test.duration_ms.map_or_else(String::new, |ms| ms.to_string())),
            (Ink::Dim, shorten(&printable(first.trim()), 200)),
        ]
    });
    screen.table(&["test", "status", "score", "ms", "message"], rows.collect());
    let total = format!("{} of {} points", points(verdict.score), points(verdict.max_score));
    let ink = if verdict.all_passed() { Ink::Good } else { Ink::Bad };
    let counts = [TestStatus::Passed, TestStatus::Failed, TestStatus::Errored, TestStatus::Skipped]
        .into_iter()
        .filter_map(|status| Some((status, verdict.count(status))).filter(|(_, count)| *count > 0))
        .map(|(status, count)| format!("{count} {}", status.as_str()))
        .collect::<Vec<_>>()
        .join(", ");
    let took = run.took().map_or_else(String::new, |took| format!("  in {took}"));
    screen.line(format!("{}  {counts}{took}", screen.paint(ink, total)));
    let integrity = match verdict.integrity {
        Integrity::Isolated => "integrity: isolated (the tests ran in a cell of their own, out of the project's reach)",
        Integrity::Shared => {
            "integrity: shared (the tests ran inside the project's process, which could have forged them)"
        }
    };
    screen.line(screen.paint(Ink::Dim, integrity));
}

fn tell_failure(screen: Screen, run: &Run, failed: &Failed) {
    let whose = match failed.cause {
        Cause::Submission => "the project's own fault",
        Cause::Grader => "a fault of the template or its tests, not of the project",
        Cause::Infrastructure => "a fault of the infrastructure, not of the project",
        Cause::Platform => "someone asked for it",
    };
    let took = run.took().map_or_else(String::new, |took| format!("  after {took}"));
    let head = format!("{}: {}", run.whereabouts(), failed.code);
    screen.line(format!("{}  ({whose}){took}", screen.paint(ink_of(run.status), head)));
    let Some(evidence) = &failed.evidence else { return };
    if !evidence.message.is_empty() {
        evidence.message.lines().for_each(|line| screen.line(format!("  {}", printable(line))));
    }
    let facts = [
        evidence.stage.map(|stage| format!("stage {stage}")),
        evidence.exit_code.map(|code| format!("exit code {code}")),
        evidence.signal.map(|signal| format!("signal {signal}")),
    ];
    let facts = facts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    if !facts.is_empty() {
        screen.line(screen.paint(Ink::Dim, format!("  {facts}")));
    }
    if let Some(last) = &evidence.last_output {
        let lines: Vec<&str> = last.lines().collect();
        screen.line("  its last output:");
        for line in &lines[lines.len().saturating_sub(SHOWN_LAST_OUTPUT)..] {
            screen.line(screen.paint(Ink::Dim, format!("  | {}", printable(line))));
        }
    }
}
