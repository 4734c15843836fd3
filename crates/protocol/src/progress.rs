//! What the tests say of themselves while they run: the lines that the process that decides writes to descriptor
//! [`FD`], and the frames that carry them to the worker.
//!
//! A line is a JSON object, `{"test": "..", "status": "passed"}`. The warden and the worker read it with the same code.
//! A line is no verdict: the report decides, and must not contradict the lines.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The descriptor that the process that decides writes to.
pub const FD: i32 = 3;

/// The environment variable with the number of the descriptor. It is absent where nobody reads progress.
pub const FD_VARIABLE: &str = "ASSIZE_PROGRESS_FD";

/// The longest line in bytes, without its line feed. With it, 4 KiB: what a pipe takes whole, so that two processes that
/// write at the same time do not mix their lines.
pub const MAX_LINE: usize = 4095;

/// The longest name of a test in bytes.
pub const MAX_NAME: usize = 512;

/// Lines of one stage that are sent on: as many as a report may have tests.
pub const MAX_LINES: u64 = 10_000;

/// Bytes of one stage's lines that are sent on, as they stand in frames: a 32nd of the journal.
pub const MAX_BYTES: u64 = 2 << 20;

/// The end of a test, as its stage reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestReport {
    /// The name that the report has for the test.
    pub test: String,
    /// How the test ended.
    pub status: ReportedStatus,
}

/// How a test ended, in the words of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportedStatus {
    /// The test passed.
    Passed,
    /// An assertion did not hold.
    Failed,
    /// Something else broke.
    #[serde(alias = "error")]
    Errored,
    /// The test was left out on purpose.
    Skipped,
}

impl ReportedStatus {
    /// The word that stands in a line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Errored => "errored",
            Self::Skipped => "skipped",
        }
    }
}

/// Why a line is not sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLine {
    /// The line is longer than [`MAX_LINE`].
    TooLong,
    /// The line is not a JSON object with `test` and `status`.
    Malformed,
    /// The name has this many bytes, and must have 1 to [`MAX_NAME`].
    Name(usize),
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "a line has more than {MAX_LINE} bytes, the limit"),
            Self::Malformed => f.write_str(
                "a line is not an object with `test` and `status`, which is passed, failed, errored or skipped",
            ),
            Self::Name(seen) => write!(f, "the name of a test has {seen} bytes, it must have 1 to {MAX_NAME}"),
        }
    }
}

impl TestReport {
    /// Reads a line. Fields with other names are passed over.
    ///
    /// # Errors
    /// [`BadLine`]
    pub fn parse(line: &[u8]) -> Result<Self, BadLine> {
        if line.len() > MAX_LINE {
            return Err(BadLine::TooLong);
        }
        // An array of two strings would be read as well.
        if line.trim_ascii_start().first() != Some(&b'{') {
            return Err(BadLine::Malformed);
        }
        let report: Self = serde_json::from_slice(line).map_err(|_| BadLine::Malformed)?;
        match report.test.len() {
            1..=MAX_NAME => Ok(report),
            seen => Err(BadLine::Name(seen)),
        }
    }

    /// Appends the line as frames carry it, with its line feed.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (test, status) = (Value::from(self.test.as_str()), self.status.as_str());
        out.extend_from_slice(format!("{{\"test\":{test},\"status\":\"{status}\"}}\n").as_bytes());
    }
}

/// Lines of a stage that were read at the same time, in their binary form: `at_us: u64 | stage: u8 | lines`, the
/// integer little-endian, each line with its line feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Time at which the warden read the lines, in µs.
    pub at_us: u64,
    /// Index into the plan's stages.
    pub stage: u8,
    /// The lines.
    pub lines: Vec<u8>,
}

/// Bytes of a [`Progress`] before its lines.
pub const PROGRESS_HEADER: usize = 9;

