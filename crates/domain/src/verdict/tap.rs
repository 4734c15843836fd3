//! TAP, versions 12 to 14, with nested subtests and YAML diagnostics.
//!
//! What is decided here where the specification leaves room:
//!
//! - The tests are the leaves. A test point that sums up a subtest is not counted again, but where it says `not ok` and
//!   every test below it holds, it is added as a failed test: Node reports so what broke after the last subtest. Where a
//!   test below it failed, the reason that Node gives for a hook is shown with that test.
//! - A subtest stands before its test point, or in braces behind it ([`buffered`]). One that is not closed is an error.
//! - `TODO` takes a test out of the score whichever way it went, `SKIP` too. A `TODO` on a subtest covers all below it.
//!   A subtest whose plan is `1..0` was skipped.
//! - What was planned and did not run is an errored test. So is a test point with a number that was used before (a pass
//!   printed by somebody else's code collides with the real one), and one outside the plan that did not fail: a failure
//!   counts by itself (bats reports so what broke after the last test).
//! - A stream without a plan is refused, since nobody can tell whether it is complete. A subtest may lack one if its
//!   test point is there.
//! - `Bail out!` makes an errored test of whatever was planned and did not run; without a plan the stream is refused.
//! - A last line that is `ok` and has no line end is refused: its `# SKIP` could have been cut off.
//! - Text that is not TAP is let pass; only test points, plans and bail-outs nest.

mod buffered;
mod diagnostics;
mod line;

use self::buffered::{Buffered, Ending};
use self::diagnostics::{Kept, Last, Summed, Yaml};
use self::line::{Directive, Line, Point};
use super::{Format, Integrity, Limits, PATH, ParseError, Test, TestStatus, Verdict, text};
use std::collections::HashSet;

/// The message of a test that was planned and did not run.
const NOT_RUN: &str = "planned but did not run";

/// Begins the message of a test that a bail-out kept from running.
const BAILED_OUT: &str = "did not run: bailed out: ";

/// Columns per level of subtests.
const INDENT: usize = 4;

pub(super) fn parse(report: &str, integrity: Integrity, limits: &Limits) -> Result<Verdict, ParseError> {
    let lines = report.lines().count();
    let mut stream =
        Stream { limits, levels: vec![Level::default()], tests: Vec::new(), last: None, yaml: None, skipped: None };
    for (index, line) in report.lines().enumerate() {
        if index + 1 == lines && !report.ends_with('\n') {
            check_whole(line, index + 1)?;
        }
        if stream.line(line, index + 1)? == Flow::BailedOut {
            return Ok(Verdict::of_tests(stream.tests, integrity));
        }
    }
    stream.end()?;
    let mut verdict = Verdict::of_tests(stream.tests, integrity);
    verdict.output = stream.skipped.and_then(|reason| text::block(&reason, limits.message_bytes));
    Ok(verdict)
}

/// Refuses an `ok` that the stream ends within: what was cut off could have been `# SKIP`.
fn check_whole(line: &str, number: usize) -> Result<(), ParseError> {
    match Line::parse(line.trim()) {
        Line::Point(point) if point.ok => Err(ParseError::Truncated {
            detail: format!("line {number} ({}) is the last and has no line end", text::excerpt(line)),
        }),
        _ => Ok(()),
    }
}

/// Whether a test was planned and did not run: it has no name but its number.
pub(super) fn did_not_run(test: &Test) -> bool {
    let message = test.message.as_deref().unwrap_or_default();
    test.status == TestStatus::Errored && (message == NOT_RUN || message.starts_with(BAILED_OUT))
}

#[derive(PartialEq)]
enum Flow {
    Continues,
    BailedOut,
}

/// One level of nesting: the stream itself, or a subtest.
#[derive(Default)]
struct Level {
    plan: Option<u64>,
    /// The reason that stands behind the plan.
    reason: Option<String>,
    /// Numbers of the test points so far.
    seen: HashSet<u64>,
    /// The highest number of a test point that did not fail.
    highest: u64,
    /// The number of the latest one; the next without a number follows it.
    latest: u64,
    /// Where the tests of this level begin.
    from: usize,
    /// Where the tests of a subtest begin that no test point has summed up yet.
    subtest_from: Option<usize>,
    /// Why the latest subtest was skipped as a whole, if it was.
    subtest_skipped: Option<String>,
    /// The test point whose subtest is open in braces.
    buffered: Option<Buffered>,
    /// The latest test point and its test, as long as a brace may follow.
    leaf: Option<(Buffered, usize)>,
}

struct Stream<'a> {
    limits: &'a Limits,
    /// Never empty: the first is the stream itself.
    levels: Vec<Level>,
    tests: Vec<Test>,
    last: Option<Last<'a>>,
    yaml: Option<Yaml<'a>>,
    /// Why the whole stream was skipped.
    skipped: Option<String>,
}

