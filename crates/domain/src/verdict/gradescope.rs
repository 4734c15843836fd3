//! Gradescope's `results.json`, in and out.
//!
//! What is decided here where Gradescope's own description is silent or lenient:
//!
//! - A top-level `score` overrides the sum over the tests, as there. So does a top-level `max_score`, which only
//!   assize knows: Gradescope keeps the assignment's points elsewhere. Without it, the tests' maxima are summed; where
//!   no test has one either, the maximum is the template's.
//! - A test may deduct points: its score is negative. The total is never below 0.
//! - A score above its maximum is extra credit; the template permits it or not ([`super::Scale`]). Non-finite and absurd
//!   ones ([`MAX_SCORE`]) are refused, and so are negative maxima.
//! - Sums are compared with a tolerance: eight times 0.1 is 0.8.
//! - A test without `max_score` adds nothing to the maximum; one without `score` scores its maximum if its `status`
//!   is `passed`, else 0.
//! - A test without `status` passed if it reached its maximum; one that has none of the three is a note
//!   ([`TestStatus::Other`], 0 of 0).
//! - `null` is the same as absent. A number may be quoted, and a text may be an array of lines. What is not read may be
//!   anything: `extra_data`, `leaderboard`, `tags`, `stdout_visibility`.
//! - `visibility` for the whole report applies to the tests that have none of their own, and to the text about the whole
//!   submission: it is kept only if it is visible at once.

mod write;

use serde_json::Value;

pub use self::write::to_gradescope;
use super::json::{self, Object};
use super::scale::same;
use super::{Format, Limits, ParseError, Reader, Test, TestStatus, Verdict, Visibility, text, unsigned, whole_millis};

/// Points beyond which a score is a mistake or an attack: sums of 10,000 of them are still exact to the point in an
/// `f64`.
const MAX_SCORE: f64 = 1e9;

/// Where our own fields live, so that what Gradescope has no word for survives a round trip.
const OURS: &str = "assize";

pub(super) fn parse(report: &str, reader: &Reader) -> Result<Verdict, ParseError> {
    let limits = &reader.limits;
    let root = json::parse_object(report, Format::Gradescope, limits)?;
    let shown = visibility(&root, "")?.unwrap_or_default();
    let total = points(&root, "", "score")?;
    let total_max = maximum(&root, "", "max_score")?;
    let output = json::lenient_text(&root, "", "output")?;

    let mut tests = Vec::new();
    let mut any_max = total_max.is_some();
    let mut any_score = total.is_some();
    for (index, value) in json::tests(&root, "", limits)?.into_iter().flatten().enumerate() {
        let path = format!("tests[{index}]");
        let object = json::element(value, &path)?;
        any_max |= json::get(object, "max_score").is_some();
        any_score |= ["score", "status"].iter().any(|key| json::get(object, key).is_some());
        tests.push(parse_test(object, &path, index, shown, limits)?);
    }
    if !any_score {
        return Err(ParseError::Missing {
            field: "score".to_owned(),
            remedy: "write it at the top level, or `score` or `status` in each test",
        });
    }
    let deducts = tests.iter().any(|test: &Test| test.score < 0.0);
    if let Some(seen) = total.filter(|total| *total < 0.0 && !deducts) {
        return Err(ParseError::Score { field: "score".to_owned(), least: 0.0, limit: MAX_SCORE, seen });
    }
    let mut verdict = Verdict::of_tests(tests, reader.integrity);
    verdict.score = total.unwrap_or(verdict.score).max(0.0);
    verdict.max_score = match (total_max, any_max, reader.scale.max_score) {
        (Some(stated), _, _) => stated,
        (None, true, _) => verdict.max_score,
        (None, false, Some(expected)) => expected,
        (None, false, None) => {
            return Err(ParseError::Missing {
                field: "max_score".to_owned(),
                remedy: "write it at the top level or in each test, or set results.max_score in the template, so that \
                         the score means something",
            });
        }
    };
    if same(verdict.score, verdict.max_score) {
        verdict.score = verdict.max_score;
    }
    verdict.output =
        output.filter(|_| shown == Visibility::Visible).and_then(|output| text::block(&output, limits.message_bytes));
    Ok(verdict.without_minus_zero())
}

