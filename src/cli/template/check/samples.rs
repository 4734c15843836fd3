//! Complaints about the samples of a template and their expected ends.

use std::path::Path;

use assize_archive::scan;
use assize_client::pack::{Selection, pack};
use assize_config::Config;
use assize_domain::run::Status;
use assize_domain::verdict::Format;

use crate::cli::demo::expect::Expected;
use crate::template::{Complaint, Results, Severity, TEMPLATE_FILE, Template};

/// The file of the expected ends.
const EXPECT_FILE: &str = "sample/expect.toml";

/// Samples that every template should have: those that a student hands in without doing anything.
const UNWORKED: [(&str, &str); 2] = [
    ("empty", "add a project with one empty file, which must not pass"),
    ("starter", "add the project that students begin with, which must not pass"),
];

/// All complaints. What needs the template is left out if it cannot be used.
pub(super) fn complaints(folder: &Path, template: Option<&Template>, config: &Config) -> Vec<Complaint> {
    let home = folder.join("sample");
    let mut complaints = Vec::new();
    let samples = read(&home, &mut complaints);
    for (name, expected) in &samples {
        let Some(template) = template else { break };
        if home.join(name).is_dir() {
            complaints.extend(refused(&home, name, template, config));
        }
        complaints.extend(contradictions(name, expected, &template.results));
    }
    if let Some(template) = template {
        complaints.extend(unused_rules(&samples, &template.results));
    }
    complaints.extend(missing_samples(&samples));
    complaints
}

/// The samples whose expected end can be read.
fn read(home: &Path, complaints: &mut Vec<Complaint>) -> Vec<(String, Expected)> {
    let error = |key: &str, message: String, advice: &str| Complaint::error(EXPECT_FILE, key, message, advice);
    let folders = folders_in(home);
    let text = match std::fs::read_to_string(home.join("expect.toml")) {
        Ok(text) => text,
        Err(reason) => {
            let message = format!("the file cannot be read: {reason}");
            complaints.push(error("", message, "create it: it declares how each sample must end"));
            return Vec::new();
        }
    };
    let table: toml::Table = match toml::from_str(&text) {
        Ok(table) => table,
        Err(reason) => {
            complaints.push(error("", reason.message().to_owned(), "correct the syntax of TOML"));
            return Vec::new();
        }
    };
    for name in folders.iter().filter(|name| !table.contains_key(name.as_str())) {
        let advice = format!("add the table [{name}], or remove the folder");
        complaints.push(error(name, format!("the sample {name} has no expected end"), &advice));
    }
    let mut samples = Vec::new();
    for (name, value) in table {
        if !folders.contains(&name) {
            let advice = format!("create the folder sample/{name}, or remove the table");
            complaints.push(error(&name, format!("there is no sample {name}"), &advice));
        }
        let expected = value.try_into::<Expected>().map_err(|reason| reason.to_string());
        match expected.and_then(|expected| expected.check(&name).map(|()| expected)) {
            Ok(expected) => samples.push((name, expected)),
            Err(reason) => complaints.push(error(&name, reason, "correct the table")),
        }
    }
    samples
}

