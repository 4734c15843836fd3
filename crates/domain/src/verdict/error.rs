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
    /// More files than [`super::MAX_FILES`].
    #[error("the report has {seen} files, over the limit of {limit}; write fewer files")]
    TooManyFiles {
        /// Files allowed.
        limit: usize,
        /// Files seen.
        seen: usize,
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
    /// An encoding that is not read: an unknown one, UTF-32, or one in which `<` may stand for something else.
    #[error("the report is encoded as {seen}; write it as UTF-8")]
    Encoding {
        /// What the report says of itself, or what its first bytes show.
        seen: String,
    },
    /// A document type declaration that declares something, or that stands where none may; entities are never expanded.
    #[error(
        "the report has a document type declaration at byte {at} that has declarations of its own or is not the first; \
         entities are never expanded, so remove <!DOCTYPE>"
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
    /// XML of another kind than JUnit.
    #[error("the report is XML of another kind: {detail}; let the tests write JUnit XML")]
    ForeignXml {
        /// What it has, and what was looked for.
        detail: String,
    },
    /// More documents in one file than can be told to be complete.
    #[error(
        "the report has more than {limit} XML documents in one file (the next begins at byte {at}); write one document, \
         or set results.expect_tests in the template, so that a document that is missing is noticed"
    )]
    TooManyDocuments {
        /// Documents allowed.
        limit: usize,
        /// Byte offset into the report.
        at: u64,
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
    /// A score that is not finite or absurd, or negative where none may be.
    #[error("{field} is {seen}, but it must lie between {least} and {limit}; correct the report")]
    Score {
        /// Path of the field.
        field: String,
        /// The smallest score that is believed.
        least: f64,
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
