//! Whether a report agrees with what the warden saw of the tests.
//!
//! Where the tests run inside the project's own process it can write the report for them. What it cannot
//! change afterwards is how that process ended, and how many tests there are. A report without a point is
//! believed as it is: nothing was gained by it.

use warden::event::StageExit;

use crate::template::{ExitCodeRule, Results};
use crate::verdict::Verdict;

/// What contradicts the verdict; `None` if nothing does.
pub fn contradiction(verdict: &Verdict, exit: Option<&StageExit>, rules: &Results) -> Option<String> {
    if let Some(expected) = rules.expect_tests
        && verdict.score > 0.0
        && verdict.tests.len() != expected
    {
        let seen = verdict.tests.len();
        return Some(format!("it has {seen} tests, the template expects {expected}; see why the tests stopped early"));
    }
    if rules.exit_code == ExitCodeRule::Ignored || !verdict.all_passed() {
        return None;
    }
    let ended = match exit {
        Some(StageExit::Exited { code: 0 }) => return None,
        Some(StageExit::Exited { code }) => format!("exited with code {code}"),
        Some(StageExit::Signalled { signal }) => format!("were ended by signal {signal}"),
        Some(_) | None => "did not end by themselves".to_owned(),
    };
    Some(format!(
        "it says that all {} tests passed, but the tests {ended}; a runner whose exit code means something else \
         needs results.exit_code = \"ignored\" in the template",
        verdict.tests.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{Format, Integrity, Limits, parse};

    fn rules(expect_tests: Option<usize>, exit_code: ExitCodeRule) -> Results {
        Results { format: Format::Tap, path: None, max_kib: 1, expect_tests, exit_code }
    }

    fn of(report: &str, code: i32, rules: &Results) -> Option<String> {
        let verdict = parse(Format::Tap, report.as_bytes(), Integrity::Shared, &Limits::default()).unwrap();
        contradiction(&verdict, Some(&StageExit::Exited { code }), rules)
    }

    #[test]
    fn all_passed_and_a_failure_of_the_runner_contradict_each_other() {
        let strict = rules(None, ExitCodeRule::Agrees);
        let said = of("1..2\nok 1\nok 2\n", 1, &strict).unwrap();
        assert!(said.contains("all 2 tests passed, but the tests exited with code 1"), "{said}");
        assert_eq!(of("1..2\nok 1\nok 2\n", 0, &strict), None);
        assert_eq!(of("1..2\nok 1\nnot ok 2\n", 1, &strict), None);
        assert_eq!(of("1..2\nok 1\nnot ok 2\n", 0, &strict), None, "a runner that always exits with 0");
        assert_eq!(of("1..2\nok 1\nok 2\n", 3, &rules(None, ExitCodeRule::Ignored)), None);
        let verdict = parse(Format::Tap, b"1..1\nok 1\n", Integrity::Shared, &Limits::default()).unwrap();
        let killed = contradiction(&verdict, Some(&StageExit::Signalled { signal: 9 }), &strict).unwrap();
        assert!(killed.contains("signal 9"), "{killed}");
        assert!(contradiction(&verdict, None, &strict).is_some());
    }

    #[test]
    fn points_need_the_number_of_tests_that_the_template_expects() {
        let three = rules(Some(3), ExitCodeRule::Agrees);
        assert!(of("1..1\nok 1\n", 0, &three).unwrap().contains("it has 1 tests, the template expects 3"));
        assert!(of("1..4\nok 1\nok 2\nok 3\nok 4\n", 0, &three).is_some(), "more would dilute the failures");
        assert_eq!(of("1..3\nok 1\nnot ok 2\nok 3\n", 1, &three), None);
        assert_eq!(of("1..1\nnot ok 1\n", 1, &three), None, "nothing was gained");
    }
}
