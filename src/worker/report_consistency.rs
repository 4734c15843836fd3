//! Whether a report is consistent with how the tests stage ended, and with what the tests reported while they ran.
//!
//! If the tests run inside the project's own process, the project can write the report. It cannot change afterwards how
//! that process ended. The numbers of tests and points are checked against the template's scale
//! ([`assize_domain::verdict::Scale`]).

use std::collections::{BTreeSet, HashMap};

use assize_domain::verdict::{Marking, TestStatus, Verdict, Visibility, is_cut_name};
use assize_protocol::event::StageExit;
use assize_protocol::progress::ReportedStatus;

use super::cell_session::ReportedTests;
use crate::template::{ExitCodeRule, Results};

/// What contradicts the verdict; `None` if nothing contradicts it.
pub fn contradiction(verdict: &Verdict, exit: Option<&StageExit>, rules: &Results) -> Option<String> {
    if rules.exit_code == ExitCodeRule::Ignored || !verdict.all_passed() {
        return None;
    }
    let ended = abnormal_end(exit)?;
    Some(format!(
        "it says that all {} tests passed, but the tests {ended}; a runner whose exit code means something else \
         needs results.exit_code = \"ignored\" in the template",
        verdict.tests.len()
    ))
}

/// What the tests reported while they ran that the verdict has otherwise; `None` if there is nothing. The verdict has
/// the names of the report.
///
/// Of tests with one name, one that agrees is enough. A test that was skipped contradicts nothing.
pub fn progress_contradiction(verdict: &Verdict, reported: &ReportedTests, marking: &Marking) -> Option<String> {
    if reported.is_cut {
        return None;
    }
    let mut tests: HashMap<&str, Vec<(TestStatus, Visibility)>> = HashMap::new();
    for test in &verdict.tests {
        tests.entry(&test.name).or_default().push((test.status, test.visibility));
    }
    let has_cut_names = verdict.tests.iter().any(|test| is_cut_name(&test.name));
    reported.last.iter().find_map(|(name, status)| {
        let of_name = tests.get(name.as_str());
        let seen = match of_name {
            None if has_cut_names => return None,
            None => "has no such test".to_owned(),
            Some(of_name) if of_name.iter().any(|(seen, _)| agree(*status, *seen)) => return None,
            Some(of_name) => {
                let seen: BTreeSet<_> = of_name.iter().map(|(seen, _)| seen.as_str()).collect();
                format!("has it as {}", seen.into_iter().collect::<Vec<_>>().join(" and "))
            }
        };
        let mut of_name = of_name.into_iter().flatten();
        let is_visible = of_name.all(|(_, visibility)| *visibility == Visibility::Visible);
        let shown = marking.shown_name(name).filter(|_| is_visible);
        let test = shown.map_or_else(|| "a hidden test".to_owned(), |shown| format!("{shown:?}"));
        let status = status.as_str();
        Some(format!(
            "the tests reported {test} as {status} while they ran, and the report {seen}; each line must have the name \
             and the last status that the report has"
        ))
    })
}

const fn agree(reported: ReportedStatus, seen: TestStatus) -> bool {
    match reported {
        ReportedStatus::Passed => !matches!(seen, TestStatus::Failed | TestStatus::Errored),
        ReportedStatus::Failed | ReportedStatus::Errored => !matches!(seen, TestStatus::Passed),
        ReportedStatus::Skipped => true,
    }
}

