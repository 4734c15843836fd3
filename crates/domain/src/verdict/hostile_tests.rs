//! Reports that were made to break the parser or to raise a score. Numbers are those of FAILURES.md.

use super::TestStatus::{Errored, Failed, Passed, Pending, Skipped};
use super::*;

fn read(format: Format, bytes: &[u8]) -> Result<Verdict, ParseError> {
    parse(format, bytes, Integrity::Isolated, &Limits::default())
}

fn statuses(format: Format, report: &str) -> Vec<TestStatus> {
    let verdict = read(format, report.as_bytes()).unwrap_or_else(|error| panic!("{report}: {error}"));
    verdict.tests.iter().map(|test| test.status).collect()
}

#[test]
fn a_document_type_with_declarations_is_refused() {
    for doctype in [
        r#"<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;&lol;">]>"#,
        r#"<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>"#,
        r#"<!DOCTYPE a SYSTEM "http://169.254.169.254/x.dtd" []>"#,
    ] {
        let report = format!("<?xml version=\"1.0\"?>{doctype}<testsuite><testcase name=\"&lol2;\"/></testsuite>");
        let refused = read(Format::Junit, report.as_bytes());
        assert!(matches!(refused, Err(ParseError::Doctype { at: 21 })), "{doctype}: {refused:?}");
    }
    for report in [
        "<!DOCTYPE a><!DOCTYPE b><testsuite/>",
        "<testsuite><!DOCTYPE a></testsuite>",
        "<testsuite><testcase name='a'><!DOCTYPE a></testcase></testsuite>",
    ] {
        assert!(matches!(read(Format::Junit, report.as_bytes()), Err(ParseError::Doctype { .. })), "{report}");
    }
}

#[test]
fn a_document_type_that_declares_nothing_is_read_and_not_fetched() {
    for doctype in [
        "<!DOCTYPE testsuites>",
        "<!doctype a>",
        r#"<!DOCTYPE a SYSTEM "http://169.254.169.254/x.dtd">"#,
        r#"<!DOCTYPE casperjs PUBLIC "-//CasperJS//XUnit Test Results" "testsuites">"#,
    ] {
        let report = format!("{doctype}<testsuite><testcase name=\"&lol;\"/></testsuite>");
        let verdict = read(Format::Junit, report.as_bytes()).unwrap_or_else(|error| panic!("{doctype}: {error}"));
        assert_eq!(verdict.tests[0].name, "&lol;", "{doctype}");
    }
}

#[test]
fn unknown_entities_stay_text() {
    let report = "<testsuite><testcase name='&lol; &amp;amp; &#65;&#x42;&#0;&#xD800;&#x;&' \
                  ><failure>&lol;&#1;a & b&#99999999999;</failure></testcase></testsuite>";
    let verdict = read(Format::Junit, report.as_bytes()).expect("parses");
    assert_eq!(verdict.tests[0].name, "&lol; &amp; AB\u{2400}\u{fffd}&#x;&");
    assert_eq!(verdict.tests[0].message.as_deref(), Some("&lol;\u{2401}a & b\u{fffd}"));
}

#[test]
fn depth_is_bounded_before_recursion() {
    let json = "[".repeat(100_000);
    for format in [Format::Gradescope, Format::Ctrf] {
        assert_eq!(read(format, json.as_bytes()), Err(ParseError::TooDeep { limit: 64, seen: 65 }));
        let objects = "{\"a\":".repeat(100_000);
        assert_eq!(read(format, objects.as_bytes()), Err(ParseError::TooDeep { limit: 64, seen: 65 }));
    }
    let xml = "<testsuite>".repeat(90_000);
    assert_eq!(read(Format::Junit, xml.as_bytes()), Err(ParseError::TooDeep { limit: 32, seen: 33 }));
    let tap = format!("{}ok 1\n", " ".repeat(400_000));
    assert_eq!(read(Format::Tap, tap.as_bytes()), Err(ParseError::TooDeep { limit: 16, seen: 100_000 }));
}

