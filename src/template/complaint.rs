//! Everything that is wrong with a template at once, for its author.
//!
//! A worker needs only the first reason why it cannot use a template. An author who corrects a template wants all.

use std::path::Path;

use serde::Serialize;

use super::file::File;
use super::{Template, keys};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The template cannot be used, or does not do what it declares.
    Error,
    /// The template works, and its author may have overlooked something.
    Warning,
    /// Something could not be tried.
    Note,
}

/// One thing that is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Complaint {
    pub severity: Severity,
    /// The file, relative to the folder of the template.
    pub file: String,
    /// The key in that file; empty if the complaint is about no single key.
    pub key: String,
    pub message: String,
    /// What to do.
    pub advice: String,
}

/// The name of the file that describes a template.
pub const TEMPLATE_FILE: &str = "template.toml";

impl Complaint {
    /// An error in a file.
    #[must_use]
    pub fn error(file: &str, key: &str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.to_owned(),
            key: key.to_owned(),
            message: message.into(),
            advice: advice.into(),
        }
    }

    /// The same complaint with another severity.
    #[must_use]
    pub fn with(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    /// A complaint about what does not hold of `template.toml`. The reason names the key, and may end with the advice.
    fn of_reason(reason: &str) -> Self {
        let key = keys::named_in(reason);
        let (message, advice) = match reason.rsplit_once("; ") {
            Some((message, advice)) => (message, advice.to_owned()),
            None if key.is_empty() => (reason, format!("correct {TEMPLATE_FILE}")),
            None => (reason, format!("correct {key}")),
        };
        Self::error(TEMPLATE_FILE, &key, message, advice)
    }
}

impl Template {
    /// The template of a folder if it can be used, and everything that is wrong with its files.
    #[must_use]
    pub fn examine(folder: &Path) -> (Option<Self>, Vec<Complaint>) {
        let text = match std::fs::read_to_string(folder.join(TEMPLATE_FILE)) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("the file cannot be read: {error}");
                let advice = "create it, for example with `assize template new`";
                return (None, vec![Complaint::error(TEMPLATE_FILE, "", message, advice)]);
            }
        };
        let mut table: toml::Table = match toml::from_str(&text) {
            Ok(table) => table,
            Err(error) => {
                let line = error.span().map_or(1, |span| line_of(&text, span.start));
                let message = format!("line {line}: {}", one_line(error.message()));
                return (None, vec![Complaint::error(TEMPLATE_FILE, "", message, "correct the syntax of TOML there")]);
            }
        };
        let mut complaints = keys::take_unknown(&mut table);
        match table.try_into::<File>() {
            Ok(file) => {
                for reason in file.reasons() {
                    complaints.push(Complaint::of_reason(&reason));
                }
            }
            Err(error) => complaints.push(mistyped(&error.to_string())),
        }
        if !complaints.is_empty() {
            return (None, complaints);
        }
        match Self::load(folder) {
            Ok(template) => (Some(template), complaints),
            Err(error) => (None, vec![Complaint::of_reason(&error.reason)]),
        }
    }
}

impl File {
    /// Every reason why the template cannot be used, as far as one does not hide another.
    fn reasons(&self) -> Vec<String> {
        let limits = self.driver.as_ref().map(|driver| driver.limits.check("driver.limits"));
        let parts = [
            self.limits.check("limits"),
            limits.unwrap_or(Ok(())),
            self.archive.check(),
            self.artifacts.check(self.driver.is_some()),
            self.results.as_ref().map_or(Ok(()), |results| results.check(self.driver.is_some(), self.tests.is_empty())),
            if self.results.is_some() { self.marked_results().map(drop) } else { Ok(()) },
            self.check(),
        ];
        let mut reasons: Vec<String> = Vec::new();
        for reason in parts.into_iter().filter_map(Result::err) {
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        reasons
    }
}

/// A key that is missing or has a value of another type.
fn mistyped(error: &str) -> Complaint {
    let (message, place) = error.split_once("\nin `").unwrap_or((error, ""));
    let mut key = place.split('`').next().unwrap_or_default().to_owned();
    let message = one_line(message);
    let Some(missing) = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) else {
        let advice =
            if key.is_empty() { format!("correct {TEMPLATE_FILE}") } else { format!("correct the value of {key}") };
        return Complaint::error(TEMPLATE_FILE, &key, message, advice);
    };
    key = if key.is_empty() { missing.to_owned() } else { format!("{key}.{missing}") };
    Complaint::error(TEMPLATE_FILE, &key, format!("the key {key} is missing"), format!("add {key}"))
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        description = "d"
        class = "A"
        image = "i"
        limits = { cpus = 1.0, memory_mib = 64, pids = 16, workspace_mib = 8, workspace_inodes = 100, tmp_mib = 8 }
        stages = [{ name = "tests", command = ["true"], timeout_s = 1 }]
        results = { format = "exit_code" }
        global = { timeout_s = 10 }
    "#;

    fn complaints(text: &str) -> Vec<(String, String, String)> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(TEMPLATE_FILE), text).unwrap();
        let (template, complaints) = Template::examine(folder.path());
        assert_eq!(template.is_some(), complaints.is_empty(), "{complaints:?}");
        complaints.into_iter().map(|one| (one.key, one.message, one.advice)).collect()
    }

    #[test]
    fn all_that_is_wrong_is_named_at_once() {
        assert_eq!(complaints(GOOD), []);
        let text = GOOD
            .replace("pids = 16", "pids = 1")
            .replace("description =", "descripton = \"x\"\n description =")
            .replace("timeout_s = 1 }", "timeout_s = 1, timeout = 2 }")
            .replace("\"tests\"", "\"build\"")
            .replace("\"exit_code\"", "\"exit_code\", expect_tests = 3");
        let seen = complaints(&text);
        let keys: Vec<&str> = seen.iter().map(|(key, ..)| key.as_str()).collect();
        assert_eq!(keys, ["descripton", "stages.timeout", "limits.pids", "results.expect_tests"], "{seen:?}");
        assert!(seen[0].2.contains("`description`") && seen[1].2.contains("`timeout_s`"), "{seen:?}");
        assert!(seen.iter().all(|(_, message, advice)| !message.is_empty() && !advice.is_empty()), "{seen:?}");
    }

    #[test]
    fn a_missing_key_and_a_wrong_type_are_named() {
        let seen = complaints(&GOOD.replace("image = \"i\"", ""));
        assert_eq!(seen[0], ("image".into(), "the key image is missing".into(), "add image".into()));
        let seen = complaints(&GOOD.replace("memory_mib = 64, ", ""));
        assert_eq!(seen[0].0, "limits.memory_mib", "{seen:?}");
        let seen = complaints(&GOOD.replace("memory_mib = 64", "memory_mib = \"64\""));
        assert!(seen[0].0.starts_with("limits") && seen[0].1.contains("invalid type"), "{seen:?}");
        let seen = complaints("a = \n");
        assert!(seen[0].1.starts_with("line 1: "), "{seen:?}");
    }
}
