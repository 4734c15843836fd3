//! Formats in, one [`Verdict`] out: Gradescope JSON, JUnit XML, TAP 14, CTRF, or an exit code alone.
//!
//! The bytes come from a cell, so they may be anything. What holds for every format:
//!
//! - Parsing is pure and bounded: in bytes, in tests, in depth and in the length of what is kept ([`Limits`]). No input
//!   takes more time than in proportion to its length.
//! - Nothing is expanded, fetched or opened. XML entities other than the five predefined ones stay text.
//! - One bad byte costs one character, never the report: UTF-8 is repaired, control characters are made visible.
//! - A rule that exists for one tool needs the marks of that tool; docs/results.md lists them all.
//! - A report that was cut off, or that contradicts itself, never scores better than the whole one would have:
//!   either it is refused ([`ParseError`]) or what is missing counts as [`TestStatus::Errored`].
//! - `failure` (an assertion did not hold) stays apart from `error` (something else broke).

mod ctrf;
mod encoding;
mod error;
mod gradescope;
mod json;
mod junit;
mod limits;
mod marking;
mod reader;
mod scale;
mod tap;
mod text;
mod xml;

#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod case_tests;
#[cfg(test)]
mod duplicate_tests;
#[cfg(test)]
mod encoding_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;

pub use error::ParseError;
pub use gradescope::to_gradescope;
pub use junit::to_junit;
pub use limits::{Limits, MAX_FILES, MAX_REPORT_BYTES};
pub use marking::{Marking, MarkingError, TestRule};
pub use reader::{FileError, Reader, ReportFile, parse};
pub use scale::{Scale, ScaleError};

use serde::{Deserialize, Serialize};

/// Between the name of a suite, of a subtest or of a file and the names of the tests in it.
const PATH: &str = " > ";

/// The verdict of an evaluation.
///
/// Every number is finite, none but the score of a test is negative, and no zero has a sign. Names are one line without
/// control characters, and neither names nor messages hold a NUL, so a verdict fits into XML 1.0 and into a Postgres
/// `jsonb` as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Verdict {
    /// Points reached. May exceed `max_score` by the extra credit that the template allows.
    pub score: f64,
    /// Largest possible score. 0 if nothing was scored (every test was skipped).
    pub max_score: f64,
    /// The tests in the order of the report.
    pub tests: Vec<Test>,
    /// Which party could have written the report.
    pub integrity: Integrity,
    /// Text about the whole submission, if the report has one: Gradescope's `output`, or why a TAP stream was skipped;
    /// at most [`Limits::message_bytes`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// One test of a [`Verdict`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Test {
    /// One line, at most [`Limits::name_bytes`] bytes. Not necessarily unique.
    pub name: String,
    /// How it ended.
    pub status: TestStatus,
    /// Points reached; below 0 in a test of Gradescope that deducts points.
    pub score: f64,
    /// Largest possible score of the test; 0 takes the test out of the score.
    pub max_score: f64,
    /// Duration in milliseconds, if the report has one.
    pub duration_ms: Option<u64>,
    /// Message of the test, usually why it did not pass; at most [`Limits::message_bytes`] bytes.
    pub message: Option<String>,
    /// Who may see the test.
    pub visibility: Visibility,
}

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TestStatus {
    /// The test passed.
    Passed,
    /// An assertion did not hold (JUnit `failure`, TAP `not ok`).
    Failed,
    /// Something other than an assertion broke (JUnit `error`), or the test was announced and never ran.
    Errored,
    /// The test was skipped on purpose; it is not scored.
    Skipped,
    /// The test is not expected to pass yet (`TODO`); it is not scored, whatever its result.
    Pending,
    /// The report has another word. The test scores 0 of its maximum.
    Other,
}

impl TestStatus {
    /// The word that is used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Errored => "errored",
            Self::Skipped => "skipped",
            Self::Pending => "pending",
            Self::Other => "other",
        }
    }

    /// Whether a test with this status counts against the submission.
    pub fn is_failing(self) -> bool {
        matches!(self, Self::Failed | Self::Errored)
    }
}

/// Who may see a test, and from when; Gradescope's four words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// The student, at once.
    #[default]
    Visible,
    /// Graders only.
    Hidden,
    /// The student, once the assignment is due.
    AfterDueDate,
    /// The student, once grades are published.
    AfterPublished,
}

