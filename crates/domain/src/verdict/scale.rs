//! The scale of a template: how many points there are, how far above a score may go, and how many tests there are.
//!
//! A report says of itself what it likes; its template says what a verdict can be. What holds of every verdict:
//!
//! - No number is negative, and none is minus zero.
//! - The maximum is the template's, where it names one. A report with another maximum is refused. Tests that were left
//!   out (skipped, pending) take their points with them, not out of the maximum: leaving a test out gains nothing.
//! - A score goes no further above its maximum than the template's extra credit.
//! - There are as many tests as the template expects, whatever the score: a report without tests is no 0.
//! - A driver that was interrupted scores no better than one that was not: what is missing counts 0.

use super::{Integrity, Test, TestStatus, Verdict};

/// Relative difference below which two sums of points are the same: eight times 0.1 is 0.8.
const TOLERANCE: f64 = 1e-6;

/// Points below which the tolerance is that of so many points: what is left of tenths that cancel each other out.
const SMALLEST: f64 = 1e-3;

/// The name of the test that stands for a driver that was interrupted.
pub const INTERRUPTED: &str = "driver";

/// What a template says of the verdicts of its runs.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Scale {
    /// Points that full marks give; absent: what the report says.
    pub max_score: Option<f64>,
    /// Points that a score may lie above the maximum.
    pub extra_credit: f64,
    /// Tests that there are; absent: any number.
    pub tests: Option<usize>,
}

/// Why a verdict does not fit its template's scale.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScaleError {
    /// More or fewer tests.
    #[error("it has {seen} tests, the template expects {expected}; see why the tests stopped early")]
    Tests {
        /// What the template says.
        expected: usize,
        /// What the report has.
        seen: usize,
    },
    /// Another maximum.
    #[error(
        "its maximum is {seen} points, the template's results.max_score is {expected}; correct the one or the other"
    )]
    Maximum {
        /// What the template says.
        expected: f64,
        /// What the report says.
        seen: f64,
    },
    /// A score that its maximum does not allow.
    #[error(
        "it has {seen} of {max_score} points and the template allows {extra_credit} above; see results.extra_credit"
    )]
    Above {
        /// Of the verdict.
        max_score: f64,
        /// What the template allows above it.
        extra_credit: f64,
        /// The score.
        seen: f64,
    },
    /// A score that is no number of points.
    #[error("its score is {seen}, a score is 0 or more; correct the report")]
    NoPoints {
        /// The score.
        seen: f64,
    },
}

impl Scale {
    /// Holds a verdict to this scale.
    ///
    /// # Errors
    /// [`ScaleError`]: what does not fit.
    pub fn hold(&self, mut verdict: Verdict) -> Result<Verdict, ScaleError> {
        if let Some(expected) = self.tests
            && verdict.tests.len() != expected
        {
            return Err(ScaleError::Tests { expected, seen: verdict.tests.len() });
        }
        if let Some(expected) = self.max_score {
            let left_out = |test: &Test| matches!(test.status, TestStatus::Skipped | TestStatus::Pending);
            let is_lower = verdict.max_score < expected && verdict.tests.iter().any(left_out);
            if !is_lower && !same(verdict.max_score, expected) {
                return Err(ScaleError::Maximum { expected, seen: verdict.max_score });
            }
            verdict.max_score = expected;
        }
        self.bound(verdict)
    }

