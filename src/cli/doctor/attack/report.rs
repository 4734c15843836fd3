//! The report of an attack: each case with its result, and the summary.

use std::collections::HashMap;
use std::time::Instant;

use serde_json::json;

use assize_attack::case::{Case, Finding, Group, Judgement};
use assize_client::outcome::Exit;
use assize_client::terminal::{self, Style, Terminal, printable, shorten};
use assize_host::clock;

/// The width of a line, in characters, where the output is not a terminal.
const COLUMNS: usize = 150;

/// The results so far. Each case is printed when its result is known.
pub(super) struct AttackReport {
    terminal: Terminal,
    as_json: bool,
    cases: Vec<Case>,
    judged: HashMap<String, Judgement>,
    begun: Instant,
    /// Whether the last line on the terminal shows the progress and must be overwritten.
    has_progress: bool,
}

impl AttackReport {
    pub(super) fn new(terminal: Terminal, as_json: bool, cases: Vec<Case>) -> Self {
        Self { terminal, as_json, cases, judged: HashMap::new(), begun: clock::monotonic(), has_progress: false }
    }

    /// Records a finding. The first judgement of a case counts, unless a later one is worse.
    pub(super) fn record(&mut self, finding: Finding) {
        let Finding { case, judgement } = finding;
        let worse = match self.judged.get(&case.id) {
            None => true,
            Some(before) => severity(&judgement) > severity(before),
        };
        if worse {
            self.line(&case, &judgement);
            self.judged.insert(case.id, judgement);
            self.progress();
        }
    }

    fn line(&mut self, case: &Case, judgement: &Judgement) {
        let columns = self.terminal.size().map_or(COLUMNS, |(columns, _)| usize::from(columns));
        let (style, sign) = sign_of(judgement);
        let left = columns.saturating_sub(12 + 38 + 3);
        let tried = shorten(&case.tried, left / 2);
        let seen = shorten(&printable(judgement.seen()), left.saturating_sub(tried.chars().count() + 4));
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
            let of: Vec<&Case> = self.cases.iter().filter(|case| case.group == *group).collect();
            let done = of.iter().filter(|case| self.judged.contains_key(&case.id)).count();
            (!of.is_empty()).then(|| format!("{} {done}/{}", group.as_str(), of.len()))
        });
        let text = groups.collect::<Vec<_>>().join("  ");
        let columns = self.terminal.size().map_or(80, |(columns, _)| usize::from(columns));
        self.terminal.raw(&self.terminal.paint(Style::Dim, shorten(&text, columns.saturating_sub(1))));
        self.has_progress = true;
    }

    fn count(&self, severity_of: u8) -> usize {
        self.judged.values().filter(|judgement| severity(judgement) == severity_of).count()
    }

    /// Prints the summary and returns the exit code. A case without a finding counts as unjudged.
    pub(super) fn finish(mut self) -> Exit {
        for case in self.cases.clone() {
            if !self.judged.contains_key(&case.id) {
                self.record(Finding { case, judgement: Judgement::Unjudged("no finding was reported".to_owned()) });
            }
        }
        self.clear();
        let (contained, unjudged, escaped) = (self.count(0), self.count(1), self.count(2));
        let took = self.begun.elapsed().as_secs();
        if self.as_json {
            let findings = self.cases.iter().filter_map(|case| {
                let judgement = self.judged.get(&case.id)?.clone();
                Some(Finding { case: case.clone(), judgement })
            });
            terminal::json(&json!({
                "ok": escaped == 0 && unjudged == 0,
                "contained": contained, "escaped": escaped, "unjudged": unjudged, "seconds": took,
                "cases": findings.collect::<Vec<_>>(),
            }));
        }
        let all = self.cases.len();
        let (style, text, exit) = match (escaped, unjudged) {
            (0, 0) => (Style::Good, format!("all {all} cases were contained, in {took} s"), Exit::Success),
            (0, _) => (
                Style::Warn,
                format!("{contained} of {all} cases were contained, {unjudged} could not be judged, in {took} s"),
                Exit::Usage,
            ),
            _ => (
                Style::Bad,
                format!("{escaped} of {all} cases were NOT contained, {unjudged} could not be judged, in {took} s"),
                Exit::TestsFailed,
            ),
        };
        self.terminal.line(self.terminal.paint(style, text));
        exit
    }
}

const fn severity(judgement: &Judgement) -> u8 {
    match judgement {
        Judgement::Contained(_) => 0,
        Judgement::Unjudged(_) => 1,
        Judgement::Escaped(_) => 2,
    }
}

const fn sign_of(judgement: &Judgement) -> (Style, &'static str) {
    match judgement {
        Judgement::Contained(_) => (Style::Good, "contained"),
        Judgement::Unjudged(_) => (Style::Warn, "unjudged"),
        Judgement::Escaped(_) => (Style::Bad, "NOT"),
    }
}

/// Prints the cases without running them.
pub(super) fn list(cases: &[Case], as_json: bool) {
    if as_json {
        return terminal::json(&cases);
    }
    let rows = cases.iter().map(|case| {
        [case.id.clone(), case.tried.clone(), case.wall.clone()].map(|text| (Style::Plain, printable(&text))).to_vec()
    });
    let terminal = Terminal::stdout();
    terminal.table(&["case", "what is tried", "what must stop it"], rows.collect());
    terminal.line(format!("{} cases", cases.len()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(name: &str, judgement: Judgement) -> Finding {
        Finding { case: Case::new(Group::Code, name, "tries", "wall"), judgement }
    }

    fn concluded(findings: Vec<Finding>) -> Exit {
        let cases = ["a", "b"].map(|name| Case::new(Group::Code, name, "tries", "wall")).to_vec();
        let mut report = AttackReport::new(Terminal::stderr(), false, cases);
        findings.into_iter().for_each(|finding| report.record(finding));
        report.finish()
    }

    #[test]
    fn only_if_all_were_contained_the_exit_code_is_0() {
        let good = |name| finding(name, Judgement::Contained("EPERM".to_owned()));
        let bad = |name| finding(name, Judgement::Escaped("done".to_owned()));
        assert_eq!(concluded(vec![good("a"), good("b")]), Exit::Success);
        assert_eq!(concluded(vec![good("a"), bad("b")]), Exit::TestsFailed);
        assert_eq!(concluded(vec![good("a"), good("b"), bad("a")]), Exit::TestsFailed, "a later look found more");
        assert_eq!(concluded(vec![bad("a"), good("a"), good("b")]), Exit::TestsFailed, "nothing heals an escape");
        assert_eq!(concluded(vec![good("a")]), Exit::Usage, "one case has no finding");
    }
}
