//! The tools whose reports need a rule of their own, known by their marks.

use crate::verdict::xml::Element;

/// The tool that wrote a suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Producer {
    /// A test has one name. One that was run again, or that fails and then fails in its teardown, stands there several
    /// times: the attempts before the last have no child, so the worst of them all is how the last one ended.
    Pytest,
    /// Gradle without `mergeReruns`: a test that was run again stands there several times, and nothing says that the
    /// last one is the one that counts.
    Gradle,
    /// A test of a package has one name. With `gotestsum --rerun-fails`, or `-count`, it stands there as often as it ran.
    Go,
    /// A test that fails several times stands there as often, without a time.
    Xcpretty,
    /// A test that stands there twice is two tests: TestNG gives the same name to every row of data.
    Other,
}

impl Producer {
    /// The tool that wrote a suite, by the order of its attributes; inner suites are of the tool of the outer one.
    pub(super) fn of_suite(suite: &Element, outer: Self) -> Self {
        const PYTEST: &[&str] = &["name", "errors", "failures", "skipped", "tests", "time", "timestamp", "hostname"];
        const GRADLE: &[&str] = &["name", "tests", "skipped", "failures", "errors", "timestamp", "hostname", "time"];
        const XCPRETTY: &[&str] = &["name", "tests", "failures"];
        let wrote = |names: &[&str]| suite.begins_with(names) && suite.attributes() == names.len();
        if outer != Self::Other {
            outer
        } else if wrote(PYTEST) || suite.attribute("name") == Some("pytest") {
            Self::Pytest
        } else if wrote(GRADLE) {
            Self::Gradle
        } else if wrote(XCPRETTY) {
            Self::Xcpretty
        } else {
            Self::Other
        }
    }
}

/// Whether Node's own test runner wrote a test case: it calls each class `test` and puts the name first.
pub(super) fn is_node(case: &Element) -> bool {
    case.begins_with(&["name", "time", "classname"]) && case.attribute("classname") == Some("test")
}

/// Whether Catch2 says that a test may fail.
pub(super) fn may_fail(skipped: &str) -> bool {
    skipped == "TEST_CASE tagged with !mayfail"
}

/// Whether CTest skipped a test on purpose. It writes a test that it could not run in the same way, with the reason.
pub(super) fn is_ctest_skip(skipped: &str) -> bool {
    skipped.starts_with("SKIP_")
}

/// What writes XML with such a root, and how it writes JUnit XML, if that is known.
pub(super) fn of_foreign_root(root: &str) -> Option<&'static str> {
    Some(match root {
        "test-run" | "test-results" => "NUnit's own format; use the logger JunitXml.TestLogger",
        "assemblies" => "xUnit.net's own format; use the logger JunitXml.TestLogger",
        "TestRun" => "the TRX format of Visual Studio; use the logger JunitXml.TestLogger",
        "robot" => "Robot Framework's own format; use its option --xunit",
        "Catch2TestRun" | "Catch" => "Catch2's own format; use its reporter junit",
        "TestLog" | "TestResult" => "Boost.Test's own format; use --log_format=JUNIT",
        "doctest" => "doctest's own format; use --reporters=junit",
        "Site" => "CTest's own format; use ctest --output-junit",
        "testng-results" => "TestNG's own format; use the files below junitreports",
        "coverage" | "checkstyle" => "no report of tests",
        _ => return None,
    })
}
