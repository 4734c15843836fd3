//! JUnit XML, in and out.
//!
//! There is no one schema: Ant, Surefire, pytest, Jest, gtest, Go and Node each write their own. So suites may nest
//! and be the root, `failure`, `error` and `skipped` may carry text or attributes or nothing, and what is unknown is
//! skipped. What is decided here (docs/results.md has the rules of each tool):
//!
//! - Each test is worth one point; a skipped one is worth none.
//! - `error` outranks `failure`, which outranks `skipped`, except where a tool says that the failure is expected.
//! - Two test cases of one name are two tests, except in the reports of tools that give each test one name
//!   ([`producer::Producer`]): there they are one, and the worst counts.
//! - A suite that counts failures or errors, more than it has earlier attempts and expected failures, and shows no failing
//!   test, or that has an `error` of its own, adds an errored test, so that a broken set-up is no full pass. Other counts
//!   differ between tools and are not believed.
//! - Only a `testcase` directly in suites counts: one within unescaped output does not.
//! - Several documents follow one another only where the template says how many tests or points there are.

mod case;
mod producer;
mod write;

use std::collections::HashMap;

use self::case::{Case, Kind, Outcome};
use self::producer::{Producer, of_foreign_root};
pub use self::write::to_junit;
use super::xml::{Document, Element, Node};
use super::{Limits, MAX_FILES, PATH, ParseError, Reader, Test, TestStatus, Verdict, text};

/// The type under which [`TestStatus::Other`] is written, since JUnit has no word for it.
const OTHER: &str = "assize.other";

/// What makes two test cases of one suite the same test: class, name and file.
type Identity = [String; 3];

pub(super) fn parse(report: &str, reader: &Reader) -> Result<Verdict, ParseError> {
    // One that is missing would not be noticed otherwise.
    let documents = if reader.scale.is_known() { MAX_FILES } else { 1 };
    let mut document = Document::new(report, documents, &reader.limits);
    let mut state = Reading { limits: &reader.limits, open: Vec::new(), tests: Vec::new(), shown: 0, failing: 0 };
    while let Some(node) = document.next()? {
        match node {
            Node::Open(element) => state.open(&element)?,
            Node::Text(piece) => state.text(&piece),
            Node::Close => state.close()?,
        }
    }
    Ok(Verdict::of_tests(state.tests, reader.integrity))
}

/// An open element.
enum Open {
    Suite(Suite),
    Case(Case),
    Outcome(Outcome),
    /// What a test printed.
    Output,
    /// The properties of the case or suite around them.
    Properties,
    Ignored,
}

/// What is known so far of an open suite.
struct Suite {
    name: String,
    /// The names of the suites around it, and its own.
    path: String,
    producer: Producer,
    counted: u64,
    /// What [`Reading`] had counted when the suite began.
    shown_before: u64,
    failing_before: u64,
    /// Where the tests are, for the tools that write one test several times.
    tests: HashMap<Identity, usize>,
    /// Whether it holds a test case or a suite.
    is_known: bool,
    /// The first child that no dialect has.
    foreign: Option<String>,
}

struct Reading<'a> {
    limits: &'a Limits,
    open: Vec<Open>,
    tests: Vec<Test>,
    /// Failures and errors that cases and suites show so far, those of earlier attempts and expected ones included.
    shown: u64,
    /// Tests that fail so far.
    failing: u64,
}