/// Which party could have written the report of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Integrity {
    /// Only the driver, in a cell of its own: the submission could not touch the report.
    Isolated,
    /// The tests ran inside the submission's process: it could have written the report itself.
    Shared,
}

/// The format of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Gradescope's `results.json`.
    Gradescope,
    /// JUnit XML, in any of its dialects.
    Junit,
    /// Test Anything Protocol 12 to 14.
    Tap,
    /// Common Test Report Format JSON, before 2.0.
    Ctrf,
    /// No report: the driver's exit code decides.
    ExitCode,
}

impl Format {
    /// The word that templates and JSON use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gradescope => "gradescope",
            Self::Junit => "junit",
            Self::Tap => "tap",
            Self::Ctrf => "ctrf",
            Self::ExitCode => "exit_code",
        }
    }
}

impl Verdict {
    /// Whether there was something to score, every scored point was reached, and no test failed or errored.
    ///
    /// A verdict without tests passes only on points: a report in which nothing ran is not a pass.
    pub fn all_passed(&self) -> bool {
        self.max_score > 0.0 && self.score >= self.max_score && !self.tests.iter().any(|test| test.status.is_failing())
    }

    /// How many tests ended in `status`.
    pub fn count(&self, status: TestStatus) -> usize {
        self.tests.iter().filter(|test| test.status == status).count()
    }

    /// A verdict whose score is the sum over its tests.
    fn of_tests(tests: Vec<Test>, integrity: Integrity) -> Self {
        // Not `sum`, which is minus zero where there is no test.
        let score = tests.iter().fold(0.0, |sum, test| sum + test.score);
        let max_score = tests.iter().fold(0.0, |sum, test| sum + test.max_score);
        Self { score, max_score, tests, integrity, output: None }.without_minus_zero()
    }

    /// The same verdict, in which no zero has a sign: it would be printed.
    #[must_use]
    pub fn without_minus_zero(mut self) -> Self {
        let of_tests = self.tests.iter_mut().flat_map(|test| [&mut test.score, &mut test.max_score]);
        for number in of_tests.chain([&mut self.score, &mut self.max_score]) {
            *number = unsigned(*number);
        }
        self
    }
}

impl Test {
    /// A test of a format that has no points: one point each, none for what is left out of the score.
    fn unweighted(name: String, status: TestStatus) -> Self {
        let (score, max_score) = match status {
            TestStatus::Passed => (1.0, 1.0),
            TestStatus::Failed | TestStatus::Errored | TestStatus::Other => (0.0, 1.0),
            TestStatus::Skipped | TestStatus::Pending => (0.0, 0.0),
        };
        Self { name, status, score, max_score, duration_ms: None, message: None, visibility: Visibility::Visible }
    }
}

/// The verdict of a driver that reports by its exit code alone: 1 of 1 for 0, else 0 of 1.
///
/// A code above 128 is a signal in the eyes of a shell, so it is an error and not a failed assertion.
pub fn from_exit_code(code: i32, integrity: Integrity) -> Verdict {
    let status = match code {
        0 => TestStatus::Passed,
        1..=128 => TestStatus::Failed,
        _ => TestStatus::Errored,
    };
    let mut test = Test::unweighted("exit code".to_owned(), status);
    if code != 0 {
        test.message = Some(format!("the tests exited with code {code}; 0 is a pass"));
    }
    Verdict::of_tests(vec![test], integrity)
}

/// The number, without the sign that a zero can have: `-0.0` would be printed as it is.
#[must_use]
pub fn unsigned(number: f64) -> f64 {
    number + 0.0
}

/// The name that a verdict has for a test of this name: one line without control characters.
#[must_use]
pub fn test_name(raw: &str) -> String {
    text::line(raw, Limits::default().name_bytes)
}

/// Whether a name was cut because it, or all names together, were too long.
#[must_use]
pub fn is_cut_name(name: &str) -> bool {
    name.ends_with(text::CUT_NAME)
}

/// A duration in milliseconds, rounded; `None` for what is no duration (negative, NaN, beyond a century).
fn whole_millis(millis: f64) -> Option<u64> {
    const CENTURY_MS: f64 = 100.0 * 366.0 * 86_400_000.0;
    if !(0.0..=CENTURY_MS).contains(&millis) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to lie within a century")]
    let whole = millis.round() as u64;
    Some(whole)
}