/// Describes the end of tests that did not exit with code 0; `None` if they did.
pub fn abnormal_end(exit: Option<&StageExit>) -> Option<String> {
    match exit {
        Some(StageExit::Exited { code: 0 }) => None,
        Some(StageExit::Exited { code }) => Some(format!("exited with code {code}")),
        Some(StageExit::Signalled { signal }) => Some(format!("were ended by signal {signal}")),
        Some(_) | None => Some("did not end by themselves".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assize_domain::verdict::{Format, Integrity, Limits, TestRule, parse};

    fn rules(exit_code: ExitCodeRule) -> Results {
        Results { exit_code, ..Results::of_format(Format::Tap, "/a".to_owned()) }
    }

    fn contradiction_of(report: &str, code: i32, rules: &Results) -> Option<String> {
        let verdict = parse(Format::Tap, report.as_bytes(), Integrity::Shared, &Limits::default()).unwrap();
        contradiction(&verdict, Some(&StageExit::Exited { code }), rules)
    }

    #[test]
    fn all_passed_and_a_failure_of_the_runner_contradict_each_other() {
        let strict = rules(ExitCodeRule::Agrees);
        let found = contradiction_of("1..2\nok 1\nok 2\n", 1, &strict).unwrap();
        assert!(found.contains("all 2 tests passed, but the tests exited with code 1"), "{found}");
        assert_eq!(contradiction_of("1..2\nok 1\nok 2\n", 0, &strict), None);
        assert_eq!(contradiction_of("1..2\nok 1\nnot ok 2\n", 1, &strict), None);
        assert_eq!(contradiction_of("1..2\nok 1\nnot ok 2\n", 0, &strict), None, "a runner that always exits with 0");
        assert_eq!(contradiction_of("1..2\nok 1\nok 2\n", 3, &rules(ExitCodeRule::Ignored)), None);
        let verdict = parse(Format::Tap, b"1..1\nok 1\n", Integrity::Shared, &Limits::default()).unwrap();
        let killed = contradiction(&verdict, Some(&StageExit::Signalled { signal: 9 }), &strict).unwrap();
        assert!(killed.contains("signal 9"), "{killed}");
        assert!(contradiction(&verdict, None, &strict).is_some());
    }

    fn found(report: &str, lines: &[(&str, ReportedStatus)], marking: &Marking) -> Option<String> {
        let verdict = parse(Format::Tap, report.as_bytes(), Integrity::Isolated, &Limits::default()).unwrap();
        let last = lines.iter().map(|(name, status)| ((*name).to_owned(), *status)).collect();
        progress_contradiction(&verdict, &ReportedTests { last, ..ReportedTests::default() }, marking)
    }

    #[test]
    fn a_test_that_ended_otherwise_than_it_reported_is_named_with_both() {
        use ReportedStatus::{Errored, Failed, Passed, Skipped};
        let report = "1..5\nok 1 - a\nnot ok 2 - b\nok 3 - c # SKIP\nok 4 - twice\nnot ok 5 - twice\n";
        for (name, status, why) in [
            ("a", Passed, None),
            ("a", Failed, Some(r#"reported "a" as failed while they ran, and the report has it as passed"#)),
            ("a", Errored, Some(r#""a" as errored while they ran, and the report has it as passed"#)),
            ("a", Skipped, None),
            ("b", Passed, Some(r#""b" as passed while they ran, and the report has it as failed"#)),
            ("b", Failed, None),
            ("b", Errored, None),
            ("c", Passed, None),
            ("c", Failed, None),
            ("twice", Passed, None),
            ("twice", Failed, None),
            ("none", Passed, Some(r#""none" as passed while they ran, and the report has no such test"#)),
            ("none", Skipped, Some("the report has no such test")),
        ] {
            let seen = found(report, &[(name, status)], &Marking::default());
            match why {
                None => assert_eq!(seen, None, "{name} {status:?}"),
                Some(why) => assert!(seen.as_ref().is_some_and(|seen| seen.contains(why)), "{name}: {seen:?}"),
            }
        }
    }

    #[test]
    fn a_hidden_test_is_not_named() {
        let hidden = TestRule {
            pattern: "canary*".to_owned(),
            points: 1.0,
            visibility: Visibility::Hidden,
            name: Some("canary shown".to_owned()),
        };
        let marking = Marking::new(vec![hidden], Format::Tap).unwrap();
        for name in ["canary one", "canary two"] {
            let seen = found("1..1\nok 1 - canary one\n", &[(name, ReportedStatus::Failed)], &marking).unwrap();
            assert!(seen.contains("reported a hidden test as failed") && !seen.contains("canary"), "{seen}");
        }
    }

    /// In the format of Gradescope, only the report says what is hidden.
    #[test]
    fn a_test_that_the_report_hides_is_not_named() {
        let report = br#"{"tests": [{"name": "canary", "score": 1, "max_score": 1, "visibility": "hidden"}]}"#;
        let verdict = parse(Format::Gradescope, report, Integrity::Isolated, &Limits::default()).unwrap();
        let last = [("canary".to_owned(), ReportedStatus::Failed)].into();
        let reported = ReportedTests { last, ..ReportedTests::default() };
        let seen = progress_contradiction(&verdict, &reported, &Marking::default()).unwrap();
        assert!(seen.contains("reported a hidden test as failed") && !seen.contains("canary"), "{seen}");
    }

    #[test]
    fn what_was_cut_contradicts_nothing() {
        let verdict = parse(Format::Tap, b"1..1\nok 1 - a\n", Integrity::Shared, &Limits::default()).unwrap();
        let last = [("b".to_owned(), ReportedStatus::Passed)].into();
        let mut reported = ReportedTests { last, ..ReportedTests::default() };
        assert!(progress_contradiction(&verdict, &reported, &Marking::default()).is_some());
        reported.is_cut = true;
        assert_eq!(progress_contradiction(&verdict, &reported, &Marking::default()), None);
        let long = format!("1..1\nok 1 - {}\n", "b".repeat(2000));
        assert_eq!(found(&long, &[("b", ReportedStatus::Passed)], &Marking::default()), None);
    }
}
