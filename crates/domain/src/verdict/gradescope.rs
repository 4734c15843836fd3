//! Gradescope's `results.json`, in and out.
//!
//! What is decided here where Gradescope's own description is silent or lenient:
//!
//! - A top-level `score` overrides the sum over the tests, as there. So does a top-level `max_score`, which only
//!   assize knows: Gradescope keeps the assignment's points elsewhere. Without it, the tests' maxima are summed.
//! - A score above its maximum is extra credit; the template permits it or not ([`super::Scale`]). Negative, non-finite and absurd ones ([`MAX_SCORE`]) are not.
//! - A test without `max_score` adds nothing to the maximum; one without `score` scores its maximum if its `status`
//!   is `passed`, else 0.
//! - A test without `status` passed if it reached its maximum; one that has none of the three is a note
//!   ([`TestStatus::Other`], 0 of 0).
//! - `null` is the same as absent. Unknown keys are ignored: `extra_data`, `leaderboard`, `tags`, `stdout_visibility`.
//! - `visibility` for the whole report applies to the tests that have none of their own.

use super::json::{self, Object};
use super::{
    Format, Integrity, Limits, ParseError, Test, TestStatus, Verdict, Visibility, text, unsigned, whole_millis,
};
use serde_json::{Value, json};

/// Points beyond which a score is a mistake or an attack: sums of 10,000 of them are still exact to the point in an
/// `f64`.
const MAX_SCORE: f64 = 1e9;

/// Where our own fields live, so that what Gradescope has no word for survives a round trip.
const OURS: &str = "assize";

pub(super) fn parse(report: &str, integrity: Integrity, limits: &Limits) -> Result<Verdict, ParseError> {
    let root = json::parse_object(report, Format::Gradescope, limits)?;
    let shown = visibility(&root, "")?.unwrap_or_default();
    let total = points(&root, "", "score")?;
    let total_max = points(&root, "", "max_score")?;

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
    if !any_max {
        return Err(ParseError::Missing {
            field: "max_score".to_owned(),
            remedy: "write it at the top level or in each test, so that the score means something",
        });
    }
    let mut verdict = Verdict::of_tests(tests, integrity);
    verdict.score = total.unwrap_or(verdict.score);
    verdict.max_score = total_max.unwrap_or(verdict.max_score);
    Ok(verdict)
}

fn parse_test(
    object: &Object,
    path: &str,
    index: usize,
    shown: Visibility,
    limits: &Limits,
) -> Result<Test, ParseError> {
    let given = (points(object, path, "score")?, points(object, path, "max_score")?, status(object, path)?);
    let (score, max_score) = match given {
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
        message: json::string(object, path, "output")?.and_then(|output| text::block(output, limits.message_bytes)),
        visibility: visibility(object, path)?.unwrap_or(shown),
    })
}

/// The name, or the number, or the position from 1.
fn name(object: &Object, path: &str, index: usize, limits: &Limits) -> Result<String, ParseError> {
    let name = text::line(json::string(object, path, "name")?.unwrap_or_default(), limits.name_bytes);
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

/// The score at `key`, held to what a score can be.
fn points(object: &Object, path: &str, key: &str) -> Result<Option<f64>, ParseError> {
    match json::number(object, path, key)? {
        Some(seen) if !(0.0..=MAX_SCORE).contains(&seen) => {
            Err(ParseError::Score { field: json::join(path, key), limit: MAX_SCORE, seen })
        }
        // Minus zero is zero: it would print as `-0`.
        number => Ok(number.map(|number| number.abs())),
    }
}

/// The verdict as Gradescope's `results.json`.
///
/// Gradescope knows `passed` and `failed` only: an errored or other test is written as failed, a skipped or pending one
/// without status; what is lost stands in each test's `extra_data`. Durations stand there too, in milliseconds.
pub fn to_gradescope(verdict: &Verdict) -> Value {
    let tests: Vec<Value> = verdict.tests.iter().map(emit_test).collect();
    json!({
        "score": unsigned(verdict.score),
        "max_score": unsigned(verdict.max_score),
        "tests": tests,
        "extra_data": { OURS: { "integrity": verdict.integrity } },
    })
}

fn emit_test(test: &Test) -> Value {
    let mut ours = json!({ "status": test.status.as_str() });
    if let Some(duration_ms) = test.duration_ms {
        ours["duration_ms"] = duration_ms.into();
    }
    let mut emitted = json!({
        "name": test.name,
        "score": unsigned(test.score),
        "max_score": unsigned(test.max_score),
        "visibility": test.visibility,
        "extra_data": { OURS: ours },
    });
    match test.status {
        TestStatus::Passed => emitted["status"] = "passed".into(),
        TestStatus::Failed | TestStatus::Errored | TestStatus::Other => emitted["status"] = "failed".into(),
        TestStatus::Skipped | TestStatus::Pending => {}
    }
    if let Some(message) = &test.message {
        emitted["output"] = message.as_str().into();
    }
    emitted
}
