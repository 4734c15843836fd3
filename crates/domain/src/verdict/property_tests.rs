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
];

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(PIECES), 0..60).prop_map(|pieces| pieces.concat().into_bytes())
}

fn check(bytes: &[u8]) {
    let limits = Limits { tests: 50, json_depth: 8, xml_depth: 6, tap_depth: 4, name_bytes: 64, ..Limits::default() };
    for format in FORMATS {
        match parse(format, bytes, Integrity::Isolated, &limits) {
            Ok(verdict) => {
                assert!(verdict.tests.len() <= 50);
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

    #[test]
    fn reading_again_changes_nothing(raw in awkward(), limit in 60..200_usize) {
        let line = text::line(&raw, limit);
        prop_assert_eq!(&text::line(&line, limit), &line);
        let block = text::block(&raw, limit);
        prop_assert_eq!(&block.as_deref().and_then(|block| text::block(block, limit)), &block);
    }
}
