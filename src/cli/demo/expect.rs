//! The expected end of each sample of a template, from `sample/expect.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use assize_client::outcome::Fault;
use assize_client::report::{Run, points, state_text};
use assize_domain::run::{FailureCode, Status};
use assize_domain::verdict::TestStatus;

/// The expected end of a sample.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    pub status: Status,
    pub failure_code: Option<FailureCode>,
    pub score: Option<f64>,
    pub max_score: Option<f64>,
    /// The tests of its report by their names, with the status of each; other tests may be there too. `assize template`
    /// compares them.
    pub tests: Option<BTreeMap<String, TestStatus>>,
    /// Every end but full marks is expected.
    #[serde(skip)]
    pub only_not_passing: bool,
}

/// A project of a template, with its expected end.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub template: String,
    pub name: String,
    pub folder: PathBuf,
    pub expected: Expected,
}

/// Returns every sample of every template under `templates`, in the order of their names.
///
/// # Errors
/// [`Fault`] if an expectation cannot be read, or a sample has only one of a folder and an expectation.
pub fn samples(templates: &Path) -> Result<Vec<Sample>, Fault> {
    let entries = std::fs::read_dir(templates)
        .map_err(|error| Fault::usage(format!("cannot read {}: {error}; set templates_dir", templates.display())))?;
    let mut folders: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    folders.sort();
    let mut all = Vec::new();
    for folder in folders {
        let home = folder.join("sample");
        if home.join("expect.toml").is_file() {
            let template = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            all.extend(of_template(&template, &home)?);
        }
    }
    if all.is_empty() {
        let place = templates.display();
        return Err(Fault::usage(format!("no template in {place} has a sample/expect.toml; set templates_dir")));
    }
    Ok(all)
}

fn of_template(template: &str, home: &Path) -> Result<Vec<Sample>, Fault> {
    let path = home.join("expect.toml");
    let fault = |reason: String| Fault::usage(format!("{}: {reason}", path.display()));
    let text = std::fs::read_to_string(&path).map_err(|error| fault(error.to_string()))?;
    let expected = parse(&text).map_err(fault)?;
    let present = std::fs::read_dir(home).map_err(|error| fault(error.to_string()))?;
    for entry in present.filter_map(Result::ok).filter(|entry| entry.path().is_dir()) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !expected.contains_key(&name) {
            return Err(fault(format!("the sample {name} has no expectation; add the table [{name}]")));
        }
    }
    let samples = expected.into_iter().map(|(name, expected)| {
        let folder = home.join(&name);
        if !folder.is_dir() {
            return Err(fault(format!("[{name}] has no folder; create it beside this file")));
        }
        Ok(Sample { template: template.to_owned(), name, folder, expected })
    });
    samples.collect()
}

fn parse(text: &str) -> Result<BTreeMap<String, Expected>, String> {
    let all: BTreeMap<String, Expected> = toml::from_str(text).map_err(|error| error.to_string())?;
    all.iter().try_for_each(|(name, expected)| expected.check(name))?;
    Ok(all)
}

impl Expected {
    /// What must hold of an expectation.
    ///
    /// # Errors
    /// With what no run ends.
    pub fn check(&self, name: &str) -> Result<(), String> {
        if !self.status.is_terminal() {
            return Err(format!(
                "[{name}] expects {}, with which no run ends; use completed, failed, timed_out or aborted",
                self.status
            ));
        }
        if let Some(code) = self.failure_code
            && code.status() != self.status
        {
            return Err(format!("[{name}] expects {} with {code}, which ends in {}", self.status, code.status()));
        }
        Ok(())
    }

    /// The expectation of a project that must not get full marks, however it ends.
    #[must_use]
    pub const fn not_passing() -> Self {
        let (status, only_not_passing) = (Status::Completed, true);
        Self { status, failure_code: None, score: None, max_score: None, tests: None, only_not_passing }
    }

    /// Returns whether a run ended as expected. Fields that the expectation omits may have any value.
    #[must_use]
    pub fn matches(&self, run: &Run) -> bool {
        if self.only_not_passing {
            return run.status != Status::Completed || run.score < run.max_score;
        }
        // The score was converted to decimal text and back.
        let same = |wanted: Option<f64>, seen: Option<f64>| {
            wanted.is_none_or(|wanted| seen.is_some_and(|seen| (wanted - seen).abs() < 1e-6))
        };
        let code = run.failure.as_ref().map(|failed| failed.code);
        run.status == self.status
            && self.failure_code.is_none_or(|wanted| code == Some(wanted))
            && same(self.score, run.score)
            && same(self.max_score, run.max_score)
    }
}

