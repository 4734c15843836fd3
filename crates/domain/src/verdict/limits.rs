//! The limits of a report.

/// The largest report that a template may allow, in bytes, all files of a run together. 16 MiB: ten times what pytest
/// writes about 120 tests with all their output. It is the most that a worker holds of one run.
pub const MAX_REPORT_BYTES: u64 = 16 * 1024 * 1024;

/// The most files of one run, and the most documents in one file. 1,000: Surefire writes one file for each class.
pub const MAX_FILES: usize = assize_protocol::results::MAX_FILES;

/// The limits of one parse. Each limit is enforced before memory is allocated for what it limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole report. 1 MiB: ten times a report of 1,000 tests with stack traces. A template may allow up
    /// to [`MAX_REPORT_BYTES`].
    pub bytes: usize,
    /// Tests, those that are only announced included. 10,000: the largest suites of coursework have hundreds.
    pub tests: usize,
    /// Nesting of JSON. 64: the formats need 5; serde_json itself stops at 128, with a less helpful message.
    pub json_depth: usize,
    /// Values of a JSON report, keys not counted. 200,000: twenty for each of the most tests. A value in an object of its
    /// own takes eight bytes of report and six hundred of memory.
    pub json_values: usize,
    /// Nesting of XML elements. 32: test suites nest as deep as `describe` blocks, rarely beyond 6.
    pub xml_depth: usize,
    /// Nesting of TAP subtests. 16, for the same reason.
    pub tap_depth: usize,
    /// Longest stored name of a test, in bytes. 1 KiB: parameterised tests print their arguments there.
    pub name_bytes: usize,
    /// Longest stored message of a test, in bytes. 16 KiB: a stack trace with a diff. A longer message ends in a
    /// marker.
    pub message_bytes: usize,
    /// Longest stored messages of all tests together, in bytes. 1 MiB, however long the report is: a verdict is one row
    /// in Postgres and one answer of the API. What is beyond is left out and says so. Where the names together are
    /// longer than this, each is cut to 96 bytes.
    pub all_messages_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 1024 * 1024,
            tests: 10_000,
            json_depth: 64,
            json_values: 200_000,
            xml_depth: 32,
            tap_depth: 16,
            name_bytes: 1024,
            message_bytes: 16 * 1024,
            all_messages_bytes: 1024 * 1024,
        }
    }
}