#[test]
fn counts_are_bounded() {
    let limits = Limits { tests: 3, ..Limits::default() };
    let many = [
        (Format::Junit, format!("<testsuite>{}</testsuite>", "<testcase name='a'/>".repeat(4))),
        (Format::Tap, format!("1..3\n{}", "ok\n".repeat(4))),
        (Format::Tap, "1..4000000000\n".to_owned()),
        (Format::Tap, "1..99999999999999999999999\n".to_owned()),
        (Format::Ctrf, r#"{"results":{"tests":[{},{},{},{}]}}"#.to_owned()),
        (Format::Gradescope, r#"{"score":1,"max_score":1,"tests":[{},{},{},{}]}"#.to_owned()),
    ];
    for (format, report) in many {
        let refused = parse(format, report.as_bytes(), Integrity::Isolated, &limits);
        assert!(matches!(refused, Err(ParseError::TooManyTests { limit: 3, .. })), "{report}: {refused:?}");
    }
    let big = vec![b' '; 1024 * 1024 + 1];
    assert_eq!(read(Format::Tap, &big), Err(ParseError::TooLarge { limit: 1_048_576, seen: 1_048_577 }));
}

#[test]
fn an_element_with_a_hundred_thousand_attributes_is_refused_quickly() {
    let attributes: String = (0..90_000).map(|i| format!(" a{i}=''")).collect();
    let refused = read(Format::Junit, format!("<testsuite{attributes}/>").as_bytes());
    assert!(matches!(refused, Err(ParseError::TooManyAttributes { limit: 64, .. })), "{refused:?}");
}

#[test]
fn names_and_messages_are_cut_between_characters() {
    let long = "é".repeat(20_000);
    let report = format!("<testsuite><testcase name='{long}'><failure>{long}</failure></testcase></testsuite>");
    let verdict = read(Format::Junit, report.as_bytes()).expect("parses");
    let message = verdict.tests[0].message.as_deref().unwrap_or_default();
    assert!(verdict.tests[0].name.len() <= 1024 && verdict.tests[0].name.ends_with("é[...]"));
    assert!(message.len() <= 16 * 1024 && message.ends_with("what is kept]"));
}

#[test]
fn fault_28_one_bad_byte_costs_one_character() {
    let junit = b"<testsuite><testcase name='caf\xE9 \x01'><failure>\xFF\x00\x08x</failure></testcase></testsuite>";
    let tap = b"1..1\nnot ok 1 - caf\xE9 \x01\n  ---\n  \xFF\x00\x08x\n  ...\n";
    let ctrf =
        b"{\"results\":{\"tests\":[{\"name\":\"caf\xE9 \x01\",\"status\":\"failed\",\"message\":\"\xFF\x00\x08x\"}]}}";
    let gradescope =
        b"{\"tests\":[{\"name\":\"caf\xE9 \\u0001\",\"score\":0,\"max_score\":1,\"output\":\"\\udcff\x00\x08x\"}]}";
    let reports: [(Format, &[u8]); 4] =
        [(Format::Junit, junit), (Format::Tap, tap), (Format::Ctrf, ctrf), (Format::Gradescope, gradescope)];
    for (format, report) in reports {
        let verdict = read(format, report).unwrap_or_else(|error| panic!("{format:?}: {error}"));
        assert_eq!(verdict.tests[0].name, "caf\u{fffd} \u{2401}", "{format:?}");
        assert_eq!(verdict.tests[0].message.as_deref(), Some("\u{fffd}\u{2400}\u{2408}x"), "{format:?}");
        assert_eq!(verdict.tests[0].status, Failed);
    }
}

#[test]
fn a_forged_later_key_is_refused() {
    for report in [
        r#"{"score": 0, "max_score": 10, "score": 10}"#,
        r#"{"score": 0, "max_score": 10, "\u0073core": 10}"#,
        r#"{"max_score": 10, "tests": [{"name": "a", "score": 0, "score": 10}]}"#,
    ] {
        let refused = read(Format::Gradescope, report.as_bytes());
        assert_eq!(refused, Err(ParseError::DuplicateKey { key: "score".to_owned() }), "{report}");
    }
    let twice = read(Format::Ctrf, br#"{"results":{"tests":[]},"results":{"tests":[]}}"#);
    assert_eq!(twice, Err(ParseError::DuplicateKey { key: "results".to_owned() }));
    let attribute = read(Format::Junit, b"<testsuite><testcase name='a' name='b'/></testsuite>");
    assert!(matches!(attribute, Err(ParseError::Syntax { .. })), "{attribute:?}");
}

/// Every beginning of a report either is refused or scores no better than the whole report.
#[test]
fn a_report_that_was_cut_off_never_scores_better() {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/verdict");
    let mut seen = 0;
    for format in [Format::Junit, Format::Tap, Format::Ctrf, Format::Gradescope] {
        for file in std::fs::read_dir(data.join(format.as_str())).expect("a folder") {
            let path = file.expect("a file").path();
            let report = std::fs::read(&path).expect("a report");
            // What is refused may begin like one that is not: a second document, or a stream that lacks its plan.
            let Ok(whole) = read(format, &report) else { continue };
            // What bats adds behind a plan that is fulfilled can be lost without a trace; its exit code still tells.
            let adds_behind_its_plan = path.ends_with("bats-teardown-file.tap");
            seen += 1;
            // Every byte of a short report; of a long one as many places.
            for end in (0..report.len()).step_by(report.len() / 2_000 + 1) {
                if let Ok(cut) = read(format, &report[..end]) {
                    assert!(
                        !cut.all_passed() || cut == whole || adds_behind_its_plan,
                        "{} cut at {end}",
                        path.display()
                    );
                    assert!(
                        cut.score <= whole.score,
                        "{} cut at {end}: {} > {}",
                        path.display(),
                        cut.score,
                        whole.score
                    );
                }
            }
        }
    }
    assert!(seen > 70, "{seen} reports");
}

#[test]
fn a_broken_set_up_is_no_full_pass() {
    let counted =
        "<testsuites failures='1'><testsuite name='db' errors='1'><testcase name='a'/></testsuite></testsuites>";
    assert_eq!(statuses(Format::Junit, counted), [Passed, Errored]);
    let own = "<testsuite name='db'><testcase name='a'/><error message='no database'/></testsuite>";
    assert_eq!(statuses(Format::Junit, own), [Passed, Errored]);
    let both = "<testsuite><testcase name='a'><failure/><error/></testcase></testsuite>";
    assert_eq!(statuses(Format::Junit, both), [Errored]);
    let summary = r#"{"results":{"summary":{"tests":2,"failed":1},"tests":[{"name":"a","status":"passed"}]}}"#;
    assert_eq!(statuses(Format::Ctrf, summary), [Passed, Errored]);
}

#[test]
fn output_that_looks_like_a_test_case_is_none() {
    let report = "<testsuite><testcase name='a'><system-out><testcase name='forged'/><failure/></system-out></testcase>\
                  <system-out><testsuite><testcase name='forged'/></testsuite></system-out></testsuite>";
    assert_eq!(statuses(Format::Junit, report), [Passed]);
}

#[test]
fn only_one_document_with_a_known_root_is_read() {
    for (report, why) in [
        ("<html></html>", "its root is <html>, not <testsuites>"),
        ("<testsuite/><testsuite/>", "more than 1 XML documents in one file"),
        ("no xml at all", "there is no element"),
        ("<testsuite><testcase></testsuite>", "not valid junit"),
        ("<testsuite><testcase name='a'/>", "<testsuite> is still open at the end"),
        ("<testsuite><testcase name='a", "truncated"),
    ] {
        let error = read(Format::Junit, report.as_bytes()).expect_err(report).to_string();
        assert!(error.contains(why), "{report}: {error}");
    }
}

#[test]
fn a_tap_plan_holds() {
    assert_eq!(statuses(Format::Tap, "1..3\nok 1\nok 3\n"), [Passed, Passed, Errored]);
    assert_eq!(statuses(Format::Tap, "1..1\nok 1\nok 2\n"), [Passed, Passed, Errored]);
    assert_eq!(statuses(Format::Tap, "1..1\nok 1\nok 1\n"), [Passed, Passed, Errored]);
    assert_eq!(statuses(Format::Tap, "ok 0\n1..0\n"), [Passed, Errored]);
    assert_eq!(read(Format::Tap, b"ok 1\nok 2\n"), Err(ParseError::PlanMissing { seen: 2 }));
    assert_eq!(read(Format::Tap, b"hello\n"), Err(ParseError::PlanMissing { seen: 0 }));
    let twice = read(Format::Tap, b"1..1\nok 1\n1..0\n");
    assert_eq!(twice, Err(ParseError::PlanTwice { line: 3, seen: "1..0".to_owned() }));
    assert!(matches!(read(Format::Tap, b"1..1\nok 1"), Err(ParseError::Truncated { .. })));
    assert!(matches!(read(Format::Tap, b"TAP version 15\n1..0\n"), Err(ParseError::Version { .. })));
}

#[test]
fn a_subtest_cannot_hide_a_failure() {
    assert_eq!(statuses(Format::Tap, "1..1\n    ok 1 - a\n    1..2\nok 1 - s\n"), [Passed, Errored]);
    assert_eq!(statuses(Format::Tap, "1..1\n    not ok 1 - a\n    1..1\nok 1 - s\n"), [Failed]);
    assert_eq!(statuses(Format::Tap, "1..1\n    ok 1 - a\n    1..1\nnot ok 1 - s\n"), [Passed, Failed]);
    assert_eq!(statuses(Format::Tap, "1..1\n    not ok 1 - a\n    1..1\nnot ok 1 - s # TODO x\n"), [Pending]);
    assert_eq!(statuses(Format::Tap, "1..1\n    ok 1 - a\n    1..1\n"), [Passed, Errored]);
    assert_eq!(statuses(Format::Tap, "1..1\n    1..0 # SKIP no net\nok 1 - s\n"), [Skipped]);
}

#[test]
fn an_unclosed_diagnostic_does_not_swallow_the_stream() {
    let report = "1..2\nnot ok 1 - a\n  ---\n  message: x\nnot ok 2 - b\n";
    assert_eq!(statuses(Format::Tap, report), [Failed, Failed]);
    let tap_inside = "1..2\nok 1 - a\n  ---\n  ok 2 - forged\n  ...\nnot ok 2 - b\n";
    assert_eq!(statuses(Format::Tap, tap_inside), [Passed, Failed]);
}

#[test]
fn a_ctrf_of_another_kind_is_refused() {
    for (report, why) in [
        (r#"{"reportFormat":"XYZ","results":{"tests":[]}}"#, "reportFormat must be"),
        (r#"{"specVersion":"2.0.0","results":{"tests":[]}}"#, "only 0.x and 1.x is supported"),
        (r#"{"results":{}}"#, "results.tests is missing"),
        (r#"{"tests":[]}"#, "results is missing"),
        (r#"{"results":{"tests":[{"name":"a"}]}}"#, "results.tests[0].status is missing"),
        (r#"{"results":{"tests":[{"name":"a","status":"PASSED"}]}}"#, "results.tests[0].status must be"),
        (r#"{"results":{"tests":[7]}}"#, "results.tests[0] must be an object, but is 7"),
    ] {
        let error = read(Format::Ctrf, report.as_bytes()).expect_err(report).to_string();
        assert!(error.contains(why), "{report}: {error}");
    }
}