impl Progress {
    /// Appends the binary form to `out`.
    pub fn encode_parts(at_us: u64, stage: u8, lines: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&at_us.to_le_bytes());
        out.push(stage);
        out.extend_from_slice(lines);
    }

    /// Reads the binary form; `None` if it is too short.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (header, lines) = payload.split_at_checked(PROGRESS_HEADER)?;
        let (at_us, stage) = (u64::from_le_bytes(header[..8].try_into().ok()?), header[8]);
        Some(Self { at_us, stage, lines: lines.to_vec() })
    }
}

/// What became of the lines of a stage that were not sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DroppedLines {
    /// Lines that were no [`TestReport`].
    pub bad: u64,
    /// Lines beyond [`MAX_LINES`] or [`MAX_BYTES`].
    pub surplus: u64,
}

impl DroppedLines {
    /// Whether every line was sent on.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.bad == 0 && self.surplus == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_names_a_test_and_its_status() {
        let report = |test: &str, status| Ok(TestReport { test: test.to_owned(), status });
        for (line, expected) in [
            (r#"{"test": "a", "status": "passed"}"#, report("a", ReportedStatus::Passed)),
            (r#" {"status":"error","test":"a\nb","more":[1,{}]}"#, report("a\nb", ReportedStatus::Errored)),
            (r#"{"test": "a", "status": "errored"}"#, report("a", ReportedStatus::Errored)),
            (r#"{"test": "a", "status": "skipped"}"#, report("a", ReportedStatus::Skipped)),
            (r#"{"test": "a", "status": "pending"}"#, Err(BadLine::Malformed)),
            (r#"{"test": "a", "status": "Passed"}"#, Err(BadLine::Malformed)),
            (r#"{"test": "a", "test": "b", "status": "passed"}"#, Err(BadLine::Malformed)),
            (r#"{"test": 1, "status": "passed"}"#, Err(BadLine::Malformed)),
            (r#"{"test": "a"}"#, Err(BadLine::Malformed)),
            (r#"["a", "passed"]"#, Err(BadLine::Malformed)),
            (r#"{"test": "a", "status": "passed"} x"#, Err(BadLine::Malformed)),
            (r#"{"test": "", "status": "passed"}"#, Err(BadLine::Name(0))),
            ("", Err(BadLine::Malformed)),
        ] {
            assert_eq!(TestReport::parse(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn the_limits_themselves_are_allowed() {
        let line = |name: usize, padding: usize| {
            format!(r#"{{"test": "{}", "status": "failed"{}}}"#, "x".repeat(name), " ".repeat(padding)).into_bytes()
        };
        assert!(TestReport::parse(&line(MAX_NAME, 0)).is_ok());
        assert_eq!(TestReport::parse(&line(MAX_NAME + 1, 0)), Err(BadLine::Name(MAX_NAME + 1)));
        let padding = MAX_LINE - line(1, 0).len();
        assert!(TestReport::parse(&line(1, padding)).is_ok());
        assert_eq!(TestReport::parse(&line(1, padding + 1)), Err(BadLine::TooLong));
    }

    proptest! {
        #[test]
        fn a_report_survives_its_line(test in ".{1,60}") {
            let report = TestReport { test, status: ReportedStatus::Failed };
            let mut line = Vec::new();
            report.encode(&mut line);
            prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            prop_assert_eq!(TestReport::parse(line.strip_suffix(b"\n").unwrap()), Ok(report));
        }

        #[test]
        fn lines_survive_their_binary_form(at_us: u64, stage: u8, lines in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut payload = Vec::new();
            Progress::encode_parts(at_us, stage, &lines, &mut payload);
            prop_assert_eq!(payload.len(), PROGRESS_HEADER + lines.len());
            prop_assert_eq!(Progress::decode(&payload), Some(Progress { at_us, stage, lines }));
            prop_assert_eq!(Progress::decode(&payload[..PROGRESS_HEADER - 1]), None);
        }
    }
}
