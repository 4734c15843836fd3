//! The report of the cases, in Gradescope's format.

use std::fs;
use std::path::Path;

use assize_protocol::cases::{Case, Visibility};
use serde::Serialize;

use super::Outcome;
use super::compare::Difference;

/// Bytes of messages in the whole report, as JSON: a report has at most 1 MiB, and 2,000 cases need half of it.
const MAX_MESSAGES: usize = 400 << 10;

/// The longest message, in bytes.
const MAX_MESSAGE: usize = 8 << 10;

#[derive(Serialize)]
struct Test<'a> {
    name: &'a str,
    score: f64,
    max_score: f64,
    status: &'static str,
    visibility: Visibility,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    extra_data: Extra,
}

#[derive(Serialize)]
struct Extra {
    assize: Ours,
}

#[derive(Serialize)]
struct Ours {
    duration_ms: u64,
}

#[derive(Default)]
pub struct Report {
    tests: Vec<serde_json::Value>,
    messages: usize,
}

impl Report {
    /// Adds a case. Nothing of a hidden one but its result is kept.
    pub fn add(&mut self, case: &Case, outcome: &Outcome, duration_ms: u64) {
        let is_right = matches!(outcome, Outcome::Right);
        let test = Test {
            name: &case.name,
            score: if is_right { case.points } else { 0.0 },
            max_score: case.points,
            status: if is_right { "passed" } else { "failed" },
            visibility: case.visibility,
            output: self.message(case, outcome),
            extra_data: Extra { assize: Ours { duration_ms } },
        };
        self.tests.push(serde_json::to_value(test).unwrap_or_default());
    }

    fn message(&mut self, case: &Case, outcome: &Outcome) -> Option<String> {
        let text = match outcome {
            _ if case.visibility == Visibility::Hidden => return None,
            Outcome::Right => return None,
            Outcome::Wrong(Difference(text)) | Outcome::Failed(text) => text,
        };
        let text = if text.len() > MAX_MESSAGE {
            let end = (0..=MAX_MESSAGE).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.get(..end).unwrap_or_default()
        } else {
            text
        };
        // Escapes make a text longer.
        let length = serde_json::to_string(text).map_or(0, |text| text.len());
        if self.messages + length > MAX_MESSAGES {
            return Some("the difference is left out: those of the cases before are too long".to_owned());
        }
        self.messages += length;
        Some(text.to_owned())
    }

    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::json!({ "tests": self.tests }).to_string();
        fs::write(path, text).map_err(|error| format!("{} cannot be written: {error}", path.display()))
    }
}
