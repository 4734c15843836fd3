//! Tests that a report has several times, in one file or in several.

use super::TestStatus::{Errored, Failed, Passed, Pending, Skipped};
use super::*;

/// The first tags of suites, as the tools write them.
const PYTEST: &str = "<testsuite name='pytest'>";
const GRADLE: &str =
    "<testsuite name='a' tests='1' skipped='0' failures='0' errors='0' timestamp='' hostname='' time=''>";
const GO: &str = "<testsuite tests='1'><properties><property name='go.version' value='go1.19'/></properties>";
const XCPRETTY: &str = "<testsuite name='a' tests='1' failures='0'>";
const OTHER: &str = "<testsuite name='a' tests='2'>";

fn statuses(format: Format, report: &str) -> Vec<TestStatus> {
    let verdict = parse(format, report.as_bytes(), Integrity::Isolated, &Limits::default());
    verdict.unwrap_or_else(|error| panic!("{report}: {error}")).tests.iter().map(|test| test.status).collect()
}

fn twice(suite: &str, first: &str, second: &str) -> Vec<TestStatus> {
    let case = |inner: &str| format!("<testcase classname='c' name='t'>{inner}</testcase>");
    statuses(Format::Junit, &format!("{suite}{}{}</testsuite>", case(first), case(second)))
}

#[test]
fn a_test_that_one_tool_writes_twice_is_one_and_the_worst_counts() {
    for suite in [PYTEST, GRADLE, GO] {
        assert_eq!(twice(suite, "", ""), [Passed], "{suite}");
        assert_eq!(twice(suite, "", "<failure/>"), [Failed], "{suite}");
        assert_eq!(twice(suite, "<failure/>", ""), [Failed], "{suite}: nothing says that the later one counts");
        assert_eq!(twice(suite, "<failure/>", "<error/>"), [Errored], "{suite}");
        assert_eq!(twice(suite, "<error/>", "<failure/>"), [Errored], "{suite}");
        assert_eq!(twice(suite, "<error/>", "<skipped/>"), [Errored], "{suite}");
        assert_eq!(twice(suite, "", "<skipped/>"), [Skipped], "{suite}");
    }
    assert_eq!(twice(XCPRETTY, "<failure/>", "<failure/>"), [Failed]);
    assert_eq!(twice(XCPRETTY, "<failure/>", ""), [Failed, Passed]);
}

#[test]
fn tests_of_one_name_are_several_unless_a_tool_says_otherwise() {
    assert_eq!(twice(OTHER, "", "<failure/>"), [Passed, Failed]);
    assert_eq!(twice(OTHER, "<failure/>", "<failure/>"), [Failed, Failed]);
    let classes = format!("{PYTEST}<testcase classname='a' name='t'/><testcase classname='b' name='t'/></testsuite>");
    assert_eq!(statuses(Format::Junit, &classes), [Passed, Passed]);
    let files =
        format!("{PYTEST}<testcase name='t' file='a'/><testcase name='t' file='b'><error/></testcase></testsuite>");
    assert_eq!(statuses(Format::Junit, &files), [Passed, Errored]);
    let suites = format!(
        "<testsuites>{0}<testcase name='t'/></testsuite>{0}<testcase name='t'/></testsuite></testsuites>",
        GRADLE
    );
    assert_eq!(statuses(Format::Junit, &suites), [Passed, Passed]);
}

#[test]
fn an_attempt_counts_by_the_marks_of_the_tool() {
    let case = |suite: &str, inner: &str| {
        statuses(Format::Junit, &format!("<testsuite {suite}><testcase name='t'>{inner}</testcase></testsuite>"))
    };
    assert_eq!(case("failures='1'", "<flakyFailure/>"), [Passed]);
    assert_eq!(case("errors='2'", "<flakyError/><flakyFailure/>"), [Passed]);
    assert_eq!(case("failures='2'", "<flakyFailure/>"), [Passed, Errored], "one failure is not shown");
    assert_eq!(case("failures='1'", "<failure/><rerunFailure/>"), [Failed]);
    assert_eq!(case("", "<failure/><flakyFailure/>"), [Failed], "a mark of a flake excuses no failure");
    assert_eq!(case("", "<rerunFailure/>"), [Failed], "no attempt passed");
}

