//! JUnit XML, in and out.
//!
//! There is no one schema: Ant, Surefire, pytest, Jest, gtest, Go and Node each write their own. So suites may nest
//! and be the root, `failure`, `error` and `skipped` may carry text or attributes or nothing, and what is unknown is
//! skipped. What is decided here:
//!
//! - Each test is worth one point; a skipped one is worth none.
//! - `error` outranks `failure`, which outranks `skipped`, except for a `skipped` of type `todo` (Node's), whose
//!   failure is expected.
//! - Surefire's `rerunFailure` and `flakyFailure` are earlier attempts: the status is what the report ends with.
//! - A suite that counts failures or errors, or has an `error` of its own, and shows no failing test adds an errored
//!   test, so that a broken set-up is no full pass. Other counts differ between tools and are not believed.
//! - Only a `testcase` directly in suites counts: one within unescaped output does not.

use super::xml::{Document, Element, Node, escape};
use super::{Format, Integrity, Limits, ParseError, Test, TestStatus, Verdict, text, whole_millis};

/// The type under which [`TestStatus::Other`] is written, since JUnit has no word for it.
const OTHER: &str = "assize.other";

pub(super) fn parse(report: &str, integrity: Integrity, limits: &Limits) -> Result<Verdict, ParseError> {
    let mut document = Document::new(report, limits);
    let mut state = Reading { limits, open: Vec::new(), tests: Vec::new(), failing: 0 };
    while let Some(node) = document.next()? {
        match node {
            Node::Open(element) => state.open(&element)?,
            Node::Text(piece) => state.text(&piece),
            Node::Close => state.close()?,
        }
    }
    Ok(Verdict::of_tests(state.tests, integrity))
}

/// An open element.
enum Open {
    Suite { name: String, counted: u64, failing_before: u64 },
    Case(Case),
    Outcome { kind: Kind, of_type: String, message: String, text: String },
    Ignored,
}

#[derive(Clone, Copy)]
enum Kind {
    Failure,
    Error,
    Skipped,
}

/// What is known so far of an open test case.
struct Case {
    name: String,
    duration_ms: Option<u64>,
    /// What attributes say, where no child says otherwise (gtest, CTest).
    implied: TestStatus,
    failed: bool,
    errored: bool,
    other: bool,
    skipped: Option<TestStatus>,
    messages: Vec<String>,
}

struct Reading<'a> {
    limits: &'a Limits,
    open: Vec<Open>,
    tests: Vec<Test>,
    /// Failing cases and suites so far, expected failures included.
    failing: u64,
}

