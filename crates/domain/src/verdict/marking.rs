//! Marking: the points, the visibility and the shown name that a template gives to the tests of a report.
//!
//! It is for formats in which a report states no points (JUnit, TAP, CTRF). What holds of every marked verdict:
//!
//! - The first rule whose pattern matches the whole name of a test holds. A test without a rule stays as it was read:
//!   one point, visible.
//! - A test that passed has all points of its rule, every other test has none. A test that was left out (skipped,
//!   pending) stays out of the score.
//! - A test that was planned and did not run has no name of its own. If the template states the maximum, such tests
//!   share what the others leave of it, so that a report that was cut off is out of the same maximum as a whole one.

use globset::{GlobBuilder, GlobMatcher};
use serde::Deserialize;

use super::{Format, Test, TestStatus, Verdict, Visibility, tap, text};

/// The largest number of rules.
pub const MAX_RULES: usize = 200;

/// The longest pattern and the longest shown name, in bytes.
pub const MAX_RULE_BYTES: usize = 256;

/// The largest number of points of one test.
const MAX_POINTS: f64 = 1e9;

/// A rule for tests as a template states it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestRule {
    /// The pattern of the names of its tests: `*`, `?`, `[...]` and `{a,b}`; a backslash takes the meaning away.
    #[serde(rename = "match")]
    pub pattern: String,
    /// The points of each of its tests.
    #[serde(default = "one_point")]
    pub points: f64,
    /// Who may see its tests.
    #[serde(default)]
    pub visibility: Visibility,
    /// The name that is shown in place of that of the report.
    pub name: Option<String>,
}

const fn one_point() -> f64 {
    1.0
}

/// The rules of a template for its tests.
#[derive(Debug, Clone, Default)]
pub struct Marking(Vec<(GlobMatcher, TestRule)>);

/// Why rules cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MarkingError {
    /// There are too many rules.
    #[error("there are {seen} tables [[tests]], the limit is {MAX_RULES}; let one pattern match several tests")]
    TooMany {
        /// The number of rules.
        seen: usize,
    },
    /// The format of the reports states the points itself, or has no tests.
    #[error("[[tests]] has no meaning for {}; use it with junit, tap or ctrf", .format.as_str())]
    Format {
        /// The format of the template.
        format: Format,
    },
    /// A pattern or a name is empty or too long.
    #[error("`{key}` of [[tests]] number {number} has {seen} bytes, it must have 1 to {MAX_RULE_BYTES}; correct it")]
    Length {
        /// The position of the rule, from 1.
        number: usize,
        /// `match` or `name`.
        key: &'static str,
        /// The length.
        seen: usize,
    },
    /// A name would be changed where it is shown.
    #[error(
        "`name` of [[tests]] number {number} is {seen:?}; a name is one line without control characters and without blanks at its ends"
    )]
    Name {
        /// The position of the rule, from 1.
        number: usize,
        /// The name.
        seen: String,
    },
    /// A number of points is out of range.
    #[error("`points` of [[tests]] number {number} is {seen}, it must be 0 to {MAX_POINTS}; correct it")]
    Points {
        /// The position of the rule, from 1.
        number: usize,
        /// The points.
        seen: f64,
    },
    /// A pattern cannot be read.
    #[error(
        "`match` of [[tests]] number {number} is no pattern: {reason}; put a backslash before a character that stands for itself"
    )]
    Pattern {
        /// The position of the rule, from 1.
        number: usize,
        /// What is wrong with it.
        reason: String,
    },
}

impl Marking {
    /// Checks the rules of a template whose reports have this format.
    ///
    /// # Errors
    /// [`MarkingError`]: the first rule that cannot be used.
    pub fn new(rules: Vec<TestRule>, format: Format) -> Result<Self, MarkingError> {
        if !rules.is_empty() && matches!(format, Format::Gradescope | Format::ExitCode) {
            return Err(MarkingError::Format { format });
        }
        if rules.len() > MAX_RULES {
            return Err(MarkingError::TooMany { seen: rules.len() });
        }
        let checked = rules.into_iter().zip(1..).map(|(rule, number)| Ok((checked(&rule, number)?, rule)));
        checked.collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is no rule.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rules in their order.
    pub fn rules(&self) -> impl Iterator<Item = &TestRule> {
        self.0.iter().map(|(_, rule)| rule)
    }

    /// The index of the rule that holds for a test of this name.
    #[must_use]
    pub fn rule_for(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|(pattern, _)| pattern.is_match(name))
    }