impl<'a> Stream<'a> {
    fn line(&mut self, line: &'a str, number: usize) -> Result<Flow, ParseError> {
        let content = line.trim_start_matches(' ');
        let indent = line.len() - content.len();
        let content = content.trim_end();
        if self.in_yaml(line, indent, content) || content.is_empty() || self.opens_yaml(indent, content) {
            return Ok(Flow::Continues);
        }
        let line = Line::parse(content);
        if let Line::Comment(comment) = line {
            if let Some(last) = &mut self.last {
                last.comments.push(comment, self.limits.message_bytes);
            }
            return Ok(Flow::Continues);
        }
        self.close_comments();
        if line == Line::Other || !indent.is_multiple_of(INDENT) {
            return Ok(Flow::Continues);
        }
        let level = indent / INDENT;
        match line {
            Line::Version(version) if level == 0 && !matches!(version, "12" | "13" | "14") => {
                let seen = text::excerpt(version);
                return Err(ParseError::Version { format: Format::Tap, known: "12 to 14", seen });
            }
            Line::Plan(plan, reason) => self.plan(level, plan, reason, number)?,
            Line::Point(point) => self.point(level, point)?,
            Line::BailOut(reason) => return self.bail_out(reason),
            Line::Open if level + 1 == self.levels.len() => self.open_latest(),
            Line::Brace if level < self.levels.len() => {
                self.descend(level)?;
                if !self.finish(Ending::Closed)? {
                    self.level().subtest_from = None;
                }
            }
            _ => {}
        }
        Ok(Flow::Continues)
    }

    /// The innermost open level.
    fn level(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
        let innermost = self.levels.len() - 1;
        &mut self.levels[innermost]
    }

    /// Makes `level` the innermost one: closes deeper ones, opens missing ones.
    fn descend(&mut self, level: usize) -> Result<(), ParseError> {
        if level > self.limits.tap_depth {
            return Err(ParseError::TooDeep { limit: self.limits.tap_depth, seen: level });
        }
        while self.levels.len() > level + 1 {
            let closed = self.close(NOT_RUN, Ending::Next)?;
            let skipped = (closed.plan == Some(0)).then(|| closed.reason.unwrap_or_default());
            let parent = self.level();
            parent.subtest_from = Some(parent.subtest_from.map_or(closed.from, |earlier| earlier.min(closed.from)));
            parent.subtest_skipped = skipped;
        }
        while self.levels.len() <= level {
            self.levels.push(Level { from: self.tests.len(), ..Level::default() });
        }
        Ok(())
    }

    /// Closes the innermost level: what its plan announced and lacks is errored.
    fn close(&mut self, why: &str, ending: Ending) -> Result<Level, ParseError> {
        self.finish(ending)?;
        let level = self.levels.pop().unwrap_or_default();
        let plan = level.plan.unwrap_or(0);
        for number in (1..=plan).filter(|number| !level.seen.contains(number)) {
            self.push_errored(format!("test {number}"), why)?;
        }
        if level.plan.is_some() && level.highest > plan {
            self.push_errored("plan".to_owned(), &format!("the plan is 1..{plan}, but test {} ran", level.highest))?;
        }
        Ok(level)
    }

    fn plan(&mut self, level: usize, plan: u64, reason: Option<&str>, line: usize) -> Result<(), ParseError> {
        self.descend(level)?;
        self.finish(Ending::Next)?;
        if plan > self.limits.tests as u64 {
            return Err(ParseError::TooManyTests { limit: self.limits.tests, seen: plan });
        }
        let innermost = self.level();
        innermost.reason = reason.map(str::to_owned);
        match innermost.plan.replace(plan) {
            None => Ok(()),
            Some(_) => Err(ParseError::PlanTwice { line, seen: format!("1..{plan}") }),
        }
    }

    fn point(&mut self, depth: usize, point: Point) -> Result<(), ParseError> {
        self.descend(depth)?;
        self.finish(Ending::Next)?;
        let level = self.level();
        let number = point.number.unwrap_or(level.latest.saturating_add(1));
        level.latest = number;
        let is_repeated = !level.seen.insert(number);
        if point.ok || point.directive.is_some() {
            level.highest = level.highest.max(number);
        }
        let mut name = text::line(&point.description, self.limits.name_bytes);
        if name.is_empty() {
            name = format!("test {number}");
        }
        let opens = point.opens;
        let point = Buffered { name, point, number, is_repeated };
        if opens {
            self.level().buffered = Some(point);
            self.last = None;
            return Ok(());
        }
        let before = self.tests.len();
        let summed = self.settle(&point)?;
        let added = self.tests.len() > before;
        self.last = Some(Last { level: depth, test: added.then_some(before), summed, comments: Kept::default() });
        self.level().leaf = added.then_some((point, before));
        Ok(())
    }

