//! Reports of real tools, and what each comes to by the tool's own summary or by docs/results.md.

use super::TestStatus::{Errored, Failed, Other, Passed, Pending, Skipped};
use super::*;

/// A file below `tests/data/verdict`, points reached, points possible, and tests that passed, failed, errored, were
/// skipped, are pending, and have another end.
type Row = (&'static str, f64, f64, [usize; 6]);

/// What a template without `expect_tests` and `max_score` reads.
const ROWS: &[Row] = &[
    ("junit/pytest-rerunfailures.xml", 4.0, 5.0, [4, 1, 0, 2, 0, 0]),
    ("junit/pytest-teardown.xml", 7.0, 16.0, [7, 6, 3, 3, 0, 0]),
    ("junit/ctest.xml", 2.0, 8.0, [2, 4, 2, 2, 0, 0]),
    ("junit/phpunit9-empty.xml", 0.0, 1.0, [0, 0, 1, 0, 0, 0]),
    ("junit/phpunit9.xml", 4.0, 10.0, [4, 2, 4, 2, 0, 0]),
    ("junit/catch2-mayfail.xml", 2.0, 4.0, [2, 1, 1, 0, 2, 0]),
    ("junit/libtest.xml", 1.0, 4.0, [1, 3, 0, 0, 0, 0]),
    ("junit/node-suites.xml", 2.0, 8.0, [2, 6, 0, 1, 2, 0]),
    ("junit/rspec-empty.xml", 0.0, 0.0, [0, 0, 0, 0, 0, 0]),
    ("junit/surefire-flaky.xml", 3.0, 3.0, [3, 0, 0, 0, 0, 0]),
    ("junit/gradle-retry.xml", 1.0, 2.0, [1, 1, 0, 0, 0, 0]),
    ("junit/encoding-bom.xml", 1.0, 2.0, [1, 1, 0, 0, 0, 0]),
    ("junit/encoding-dotnet-says-utf16-is-utf8.xml", 1.0, 2.0, [1, 1, 0, 0, 0, 0]),
    ("junit/encoding-kyua-latin1-ascii-only.xml", 1.0, 2.0, [1, 1, 0, 0, 0, 0]),
    ("junit/encoding-powershell-real-utf16.xml", 1.0, 2.0, [1, 1, 0, 0, 0, 0]),
    ("junit/encoding-windows-1252.xml", 1.0, 1.0, [1, 0, 0, 0, 0, 0]),
    ("junit/xcpretty.xml", 1.0, 2.0, [1, 1, 0, 0, 0, 0]),
    ("junit/doctype-casper.xml", 1.0, 1.0, [1, 0, 0, 0, 0, 0]),
    ("junit/real-ant.xml", 1.0, 4.0, [1, 1, 2, 2, 0, 0]),
    ("junit/real-avocado.xml", 2.0, 4.0, [2, 1, 1, 2, 0, 0]),
    ("junit/real-bats.xml", 1.0, 3.0, [1, 2, 0, 2, 0, 0]),
    ("junit/real-behave.xml", 2.0, 6.0, [2, 2, 2, 1, 0, 0]),
    ("junit/real-busted.xml", 1.0, 3.0, [1, 1, 1, 1, 0, 0]),
    ("junit/real-gtest-all.xml", 3.0, 5.0, [3, 2, 0, 4, 0, 0]),
    ("junit/real-jest-all.xml", 6.0, 8.0, [6, 2, 0, 1, 0, 0]),
    ("junit/real-junit5.xml", 6.0, 13.0, [6, 3, 4, 2, 0, 0]),
    ("junit/real-mocha-xunit.xml", 2.0, 5.0, [2, 3, 0, 2, 0, 0]),
    ("junit/real-mocha.xml", 2.0, 5.0, [2, 3, 0, 0, 0, 0]),
    ("junit/real-nose2.xml", 2.0, 7.0, [2, 2, 3, 3, 0, 0]),
    ("junit/real-playwright.xml", 6.0, 14.0, [6, 4, 4, 6, 0, 0]),
    ("junit/real-prove.xml", 10.0, 15.0, [10, 2, 3, 0, 0, 0]),
    ("junit/real-robot.xml", 2.0, 3.0, [2, 1, 0, 1, 0, 0]),
    ("junit/real-testng.xml", 4.0, 8.0, [4, 2, 2, 0, 0, 0]),
    ("junit/real-vitest.xml", 5.0, 6.0, [5, 1, 0, 2, 0, 0]),
    ("junit/real-xmlrunner.xml", 2.0, 8.0, [2, 2, 4, 2, 0, 0]),
    ("tap/vitest-buffered.tap", 5.0, 6.0, [5, 1, 0, 1, 1, 0]),
    ("tap/vitest-flat.tap", 5.0, 6.0, [5, 1, 0, 1, 1, 0]),
    ("tap/perl-skip-all.tap", 0.0, 0.0, [0, 0, 0, 0, 0, 0]),
    ("tap/bats-teardown-file.tap", 3.0, 4.0, [3, 1, 0, 0, 0, 0]),
    ("tap/node-hooks.tap", 2.0, 8.0, [2, 6, 0, 1, 2, 0]),
    ("tap/real-ava.tap", 3.0, 4.0, [3, 1, 0, 1, 1, 0]),
    ("tap/real-avocado.tap", 2.0, 4.0, [2, 2, 0, 2, 0, 0]),
    ("tap/real-bats.tap", 3.0, 6.0, [3, 2, 1, 2, 0, 0]),
    ("tap/real-bats13.tap", 3.0, 6.0, [3, 2, 1, 2, 0, 0]),
    ("tap/real-busted.tap", 1.0, 3.0, [1, 2, 0, 1, 0, 0]),
    ("tap/real-libcheck.tap", 1.0, 3.0, [1, 2, 0, 0, 0, 0]),
    ("tap/real-mocha.tap", 2.0, 5.0, [2, 3, 0, 2, 0, 0]),
    ("tap/real-nodetap.tap", 4.0, 6.0, [4, 2, 0, 2, 1, 0]),
    ("tap/real-perl.tap", 5.0, 7.0, [5, 2, 0, 3, 3, 0]),
    ("tap/real-perlbail.tap", 1.0, 4.0, [1, 0, 3, 0, 0, 0]),
    ("tap/real-pytest.tap", 2.0, 4.0, [2, 2, 0, 1, 2, 0]),
    ("tap/real-qunit.tap", 1.0, 2.0, [1, 1, 0, 1, 1, 0]),
    ("tap/real-tapcli.tap", 4.0, 6.0, [4, 2, 0, 2, 1, 0]),
    ("tap/real-tape-crlf.tap", 3.0, 5.0, [3, 2, 0, 1, 1, 0]),
    ("tap/real-tape.tap", 3.0, 5.0, [3, 2, 0, 1, 1, 0]),
    ("tap/real-tappy.tap", 4.0, 9.0, [4, 5, 0, 1, 2, 0]),
    ("ctrf/real-jest.json", 5.0, 7.0, [5, 2, 0, 0, 2, 0]),
    ("ctrf/real-junit-to-ctrf.json", 7.0, 17.0, [7, 10, 0, 3, 0, 0]),
    ("ctrf/real-mocha.json", 2.0, 5.0, [2, 3, 0, 0, 2, 0]),
    ("ctrf/real-pytest.json", 4.0, 5.0, [4, 1, 0, 2, 0, 0]),
    ("ctrf/real-xunit-bom.json", 2.0, 5.0, [2, 3, 0, 0, 2, 0]),
    ("junit/tried-boost.xml", 3.0, 8.0, [3, 3, 2, 2, 0, 0]),
    ("junit/tried-cmocka.xml", 1.0, 5.0, [1, 4, 0, 1, 0, 0]),
    ("junit/tried-cpputest.xml", 2.0, 3.0, [2, 1, 0, 1, 0, 0]),
    ("junit/tried-criterion.xml", 1.0, 5.0, [1, 2, 2, 2, 0, 0]),
    ("junit/tried-cucumber.xml", 2.0, 6.0, [2, 4, 0, 1, 0, 0]),
    ("junit/tried-doctest.xml", 3.0, 8.0, [3, 4, 1, 0, 0, 0]),
    ("junit/tried-gotestsum-rerun.xml", 2.0, 7.0, [2, 5, 0, 1, 0, 0]),
    ("junit/tried-gotestsum.xml", 2.0, 7.0, [2, 5, 0, 1, 0, 0]),
    ("junit/tried-green.xml", 2.0, 5.0, [2, 2, 1, 1, 0, 0]),
    ("junit/tried-jasmine.xml", 4.0, 7.0, [4, 3, 0, 2, 0, 0]),
    ("junit/tried-lab.xml", 2.0, 3.0, [2, 1, 0, 2, 0, 0]),
    ("junit/tried-luaunit.xml", 1.0, 4.0, [1, 1, 2, 1, 0, 0]),
    ("junit/tried-minitest.xml", 1.0, 4.0, [1, 1, 2, 1, 0, 0]),
    ("junit/tried-nodetap-junit.xml", 3.0, 11.0, [3, 8, 0, 1, 1, 0]),
    ("junit/tried-rspec.xml", 3.0, 9.0, [3, 6, 0, 2, 0, 0]),
    ("junit/tried-slash.xml", 2.0, 5.0, [2, 2, 1, 1, 0, 0]),
    ("junit/tried-subunit.xml", 3.0, 8.0, [3, 5, 0, 1, 0, 0]),
    ("tap/tried-cmocka.tap", 1.0, 5.0, [1, 4, 0, 1, 0, 0]),
    ("tap/tried-criterion.tap", 1.0, 5.0, [1, 4, 0, 2, 0, 0]),
    ("tap/tried-jasmine.tap", 4.0, 7.0, [4, 3, 0, 2, 0, 0]),
    ("tap/tried-lab.tap", 2.0, 3.0, [2, 1, 0, 1, 1, 0]),
    ("tap/tried-luaunit.tap", 1.0, 4.0, [1, 3, 0, 1, 0, 0]),
    ("tap/tried-nodetap-hooks.tap", 2.0, 6.0, [2, 4, 0, 1, 1, 0]),
    ("tap/tried-raku.tap", 2.0, 5.0, [2, 2, 1, 3, 1, 0]),
    ("tap/tried-supertape.tap", 1.0, 3.0, [1, 2, 0, 0, 0, 0]),
    ("tap/tried-tapzero.tap", 2.0, 3.0, [2, 1, 0, 0, 0, 0]),
    ("tap/tried-test2.tap", 2.0, 4.0, [2, 2, 0, 2, 1, 0]),
    ("tap/tried-testclass.tap", 2.0, 4.0, [2, 2, 0, 1, 0, 0]),
    ("gradescope/deduction.json", 8.0, 10.0, [2, 1, 0, 0, 0, 0]),
    ("gradescope/output.json", 0.0, 20.0, [0, 0, 0, 0, 0, 0]),
    ("gradescope/infinity.json", 10.5, 16.0, [4, 2, 0, 0, 0, 0]),
    ("gradescope/eight-tenths.json", 0.8, 0.8, [1, 0, 0, 0, 0, 0]),
    ("gradescope/ten-tenths-of-1.json", 1.0, 1.0, [10, 0, 0, 0, 0, 0]),
    ("gradescope/name-and-lines.json", 18.0, 20.0, [1, 1, 0, 0, 0, 0]),
    ("gradescope/quoted-numbers.json", 18.0, 20.0, [1, 1, 0, 0, 0, 0]),
    ("gradescope/gradescope-utils.json", 10.5, 16.0, [4, 2, 0, 0, 0, 0]),
    ("gradescope/nulls-and-extras.json", 8.0, 10.0, [1, 1, 0, 0, 0, 0]),
    ("gradescope/over-max.json", 12.0, 10.0, [1, 0, 0, 0, 0, 0]),
];

/// The same with a template that says how many points or tests there are.
const SCALED: &[(Row, Scale)] = &[
    (("gradescope/only-score.json", 44.0, 50.0, [0; 6]), POINTS),
    (("gradescope/no-weights.json", 0.0, 50.0, [1, 1, 0, 0, 0, 0]), POINTS),
    (("gradescope/ten-tenths.json", 1.0, 1.0, [10, 0, 0, 0, 0, 0]), Scale { max_score: Some(1.0), ..NOTHING }),
    (("junit/libtest-documents.xml", 3.0, 6.0, [3, 3, 0, 0, 0, 0]), Scale { tests: Some(6), ..NOTHING }),
];

const NOTHING: Scale = Scale { max_score: None, extra_credit: 0.0, tests: None };
const POINTS: Scale = Scale { max_score: Some(50.0), ..NOTHING };

fn read(name: &str, scale: Scale) -> Result<Verdict, ParseError> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/verdict").join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let format = match name.split_once('/') {
        Some(("junit", _)) => Format::Junit,
        Some(("tap", _)) => Format::Tap,
        Some(("ctrf", _)) => Format::Ctrf,
        _ => Format::Gradescope,
    };
    Reader { format, integrity: Integrity::Isolated, limits: Limits::default(), scale }.read(&bytes)
}