fn folders_in(home: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(home).into_iter().flatten().filter_map(Result::ok);
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<_> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Why the service would not accept a sample.
fn refused(home: &Path, name: &str, template: &Template, config: &Config) -> Option<Complaint> {
    let file = format!("sample/{name}");
    let packed = match pack(&home.join(name), Selection::All) {
        Ok(packed) => packed,
        Err(fault) => {
            return Some(Complaint::error(&file, "", fault.to_string(), "put the files of a project into it"));
        }
    };
    let problem = scan(&packed.file, &template.scan_limits(config)).err()?;
    let message = format!("the service refuses this project: {problem}");
    Some(Complaint::error(&file, "archive", message, problem.advice()))
}

/// Where an expected end cannot be, with the scale of the template.
fn contradictions(name: &str, expected: &Expected, results: &Results) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut wrong = |key: &str, message: String, advice: String| {
        complaints.push(Complaint::error(EXPECT_FILE, &format!("{name}.{key}"), message, advice));
    };
    let scale = results.scale();
    let is_unweighted = results.format != Format::Gradescope && results.marking.is_empty();
    #[expect(clippy::cast_precision_loss, reason = "a report has at most ten thousand tests")]
    let of_tests = scale.tests.filter(|_| is_unweighted).map(|tests| (tests as f64, "results.expect_tests"));
    let of_exit_code = (results.format == Format::ExitCode).then_some((1.0, "the format exit_code"));
    let maximum = scale.max_score.map(|points| (points, "results.max_score")).or(of_tests).or(of_exit_code);
    if let (Some(seen), Some((points, source))) = (expected.max_score, maximum)
        && (seen - points).abs() > 1e-6
    {
        let message = format!("the sample expects a maximum of {seen} points, {source} gives {points}");
        wrong("max_score", message, format!("set max_score = {points}, or correct {source} in {TEMPLATE_FILE}"));
    }
    let most = expected.max_score.or(maximum.map(|(points, _)| points)).map(|points| points + scale.extra_credit);
    if let (Some(score), Some(most)) = (expected.score, most)
        && (score > most || score < 0.0)
    {
        let message = format!("the sample expects {score} points, a score is 0 to {most}");
        wrong("score", message, "correct score".to_owned());
    }
    if let (Some(tests), Some(declared)) = (scale.tests, &expected.tests)
        && declared.len() > tests
    {
        let message = format!("the sample declares {} tests, results.expect_tests is {tests}", declared.len());
        wrong("tests", message, format!("correct the names, or results.expect_tests in {TEMPLATE_FILE}"));
    }
    complaints
}

/// Rules of `[[tests]]` that hold for no test that a sample declares. Without such a declaration nothing is known.
fn unused_rules(samples: &[(String, Expected)], results: &Results) -> Vec<Complaint> {
    let declared: Vec<&String> =
        samples.iter().filter_map(|(_, expected)| expected.tests.as_ref()).flat_map(|tests| tests.keys()).collect();
    if results.marking.is_empty() {
        return Vec::new();
    }
    if declared.is_empty() {
        let message = "whether each pattern matches a test was not tried, because no sample declares its tests";
        let advice = format!("add `tests = {{ \"name of a test\" = \"passed\" }}` to [passing] in {EXPECT_FILE}");
        return vec![Complaint::error(TEMPLATE_FILE, "tests.match", message, advice).with(Severity::Note)];
    }
    let used: Vec<Option<usize>> = declared.iter().map(|name| results.marking.rule_for(name)).collect();
    let unused = results.marking.rules().enumerate().filter(|(index, _)| !used.contains(&Some(*index)));
    unused
        .map(|(index, rule)| {
            let number = index + 1;
            let message = format!(
                "`match` of [[tests]] number {number} is {:?}, and no test that the samples declare is the first to match it",
                rule.pattern
            );
            let advice = format!("correct the pattern or the order, or declare the test in {EXPECT_FILE}");
            Complaint::error(TEMPLATE_FILE, "tests.match", message, advice)
        })
        .collect()
}

/// Samples that find an author's mistakes and are not there.
fn missing_samples(samples: &[(String, Expected)]) -> Vec<Complaint> {
    let warning =
        |message: String, advice: &str| Complaint::error(EXPECT_FILE, "", message, advice).with(Severity::Warning);
    let passes = |expected: &Expected| {
        expected.status == Status::Completed && expected.score.is_some() && expected.score == expected.max_score
    };
    let mut complaints = Vec::new();
    if !samples.iter().any(|(_, expected)| passes(expected)) {
        let advice = "add a project with full marks, with its score and max_score";
        complaints.push(warning("no sample passes".to_owned(), advice));
    }
    for (name, advice) in UNWORKED {
        match samples.iter().find(|(sample, _)| sample == name) {
            None => complaints.push(warning(format!("there is no sample {name}"), advice)),
            Some((_, expected)) if passes(expected) => {
                let message =
                    format!("the sample {name} expects full marks, so that a student passes without any work");
                let advice = "change the tests so that it does not pass";
                complaints.push(Complaint::error(EXPECT_FILE, name, message, advice));
            }
            Some(_) => {}
        }
    }
    complaints
}