    /// Whether a report that lacks something can be told from a whole one.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.max_score.is_some() || self.tests.is_some()
    }

    /// Whether a report has fewer tests or points than there are.
    #[must_use]
    pub fn lacks(&self, verdict: &Verdict) -> bool {
        let left_out = |test: &Test| matches!(test.status, TestStatus::Skipped | TestStatus::Pending);
        let fewer = self.tests.is_some_and(|expected| verdict.tests.len() < expected);
        let lower = self.max_score.is_some_and(|most| verdict.max_score < most && !same(verdict.max_score, most));
        fewer || lower && !verdict.tests.iter().any(left_out)
    }

    /// The verdict of a driver that was interrupted: tests that are missing count 0 of what is missing, and the
    /// verdict says why. A report of all tests is taken as it is, with the reason beside it.
    ///
    /// # Errors
    /// [`ScaleError`]: a report that says more than the whole one could.
    pub fn hold_partial(&self, mut verdict: Verdict, why: &str) -> Result<Verdict, ScaleError> {
        let seen = verdict.tests.len();
        let missing = match self.tests {
            Some(expected) if seen > expected => return Err(ScaleError::Tests { expected, seen }),
            Some(expected) => expected - seen,
            None => 0,
        };
        // Without points of its own each missing test is worth one, as in every format that has none.
        let expected = self.max_score.unwrap_or(verdict.max_score + count(missing));
        let rest = expected - verdict.max_score;
        if rest < 0.0 && !same(expected, verdict.max_score) {
            return Err(ScaleError::Maximum { expected, seen: verdict.max_score });
        }
        verdict.max_score = expected;
        let mut why = why.to_owned();
        if missing > 0 {
            why.push_str(&format!("; {missing} of {} tests are missing from its report and count 0", seen + missing));
        }
        verdict.tests.push(interrupted(why, rest.max(0.0)));
        self.bound(verdict)
    }

    /// The verdict of a driver that left no report: 0 of what the template expects, and why.
    #[must_use]
    pub fn nothing(&self, integrity: Integrity, why: &str) -> Verdict {
        let max_score = self.max_score.or_else(|| self.tests.map(count)).unwrap_or(1.0);
        let why = format!("{why}; there is no report, so that all tests count 0");
        Verdict { score: 0.0, max_score, tests: vec![interrupted(why, max_score)], integrity, output: None }
    }

    fn bound(&self, mut verdict: Verdict) -> Result<Verdict, ScaleError> {
        let (max_score, extra_credit) = (verdict.max_score, self.extra_credit);
        if !(verdict.score >= 0.0 && verdict.score.is_finite()) {
            return Err(ScaleError::NoPoints { seen: verdict.score });
        }
        if same(verdict.score, max_score) {
            verdict.score = max_score;
        } else if verdict.score > max_score + extra_credit && !same(verdict.score, max_score + extra_credit) {
            return Err(ScaleError::Above { max_score, extra_credit, seen: verdict.score });
        }
        Ok(verdict.without_minus_zero())
    }
}

fn interrupted(why: String, max_score: f64) -> Test {
    let mut test = Test::unweighted(INTERRUPTED.to_owned(), TestStatus::Errored);
    (test.max_score, test.message) = (max_score, Some(why));
    test
}

/// Whether two sums of points are the same but for the error of adding tenths.
pub(super) fn same(one: f64, other: f64) -> bool {
    (one - other).abs() <= TOLERANCE * one.abs().max(other.abs()).max(SMALLEST)
}

