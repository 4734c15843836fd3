//! What must hold for every input.

use super::*;
use proptest::prelude::*;

const FORMATS: [Format; 5] = [Format::Gradescope, Format::Junit, Format::Tap, Format::Ctrf, Format::ExitCode];

/// Pieces that reach deeper than random bytes do.
const PIECES: &[&str] = &[
    "<testsuites>",
    "<testsuite name='a' failures='1'>",
    "</testsuite>",
    "</testsuites>",
    "<testcase name='x' time='1,5'>",
    "</testcase>",
    "<failure message='&#x0;'>",
    "</failure>",
    "<error/>",
    "<skipped type='todo'/>",
    "<![CDATA[",
    "]]>",
    "&lt;",
    "&",
    "<!--",
    "-->",
    "<?xml version='1.0'?>",
    "<!DOCTYPE x>",
    "<!DOCTYPE x [<!ENTITY a 'b'>]>",
    "<?xml version='1.0' encoding='latin1'?>",
    "<testsuite name='pytest' tests='1' failures='2'>",
    "<testsuite name='a' tests='1' failures='1'>",
    "<testcase classname='a' name='x' status='notrun'>",
    "<testcase name='x' time='1' classname='test'/>",
    "<skipped message='TEST_CASE tagged with !mayfail'/>",
    "<flakyFailure/>",
    "<rerunError><stackTrace>x</stackTrace></rerunError>",
    "<warning/>",
    "<system-out>",
    "</system-out>",
    "<suite/>",
    "TAP version 14\n",
    "1..3\n",
    "1..0\n",
    "ok 1 - a\n",
    "not ok 2 - b # TODO\n",
    "    ",
    "  ---\n",
    "  duration_ms: 1e9\n",
    "  ...\n",
    "# Subtest: x\n",
    "}\n",
    "{\n",
    "not ok 1 - x {\n",
    "1..0 # SKIP y\n",
    "    ---\n",
    "  failureType: 'hookFailed'\n  error: |-\n",
    "Bail out! x\n",
    "{\"results\":{\"tests\":[",
    "{\"name\":\"a\",\"status\":\"passed\"}",
    ",",
    "]}}",
    "{\"score\":1,\"max_score\":2,\"tests\":[",
    "{\"score\":1.5,\"max_score\":1}",
    "]}",
    "\"\\ud800\"",
    "\"\\udc00",
    "\\",
    "\"",
    "\u{1b}[31m",
    "\r",
    "\0",
    "é",
    "-1",
    "1e400",
    "NaN",
    "-Infinity",
    "{\"score\":\"-3\",\"output\":[1,\"a\"],\"max_score\":0}",
    "\"output\":\"x\",",
    "\u{feff}",
];

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(PIECES), 0..60).prop_map(|pieces| pieces.concat().into_bytes())
}

fn check(bytes: &[u8]) {
    let limits = Limits { tests: 50, json_depth: 8, xml_depth: 6, tap_depth: 4, name_bytes: 64, ..Limits::default() };
    let known = Scale { max_score: Some(3.0), extra_credit: 0.0, tests: Some(3) };
    let halves = bytes.split_at(bytes.len() / 2);
    let files = [("b", halves.1), ("a", halves.0)].map(|(name, bytes)| ReportFile { name, bytes });
    for format in FORMATS {
        check_one(parse(format, bytes, Integrity::Isolated, &limits), 50);
        let reader = Reader { format, integrity: Integrity::Isolated, limits, scale: known };
        check_one(reader.read_partial(bytes), 50);
        check_one(reader.read_files(&files), 50);
        if let Ok(verdict) = reader.read(bytes) {
            // Whatever it says, the template holds it to its points.
            let held = known.hold(verdict);
            assert!(held.is_err() || held.is_ok_and(|held| held.score <= 3.0 && held.max_score == 3.0));
        }
    }
}

fn check_one<E: std::fmt::Display>(read: Result<Verdict, E>, tests: usize) {
    match read {
        Ok(verdict) => {
            assert!(verdict.tests.len() <= tests);
            assert!(verdict.score.is_finite() && verdict.score >= 0.0);
            assert!(verdict.max_score.is_finite() && verdict.max_score >= 0.0);
            for test in &verdict.tests {
                assert!(!test.name.is_empty() && test.name.len() <= 64, "{:?}", test.name);
                assert!(!test.name.chars().any(char::is_control), "{:?}", test.name);
            }
        }
        Err(error) => assert!(error.to_string().len() < 2000, "{error}"),
    }
}

fn status() -> impl Strategy<Value = TestStatus> {
    use TestStatus::{Errored, Failed, Other, Passed, Pending, Skipped};
    prop::sample::select(&[Passed, Failed, Errored, Skipped, Pending, Other][..])
}

fn awkward() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,40}",
        prop::collection::vec(
            prop::sample::select(
                &[
                    "]]>",
                    "<",
                    "&amp;",
                    "&#1;",
                    "\"",
                    "'",
                    "\0",
                    "\u{1}",
                    "\n",
                    "\r\n",
                    "\t",
                    "\u{1b}[1m",
                    "\u{85}",
                    "\u{fffe}",
                    "a",
                    " ",
                    "é",
                    "#",
                    "\\"
                ][..]
            ),
            0..20
        )
        .prop_map(|pieces| pieces.concat()),
    ]
}