impl Expected {
    /// Returns a sentence if the template is at fault that a sample has no verdict. Where the tests run beside the
    /// project, such a failure is attributed to the project, but the template's own sample did nothing to cause it.
    #[must_use]
    pub fn mistake(&self, run: &Run) -> Option<String> {
        let code = run.failure.as_ref().map(|failed| failed.code)?;
        let is_theirs = matches!(code, FailureCode::TestsInterrupted | FailureCode::ReportSpoiled);
        (self.status == Status::Completed && is_theirs).then(|| {
            format!(
                "{code} of a sample that must be judged is the template's own mistake: correct its tests or [results]"
            )
        })
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.only_not_passing {
            return f.write_str("no full marks");
        }
        f.write_str(&describe_end(self.status, self.failure_code, self.score, self.max_score))
    }
}

/// Describes the end of a run in the same words as an expectation.
#[must_use]
pub fn end_of(run: &Run) -> String {
    describe_end(run.status, run.failure.as_ref().map(|failed| failed.code), run.score, run.max_score)
}

fn describe_end(status: Status, code: Option<FailureCode>, score: Option<f64>, max_score: Option<f64>) -> String {
    let status = state_text(status, None);
    match (code, score, max_score) {
        (Some(code), ..) => format!("{status}: {code}"),
        (None, Some(score), Some(most)) => format!("{status} {}/{}", points(score), points(most)),
        (None, Some(score), None) => format!("{status} {}", points(score)),
        _ => status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[passing]\nstatus = \"completed\"\nscore = 10.0\nmax_score = 10.0\n\
        [hog]\nstatus = \"failed\"\nfailure_code = \"out_of_memory\"\n";

    fn run(value: serde_json::Value) -> Run {
        let mut whole = serde_json::json!({ "id": uuid::Uuid::nil(), "attempt": 1 });
        whole.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn an_expectation_is_met_or_not() {
        let all = parse(GOOD).unwrap();
        let full = run(serde_json::json!({ "status": "completed", "score": 10.0, "max_score": 10.0 }));
        let some = run(serde_json::json!({ "status": "completed", "score": 7.0, "max_score": 10.0 }));
        let hog = run(serde_json::json!({ "status": "failed",
            "failure": { "code": "out_of_memory", "cause": "submission", "transient": false } }));
        assert!(all["passing"].matches(&full) && !all["passing"].matches(&some) && !all["passing"].matches(&hog));
        assert!(all["hog"].matches(&hog) && !all["hog"].matches(&full));
        assert_eq!(
            (all["passing"].to_string(), end_of(&some)),
            ("completed 10/10".to_owned(), "completed 7/10".to_owned())
        );
        assert_eq!(all["hog"].to_string(), end_of(&hog));
    }

    #[test]
    fn a_project_without_work_may_end_in_any_way_but_with_full_marks() {
        let run = |status: &str, score: f64, max_score: f64| {
            run(serde_json::json!({ "status": status, "score": score, "max_score": max_score }))
        };
        let expected = Expected::not_passing();
        assert!(expected.matches(&run("completed", 0.0, 10.0)) && expected.matches(&run("failed", 0.0, 0.0)));
        assert!(!expected.matches(&run("completed", 10.0, 10.0)) && !expected.matches(&run("completed", 0.0, 0.0)));
        assert_eq!(expected.to_string(), "no full marks");
    }

    #[test]
    fn a_sample_that_must_be_judged_shows_a_mistake_of_its_template() {
        let all = parse(GOOD).unwrap();
        let ended = |code: &str| {
            run(serde_json::json!({ "status": "failed",
                "failure": { "code": code, "cause": "submission", "transient": false } }))
        };
        for code in ["tests_interrupted", "report_spoiled"] {
            let mistake = all["passing"].mistake(&ended(code)).unwrap();
            assert!(mistake.starts_with(code) && mistake.contains("the template's own mistake"), "{mistake}");
            assert_eq!(all["hog"].mistake(&ended(code)), None, "a sample that must fail may fail otherwise");
        }
        assert_eq!(all["passing"].mistake(&ended("build_failed")), None);
    }

    #[test]
    fn a_wrong_expectation_is_an_error() {
        for (text, word) in [
            ("[a]\nstatus = \"running\"", "no run ends"),
            ("[a]\nstatus = \"done\"", "done"),
            ("[a]\nstatus = \"failed\"\nfailure_code = \"stage_timeout\"", "timed_out"),
            ("[a]\nstatus = \"failed\"\nscroe = 1.0", "scroe"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_sample_and_its_expectation_come_together() {
        let templates = tempfile::tempdir().unwrap();
        let home = templates.path().join("t/sample");
        std::fs::create_dir_all(home.join("passing")).unwrap();
        std::fs::write(home.join("expect.toml"), GOOD).unwrap();
        let error = samples(templates.path()).unwrap_err().to_string();
        assert!(error.contains("[hog] has no folder"), "{error}");
        std::fs::create_dir_all(home.join("hog")).unwrap();
        assert_eq!(samples(templates.path()).unwrap().len(), 2);
        std::fs::create_dir_all(home.join("other")).unwrap();
        let error = samples(templates.path()).unwrap_err().to_string();
        assert!(error.contains("the sample other has no expectation"), "{error}");
    }
}