    /// Counts a test point: as a test, or by the tests of its subtest, which are then named after it.
    fn settle(
        &mut self,
        Buffered { name, point, number, is_repeated }: &Buffered,
    ) -> Result<Option<Summed>, ParseError> {
        let tests = self.tests.len();
        let level = self.level();
        let subtest = level.subtest_from.take().filter(|&from| from < tests);
        let skipped = level.subtest_skipped.take().filter(|_| point.ok && point.directive.is_none());
        let summed = match (subtest, skipped) {
            (Some(from), _) => {
                self.sum_up(from, name, point)?;
                Some(Summed { name: name.clone(), tests: from..tests })
            }
            (None, Some(reason)) => {
                let directive = Some(Directive::Skip(reason));
                let skipped = Point { directive, description: String::new(), ..*point };
                self.push(leaf(name.clone(), &skipped, self.limits))?;
                None
            }
            (None, None) => {
                self.push(leaf(name.clone(), point, self.limits))?;
                None
            }
        };
        if *is_repeated || *number == 0 {
            let why = match is_repeated {
                true => format!("test number {number} was reported twice"),
                false => "test numbers begin at 1".to_owned(),
            };
            self.push_errored(name.clone(), &why)?;
        }
        Ok(summed)
    }

    /// Puts the name of a subtest before those of its tests, and lets its own outcome count where theirs do not.
    fn sum_up(&mut self, from: usize, name: &str, point: &Point) -> Result<(), ParseError> {
        let todo = matches!(point.directive, Some(Directive::Todo(_)));
        for test in &mut self.tests[from..] {
            test.name = text::line(&format!("{name}{PATH}{}", test.name), self.limits.name_bytes);
            if todo {
                (test.status, test.score, test.max_score) = (TestStatus::Pending, 0.0, 0.0);
            }
        }
        let excused = point.ok || point.directive.is_some();
        if !excused && !self.tests[from..].iter().any(|test| test.status.is_failing()) {
            self.push(leaf(name.to_owned(), point, self.limits))?;
        }
        Ok(())
    }

    fn bail_out(&mut self, reason: &str) -> Result<Flow, ParseError> {
        let reason = if reason.is_empty() { "no reason given".to_owned() } else { text::excerpt(reason) };
        if self.levels.first().and_then(|level| level.plan).is_none() {
            return Err(ParseError::BailedOut { reason });
        }
        let (before, why) = (self.tests.len(), format!("{BAILED_OUT}{reason}"));
        while !self.levels.is_empty() {
            self.close(&why, Ending::Cut)?;
        }
        if self.tests.len() == before {
            self.push_errored("Bail out!".to_owned(), &reason)?;
        }
        Ok(Flow::BailedOut)
    }

    fn end(&mut self) -> Result<(), ParseError> {
        self.close_yaml();
        self.close_comments();
        while self.levels.len() > 1 {
            // What is open when the stream ends was cut; what is below it has no test point yet.
            self.finish(Ending::Cut)?;
            self.descend(self.levels.len() - 2)?;
        }
        self.finish(Ending::Cut)?;
        let stream = self.level();
        if stream.plan.is_none() {
            return Err(ParseError::PlanMissing { seen: stream.seen.len() as u64 });
        }
        let stream = self.close(NOT_RUN, Ending::Cut)?;
        self.skipped = stream.reason.filter(|_| stream.plan == Some(0)).map(|reason| format!("skipped: {reason}"));
        Ok(())
    }

    fn push(&mut self, test: Test) -> Result<(), ParseError> {
        if self.tests.len() >= self.limits.tests {
            return Err(ParseError::TooManyTests { limit: self.limits.tests, seen: self.tests.len() as u64 + 1 });
        }
        self.tests.push(test);
        Ok(())
    }

    fn push_errored(&mut self, name: String, why: &str) -> Result<(), ParseError> {
        let mut test = Test::unweighted(name, TestStatus::Errored);
        test.message = Some(why.to_owned());
        self.push(test)
    }
}

/// The test that a test point stands for.
fn leaf(name: String, point: &Point, limits: &Limits) -> Test {
    let (status, reason) = match (&point.directive, point.ok) {
        (Some(Directive::Skip(reason)), _) => (TestStatus::Skipped, reason.as_str()),
        (Some(Directive::Todo(reason)), _) => (TestStatus::Pending, reason.as_str()),
        (None, true) => (TestStatus::Passed, ""),
        (None, false) => (TestStatus::Failed, ""),
    };
    let mut test = Test::unweighted(name, status);
    test.duration_ms = point.duration_ms;
    test.message = text::block(reason, limits.message_bytes);
    test
}
