//! CTRF (Common Test Report Format) JSON: `results.tests[]`.
//!
//! The format is still before 1.0 and its reporters differ, so only what a verdict needs is looked at. A test is worth
//! one point. `skipped` and `pending` are not scored. `other` scores 0 of 1, because an unknown end is no pass, except
//! where the reporter adds that it is a `todo`. The status is the final one: earlier attempts are only mentioned.

use super::json::{self, Object};
use super::{Format, Integrity, Limits, ParseError, Test, TestStatus, Verdict, text, whole_millis};
use serde_json::Value;

pub(super) fn parse(report: &str, integrity: Integrity, limits: &Limits) -> Result<Verdict, ParseError> {
    let root = json::parse_object(report, Format::Ctrf, limits)?;
    check_header(&root)?;
    let results = json::object(&root, "", "results")?.ok_or_else(|| ParseError::Missing {
        field: "results".to_owned(),
        remedy: "write the report with a CTRF reporter",
    })?;
    let values = json::tests(results, "results", limits)?.ok_or_else(|| ParseError::Missing {
        field: "results.tests".to_owned(),
        remedy: "write an array, empty if no test ran",
    })?;
    let mut tests = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        let path = format!("results.tests[{index}]");
        tests.push(parse_test(json::element(value, &path)?, &path, index, limits)?);
    }
    if let Some(missing) = unaccounted(results, &tests) {
        tests.push(missing);
    }
    Ok(Verdict::of_tests(tests, integrity))
}

/// `reportFormat` and `specVersion`, where the reporter writes them; early ones wrote neither.
fn check_header(root: &Object) -> Result<(), ParseError> {
    if let Some(name) = json::get(root, "reportFormat")
        && name.as_str() != Some("CTRF")
    {
        return Err(json::wrong_type("", "reportFormat", "the string \"CTRF\"", name));
    }
    let Some(version) = json::string(root, "", "specVersion")? else { return Ok(()) };
    match version.split('.').next() {
        Some("0" | "1") => Ok(()),
        _ => Err(ParseError::Version { format: Format::Ctrf, known: "0.x and 1.x", seen: text::excerpt(version) }),
    }
}

fn parse_test(object: &Object, path: &str, index: usize, limits: &Limits) -> Result<Test, ParseError> {
    let mut name = text::line(json::string(object, path, "name")?.unwrap_or_default(), limits.name_bytes);
    if name.is_empty() {
        name = format!("test {}", index + 1);
    }
    let status = status(object, path)?;
    let mut test = Test::unweighted(name, status);
    test.duration_ms = json::number(object, path, "duration")?.and_then(whole_millis);
    test.message = message(object, path, status)?.and_then(|message| text::block(&message, limits.message_bytes));
    Ok(test)
}

fn status(object: &Object, path: &str) -> Result<TestStatus, ParseError> {
    let Some(status) = json::string(object, path, "status")? else {
        return Err(ParseError::Missing {
            field: json::join(path, "status"),
            remedy: "every test must say how it ended",
        });
    };
    match status {
        "passed" => Ok(TestStatus::Passed),
        "failed" => Ok(TestStatus::Failed),
        "skipped" => Ok(TestStatus::Skipped),
        "pending" => Ok(TestStatus::Pending),
        // The Jest reporter has no better word for `test.todo`.
        "other" if json::get(object, "rawStatus").and_then(Value::as_str) == Some("todo") => Ok(TestStatus::Pending),
        "other" => Ok(TestStatus::Other),
        unknown => Err(json::wrong_type(
            path,
            "status",
            "`passed`, `failed`, `skipped`, `pending` or `other`",
            &Value::String(unknown.to_owned()),
        )),
    }
}

/// The message and the trace of a test that did not pass, and the retries of one that did not pass at once.
fn message(object: &Object, path: &str, status: TestStatus) -> Result<Option<String>, ParseError> {
    let retries = json::number(object, path, "retries")?.unwrap_or(0.0);
    let flaky = json::get(object, "flaky").and_then(Value::as_bool).unwrap_or(false);
    let mut parts = Vec::new();
    if flaky || retries >= 1.0 {
        let times = if retries == 1.0 { "retry" } else { "retries" };
        parts.push(format!("{} after {retries} {times}", status.as_str()));
    }
    if status != TestStatus::Passed {
        for key in ["message", "trace"] {
            let part = json::string(object, path, key)?.unwrap_or_default();
            // Many reporters begin the trace with the message.
            if parts.last().is_some_and(|message| !message.is_empty() && part.starts_with(message.trim_end())) {
                parts.pop();
            }
            parts.push(part.trim_end().to_owned());
        }
    }
    parts.retain(|part| !part.is_empty());
    Ok((!parts.is_empty()).then(|| parts.join("\n")))
}

/// A test that stands for what the summary counts and the list lacks: a report that contradicts itself must not be a
/// full pass.
fn unaccounted(results: &Object, tests: &[Test]) -> Option<Test> {
    let summary = results.get("summary")?.as_object()?;
    let counted = |key: &str| json::get(summary, key).and_then(Value::as_u64).unwrap_or(0);
    let failing = tests.iter().filter(|test| test.status.is_failing()).count() as u64;
    let (counted, listed, what) = match (counted("tests"), counted("failed")) {
        (all, _) if all > tests.len() as u64 => (all, tests.len() as u64, "tests"),
        (_, failed) if failed > failing => (failed, failing, "failed tests"),
        _ => return None,
    };
    let mut test = Test::unweighted("results.summary".to_owned(), TestStatus::Errored);
    test.message = Some(format!("the summary counts {counted} {what}, but the report lists {listed}"));
    Some(test)
}