fn whole(name: &str) -> Verdict {
    read(name, NOTHING).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn message<'a>(verdict: &'a Verdict, name: &str) -> &'a str {
    let test = verdict.tests.iter().find(|test| test.name == name);
    let test = test.unwrap_or_else(|| panic!("no {name} in {:?}", verdict.tests));
    test.message.as_deref().unwrap_or_default()
}

#[test]
fn each_report_comes_to_what_its_tool_says() {
    let mut wrong = Vec::new();
    let plain = ROWS.iter().map(|row| (row, &NOTHING));
    for ((name, score, max_score, counts), scale) in plain.chain(SCALED.iter().map(|(row, scale)| (row, scale))) {
        let bounded = |verdict: Verdict| Scale { extra_credit: 2.0, ..*scale }.hold(verdict).expect(name);
        let seen = match read(name, *scale).map(bounded) {
            Ok(verdict) => {
                let counts = [Passed, Failed, Errored, Skipped, Pending, Other].map(|status| verdict.count(status));
                format!("{}/{} {counts:?}", verdict.score, verdict.max_score)
            }
            Err(error) => error.to_string(),
        };
        let right = format!("{score}/{max_score} {counts:?}");
        if seen != right {
            wrong.push(format!("{name}: {seen}, not {right}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_report_that_nothing_can_be_said_of_is_refused() {
    for (name, why) in [
        ("junit/foreign-libcheck.xml", "XML of another kind: its root holds <datetime>"),
        ("junit/libtest-documents.xml", "set results.expect_tests"),
        ("tap/perl-dies.tap", "2 test points but no plan"),
        ("gradescope/only-score.json", "set results.max_score in the template"),
        ("gradescope/no-weights.json", "set results.max_score in the template"),
    ] {
        let error = read(name, NOTHING).expect_err(name).to_string();
        assert!(error.contains(why), "{name}: {error}");
    }
}

#[test]
fn a_stream_that_dies_before_its_plan_counts_as_far_as_it_came_if_it_is_known_how_far_it_would_go() {
    let scale = Scale { tests: Some(4), ..NOTHING };
    let reader = Reader { format: Format::Tap, integrity: Integrity::Isolated, limits: Limits::default(), scale };
    let verdict = reader.read_partial(b"ok 1 - a\nok 2 - b\n").expect("it is known how many there are");
    assert_eq!((verdict.score, verdict.max_score), (2.0, 4.0));
}

#[test]
fn the_reason_is_shown_where_the_tool_writes_it() {
    let libtest = whole("junit/libtest.xml");
    assert!(message(&libtest, "crate.pop").starts_with("thread 'pop' (31973) panicked at src/lib.rs:6:19:\nassertion"));
    let ctest = whole("junit/ctest.xml");
    assert_eq!(message(&ctest, "broken"), "Unable to find executable");
    assert_eq!(message(&ctest, "pop"), "out <b> [NON-XML-CHAR-0x1B][31m");
    assert_eq!(message(&ctest, "willfail"), "", "what a test that passed has printed is no reason");
    let hooks = whole("tap/node-hooks.tap");
    for name in ["hooked > x", "hooked > y"] {
        assert!(message(&hooks, name).starts_with("hooked: db down\n"), "{}", message(&hooks, name));
    }
    assert!(
        !message(&hooks, "stack > pop").contains("1 subtest failed"),
        "a subtest that only sums up explains nothing"
    );
    let flat = whole("tap/vitest-flat.tap");
    assert!(message(&flat, "a.test.mjs > stack > pop").contains("expected 1 to be 2"));
    assert_eq!(whole("tap/perl-skip-all.tap").output.as_deref(), Some("skipped: needs X"));
    let failed = whole("gradescope/output.json");
    assert!(failed.output.as_deref().is_some_and(|text| text.contains("\nstack.c:12:5: error: expected ';'")));
    assert_eq!(message(&whole("gradescope/name-and-lines.json"), "q2"), "line 1\nline 2");
}

#[test]
fn names_are_those_that_the_tool_prints() {
    let names = |name: &str| whole(name).tests.into_iter().map(|test| test.name).collect::<Vec<_>>();
    assert_eq!(names("junit/node-suites.xml")[4..8], ["stack > todo fails", "hooked > x", "hooked > y", "parent > a"]);
    assert_eq!(names("junit/encoding-windows-1252.xml"), ["hw.Größe"]);
    let buffered = names("tap/vitest-buffered.tap");
    assert_eq!(buffered[5..], ["a.test.mjs > stack > deep > b", "a.test.mjs > flat one", "b.test.mjs > only"]);
    assert_eq!(names("gradescope/name-and-lines.json"), ["1", "q2"]);
}

/// pytest with `junit_logging=all`: 120 tests, each with 150 lines of output, 1.5 MB in all.
#[test]
fn a_long_report_is_read_where_the_template_allows_it() {
    let line =
        |test: usize, line: usize| format!("trace line of the student's program {test} {line} {}\n", "x".repeat(40));
    let mut report = String::from(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><testsuites name=\"pytest tests\"><testsuite name=\"pytest\" errors=\"0\" \
         failures=\"12\" skipped=\"0\" tests=\"120\" time=\"0.36\" timestamp=\"t\" hostname=\"vm\">",
    );
    for test in 0..120 {
        report.push_str(&format!("<testcase classname=\"test_big\" name=\"test_case[{test}]\" time=\"0.003\">"));
        if test % 10 == 7 {
            report.push_str("<failure message=\"assert 7 != 7\">E   assert 7 != 7</failure>");
        }
        report.push_str("<system-out>");
        report.extend((0..150).map(|number| line(test, number)));
        report.push_str("</system-out></testcase>");
    }
    report.push_str("</testsuite></testsuites>");
    assert!(report.len() > 1_400_000, "{}", report.len());
    let within = |bytes| {
        let limits = Limits { bytes, ..Limits::default() };
        parse(Format::Junit, report.as_bytes(), Integrity::Shared, &limits)
    };
    assert!(matches!(within(Limits::default().bytes), Err(ParseError::TooLarge { .. })));
    let verdict = within(usize::try_from(MAX_REPORT_BYTES).expect("fits")).expect("it is read");
    assert_eq!((verdict.score, verdict.max_score, verdict.tests.len()), (108.0, 120.0, 120));
    assert!(verdict.tests.iter().all(|test| test.message.as_deref().unwrap_or_default().len() < 100));
}
