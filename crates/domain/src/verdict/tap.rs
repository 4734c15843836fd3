//! TAP, versions 12 to 14, with nested subtests and YAML diagnostics.
//!
//! What is decided here where the specification leaves room:
//!
//! - The tests are the leaves. A test point that sums up a subtest is not counted again, but where it says `not ok` and
//!   every test below it holds, it is added as a failed test: Node reports so what broke after the last subtest.
//! - `TODO` takes a test out of the score whichever way it went, `SKIP` too. A `TODO` on a subtest covers all below it.
//! - What was planned and did not run is an errored test, and so is a test point outside the plan or with a number that
//!   was used before (a pass printed by somebody else's code collides with the real one).
//! - A stream without a plan is refused, since nobody can tell whether it is complete. A subtest may lack one if its
//!   test point is there.
//! - `Bail out!` makes an errored test of whatever was planned and did not run; without a plan the stream is refused.
//! - A last line that is `ok` and has no line end is refused: its `# SKIP` could have been cut off.
//! - Text that is not TAP is let pass; only test points, plans and bail-outs nest.

mod line;

use self::line::{Directive, Line, Point};
use super::{Format, Integrity, Limits, ParseError, Test, TestStatus, Verdict, text, whole_millis};
use std::collections::HashSet;

/// Columns per level of subtests.
const INDENT: usize = 4;

/// Between the name of a subtest and the names of the tests in it.
const PATH: &str = " > ";

pub(super) fn parse(report: &str, integrity: Integrity, limits: &Limits) -> Result<Verdict, ParseError> {
    let lines = report.lines().count();
    let mut stream = Stream { limits, levels: vec![Level::default()], tests: Vec::new(), last: None, yaml: None };
    for (index, line) in report.lines().enumerate() {
        if index + 1 == lines && !report.ends_with('\n') {
            check_whole(line, index + 1)?;
        }
        if stream.line(line, index + 1)? == Flow::BailedOut {
            return Ok(Verdict::of_tests(stream.tests, integrity));
        }
    }
    stream.end()?;
    Ok(Verdict::of_tests(stream.tests, integrity))
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

#[derive(PartialEq)]
enum Flow {
    Continues,
    BailedOut,
}

/// One level of nesting: the stream itself, or a subtest.
#[derive(Default)]
struct Level {
    plan: Option<u64>,
    /// Numbers of the test points so far.
    seen: HashSet<u64>,
    /// The number of the latest one; the next without a number follows it.
    latest: u64,
    /// Where the tests of this level begin.
    from: usize,
    /// Where the tests of a subtest begin that no test point has summed up yet.
    subtest_from: Option<usize>,
}

/// The latest test point, for the diagnostics that may follow it.
struct Last<'a> {
    level: usize,
    /// Its test, unless it only sums up others.
    test: Option<usize>,
    /// The comments that followed it.
    comments: Vec<&'a str>,
}

/// A block of YAML diagnostics that is open.
struct Yaml<'a> {
    indent: usize,
    lines: Vec<&'a str>,
    test: Option<usize>,
}