#[expect(clippy::cast_precision_loss, reason = "a report has at most ten thousand tests")]
fn count(tests: usize) -> f64 {
    tests as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{Format, Limits, parse};

    fn tap(report: &str) -> Verdict {
        parse(Format::Tap, report.as_bytes(), Integrity::Shared, &Limits::default()).unwrap()
    }

    fn verdict(score: f64, max_score: f64) -> Verdict {
        Verdict { score, max_score, tests: Vec::new(), integrity: Integrity::Shared, output: None }
    }

    const TEN: Scale = Scale { max_score: Some(10.0), extra_credit: 0.0, tests: None };
    const THREE_TESTS: Scale = Scale { max_score: None, extra_credit: 0.0, tests: Some(3) };

    #[test]
    fn the_number_of_tests_holds_at_every_score() {
        let seen = THREE_TESTS.hold(tap("1..1\nok 1\n")).unwrap_err().to_string();
        assert!(seen.contains("it has 1 tests, the template expects 3"), "{seen}");
        assert!(THREE_TESTS.hold(tap("1..4\nok 1\nok 2\nok 3\nok 4\n")).is_err(), "more would dilute the failures");
        assert!(THREE_TESTS.hold(tap("1..3\nok 1\nnot ok 2\nok 3\n")).is_ok());
        assert!(THREE_TESTS.hold(tap("1..1\nnot ok 1\n")).is_err(), "a report of less is no 0");
        assert!(THREE_TESTS.hold(tap("1..0\n")).is_err(), "nor is one of nothing");
    }

    #[test]
    fn a_score_beyond_the_scale_is_refused() {
        let any = Scale::default();
        for (score, max_score) in [(102.0, 3.0), (9.5, 3.0), (0.1, 0.0), (3.001, 3.0)] {
            let seen = any.hold(verdict(score, max_score)).unwrap_err();
            assert_eq!(seen, ScaleError::Above { max_score, extra_credit: 0.0, seen: score });
        }
        for score in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(any.hold(verdict(score, 3.0)), Err(ScaleError::NoPoints { .. })), "{score}");
        }
        let generous = Scale { extra_credit: 2.0, ..TEN };
        assert_eq!(generous.hold(verdict(12.0, 10.0)).unwrap().score, 12.0);
        assert!(generous.hold(verdict(12.1, 10.0)).is_err());
        let boundless = Scale { extra_credit: f64::INFINITY, ..TEN };
        assert_eq!(boundless.hold(verdict(1e6, 10.0)).unwrap().score, 1e6);
    }

    #[test]
    fn the_maximum_is_the_templates() {
        assert_eq!(TEN.hold(verdict(7.0, 10.0)).unwrap().max_score, 10.0);
        for max_score in [9.0, 11.0, 0.0] {
            let seen = TEN.hold(verdict(0.0, max_score)).unwrap_err();
            assert_eq!(seen, ScaleError::Maximum { expected: 10.0, seen: max_score });
        }
        // A runner's own sum of tenths.
        let tenths = (0..100).map(|_| 0.1).sum::<f64>();
        let held = TEN.hold(verdict(tenths, tenths)).unwrap();
        assert_eq!((held.score, held.max_score, held.score >= held.max_score), (10.0, 10.0, true));
    }

    #[test]
    fn a_test_that_was_left_out_takes_its_point_with_it() {
        let three = Scale { max_score: Some(3.0), ..THREE_TESTS };
        let held = three.hold(tap("1..3\nok 1\nok 2 # SKIP not today\nok 3\n")).unwrap();
        assert_eq!((held.score, held.max_score), (2.0, 3.0));
        assert!(!held.all_passed());
    }

    #[test]
    fn a_partial_report_is_never_better_than_the_whole() {
        let held = THREE_TESTS.hold_partial(tap("1..1\nok 1\n"), "the driver ran out of memory").unwrap();
        assert_eq!((held.score, held.max_score, held.tests.len()), (1.0, 3.0, 2));
        let why = held.tests[1].message.as_deref().unwrap();
        assert!(why.contains("ran out of memory") && why.contains("2 of 3 tests are missing"), "{why}");
        assert!(!held.all_passed());
        // All of them: the points count, and the reason stands beside them.
        let held = THREE_TESTS.hold_partial(tap("1..3\nok 1\nok 2\nok 3\n"), "it was killed").unwrap();
        assert_eq!((held.score, held.max_score, held.all_passed()), (3.0, 3.0, false));
        let held = TEN.hold_partial(verdict(4.0, 6.0), "it was killed").unwrap();
        assert_eq!((held.score, held.max_score, held.tests[0].max_score), (4.0, 10.0, 4.0));
        assert!(TEN.hold_partial(verdict(4.0, 11.0), "it was killed").is_err());
        assert!(TEN.hold_partial(verdict(11.0, 10.0), "it was killed").is_err());
        assert!(THREE_TESTS.hold_partial(tap("1..4\nok 1\nok 2\nok 3\nok 4\n"), "it was killed").is_err());
    }

    #[test]
    fn a_report_lacks_what_the_template_expects_and_nobody_left_out() {
        let three = Scale { max_score: Some(3.0), ..THREE_TESTS };
        for (report, lacks) in [
            ("1..1\nok 1\n", true),
            ("1..0\n", true),
            ("1..3\nok 1\nnot ok 2\nok 3\n", false),
            ("1..3\nok 1\nok 2 # SKIP not today\nok 3\n", false),
            ("1..4\nok 1\nok 2\nok 3\nok 4\n", false),
        ] {
            assert_eq!(three.lacks(&tap(report)), lacks, "{report:?}");
        }
        assert!(
            TEN.lacks(&verdict(4.0, 6.0))
                && !TEN.lacks(&verdict(4.0, 10.0))
                && !Scale::default().lacks(&verdict(0.0, 0.0))
        );
    }

    #[test]
    fn without_a_report_there_are_no_points_of_what_the_template_expects() {
        for (scale, max_score) in [(TEN, 10.0), (THREE_TESTS, 3.0), (Scale::default(), 1.0)] {
            let verdict = scale.nothing(Integrity::Isolated, "the driver was killed");
            assert_eq!((verdict.score, verdict.max_score, verdict.tests.len()), (0.0, max_score, 1));
            assert!(
                verdict.tests[0].message.as_deref().unwrap().starts_with("the driver was killed; there is no report")
            );
        }
    }

    #[test]
    fn nothing_is_not_full_marks_of_little() {
        assert!(!same(0.0, 1e-6) && !same(1e-6, 2e-6) && same(0.1 + 0.2 - 0.3, 0.0) && same(0.1 * 8.0, 0.8));
        let little = Scale { max_score: Some(1e-6), ..Scale::default() };
        assert!(!little.hold(verdict(0.0, 1e-6)).unwrap().all_passed());
    }

    #[test]
    fn no_zero_has_a_sign() {
        let mut signed = verdict(-0.0, -0.0);
        signed.tests.push(Test { score: -0.0, max_score: -0.0, ..interrupted(String::new(), 0.0) });
        let held = Scale::default().hold(signed).unwrap();
        for zero in [held.score, held.max_score, held.tests[0].score, held.tests[0].max_score] {
            assert!(zero == 0.0 && zero.is_sign_positive());
        }
    }
}
