//! How much of a report is read and kept.

/// The bounds of one parse. All of them hold before memory is spent on what they bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole report. 1 MiB: ten times a report of 1,000 tests with stack traces, and still one row in
    /// Postgres.
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
    /// Bytes kept of a test's name. 1 KiB: more is not a name; parameterised tests print their arguments there.
    pub name_bytes: usize,
    /// Bytes kept of a test's message. 16 KiB: a stack trace with a diff. Longer ones end in a marker.
    pub message_bytes: usize,
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
        }
    }
}
