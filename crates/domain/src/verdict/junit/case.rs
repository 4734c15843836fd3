//! One test case: what its attributes and children come to.

use super::producer::{is_ctest_skip, is_node, may_fail};
use super::{Identity, OTHER};
use crate::verdict::xml::Element;
use crate::verdict::{Limits, Test, TestStatus, text, whole_millis};

/// How many times as long as a message its source may be: colours and blanks around it are not kept.
const SOURCE: usize = 4;

/// What a child of a test case, or of a suite, says.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Failure,
    Error,
    Skipped,
    /// PHPUnit's, up to 9.
    Warning,
    /// Surefire's and Gradle's: an attempt that failed before one that passed.
    Flaky,
    /// Surefire's and Gradle's: an attempt that failed after one that failed.
    Rerun,
}

impl Kind {
    pub(super) fn of_child(name: &str) -> Option<Self> {
        Some(match name {
            "failure" => Self::Failure,
            "error" => Self::Error,
            "skipped" => Self::Skipped,
            "warning" => Self::Warning,
            "flakyFailure" | "flakyError" => Self::Flaky,
            "rerunFailure" | "rerunError" => Self::Rerun,
            _ => return None,
        })
    }
}

/// A child of a test case, or of a suite.
pub(super) struct Outcome {
    pub(super) kind: Kind,
    of_type: String,
    message: String,
    text: String,
}

impl Outcome {
    pub(super) fn new(kind: Kind, element: &Element, limits: &Limits) -> Self {
        let attribute =
            |name| text::prefix(element.attribute(name).unwrap_or_default(), SOURCE * limits.message_bytes).to_owned();
        Self { kind, of_type: attribute("type"), message: attribute("message"), text: String::new() }
    }

    /// Adds a piece of its text, as far as a message can hold it.
    pub(super) fn push(&mut self, piece: &str, limits: &Limits) {
        let room = (SOURCE * limits.message_bytes).saturating_sub(self.text.len());
        self.text.push_str(text::prefix(piece, room));
    }

    /// The message and the text; the text alone where it repeats the message.
    pub(super) fn reason(&self) -> String {
        // LuaUnit has the reason where others have the name of a class of errors.
        let of_type = self.of_type.trim_end();
        let message = if self.message.is_empty() && of_type.contains(' ') { of_type } else { &self.message };
        let (message, text) = (message.trim_end(), self.text.trim());
        match (message.is_empty(), text.is_empty()) {
            (true, _) => text.to_owned(),
            (_, true) => message.to_owned(),
            // The text has lost its leading spaces.
            _ if text.contains(message.trim_start()) => text.to_owned(),
            _ => format!("{message}\n{text}"),
        }
    }
}

/// What is known so far of an open test case.
pub(super) struct Case {
    name: String,
    pub(super) identity: Identity,
    pub(super) has_time: bool,
    duration_ms: Option<u64>,
    /// What attributes say, where no child says otherwise (gtest, CTest).
    implied: TestStatus,
    /// CTest's and gtest's.
    not_run: bool,
    /// PHPUnit's.
    unasserted: bool,
    failed: bool,
    errored: bool,
    other: bool,
    warned: bool,
    may_fail: bool,
    skipped: Option<TestStatus>,
    /// What a property says, if no child says that the test failed.
    left_out: Option<TestStatus>,
    attempts: usize,
    flaky: bool,
    messages: String,
    /// What the test printed, as much as a message holds.
    output: String,
}

impl Case {
    /// A case before its children. `path` is the names of its suites, `number` its position from 1.
    pub(super) fn new(element: &Element, path: &str, number: usize, limits: &Limits) -> Self {
        let attribute = |name| element.attribute(name).unwrap_or_default();
        let word = |name| attribute(name).to_ascii_lowercase();
        let (status, result) = (word("status"), word("result"));
        let implied = match (status.as_str(), result.as_str()) {
            ("failed" | "fail" | "failure", _) => TestStatus::Failed,
            ("error" | "errored" | "broken" | "undefined", _) => TestStatus::Errored,
            ("notrun" | "skipped" | "disabled" | "ignored" | "untested", _) | (_, "skipped" | "suppressed") => {
                TestStatus::Skipped
            }
            _ => TestStatus::Passed,
        };
        let time = element.attribute("time");
        Self {
            name: name(element, path, number, limits),
            identity: ["classname", "name", "file"].map(|name| attribute(name).to_owned()),
            has_time: time.is_some(),
            duration_ms: time.and_then(millis),
            implied,
            not_run: status == "notrun" && result.is_empty(),
            unasserted: attribute("assertions") == "0",
            failed: false,
            errored: false,
            other: false,
            warned: false,
            may_fail: false,
            skipped: None,
            left_out: None,
            attempts: 0,
            flaky: false,
            messages: String::new(),
            output: String::new(),
        }
    }