struct Stream<'a> {
    limits: &'a Limits,
    /// Never empty: the first is the stream itself.
    levels: Vec<Level>,
    tests: Vec<Test>,
    last: Option<Last<'a>>,
    yaml: Option<Yaml<'a>>,
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
                last.comments.push(comment);
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
            Line::Plan(plan) => self.plan(level, plan, number)?,
            Line::Point(point) => self.point(level, point)?,
            Line::BailOut(reason) => return self.bail_out(reason),
            Line::Brace if level < self.levels.len() => {
                self.descend(level)?;
                self.level().subtest_from = None;
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
            let from = self.close("planned but did not run")?;
            let parent = self.level();
            parent.subtest_from = Some(parent.subtest_from.map_or(from, |earlier| earlier.min(from)));
        }
        while self.levels.len() <= level {
            self.levels.push(Level { from: self.tests.len(), ..Level::default() });
        }
        Ok(())
    }

    /// Closes the innermost level: what its plan announced and lacks is errored. Returns where its tests begin.
    fn close(&mut self, why: &str) -> Result<usize, ParseError> {
        let level = self.levels.pop().unwrap_or_default();
        let plan = level.plan.unwrap_or(0);
        for number in (1..=plan).filter(|number| !level.seen.contains(number)) {
            self.push_errored(format!("test {number}"), why)?;
        }
        let beyond = level.seen.iter().max().copied().unwrap_or(0);
        if level.plan.is_some() && beyond > plan {
            self.push_errored("plan".to_owned(), &format!("the plan is 1..{plan}, but test {beyond} ran"))?;
        }
        Ok(level.from)
    }

    fn plan(&mut self, level: usize, plan: u64, line: usize) -> Result<(), ParseError> {
        self.descend(level)?;
        if plan > self.limits.tests as u64 {
            return Err(ParseError::TooManyTests { limit: self.limits.tests, seen: plan });
        }
        match self.level().plan.replace(plan) {
            None => Ok(()),
            Some(_) => Err(ParseError::PlanTwice { line, seen: format!("1..{plan}") }),
        }
    }

    fn point(&mut self, depth: usize, point: Point) -> Result<(), ParseError> {
        self.descend(depth)?;
        let tests = self.tests.len();
        let level = self.level();
        let number = point.number.unwrap_or(level.latest.saturating_add(1));
        level.latest = number;
        let repeated = !level.seen.insert(number);
        let subtest = level.subtest_from.take().filter(|&from| from < tests);

        let mut name = text::line(&point.description, self.limits.name_bytes);
        if name.is_empty() {
            name = format!("test {number}");
        }
        if let Some(from) = subtest {
            self.sum_up(from, &name, &point)?;
        } else {
            self.push(leaf(name.clone(), &point, self.limits))?;
        }
        if repeated || number == 0 {
            let why = match repeated {
                true => format!("test number {number} was reported twice"),
                false => "test numbers begin at 1".to_owned(),
            };
            self.push_errored(name, &why)?;
        }
        let added = self.tests.len() > tests;
        self.last = Some(Last { level: depth, test: added.then_some(tests), comments: Vec::new() });
        Ok(())
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
        let (before, why) = (self.tests.len(), format!("did not run: bailed out: {reason}"));
        while !self.levels.is_empty() {
            self.close(&why)?;
        }
        if self.tests.len() == before {
            self.push_errored("Bail out!".to_owned(), &reason)?;
        }
        Ok(Flow::BailedOut)
    }

    fn end(&mut self) -> Result<(), ParseError> {
        self.close_yaml();
        self.close_comments();
        self.descend(0)?;
        let stream = self.level();
        if stream.plan.is_none() {
            return Err(ParseError::PlanMissing { seen: stream.seen.len() as u64 });
        }
        self.close("planned but did not run").map(|_| ())
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

    /// Opens a block of diagnostics if `content` is one's first line, right after a test point and indented below it.
    fn opens_yaml(&mut self, indent: usize, content: &str) -> bool {
        let Some(last) = self.last.as_ref().filter(|_| content == "---") else { return false };
        let (point, test) = (last.level * INDENT, last.test);
        if indent <= point || indent >= point + INDENT {
            return false;
        }
        self.close_comments();
        self.yaml = Some(Yaml { indent, lines: Vec::new(), test });
        true
    }

    /// Takes a line into the open block of diagnostics. One that is indented less ends the block, and is TAP again.
    fn in_yaml(&mut self, line: &'a str, indent: usize, content: &str) -> bool {
        let Some(yaml) = &mut self.yaml else { return false };
        if content == "..." && indent == yaml.indent {
            self.close_yaml();
            return true;
        }
        if indent < yaml.indent && !content.is_empty() {
            self.close_yaml();
            return false;
        }
        yaml.lines.push(line.get(yaml.indent..).unwrap_or_default());
        true
    }

    /// Gives the diagnostics to their test: the duration always, the rest as the message of one that did not pass.
    fn close_yaml(&mut self) {
        let Some(yaml) = self.yaml.take() else { return };
        let Some(test) = yaml.test.and_then(|index| self.tests.get_mut(index)) else { return };
        let mut kept = Vec::with_capacity(yaml.lines.len());
        for line in yaml.lines {
            match line.strip_prefix("duration_ms:") {
                Some(millis) => test.duration_ms = millis.trim().parse().ok().and_then(whole_millis),
                None => kept.push(line),
            }
        }
        if test.status != TestStatus::Passed {
            let own = test.message.take().map(|reason| format!("{reason}\n")).unwrap_or_default();
            test.message = text::block(&format!("{own}{}", kept.join("\n")), self.limits.message_bytes);
        }
    }

    /// Gives the comments to the failed test that they follow: bats and Perl print their diagnostics so.
    fn close_comments(&mut self) {
        let Some(last) = self.last.take() else { return };
        let Some(test) = last.test.and_then(|index| self.tests.get_mut(index)) else { return };
        let comments = last.comments.iter().filter(|comment| !comment.starts_with("Subtest"));
        if test.status.is_failing() && test.message.is_none() {
            let message = comments.copied().collect::<Vec<_>>().join("\n");
            test.message = text::block(&message, self.limits.message_bytes);
        }
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
