//! A verdict as Gradescope's `results.json`.

use serde_json::{Value, json};

use super::OURS;
use crate::verdict::{Test, TestStatus, Verdict, unsigned};

/// The verdict as Gradescope's `results.json`.
///
/// Gradescope knows `passed` and `failed` only: an errored or other test is written as failed, a skipped or pending one
/// without status; what is lost stands in each test's `extra_data`. Durations stand there too, in milliseconds.
pub fn to_gradescope(verdict: &Verdict) -> Value {
    let tests: Vec<Value> = verdict.tests.iter().map(emit_test).collect();
    let mut emitted = json!({
        "score": unsigned(verdict.score),
        "max_score": unsigned(verdict.max_score),
        "tests": tests,
        "extra_data": { OURS: { "integrity": verdict.integrity } },
    });
    if let Some(output) = &verdict.output {
        emitted["output"] = output.as_str().into();
    }
    emitted
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