impl Reading<'_> {
    fn open(&mut self, element: &Element) -> Result<(), ParseError> {
        let name = element.name.as_str();
        let next = match self.open.last_mut() {
            None => match name {
                "testsuites" | "testsuite" => Open::Suite(self.suite(element)),
                root => return Err(foreign_root(root)),
            },
            Some(Open::Suite(suite)) => match name {
                "testsuites" | "testsuite" => {
                    suite.is_known = true;
                    Open::Suite(self.suite(element))
                }
                "testcase" => {
                    suite.is_known = true;
                    let number = self.tests.len() + 1;
                    Open::Case(Case::new(element, &suite.path, number, self.limits))
                }
                "failure" => Open::Outcome(Outcome::new(Kind::Failure, element, self.limits)),
                "error" => Open::Outcome(Outcome::new(Kind::Error, element, self.limits)),
                "properties" => Open::Properties,
                "system-out" | "system-err" | "skipped" => Open::Ignored,
                other => {
                    suite.foreign.get_or_insert_with(|| text::excerpt(other));
                    Open::Ignored
                }
            },
            Some(Open::Case(_)) => match (Kind::of_child(name), name) {
                (Some(kind), _) => Open::Outcome(Outcome::new(kind, element, self.limits)),
                (None, "system-out" | "system-err") => Open::Output,
                (None, "properties") => Open::Properties,
                (None, _) => Open::Ignored,
            },
            Some(Open::Properties) => {
                self.property(element);
                Open::Ignored
            }
            Some(Open::Outcome(_) | Open::Output | Open::Ignored) => Open::Ignored,
        };
        self.open.push(next);
        Ok(())
    }

    /// Heeds a property that is a mark of its tool.
    fn property(&mut self, element: &Element) {
        let (name, value) = (element.attribute("name"), element.attribute("value"));
        match self.open.iter_mut().nth_back(1) {
            Some(Open::Case(case)) if value == Some("true") => case.has_property(name.unwrap_or_default()),
            Some(Open::Suite(suite)) if name == Some("go.version") => suite.producer = Producer::Go,
            _ => {}
        }
    }

    fn suite(&self, element: &Element) -> Suite {
        let name = text::line(element.attribute("name").unwrap_or_default(), self.limits.name_bytes);
        let (outer, above) = match self.open.last() {
            Some(Open::Suite(suite)) => (suite.producer, suite.path.as_str()),
            _ => (Producer::Other, ""),
        };
        let path = match (above, name.as_str()) {
            ("", only) | (only, "") => only.to_owned(),
            (above, name) => text::line(&format!("{above}{PATH}{name}"), self.limits.name_bytes),
        };
        Suite {
            path,
            producer: Producer::of_suite(element, outer),
            // Tools differ in whether the one includes the other.
            counted: count(element, "failures").max(count(element, "errors")),
            shown_before: self.shown,
            failing_before: self.failing,
            tests: HashMap::new(),
            is_known: false,
            foreign: None,
            name,
        }
    }

    fn text(&mut self, piece: &str) {
        match self.open.last_mut() {
            Some(Open::Outcome(outcome)) => outcome.push(piece, self.limits),
            Some(Open::Output) => {
                if let Some(Open::Case(case)) = self.open.iter_mut().nth_back(1) {
                    case.printed(piece, self.limits);
                }
            }
            _ => {}
        }
    }

    fn close(&mut self) -> Result<(), ParseError> {
        match self.open.pop() {
            Some(Open::Case(case)) => self.push_case(case),
            Some(Open::Outcome(outcome)) => self.record(&outcome),
            Some(Open::Suite(suite)) => self.close_suite(suite),
            Some(Open::Output | Open::Properties | Open::Ignored) | None => Ok(()),
        }
    }

    fn close_suite(&mut self, suite: Suite) -> Result<(), ParseError> {
        if let (true, false, Some(child)) = (self.open.is_empty(), suite.is_known, suite.foreign) {
            let detail = format!("its root holds <{child}>, and no <testsuite> or <testcase>");
            return Err(ParseError::ForeignXml { detail });
        }
        // Where a test fails, tools differ too much in what else they count: node-tap counts the suite itself.
        let shown = self.shown - suite.shown_before;
        if suite.counted > shown && self.failing == suite.failing_before {
            let message = format!("the suite counts {} failures or errors, but shows no failing test", suite.counted);
            self.push_suite(&suite.name, &message)?;
        }
        Ok(())
    }

    /// Notes an outcome on the case, or on the suite, that it belongs to.
    fn record(&mut self, outcome: &Outcome) -> Result<(), ParseError> {
        match self.open.last_mut() {
            Some(Open::Case(case)) => {
                case.record(outcome, self.limits);
                // Counted here, so that an expected failure and an earlier attempt also account for what a suite counts.
                self.shown += u64::from(!matches!(outcome.kind, Kind::Skipped | Kind::Warning));
                Ok(())
            }
            Some(Open::Suite(suite)) => {
                let name = suite.name.clone();
                self.push_suite(&name, &outcome.reason())
            }
            _ => Ok(()),
        }
    }

    fn push_suite(&mut self, name: &str, message: &str) -> Result<(), ParseError> {
        let name = if name.is_empty() { "test suite" } else { name };
        let mut test = Test::unweighted(name.to_owned(), TestStatus::Errored);
        test.message = text::block(message, self.limits.message_bytes);
        (self.shown, self.failing) = (self.shown + 1, self.failing + 1);
        self.push(test)
    }

    /// Adds a test, or another appearance of one that is already there.
    fn push_case(&mut self, case: Case) -> Result<(), ParseError> {
        let (identity, has_time) = (case.identity.clone(), case.has_time);
        let test = case.into_test(self.limits);
        self.failing += u64::from(test.status.is_failing());
        let Some(Open::Suite(suite)) = self.open.last_mut() else { return Ok(()) };
        let is_one_test = match suite.producer {
            Producer::Pytest | Producer::Gradle | Producer::Go => true,
            Producer::Xcpretty => test.status == TestStatus::Failed && !has_time,
            Producer::Other => false,
        };
        if is_one_test {
            let next = self.tests.len();
            let at = *suite.tests.entry(identity).or_insert(next);
            if let Some(earlier) = self.tests.get_mut(at) {
                merge(earlier, test, self.limits);
                return Ok(());
            }
        }
        self.push(test)
    }

    fn push(&mut self, test: Test) -> Result<(), ParseError> {
        if self.tests.len() >= self.limits.tests {
            return Err(ParseError::TooManyTests { limit: self.limits.tests, seen: self.tests.len() as u64 + 1 });
        }
        self.tests.push(test);
        Ok(())
    }
}

/// Puts two appearances of one test together: the worse status, both messages as far as they fit, the later duration.
fn merge(earlier: &mut Test, later: Test, limits: &Limits) {
    let rank = |status: TestStatus| match status {
        TestStatus::Passed => 0,
        TestStatus::Skipped | TestStatus::Pending => 1,
        TestStatus::Other => 2,
        TestStatus::Failed => 3,
        TestStatus::Errored => 4,
    };
    if rank(later.status) > rank(earlier.status) {
        (earlier.status, earlier.score, earlier.max_score) = (later.status, later.score, later.max_score);
    }
    earlier.duration_ms = later.duration_ms.or(earlier.duration_ms);
    match (&mut earlier.message, later.message) {
        (Some(message), Some(more)) if message.len() + 1 + more.len() <= limits.message_bytes => {
            message.push('\n');
            message.push_str(&more);
        }
        (message @ None, more) => *message = more,
        _ => {}
    }
}

fn foreign_root(root: &str) -> ParseError {
    let known = of_foreign_root(root).map(|known| format!(" ({known})")).unwrap_or_default();
    let detail = format!("its root is <{}>{known}, not <testsuites> or <testsuite>", text::excerpt(root));
    ParseError::ForeignXml { detail }
}

fn count(element: &Element, name: &str) -> u64 {
    element.attribute(name).and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}