/// Eighths: serde_json reads other decimals back with an error in the last bit by default.
fn points() -> impl Strategy<Value = f64> {
    (0..8_000_000_u32).prop_map(|eighths| f64::from(eighths) / 8.0)
}

fn test() -> impl Strategy<Value = Test> {
    (awkward(), status(), points(), points(), prop::option::of(0..1_000_000_u64), prop::option::of(awkward())).prop_map(
        |(name, status, score, max_score, duration_ms, message)| Test {
            name,
            status,
            score,
            max_score,
            duration_ms,
            message,
            visibility: Visibility::Hidden,
        },
    )
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop::collection::vec(test(), 0..12).prop_map(|tests| Verdict::of_tests(tests, Integrity::Isolated))
}

/// What a name becomes when it is read, as every parser has it.
fn name_read(test: &Test, index: usize) -> String {
    let name = text::line(&test.name, Limits::default().name_bytes);
    if name.is_empty() { format!("test {}", index + 1) } else { name }
}

/// One test case of a report, by the number of its name and of its outcome.
fn case((name, outcome): (u8, u8)) -> String {
    let outcome = match outcome {
        0 => "",
        1 => "<failure/>",
        2 => "<error/>",
        3 => "<skipped/>",
        4 => "<flakyFailure/>",
        5 => "<rerunFailure/>",
        6 => "<warning/>",
        _ => "<skipped message='TEST_CASE tagged with !mayfail'/><failure/>",
    };
    format!("<testcase classname='c' name='{name}' assertions='0'>{outcome}</testcase>")
}

/// The first tags of suites of the tools that have rules of their own.
const SUITES: [&str; 5] = [
    "<testsuite name='a'><properties><property name='go.version' value='go1.19'/></properties>",
    "<testsuite name='pytest'>",
    "<testsuite name='a' tests='9' skipped='0' failures='0' errors='0' timestamp='t' hostname='h' time='1'>",
    "<testsuite name='a' tests='9' failures='0'>",
    "<testsuite name='a'>",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_on_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        check(&bytes);
    }

    #[test]
    fn nothing_panics_on_pieces_of_reports(bytes in pieces()) {
        check(&bytes);
    }

    #[test]
    fn gradescope_survives_a_round_trip(verdict in verdict()) {
        let emitted = to_gradescope(&verdict).to_string();
        let back = parse(Format::Gradescope, emitted.as_bytes(), Integrity::Isolated, &Limits::default()).expect("parses");
        prop_assert_eq!((back.score, back.max_score), (verdict.score, verdict.max_score));
        prop_assert_eq!(back.tests.len(), verdict.tests.len());
        for (index, (test, back)) in verdict.tests.iter().zip(&back.tests).enumerate() {
            prop_assert_eq!(&back.name, &name_read(test, index));
            prop_assert_eq!(
                (back.status, back.score, back.max_score, back.duration_ms, back.visibility),
                (test.status, test.score, test.max_score, test.duration_ms, test.visibility)
            );
        }
    }

    #[test]
    fn junit_survives_a_round_trip(verdict in verdict()) {
        let emitted = to_junit(&verdict);
        prop_assert!(!emitted.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{}", emitted);
        let back = parse(Format::Junit, emitted.as_bytes(), Integrity::Isolated, &Limits::default()).expect("parses");
        prop_assert_eq!(back.tests.len(), verdict.tests.len());
        for (index, (test, back)) in verdict.tests.iter().zip(&back.tests).enumerate() {
            prop_assert_eq!(&back.name, &name_read(test, index));
            prop_assert_eq!((back.status, back.duration_ms), (test.status, test.duration_ms));
            let message = test.message.as_deref().filter(|_| test.status != TestStatus::Passed);
            let message = message.and_then(|message| text::block(message, Limits::default().message_bytes));
            prop_assert_eq!(back.message.as_deref().map(str::trim), message.as_deref().map(str::trim));
        }
    }

    /// A forged attempt, or the same test written again, makes no test better than it was.
    #[test]
    fn a_later_test_case_improves_no_earlier_one(
        cases in prop::collection::vec((0..3_u8, 0..8_u8), 1..12),
        suite in prop::sample::select(&SUITES[..]),
    ) {
        let cases: Vec<String> = cases.into_iter().map(case).collect();
        let read = |cases: &[String]| {
            let report = format!("{suite}{}</testsuite>", cases.concat());
            parse(Format::Junit, report.as_bytes(), Integrity::Isolated, &Limits::default()).expect("parses")
        };
        let (before, after) = (read(&cases[..cases.len() - 1]), read(&cases));
        prop_assert!(after.tests.len() >= before.tests.len());
        for (before, after) in before.tests.iter().zip(&after.tests) {
            prop_assert_eq!(&before.name, &after.name);
            prop_assert!(before.status == after.status || after.status != TestStatus::Passed, "{:?}", after);
            prop_assert!(!before.status.is_failing() || after.status.is_failing(), "{:?}", after);
        }
    }

    #[test]
    fn reading_again_changes_nothing(raw in awkward(), limit in 60..200_usize) {
        let line = text::line(&raw, limit);
        prop_assert_eq!(&text::line(&line, limit), &line);
        let block = text::block(&raw, limit);
        prop_assert_eq!(&block.as_deref().and_then(|block| text::block(block, limit)), &block);
    }
}