#[test]
fn a_failure_is_expected_only_by_the_marks_of_the_tool() {
    let case = |attributes: &str, inner: &str| {
        statuses(Format::Junit, &format!("<testsuite><testcase name='t' {attributes}>{inner}</testcase></testsuite>"))
    };
    let may_fail = "<skipped message='TEST_CASE tagged with !mayfail'/>";
    assert_eq!(case("", &format!("{may_fail}<failure/>")), [Pending]);
    assert_eq!(case("", may_fail), [Pending]);
    assert_eq!(case("", "<skipped message='later'/><failure/>"), [Failed]);
    assert_eq!(case("status='notrun'", "<skipped message='SKIP_RETURN_CODE=77'/>"), [Skipped]);
    assert_eq!(case("status='notrun'", "<skipped message='Unable to find executable'/>"), [Errored]);
    assert_eq!(case("status='notrun'", ""), [Skipped], "gtest's");
    assert_eq!(case("status='disabled'", ""), [Skipped]);
    let property = |name: &str| format!("<properties><property name='{name}' value='true'/></properties>");
    assert_eq!(case("", &property("skip")), [Skipped]);
    assert_eq!(case("", &property("todo")), [Pending]);
    assert_eq!(case("", &property("skipped")), [Passed]);
    assert_eq!(case("", &format!("{}<failure/>", property("skip"))), [Failed]);
    assert_eq!(case("assertions='0'", "<warning/>"), [Errored]);
    assert_eq!(case("assertions='1'", "<warning/>"), [Passed]);
    assert_eq!(case("assertions='1'", "<warning/><failure/>"), [Failed]);
}

#[test]
fn a_suite_shows_what_it_counts() {
    let suite = |head: &str, cases: &str| statuses(Format::Junit, &format!("<testsuite {head}>{cases}</testsuite>"));
    let failed = "<testcase name='a'><failure/></testcase>";
    assert_eq!(suite("failures='1'", failed), [Failed]);
    assert_eq!(suite("failures='3'", failed), [Failed], "node-tap counts the suite itself");
    assert_eq!(suite("failures='1'", "<testcase name='a'/>"), [Passed, Errored]);
    assert_eq!(suite("errors='4'", "<testcase name='a'/><error message='bailed out'/>"), [Passed, Errored]);
    let nested = "<testsuite failures='2'><testcase name='a'/></testsuite>";
    assert_eq!(suite("failures='2'", nested), [Passed, Errored], "and the suites around it say no more");
    let expected = "<testcase name='a'><skipped type='todo'/><failure/></testcase>";
    assert_eq!(suite("failures='1'", expected), [Pending]);
    assert_eq!(suite("failures='2'", expected), [Pending, Errored]);
}

#[test]
fn subtests_in_braces_are_leaves() {
    let tap = |report: &str| statuses(Format::Tap, report);
    assert_eq!(tap("1..1\nok 1 - a {\n    1..2\n    ok 1\n    ok 2\n}\n"), [Passed, Passed]);
    assert_eq!(tap("1..1\nnot ok 1 - a {\n    1..1\n    ok 1\n}\n"), [Passed, Failed]);
    assert_eq!(tap("1..1\nok 1 - a {\n    1..1\n    not ok 1\n}\n"), [Failed], "a subtest hides no failure");
    assert_eq!(tap("1..1\nok 1 - a {\n    1..2\n    ok 1\n}\n"), [Passed, Errored]);
    assert_eq!(tap("1..1\nok 1 - a {\n    1..1\n    ok 1\n"), [Passed, Errored], "it is not closed");
    assert_eq!(tap("1..1\nok 1 - a {\n"), [Errored]);
    assert_eq!(tap("1..2\nok 1 - a {\nok 2 - b\n"), [Passed, Passed], "a brace may end a name");
    assert_eq!(tap("1..1\nok 1 - a # TODO {\n    1..1\n    not ok 1\n}\n"), [Pending]);
    assert_eq!(tap("1..1\nok 1 - a {\n    1..0 # SKIP no net\n}\n"), [Skipped]);
    assert_eq!(tap("1..1\nok 1 - a\n  ---\n  at: x\n  ...\n{\n    1..1\n    not ok 1\n}\n"), [Failed]);
    assert_eq!(tap("1..2\nok 1 - a\n}\nok 2 - b\n"), [Passed, Passed], "a brace that closes nothing");
    assert_eq!(tap("1..1\n{\n    not ok 1\n}\nok 1 - a\n"), [Failed, Passed]);
}