impl Reading<'_> {
    fn open(&mut self, element: &Element) -> Result<(), ParseError> {
        let next = match (self.open.last(), element.name.as_str()) {
            (None | Some(Open::Suite { .. }), "testsuites" | "testsuite") => Open::Suite {
                name: text::line(element.attribute("name").unwrap_or_default(), self.limits.name_bytes),
                counted: count(element, "failures").saturating_add(count(element, "errors")),
                failing_before: self.failing,
            },
            (None, root) => {
                let detail = format!("the root is <{}>, not <testsuites> or <testsuite>", text::excerpt(root));
                return Err(ParseError::Syntax { format: Format::Junit, detail });
            }
            (Some(Open::Suite { .. }), "testcase") => Open::Case(self.case(element)),
            (Some(Open::Suite { .. } | Open::Case(_)), "failure") => outcome(Kind::Failure, element),
            (Some(Open::Suite { .. } | Open::Case(_)), "error") => outcome(Kind::Error, element),
            (Some(Open::Case(_)), "skipped") => outcome(Kind::Skipped, element),
            _ => Open::Ignored,
        };
        self.open.push(next);
        Ok(())
    }

    fn text(&mut self, piece: &str) {
        if let Some(Open::Outcome { text, .. }) = self.open.last_mut() {
            text.push_str(piece);
        }
    }

    fn close(&mut self) -> Result<(), ParseError> {
        match self.open.pop() {
            Some(Open::Case(case)) => self.push(case.into_test(self.limits), true),
            Some(Open::Outcome { kind, of_type, message, text }) => {
                self.record(kind, &of_type, joined(&message, &text))
            }
            Some(Open::Suite { name, counted, failing_before }) if counted > 0 && self.failing == failing_before => {
                let message = format!("the suite counts {counted} failures and errors, but shows no failing test");
                self.push_suite(&name, &message)
            }
            _ => Ok(()),
        }
    }

    /// Notes an outcome on the case, or on the suite, that it belongs to.
    fn record(&mut self, kind: Kind, of_type: &str, message: String) -> Result<(), ParseError> {
        match self.open.last_mut() {
            Some(Open::Case(case)) => {
                match kind {
                    Kind::Failure => case.failed = true,
                    Kind::Error if of_type == OTHER => case.other = true,
                    Kind::Error => case.errored = true,
                    Kind::Skipped if matches!(of_type, "todo" | "pending") => case.skipped = Some(TestStatus::Pending),
                    Kind::Skipped => case.skipped = Some(TestStatus::Skipped),
                }
                // Counted here, so that an expected failure also accounts for what its suite counts.
                self.failing += u64::from(!matches!(kind, Kind::Skipped));
                case.messages.push(message);
                Ok(())
            }
            Some(Open::Suite { name, .. }) => {
                let name = name.clone();
                self.push_suite(&name, &message)
            }
            _ => Ok(()),
        }
    }

    fn push_suite(&mut self, name: &str, message: &str) -> Result<(), ParseError> {
        let name = if name.is_empty() { "test suite" } else { name };
        let mut test = Test::unweighted(name.to_owned(), TestStatus::Errored);
        test.message = text::block(message, self.limits.message_bytes);
        self.failing += 1;
        self.push(test, false)
    }

    fn push(&mut self, test: Test, of_case: bool) -> Result<(), ParseError> {
        if self.tests.len() >= self.limits.tests {
            return Err(ParseError::TooManyTests { limit: self.limits.tests, seen: self.tests.len() as u64 + 1 });
        }
        // A case that fails by its attributes alone was not counted by a child.
        self.failing += u64::from(of_case && test.status == TestStatus::Failed);
        self.tests.push(test);
        Ok(())
    }

    fn case(&self, element: &Element) -> Case {
        let attribute = |name| element.attribute(name).unwrap_or_default();
        let (class, name) = (attribute("classname"), attribute("name"));
        let full = match (class, name) {
            ("", "") => format!("test {}", self.tests.len() + 1),
            ("", only) | (only, "") => only.to_owned(),
            // jest-junit writes the whole name into both.
            (class, name) if class == name => name.to_owned(),
            (class, name) => format!("{class}.{name}"),
        };
        let mut name = text::line(&full, self.limits.name_bytes);
        if name.is_empty() {
            name = format!("test {}", self.tests.len() + 1);
        }
        let implied = match (attribute("status"), attribute("result")) {
            ("failed" | "fail" | "failure" | "error", _) => TestStatus::Failed,
            ("notrun" | "skipped" | "disabled" | "ignored", _) | (_, "skipped" | "suppressed") => TestStatus::Skipped,
            _ => TestStatus::Passed,
        };
        Case {
            name,
            duration_ms: element.attribute("time").and_then(millis),
            implied,
            failed: false,
            errored: false,
            other: false,
            skipped: None,
            messages: Vec::new(),
        }
    }
}

impl Case {
    fn into_test(self, limits: &Limits) -> Test {
        let status = match self.skipped {
            _ if self.errored => TestStatus::Errored,
            _ if self.other && !self.failed => TestStatus::Other,
            Some(TestStatus::Pending) => TestStatus::Pending,
            _ if self.failed => TestStatus::Failed,
            Some(skipped) => skipped,
            None => self.implied,
        };
        let mut test = Test::unweighted(self.name, status);
        test.duration_ms = self.duration_ms;
        test.message = text::block(&self.messages.join("\n"), limits.message_bytes);
        test
    }
}