    /// Notes a child.
    pub(super) fn record(&mut self, outcome: &Outcome, limits: &Limits) {
        match outcome.kind {
            Kind::Failure => self.failed = true,
            Kind::Error if outcome.of_type == OTHER => self.other = true,
            Kind::Error => self.errored = true,
            Kind::Warning => self.warned = true,
            Kind::Flaky => {
                self.attempts += 1;
                self.flaky = true;
                return;
            }
            Kind::Rerun => {
                self.attempts += 1;
                return;
            }
            Kind::Skipped => {
                self.may_fail |= may_fail(&outcome.message);
                let status = match outcome.of_type.as_str() {
                    "todo" | "pending" => TestStatus::Pending,
                    _ if self.not_run && !is_ctest_skip(&outcome.message) => TestStatus::Errored,
                    _ => TestStatus::Skipped,
                };
                self.skipped = Some(status);
            }
        }
        let reason = outcome.reason();
        if self.messages.len() < SOURCE * limits.message_bytes && !reason.is_empty() {
            self.messages.push_str(if self.messages.is_empty() { "" } else { "\n" });
            self.messages.push_str(&reason);
        }
    }

    /// Keeps what the test printed, as far as a message can hold it.
    pub(super) fn printed(&mut self, piece: &str, limits: &Limits) {
        // One byte more, so that a message that was cut says so.
        let room = (limits.message_bytes + 1).saturating_sub(self.output.len());
        self.output.push_str(text::prefix(piece, room));
    }

    /// Notes a property that is true: node-tap has no other mark for what was left out.
    pub(super) fn has_property(&mut self, name: &str) {
        let left_out = match name {
            "skip" => TestStatus::Skipped,
            "todo" => TestStatus::Pending,
            _ => return,
        };
        self.left_out = Some(left_out);
    }

    fn status(&self) -> TestStatus {
        match self.skipped {
            _ if self.may_fail => TestStatus::Pending,
            _ if self.errored => TestStatus::Errored,
            _ if self.other && !self.failed => TestStatus::Other,
            Some(TestStatus::Pending) => TestStatus::Pending,
            _ if self.failed => TestStatus::Failed,
            Some(skipped) => skipped,
            // PHPUnit's class without tests is a test that warns and asserts nothing.
            None if self.warned && self.unasserted => TestStatus::Errored,
            // Attempts that failed, and none that passed.
            None if self.attempts > 0 && !self.flaky => TestStatus::Failed,
            None if self.implied == TestStatus::Passed => self.left_out.unwrap_or(self.implied),
            None => self.implied,
        }
    }

    pub(super) fn into_test(self, limits: &Limits) -> Test {
        let status = self.status();
        let mut message = self.messages;
        if message.trim().is_empty() && !matches!(status, TestStatus::Passed | TestStatus::Skipped) {
            message = self.output;
        }
        if status == TestStatus::Passed && self.flaky {
            let attempts = if self.attempts == 1 { "attempt" } else { "attempts" };
            message = format!("passed after {} failed {attempts}", self.attempts);
        }
        let mut test = Test::unweighted(self.name, status);
        test.duration_ms = self.duration_ms;
        test.message = text::block(&message, limits.message_bytes);
        test
    }
}

fn name(element: &Element, path: &str, number: usize, limits: &Limits) -> String {
    let attribute = |name| element.attribute(name).unwrap_or_default();
    let (class, name) = match (attribute("classname"), attribute("name")) {
        (_, name) if is_node(element) => ("", name),
        (class, name) => (class, name),
    };
    let mut full = match (class, name) {
        ("", only) | (only, "") => only.to_owned(),
        // jest-junit writes the whole name into both.
        (class, name) if class == name => name.to_owned(),
        // LuaUnit writes the class into both.
        (class, name) if name.strip_prefix(class).is_some_and(|rest| rest.starts_with('.')) => name.to_owned(),
        (class, name) => format!("{class}.{name}"),
    };
    full = text::line(&full, limits.name_bytes);
    if full.is_empty() {
        full = format!("test {number}");
    }
    if is_node(element) && !path.is_empty() {
        full = text::line(&format!("{path}{}{full}", crate::verdict::PATH), limits.name_bytes);
    }
    full
}

/// Seconds as tools print them, in milliseconds: `0.5`, `1,234.5` (Surefire groups thousands), `0,5` (a locale's comma).
fn millis(time: &str) -> Option<u64> {
    let time = time.trim();
    let grouped = time.contains('.') || time.split(',').skip(1).all(|group| group.len() == 3);
    let plain = if grouped { time.replace(',', "") } else { time.replace(',', ".") };
    whole_millis(plain.parse::<f64>().ok()? * 1000.0)
}
