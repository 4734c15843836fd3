//! Whether a report is consistent with how the tests stage ended.
//!
//! If the tests run inside the project's own process, the project can write the report. It cannot change afterwards how
//! that process ended. The numbers of tests and points are checked against the template's scale
//! ([`assize_domain::verdict::Scale`]).

use assize_domain::verdict::Verdict;
use assize_protocol::event::StageExit;

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
    use assize_domain::verdict::{Format, Integrity, Limits, parse};

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
}
