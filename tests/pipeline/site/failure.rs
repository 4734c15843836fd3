//! What a run says about its failure.

use serde_json::Value;

/// The code and cause that a run failed with.
pub fn failure(run: &Value) -> (&str, &str, &str) {
    let text = |value: &'_ Value| -> &'static str { value.as_str().unwrap_or_default().to_owned().leak() };
    (text(&run["status"]), text(&run["failure"]["code"]), text(&run["failure"]["cause"]))
}

pub fn message(run: &Value) -> &str {
    run["failure"]["evidence"]["message"].as_str().unwrap_or_default()
}
