//! The report of an attack: a line for each case as its outcome arrives, and the summary.

use std::collections::HashMap;

use serde_json::json;

use assize_attack::case::{Case, CaseOutcome, CaseResult, Group};
use assize_client::outcome::Exit;
use assize_client::terminal::{self, Style, Terminal, printable, shorten};
use assize_host::clock::Stopwatch;

/// Characters of a line where the width of the terminal is unknown.
const COLUMNS: usize = 150;

/// The outcomes so far, and how to print them.
pub(super) struct AttackReport {
    terminal: Terminal,
    as_json: bool,
    cases: Vec<Case>,
    outcomes: HashMap<String, CaseOutcome>,
    begun: Stopwatch,
    /// Whether the last line of the terminal shows the progress and must be overwritten.
    has_progress: bool,
}

impl AttackReport {
    pub(super) fn new(terminal: Terminal, as_json: bool, cases: Vec<Case>) -> Self {
        Self { terminal, as_json, cases, outcomes: HashMap::new(), begun: Stopwatch::start(), has_progress: false }
    }

    /// Records and prints a result. The first outcome of a case counts, unless a later one is worse.
    pub(super) fn record(&mut self, result: CaseResult) {
        let CaseResult { case, outcome } = result;
        let worse = match self.outcomes.get(&case.id) {
            None => true,
            Some(before) => severity(&outcome) > severity(before),
        };
        if worse {
            self.line(&case, &outcome);
            self.outcomes.insert(case.id, outcome);
            self.progress();
        }
    }

    fn line(&mut self, case: &Case, outcome: &CaseOutcome) {
        let columns = self.terminal.size().map_or(COLUMNS, |(columns, _)| usize::from(columns));
        let (style, sign) = sign_of(outcome);
        let left = columns.saturating_sub(12 + 38 + 3);
        let tried = shorten(&case.tried, left / 2);
        let seen = shorten(&printable(outcome.seen()), left.saturating_sub(tried.chars().count() + 4));
        self.clear();
        self.terminal.line(format!(
            "{} {:<38} {tried} {} {seen}",
            self.terminal.paint(style, format!("{sign:<9}")),
            shorten(&case.id, 38),
            self.terminal.paint(Style::Dim, "->")
        ));
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.has_progress) {
            self.terminal.raw("\r\x1b[2K");
        }
    }

    fn progress(&mut self) {
        if !self.terminal.is_terminal() {
            return;
        }
        let groups = Group::ALL.iter().filter_map(|group| {
            let in_group: Vec<&Case> = self.cases.iter().filter(|case| case.group == *group).collect();
            let done = in_group.iter().filter(|case| self.outcomes.contains_key(&case.id)).count();
            (!in_group.is_empty()).then(|| format!("{} {done}/{}", group.as_str(), in_group.len()))
        });
        let text = groups.collect::<Vec<_>>().join("  ");
        let columns = self.terminal.size().map_or(80, |(columns, _)| usize::from(columns));
        self.terminal.raw(&self.terminal.paint(Style::Dim, shorten(&text, columns.saturating_sub(1))));
        self.has_progress = true;
    }

    fn count(&self, severity_of: u8) -> usize {
        self.outcomes.values().filter(|outcome| severity(outcome) == severity_of).count()
    }

    /// Prints the summary and returns the exit code. A case without an outcome is inconclusive.
    pub(super) fn conclude(mut self) -> Exit {
        for case in self.cases.clone() {
            if !self.outcomes.contains_key(&case.id) {
                self.record(CaseResult {
                    case,
                    outcome: CaseOutcome::Inconclusive("the case reported no outcome".to_owned()),
                });
            }
        }
        self.clear();
        let (contained, inconclusive, escaped) = (self.count(0), self.count(1), self.count(2));
        let took = self.begun.elapsed().as_secs();
        if self.as_json {
            let results = self.cases.iter().filter_map(|case| {
                let outcome = self.outcomes.get(&case.id)?.clone();
                Some(CaseResult { case: case.clone(), outcome })
            });
            terminal::json(&json!({
                "ok": escaped == 0 && inconclusive == 0,
                "contained": contained, "escaped": escaped, "inconclusive": inconclusive, "seconds": took,
                "cases": results.collect::<Vec<_>>(),
            }));
        }
        let all = self.cases.len();
        let (style, text, exit) = match (escaped, inconclusive) {
            (0, 0) => (Style::Good, format!("all {all} cases were contained, in {took} s"), Exit::Success),
            (0, _) => (
                Style::Warn,
                format!("{contained} of {all} cases were contained, {inconclusive} were inconclusive, in {took} s"),
                Exit::Usage,
            ),
            _ => (
                Style::Bad,
                format!("{escaped} of {all} cases were NOT contained, {inconclusive} were inconclusive, in {took} s"),
                Exit::TestsFailed,
            ),
        };
        self.terminal.line(self.terminal.paint(style, text));
        exit
    }
}

const fn severity(outcome: &CaseOutcome) -> u8 {
    match outcome {
        CaseOutcome::Contained(_) => 0,
        CaseOutcome::Inconclusive(_) => 1,
        CaseOutcome::Escaped(_) => 2,
    }
}

const fn sign_of(outcome: &CaseOutcome) -> (Style, &'static str) {
    match outcome {
        CaseOutcome::Contained(_) => (Style::Good, "contained"),
        CaseOutcome::Inconclusive(_) => (Style::Warn, "inconclusive"),
        CaseOutcome::Escaped(_) => (Style::Bad, "NOT"),
    }
}

/// Prints the list of cases and tries none of them.
pub(super) fn list(cases: &[Case], as_json: bool) {
    if as_json {
        return terminal::json(&cases);
    }
    let rows = cases.iter().map(|case| {
        [case.id.clone(), case.tried.clone(), case.control.clone()]
            .map(|text| (Style::Plain, printable(&text)))
            .to_vec()
    });
    let terminal = Terminal::stdout();
    terminal.table(&["case", "what is tried", "what must stop it"], rows.collect());
    terminal.line(format!("{} cases", cases.len()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(name: &str, outcome: CaseOutcome) -> CaseResult {
        CaseResult { case: Case::new(Group::Code, name, "tries", "control"), outcome }
    }

    fn concluded(results: Vec<CaseResult>) -> Exit {
        let cases = ["a", "b"].map(|name| Case::new(Group::Code, name, "tries", "control")).to_vec();
        let mut report = AttackReport::new(Terminal::stderr(), false, cases);
        results.into_iter().for_each(|result| report.record(result));
        report.conclude()
    }

    #[test]
    fn only_if_all_were_contained_the_exit_code_is_0() {
        let good = |name| result(name, CaseOutcome::Contained("EPERM".to_owned()));
        let bad = |name| result(name, CaseOutcome::Escaped("done".to_owned()));
        assert_eq!(concluded(vec![good("a"), good("b")]), Exit::Success);
        assert_eq!(concluded(vec![good("a"), bad("b")]), Exit::TestsFailed);
        assert_eq!(concluded(vec![good("a"), good("b"), bad("a")]), Exit::TestsFailed, "a later outcome is worse");
        assert_eq!(concluded(vec![bad("a"), good("a"), good("b")]), Exit::TestsFailed, "nothing heals an escape");
        assert_eq!(concluded(vec![good("a")]), Exit::Usage, "one case has no outcome");
    }
}
