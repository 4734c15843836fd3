//! Errors of reports that yield no verdict.

use super::Format;

/// Why a report yields no verdict: what was wrong, the limit, the value, and what to do.
///
/// Whatever is quoted from the report is one line, without control characters and at most 80 characters long.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ParseError {
    /// More bytes than [`super::Limits::bytes`].
    #[error("the report has {seen} bytes, over the limit of {limit}; write shorter messages or fewer tests")]
    TooLarge {
        /// Bytes allowed.
        limit: usize,
        /// Bytes seen.
        seen: usize,
    },
    /// Nothing but white space.
    #[error("the report is empty ({seen} bytes); the tests must write a report in the format {}", .format.as_str())]
    Empty {
        /// The format that was expected.
        format: Format,
        /// Bytes seen.
        seen: usize,
    },
    /// More tests than [`super::Limits::tests`], found or announced.
    #[error("the report has or announces {seen} tests, over the limit of {limit}; split the suite or group the tests")]
    TooManyTests {
        /// Tests allowed.
        limit: usize,
        /// Tests seen when counting stopped, or announced.
        seen: u64,
    },
    /// Nested deeper than the format's limit.
    #[error("the report nests {seen} levels deep, over the limit of {limit}; flatten it")]
    TooDeep {
        /// Levels allowed.
        limit: usize,
        /// Levels seen when counting stopped.
        seen: usize,
    },
    /// More JSON values than [`super::Limits::json_values`].
    #[error("the report has more than {limit} values, the limit; write fewer tests, or less data for each test")]
    TooManyValues {
        /// Values allowed.
        limit: usize,
    },
    /// An XML element with more attributes than any dialect has.
    #[error(
        "element <{element}> at byte {at} has more than {limit} attributes; remove the attributes that JUnit does not define"
    )]
    TooManyAttributes {
        /// The element.
        element: String,
        /// Attributes allowed.
        limit: usize,
        /// Byte offset into the report.
        at: u64,
    },
    /// An encoding other than UTF-8.
    #[error("the report is encoded as {seen}; write it as UTF-8")]
    Encoding {
        /// What the report says of itself, or what its first bytes show.
        seen: String,
    },
    /// A document type declaration; those define entities, and none are ever expanded.
    #[error(
        "the report has a document type declaration at byte {at}, whose entities are never expanded; remove <!DOCTYPE>"
    )]
    Doctype {
        /// Byte offset into the report.
        at: u64,
    },
    /// Not the format that it should be.
    #[error("the report is not valid {format}: {detail}; correct how the tests write it", format = .format.as_str())]
    Syntax {
        /// The format that was expected.
        format: Format,
        /// What is wrong, and where.
        detail: String,
    },
    /// The report ends before it is complete.
    #[error("the report is truncated: {detail}; find out why the tests stopped early")]
    Truncated {
        /// What was still open.
        detail: String,
    },
    /// One key twice in one JSON object: readers differ in which one counts.
    #[error(
        "the report has the key {key:?} twice in one object, and readers differ in which one counts; write it once"
    )]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A field of another type than the format gives it.
    #[error("{field} must be {expected}, but is {seen}; correct the report")]
    WrongType {
        /// Path of the field.
        field: String,
        /// What the format wants.
        expected: &'static str,
        /// What was there.
        seen: String,
    },
    /// A required field is missing.
    #[error("{field} is missing; {remedy}")]
    Missing {
        /// Path of the field.
        field: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A score that is negative, not finite, or absurd.
    #[error("{field} is {seen}, but a score must lie between 0 and {limit}; correct the report")]
    Score {
        /// Path of the field.
        field: String,
        /// The largest score that is believed.
        limit: f64,
        /// The value seen.
        seen: f64,
    },
    /// An unsupported version of the format.
    #[error("the report is {format} {seen}, but only {known} is supported; write that version",
            format = .format.as_str())]
    Version {
        /// The format.
        format: Format,
        /// Versions that are understood.
        known: &'static str,
        /// The version seen.
        seen: String,
    },
    /// A TAP stream without a plan, which may be incomplete.
    #[error(
        "the TAP stream has {seen} test points but no plan (`1..N`), so it may be incomplete; \
         find out why the tests stopped early, or print a plan"
    )]
    PlanMissing {
        /// Test points seen.
        seen: u64,
    },
    /// TAP with two plans on one level.
    #[error("line {line} of the TAP stream is a second plan ({seen}) on its level; print one stream with one plan")]
    PlanTwice {
        /// Line number, from 1.
        line: usize,
        /// The plan.
        seen: String,
    },
    /// The tests bailed out before they printed a plan.
    #[error("the tests bailed out before they printed a plan: {reason}; correct the cause, or print the plan first")]
    BailedOut {
        /// The reason they gave.
        reason: String,
    },
    /// The exit code is no number.
    #[error("the exit code is {seen:?}, not a number between -2147483648 and 2147483647; report this as a bug")]
    NotAnExitCode {
        /// What was there.
        seen: String,
    },
}