    /// The name under which a test is shown before there is a verdict; `None` if its rule does not show it to students at
    /// once.
    #[must_use]
    pub fn shown_name<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        match self.rule_for(name).and_then(|rule| self.0.get(rule)) {
            None => Some(name),
            Some((_, rule)) if rule.visibility == Visibility::Visible => Some(rule.name.as_deref().unwrap_or(name)),
            Some(_) => None,
        }
    }

    /// The verdict with the points, the visibility and the names of these rules. `max_score` is the template's maximum.
    #[must_use]
    pub fn apply(&self, mut verdict: Verdict, max_score: Option<f64>) -> Verdict {
        if self.is_empty() {
            return verdict;
        }
        let (mut without_name, mut points) = (Vec::new(), 0.0);
        for (index, test) in verdict.tests.iter_mut().enumerate() {
            match self.rule_for(&test.name).and_then(|rule| self.0.get(rule)) {
                Some((_, rule)) => mark(test, rule),
                None if tap::did_not_run(test) => {
                    without_name.push(index);
                    continue;
                }
                None => {}
            }
            points += test.max_score;
        }
        if let Some(max_score) = max_score {
            share(&mut verdict.tests, &without_name, max_score - points);
        }
        let marked = Verdict::of_tests(verdict.tests, verdict.integrity);
        Verdict { output: verdict.output, ..marked }
    }
}

fn checked(rule: &TestRule, number: usize) -> Result<GlobMatcher, MarkingError> {
    for (key, value) in [("match", Some(&rule.pattern)), ("name", rule.name.as_ref())] {
        let seen = value.map_or(1, String::len);
        if !(1..=MAX_RULE_BYTES).contains(&seen) {
            return Err(MarkingError::Length { number, key, seen });
        }
    }
    if let Some(name) = rule.name.as_ref().filter(|name| text::line(name, MAX_RULE_BYTES) != **name) {
        return Err(MarkingError::Name { number, seen: name.clone() });
    }
    if !(0.0..=MAX_POINTS).contains(&rule.points) {
        return Err(MarkingError::Points { number, seen: rule.points });
    }
    // A name is no path: `*` matches every character.
    let pattern = GlobBuilder::new(&rule.pattern).literal_separator(false).backslash_escape(true).build();
    let pattern = pattern.map_err(|error| MarkingError::Pattern { number, reason: error.kind().to_string() })?;
    Ok(pattern.compile_matcher())
}

fn mark(test: &mut Test, rule: &TestRule) {
    if !matches!(test.status, TestStatus::Skipped | TestStatus::Pending) {
        test.max_score = rule.points;
        test.score = if test.status == TestStatus::Passed { rule.points } else { 0.0 };
    }
    test.visibility = rule.visibility;
    if let Some(name) = &rule.name {
        test.name.clone_from(name);
    }
}

