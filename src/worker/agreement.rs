//! Whether a report agrees with what the warden saw of the tests.
//!
//! Where the tests run inside the project's own process it can write the report for them. What it cannot
//! change afterwards is how that process ended. How many tests and points there are is held to the template's scale
//! ([`assize_domain::verdict::Scale`]).

use assize_protocol::event::StageExit;

use super::verdict::untimely;
use crate::template::{ExitCodeRule, Results};
use assize_domain::verdict::Verdict;

/// What contradicts the verdict; `None` if nothing does.
pub fn contradiction(verdict: &Verdict, exit: Option<&StageExit>, rules: &Results) -> Option<String> {
    if rules.exit_code == ExitCodeRule::Ignored || !verdict.all_passed() {
        return None;
    }
    let ended = untimely(exit)?;
    Some(format!(
        "it says that all {} tests passed, but the tests {ended}; a runner whose exit code means something else \
         needs results.exit_code = \"ignored\" in the template",
        verdict.tests.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{ExtraCredit, OnDriverFailure};
    use assize_domain::verdict::{Format, Integrity, Limits, parse};

    fn rules(exit_code: ExitCodeRule) -> Results {
        Results {
            format: Format::Tap,
            path: None,
            max_kib: 1,
            expect_tests: None,
            max_score: None,
            extra_credit: ExtraCredit::default(),
            exit_code,
            on_driver_failure: OnDriverFailure::default(),
        }
    }

    fn of(report: &str, code: i32, rules: &Results) -> Option<String> {
        let verdict = parse(Format::Tap, report.as_bytes(), Integrity::Shared, &Limits::default()).unwrap();
        contradiction(&verdict, Some(&StageExit::Exited { code }), rules)
    }

    #[test]
    fn all_passed_and_a_failure_of_the_runner_contradict_each_other() {
        let strict = rules(ExitCodeRule::Agrees);
        let said = of("1..2\nok 1\nok 2\n", 1, &strict).unwrap();
        assert!(said.contains("all 2 tests passed, but the tests exited with code 1"), "{said}");
        assert_eq!(of("1..2\nok 1\nok 2\n", 0, &strict), None);
        assert_eq!(of("1..2\nok 1\nnot ok 2\n", 1, &strict), None);
        assert_eq!(of("1..2\nok 1\nnot ok 2\n", 0, &strict), None, "a runner that always exits with 0");
        assert_eq!(of("1..2\nok 1\nok 2\n", 3, &rules(ExitCodeRule::Ignored)), None);
        let verdict = parse(Format::Tap, b"1..1\nok 1\n", Integrity::Shared, &Limits::default()).unwrap();
        let killed = contradiction(&verdict, Some(&StageExit::Signalled { signal: 9 }), &strict).unwrap();
        assert!(killed.contains("signal 9"), "{killed}");
        assert!(contradiction(&verdict, None, &strict).is_some());
    }
}