fn outcome(kind: Kind, element: &Element) -> Open {
    let attribute = |name| element.attribute(name).unwrap_or_default().to_owned();
    Open::Outcome { kind, of_type: attribute("type"), message: attribute("message"), text: String::new() }
}

/// The message and the text of an outcome; the text alone where it repeats the message.
fn joined(message: &str, text: &str) -> String {
    let (message, text) = (message.trim_end(), text.trim());
    match (message.is_empty(), text.is_empty()) {
        (true, _) => text.to_owned(),
        (_, true) => message.to_owned(),
        // The text has lost its leading spaces.
        _ if text.contains(message.trim_start()) => text.to_owned(),
        _ => format!("{message}\n{text}"),
    }
}

fn count(element: &Element, name: &str) -> u64 {
    element.attribute(name).and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// Seconds as tools print them, in milliseconds: `0.5`, `1,234.5` (Surefire groups thousands), `0,5` (a locale's comma).
fn millis(time: &str) -> Option<u64> {
    let time = time.trim();
    let grouped = time.contains('.') || time.split(',').skip(1).all(|group| group.len() == 3);
    let plain = if grouped { time.replace(',', "") } else { time.replace(',', ".") };
    whole_millis(plain.parse::<f64>().ok()? * 1000.0)
}

/// The verdict as JUnit XML: one suite, valid XML 1.0 whatever the names and messages hold.
///
/// JUnit has no points, so only the status is kept. Pending tests are written as skipped with the type `pending`, other
/// ones as an error with the type `assize.other`.
pub fn to_junit(verdict: &Verdict) -> String {
    let count = |statuses: &[TestStatus]| statuses.iter().map(|&status| verdict.count(status)).sum::<usize>();
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\"",
        verdict.tests.len(),
        count(&[TestStatus::Failed]),
        count(&[TestStatus::Errored, TestStatus::Other]),
        count(&[TestStatus::Skipped, TestStatus::Pending]),
    );
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n  <testsuite name=\"assize\" {counts}>\n"
    );
    for test in &verdict.tests {
        emit_test(&mut xml, test);
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

fn emit_test(xml: &mut String, test: &Test) {
    let name = escape(&text::line(&test.name, usize::MAX));
    let message = text::block(test.message.as_deref().unwrap_or_default(), usize::MAX).unwrap_or_default();
    let first = escape(message.lines().next().unwrap_or_default());
    // Attribute values lose raw line ends, text does not, and is easier to read with them.
    let body = escape(&message).replace("&#10;", "\n");
    let child = match test.status {
        TestStatus::Passed if message.is_empty() => String::new(),
        TestStatus::Passed => format!("<system-out>{body}</system-out>"),
        TestStatus::Failed => format!("<failure message=\"{first}\">{body}</failure>"),
        TestStatus::Errored => format!("<error message=\"{first}\">{body}</error>"),
        TestStatus::Other => format!("<error type=\"{OTHER}\" message=\"{first}\">{body}</error>"),
        TestStatus::Skipped => format!("<skipped message=\"{first}\">{body}</skipped>"),
        TestStatus::Pending => format!("<skipped type=\"pending\" message=\"{first}\">{body}</skipped>"),
    };
    let time = test.duration_ms.map(|ms| format!(" time=\"{}.{:03}\"", ms / 1000, ms % 1000)).unwrap_or_default();
    let element = match child.as_str() {
        "" => format!("    <testcase name=\"{name}\"{time}/>\n"),
        child => format!("    <testcase name=\"{name}\"{time}>{child}</testcase>\n"),
    };
    xml.push_str(&element);
}