/// Divides the points that the other tests leave of the maximum among the tests without a name.
fn share(tests: &mut [Test], without_name: &[usize], rest: f64) {
    let Some(count) = u32::try_from(without_name.len()).ok().filter(|count| *count > 0 && rest > 0.0) else { return };
    for index in without_name {
        if let Some(test) = tests.get_mut(*index) {
            test.max_score = rest / f64::from(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{Integrity, Limits, Scale, parse};

    fn rule(pattern: &str, points: f64) -> TestRule {
        TestRule { pattern: pattern.to_owned(), points, visibility: Visibility::Visible, name: None }
    }

    fn tap(report: &str) -> Verdict {
        parse(Format::Tap, report.as_bytes(), Integrity::Isolated, &Limits::default()).unwrap()
    }

    fn marked(rules: &[TestRule], report: &str, max_score: Option<f64>) -> Verdict {
        Marking::new(rules.to_vec(), Format::Tap).unwrap().apply(tap(report), max_score)
    }

    #[test]
    fn the_first_rule_that_matches_the_whole_name_holds() {
        for (name, rule_index) in [
            ("login works", Some(0)),
            ("login > with a password", Some(0)),
            ("login/logout", Some(0)),
            ("relogin", None),
            ("sum[1-2]", Some(1)),
            ("sum1", None),
            ("sumx", None),
            ("unit: a", Some(2)),
            ("unit: b", Some(2)),
            ("unit: c", None),
            ("Login works", None),
            ("", None),
        ] {
            let rules =
                [rule("login*", 2.0), rule(r"sum\[1-2\]", 3.0), rule("unit: {a,b}", 4.0), rule("login w*", 9.0)];
            let marking = Marking::new(rules.to_vec(), Format::Junit).unwrap();
            assert_eq!(marking.rule_for(name), rule_index, "{name:?}");
        }
    }

    #[test]
    fn a_test_has_all_points_of_its_rule_or_none() {
        let report =
            "1..6\nok 1 - a\nnot ok 2 - a\nok 3 - a # SKIP later\nnot ok 4 - a # TODO\nok 5 - other\nok 6 - free\n";
        let verdict = marked(&[rule("a", 2.5), rule("free", 0.0)], report, None);
        let points: Vec<_> = verdict.tests.iter().map(|test| (test.score, test.max_score)).collect();
        assert_eq!(points, [(2.5, 2.5), (0.0, 2.5), (0.0, 0.0), (0.0, 0.0), (1.0, 1.0), (0.0, 0.0)]);
        assert_eq!((verdict.score, verdict.max_score), (3.5, 6.0));
    }

    #[test]
    fn a_rule_gives_visibility_and_a_name_to_skipped_tests_too() {
        let hidden = TestRule { visibility: Visibility::Hidden, name: Some("secret".to_owned()), ..rule("a*", 2.0) };
        let verdict = marked(&[hidden], "1..3\nok 1 - a1\nok 2 - a2 # SKIP\nok 3 - b\n", None);
        let seen: Vec<_> = verdict.tests.iter().map(|test| (test.name.as_str(), test.visibility)).collect();
        let hidden = ("secret", Visibility::Hidden);
        assert_eq!(seen, [hidden, hidden, ("b", Visibility::Visible)]);
    }

    #[test]
    fn only_what_students_see_at_once_is_shown_before_the_verdict() {
        let with =
            |pattern: &str, visibility| TestRule { visibility, name: Some("A".to_owned()), ..rule(pattern, 1.0) };
        let rules = [
            with("visible", Visibility::Visible),
            with("hidden", Visibility::Hidden),
            with("due", Visibility::AfterDueDate),
            with("published", Visibility::AfterPublished),
            rule("plain", 1.0),
        ];
        let marking = Marking::new(rules.to_vec(), Format::Tap).unwrap();
        for (name, shown) in [
            ("visible", Some("A")),
            ("hidden", None),
            ("due", None),
            ("published", None),
            ("plain", Some("plain")),
            ("no rule", Some("no rule")),
        ] {
            assert_eq!(marking.shown_name(name), shown, "{name}");
        }
    }

    #[test]
    fn without_rules_a_verdict_stays_as_it_is() {
        let verdict = Verdict { output: Some("text".to_owned()), ..tap("1..2\nok 1 - a\nnot ok 2 - b\n") };
        assert_eq!(Marking::default().apply(verdict.clone(), None), verdict);
        let marking = Marking::new(vec![rule("none", 5.0)], Format::Tap).unwrap();
        assert_eq!(marking.apply(verdict.clone(), Some(2.0)), verdict);
    }

    /// What was cut off costs at least what it was worth.
    #[test]
    fn a_stream_that_was_cut_off_is_out_of_the_same_maximum() {
        let rules = [rule("small", 1.0), rule("large *", 10.0)];
        let scale = Scale { max_score: Some(21.0), ..Scale::default() };
        for report in [
            "1..3\nok 1 - small\nok 2 - large a\nok 3 - large b\n",
            "1..3\nok 1 - small\nok 2 - large a\n",
            "1..3\nok 1 - small\n",
            "1..3\nok 1 - small\nBail out! no more\n",
        ] {
            let verdict = scale.hold(marked(&rules, report, scale.max_score)).unwrap();
            assert_eq!(verdict.max_score, 21.0, "{report:?}");
            assert_eq!(verdict.all_passed(), verdict.score == 21.0, "{report:?}");
        }
        // A report of more than there is does not fit.
        let twice = marked(&rules, "1..4\nok 1 - small\nok 2 - large a\nok 3 - large b\nok 4 - large b\n", Some(21.0));
        assert!(scale.hold(twice).is_err());
    }

    #[test]
    fn a_rule_that_cannot_be_is_refused() {
        let long = "x".repeat(MAX_RULE_BYTES + 1);
        let named = |name: &str| TestRule { name: Some(name.to_owned()), ..rule("a", 1.0) };
        for (wrong, why) in [
            (rule("", 1.0), "`match` of [[tests]] number 2 has 0 bytes"),
            (rule(&long, 1.0), "`match` of [[tests]] number 2 has 257 bytes, it must have 1 to 256"),
            (named(&long), "`name` of [[tests]] number 2 has 257 bytes"),
            (named("a\nb"), "a name is one line"),
            (named(" a"), "a name is one line"),
            (rule("a", -1.0), "`points` of [[tests]] number 2 is -1"),
            (rule("a", f64::NAN), "is NaN"),
            (rule("a", f64::INFINITY), "is inf"),
            (rule("a[", 1.0), "put a backslash before"),
            (rule("{a", 1.0), "put a backslash before"),
        ] {
            let error = Marking::new(vec![rule("good", 1.0), wrong], Format::Tap).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let many = vec![rule("a", 1.0); MAX_RULES + 1];
        assert_eq!(Marking::new(many, Format::Tap).unwrap_err(), MarkingError::TooMany { seen: 201 });
        for format in [Format::Gradescope, Format::ExitCode] {
            assert_eq!(Marking::new(vec![rule("a", 1.0)], format).unwrap_err(), MarkingError::Format { format });
            assert!(Marking::new(Vec::new(), format).is_ok());
        }
    }
}