fn parse_test(
    object: &Object,
    path: &str,
    index: usize,
    shown: Visibility,
    limits: &Limits,
) -> Result<Test, ParseError> {
    let given = (points(object, path, "score")?, maximum(object, path, "max_score")?, status(object, path)?);
    let (score, max_score) = match given {
        (Some(score), Some(max), _) if same(score, max) => (max, max),
        (Some(score), max, _) => (score, max.unwrap_or(0.0)),
        (None, Some(max), Some(TestStatus::Passed)) => (max, max),
        (None, max, _) => (0.0, max.unwrap_or(0.0)),
    };
    let status = match given {
        (_, _, Some(status)) => status,
        (None, None, None) => TestStatus::Other,
        (Some(score), None, None) if score > 0.0 => TestStatus::Passed,
        (_, None, None) => TestStatus::Failed,
        (_, Some(max), None) if score >= max => TestStatus::Passed,
        (_, Some(_), None) => TestStatus::Failed,
    };
    let ours = json::get(object, "extra_data").and_then(|extra| extra.get(OURS));
    Ok(Test {
        name: name(object, path, index, limits)?,
        status,
        score,
        max_score,
        duration_ms: ours.and_then(|ours| ours.get("duration_ms")).and_then(Value::as_f64).and_then(whole_millis),
        message: json::lenient_text(object, path, "output")?
            .and_then(|output| text::block(&output, limits.message_bytes)),
        visibility: visibility(object, path)?.unwrap_or(shown),
    })
}

/// The name, or the number, or the position from 1.
fn name(object: &Object, path: &str, index: usize, limits: &Limits) -> Result<String, ParseError> {
    let name = text::line(&json::lenient_text(object, path, "name")?.unwrap_or_default(), limits.name_bytes);
    if !name.is_empty() {
        return Ok(name);
    }
    let number = match json::get(object, "number") {
        None => (index + 1).to_string(),
        Some(Value::String(number)) => number.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(other) => return Err(json::wrong_type(path, "number", "a string or a number", other)),
    };
    Ok(text::line(&format!("test {number}"), limits.name_bytes))
}

fn status(object: &Object, path: &str) -> Result<Option<TestStatus>, ParseError> {
    let status = match json::string(object, path, "status")? {
        None => None,
        Some("passed") => Some(TestStatus::Passed),
        Some("failed") => Some(TestStatus::Failed),
        Some(other) => {
            let seen = Value::String(other.to_owned());
            return Err(json::wrong_type(path, "status", "`passed` or `failed`", &seen));
        }
    };
    // Our own word refines Gradescope's, and never turns a failure into a pass.
    let ours = json::get(object, "extra_data").and_then(|extra| extra.get(OURS)).and_then(|ours| ours.get("status"));
    let refined = match (status, ours.and_then(Value::as_str)) {
        (Some(TestStatus::Failed), Some("errored")) => Some(TestStatus::Errored),
        (Some(TestStatus::Failed) | None, Some("other")) => Some(TestStatus::Other),
        (None, Some("skipped")) => Some(TestStatus::Skipped),
        (None, Some("pending")) => Some(TestStatus::Pending),
        _ => status,
    };
    Ok(refined)
}

fn visibility(object: &Object, path: &str) -> Result<Option<Visibility>, ParseError> {
    match json::string(object, path, "visibility")? {
        None => Ok(None),
        Some("visible") => Ok(Some(Visibility::Visible)),
        Some("hidden") => Ok(Some(Visibility::Hidden)),
        Some("after_due_date") => Ok(Some(Visibility::AfterDueDate)),
        Some("after_published") => Ok(Some(Visibility::AfterPublished)),
        // Guessing `visible` would show what was meant to stay hidden.
        Some(other) => Err(json::wrong_type(
            path,
            "visibility",
            "`visible`, `hidden`, `after_due_date` or `after_published`",
            &Value::String(other.to_owned()),
        )),
    }
}

/// The score at `key`, held to what a score or a deduction can be.
fn points(object: &Object, path: &str, key: &str) -> Result<Option<f64>, ParseError> {
    bounded(object, path, key, -MAX_SCORE)
}

/// The maximum at `key`, held to what a maximum can be.
fn maximum(object: &Object, path: &str, key: &str) -> Result<Option<f64>, ParseError> {
    bounded(object, path, key, 0.0)
}

fn bounded(object: &Object, path: &str, key: &str, least: f64) -> Result<Option<f64>, ParseError> {
    match json::lenient_number(object, path, key)? {
        Some(seen) if !(least..=MAX_SCORE).contains(&seen) => {
            Err(ParseError::Score { field: json::join(path, key), least, limit: MAX_SCORE, seen })
        }
        // Minus zero is zero: it would print as `-0`.
        number => Ok(number.map(unsigned)),
    }
}