#[test]
fn a_failure_outside_the_plan_counts_once() {
    let tap = |report: &str| statuses(Format::Tap, report);
    assert_eq!(tap("1..1\nok 1\nnot ok 2 - teardown_file\n"), [Passed, Failed]);
    assert_eq!(tap("1..1\nok 1\nok 2\n"), [Passed, Passed, Errored]);
    assert_eq!(tap("1..1\nok 1\nnot ok 2\nok 3\n"), [Passed, Failed, Passed, Errored]);
    assert_eq!(tap("1..1\nok 1\nnot ok 2 # TODO\n"), [Passed, Pending, Errored]);
}

fn reader(format: Format) -> Reader {
    Reader { format, integrity: Integrity::Isolated, limits: Limits::default(), scale: Scale::default() }
}

fn files<'a>(all: &[(&'a str, &'a str)]) -> Vec<ReportFile<'a>> {
    all.iter().map(|(name, text)| ReportFile { name, bytes: text.as_bytes() }).collect()
}

#[test]
fn several_files_are_one_verdict_in_the_order_of_their_names() {
    let junit = [
        ("TEST-b.xml", "<testsuite><testcase classname='b' name='t'><failure/></testcase></testsuite>"),
        ("TEST-a.xml", "<testsuite><testcase classname='a' name='t'/></testsuite>"),
    ];
    let verdict = reader(Format::Junit).read_files(&files(&junit)).expect("they are read");
    let seen: Vec<_> = verdict.tests.iter().map(|test| (test.name.as_str(), test.status)).collect();
    assert_eq!((verdict.score, seen), (1.0, vec![("a.t", Passed), ("b.t", Failed)]));
    let tap = [("2.t", "1..0 # SKIP no net\n"), ("1.t", "1..1\nok 1 - x\n")];
    let verdict = reader(Format::Tap).read_files(&files(&tap)).expect("they are read");
    assert_eq!((verdict.tests[0].name.as_str(), verdict.output.as_deref()), ("1.t > x", Some("2.t: skipped: no net")));
}

#[test]
fn a_file_that_is_broken_is_not_left_out_and_all_together_are_bounded() {
    let one = "<testsuite><testcase name='t'/></testsuite>";
    let broken =
        reader(Format::Junit).read_files(&files(&[("a.xml", one), ("b.xml", "<testsuite>")])).expect_err("broken");
    assert!(broken.to_string().starts_with("b.xml: the report is truncated"), "{broken}");
    let empty = reader(Format::Junit).read_files(&files(&[("a.xml", one), ("b.xml", "")])).expect_err("empty");
    assert!(matches!(empty.error, ParseError::Empty { .. }));
    let mut small = reader(Format::Junit);
    small.limits.bytes = one.len() * 2 - 1;
    let long = small.read_files(&files(&[("a", one), ("b", one)])).expect_err("too long");
    assert_eq!((long.file, long.error), (None, ParseError::TooLarge { limit: one.len() * 2 - 1, seen: one.len() * 2 }));
    let mut few = reader(Format::Junit);
    few.limits.tests = 1;
    let many = few.read_files(&files(&[("a", one), ("b", one)])).expect_err("too many tests");
    assert_eq!(many.error, ParseError::TooManyTests { limit: 1, seen: 2 });
    let all = vec![ReportFile { name: "a", bytes: one.as_bytes() }; MAX_FILES + 1];
    assert!(matches!(
        reader(Format::Junit).read_files(&all),
        Err(FileError { error: ParseError::TooManyFiles { .. }, .. })
    ));
}

#[test]
fn all_messages_together_are_bounded() {
    let failing = format!("<testcase name='t'><failure>{}</failure></testcase>", "x".repeat(10_000));
    let report = format!("<testsuite>{}</testsuite>", failing.repeat(100));
    let limits = Limits { all_messages_bytes: 25_000, ..Limits::default() };
    let verdict = parse(Format::Junit, report.as_bytes(), Integrity::Shared, &limits).expect("it is read");
    let kept: Vec<_> = verdict.tests.iter().filter_map(|test| test.message.as_deref()).map(str::len).collect();
    assert_eq!((kept[0], kept[1], verdict.tests.len()), (10_000, 10_000, 100));
    assert!(kept[2..].iter().all(|&length| length < 100), "{kept:?}");
}
