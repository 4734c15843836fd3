//! Reports as the tools print them, and what they come to.

use super::TestStatus::{Errored, Failed, Other, Passed, Pending, Skipped};
use super::*;

const NAMES: usize = 60;

fn read(format: Format, bytes: &[u8]) -> Verdict {
    parse(format, bytes, Integrity::Isolated, &Limits::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn refuse(format: Format, report: &str) -> ParseError {
    parse(format, report.as_bytes(), Integrity::Isolated, &Limits::default()).expect_err(report)
}

/// Asserts names (their first characters) and statuses, in order.
fn assert_tests(verdict: &Verdict, expected: &[(&str, TestStatus)]) {
    let seen: Vec<(String, TestStatus)> =
        verdict.tests.iter().map(|test| (test.name.chars().take(NAMES).collect(), test.status)).collect();
    let expected: Vec<(String, TestStatus)> =
        expected.iter().map(|&(name, status)| (name.chars().take(NAMES).collect(), status)).collect();
    assert_eq!(seen, expected);
}

fn assert_score(verdict: &Verdict, score: f64, max_score: f64) {
    assert_eq!((verdict.score, verdict.max_score), (score, max_score));
}

fn message(verdict: &Verdict, index: usize) -> &str {
    verdict.tests[index].message.as_deref().unwrap_or_default()
}

macro_rules! data {
    ($name:literal) => {
        include_bytes!(concat!("../../tests/data/verdict/", $name))
    };
}

#[test]
fn an_exit_code_is_one_test() {
    assert!(from_exit_code(0, Integrity::Isolated).all_passed());
    let failed = from_exit_code(1, Integrity::Shared);
    assert_score(&failed, 0.0, 1.0);
    assert_eq!(failed.integrity, Integrity::Shared);
    assert_tests(&failed, &[("exit code", Failed)]);
    assert_tests(&from_exit_code(137, Integrity::Isolated), &[("exit code", Errored)]);
    assert_eq!(read(Format::ExitCode, b" 0\n"), from_exit_code(0, Integrity::Isolated));
    assert!(matches!(refuse(Format::ExitCode, "zero"), ParseError::NotAnExitCode { .. }));
}

#[test]
fn pytest_junit() {
    let verdict = read(Format::Junit, data!("junit/pytest.xml"));
    assert_tests(
        &verdict,
        &[
            ("test_cart.test_total_of_an_empty_cart", Passed),
            ("test_cart.test_line_total[10-2-20]", Passed),
            ("test_cart.test_line_total[0-5-0]", Passed),
            ("test_cart.test_line_total[3-3-10]", Failed),
            ("test_cart.test_tax", Skipped),
            ("test_cart.test_rounding", Skipped),
            ("test_cart.test_orders_are_stored", Errored),
            ("test_cart.TestNames.test_unicode_is_kept", Failed),
            ("test_cart.TestNames.test_crash", Failed),
        ],
    );
    assert_score(&verdict, 3.0, 7.0);
    assert!(message(&verdict, 3).contains(">       assert price * quantity == expected\n"));
    assert!(message(&verdict, 7).contains("ß & <b>"));
}

#[test]
fn surefire_keeps_the_final_status_and_grouped_times() {
    let verdict = read(Format::Junit, data!("junit/surefire.xml"));
    assert_tests(
        &verdict,
        &[
            ("shop.CartTest.totalOfAnEmptyCartIsZero", Passed),
            ("shop.CartTest.discountIsAppliedOnce", Failed),
            ("shop.CartTest.unknownItemIsRefused", Errored),
            ("shop.CartTest.taxIsAdded", Skipped),
            ("shop.CartTest.stockIsSharedBetweenCarts", Passed),
            ("shop.CartTest.ordersAreStored", Passed),
        ],
    );
    assert_score(&verdict, 3.0, 5.0);
    assert_eq!(verdict.tests[0].duration_ms, Some(21));
    assert_eq!(verdict.tests[1].duration_ms, Some(1_234_500));
    assert_eq!(verdict.tests[5].duration_ms, None);
    assert!(message(&verdict, 1).starts_with("org.opentest4j.AssertionFailedError: 10 % of 100 & no more ==> "));
    assert!(!message(&verdict, 1).contains("again"));
}

#[test]
fn jest_go_gtest_and_node_junit() {
    assert_tests(
        &read(Format::Junit, data!("junit/jest-junit.xml")),
        &[
            ("cart total of an empty cart is zero", Passed),
            ("cart discount is applied once", Failed),
            ("cart tax is added", Skipped),
            ("cart rounding is decided", Passed),
            ("cart unknown item is refused", Failed),
        ],
    );
    let go = read(Format::Junit, data!("junit/go.xml"));
    assert_tests(
        &go,
        &[
            ("example.edu/shop/cart.TestTotal", Passed),
            ("example.edu/shop/cart.TestDiscount/once", Failed),
            ("example.edu/shop/cart.TestTax", Skipped),
            ("example.edu/shop/orders.[build failed]", Errored),
        ],
    );
    assert_eq!(message(&go, 1), "Failed\ncart_test.go:14: got 81, want 90");
    assert_tests(
        &read(Format::Junit, data!("junit/gtest.xml")),
        &[("Cart.Total", Passed), ("Cart.Discount", Failed), ("Cart.DISABLED_Tax", Skipped)],
    );
    assert_tests(
        &read(Format::Junit, data!("junit/node.xml")),
        &[
            ("total of an empty cart is zero", Passed),
            ("discount is applied once # really \\ yes", Failed),
            ("tax is added", Skipped),
            ("rounding", Pending),
            ("stock > is shared between carts", Passed),
            ("stock > limits > refuses less than nothing", Failed),
            ("stock > limits > accepts nothing", Passed),
            ("orders > are stored", Passed),
            ("orders > are read back", Passed),
        ],
    );
}

#[test]
fn node_tap_counts_leaves_and_what_broke_after_them() {
    let verdict = read(Format::Tap, data!("tap/node.tap"));
    assert_tests(
        &verdict,
        &[
            ("total of an empty cart is zero", Passed),
            ("discount is applied once # really \\ yes", Failed),
            ("tax is added", Skipped),
            ("rounding", Pending),
            ("stock > is shared between carts", Passed),
            ("stock > limits > refuses less than nothing", Failed),
            ("stock > limits > accepts nothing", Passed),
            ("orders > are stored", Passed),
            ("orders > are read back", Passed),
            ("orders", Failed),
        ],
    );
    assert_score(&verdict, 5.0, 8.0);
    assert_eq!(verdict.tests[1].duration_ms, Some(1));
    assert!(message(&verdict, 1).contains("\n  81 !== 90"), "{}", message(&verdict, 1));
    assert!(message(&verdict, 9).contains("the parent fails after its children"));
    assert_eq!(message(&verdict, 2), "waits for the tax service");
}

#[test]
fn perl_bats_and_node_tap_print_tap() {
    assert_tests(
        &read(Format::Tap, data!("tap/perl.tap")),
        &[
            ("total of an empty cart", Passed),
            ("stock > is shared", Passed),
            ("stock > is counted", Passed),
            ("test 3", Skipped),
            ("rounding", Pending),
            ("discount #1 is applied once", Failed),
        ],
    );
    let bats = read(Format::Tap, data!("tap/bats.tap"));
    assert_tests(
        &bats,
        &[("lists the files", Passed), ("refuses a missing file", Failed), ("prints its version", Skipped)],
    );
    assert!(message(&bats, 1).contains("`[ \"$status\" -eq 2 ]' failed"));
    assert_tests(
        &read(Format::Tap, data!("tap/node-tap.tap")),
        &[("cart > empty > zero", Passed), ("cart > discount", Failed), ("fine", Skipped), ("todo one", Pending)],
    );
}

#[test]
fn tap_14_as_the_specification_shows_it() {
    let verdict = read(Format::Tap, data!("tap/spec14.tap"));
    assert_tests(
        &verdict,
        &[
            ("Input file opened", Passed),
            ("First line of the input valid", Failed),
            ("Read the rest of the file", Passed),
            ("Summarized correctly", Pending),
            ("Escapes # SKIP and \\ are kept", Passed),
            ("nested.tap # incomplete > test_a", Passed),
            ("nested.tap # incomplete > deeper > leaf", Passed),
            ("nested.tap # incomplete > test_c", Failed),
            ("test 7", Skipped),
        ],
    );
    assert!(message(&verdict, 1).contains("got: 'Flirble'"));
}

#[test]
fn a_bail_out_makes_errors_of_what_did_not_run() {
    let verdict = read(Format::Tap, data!("tap/bail.tap"));
    assert_tests(
        &verdict,
        &[
            ("server starts", Passed),
            ("server answers", Failed),
            ("connects", Passed),
            ("test 3", Errored),
            ("test 4", Errored),
        ],
    );
    assert!(message(&verdict, 3).contains("Couldn't connect to the database"));
    let unplanned = refuse(Format::Tap, "ok 1\nBail out! no database\n");
    assert_eq!(unplanned, ParseError::BailedOut { reason: "no database".to_owned() });
    let complete = read(Format::Tap, b"1..1\nok 1 - a\nBail out!\n");
    assert_tests(&complete, &[("a", Passed), ("Bail out!", Errored)]);
}

#[test]
fn ctrf_of_jest_playwright_and_pytest() {
    assert_tests(
        &read(Format::Ctrf, data!("ctrf/jest.json")),
        &[
            ("cart total of an empty cart is zero", Passed),
            ("cart discount is applied once", Failed),
            ("cart tax is added", Pending),
            ("cart rounding is decided", Pending),
            ("cart unknown item is refused", Failed),
        ],
    );
    let playwright = read(Format::Ctrf, data!("ctrf/playwright.json"));
    assert_tests(
        &playwright,
        &[
            ("shows the cart", Passed),
            ("adds an item", Passed),
            ("pays", Failed),
            ("prints a receipt", Skipped),
            ("sends a mail", Other),
        ],
    );
    assert_score(&playwright, 2.0, 4.0);
    assert_eq!(playwright.tests[1].duration_ms, Some(1530));
    assert_eq!(message(&playwright, 0), "");
    assert_eq!(message(&playwright, 1), "passed after 2 retries");
    assert!(message(&playwright, 2).contains("\nError: page.click"), "{:?}", message(&playwright, 2));
    let pytest = read(Format::Ctrf, data!("ctrf/pytest.json"));
    assert_eq!((pytest.tests.len(), pytest.count(Passed), pytest.count(Failed)), (9, 3, 4));
}

#[test]
fn gradescope_in_full() {
    let verdict = read(Format::Gradescope, data!("gradescope/full.json"));
    assert_tests(
        &verdict,
        &[
            ("Total of an empty cart", Passed),
            ("Discounts", Failed),
            ("Extra credit: rounding", Passed),
            ("Build log", Other),
            ("test 2.1", Failed),
        ],
    );
    assert_score(&verdict, 8.5, 10.0);
    let shown: Vec<Visibility> = verdict.tests.iter().map(|test| test.visibility).collect();
    use Visibility::{AfterDueDate, AfterPublished, Hidden, Visible};
    assert_eq!(shown, [Visible, AfterDueDate, Hidden, AfterPublished, AfterDueDate]);
    assert_eq!(message(&verdict, 1), "2 of 4 cases hold");
}

#[test]
fn gradescope_totals_override_and_surrogates_cost_one_character() {
    let total = read(Format::Gradescope, data!("gradescope/total.json"));
    assert_score(&total, 44.0, 50.0);
    assert!(!total.all_passed());
    let utils = read(Format::Gradescope, data!("gradescope/utils.json"));
    assert_score(&utils, 1.0, 3.0);
    assert_eq!(message(&utils, 1), "Test Failed: 1 != 2 : caf\u{fffd}");
}

#[test]
fn gradescope_points_are_checked() {
    for (report, why) in [
        (r#"{"score": -1, "max_score": 1}"#, "score is -1, but it must lie between 0 and 1000000000"),
        (r#"{"score": 2e9, "max_score": 1}"#, "score is 2000000000"),
        (r#"{"tests": [{"score": 1, "max_score": -2}]}"#, "tests[0].max_score is -2"),
        (r#"{"score": "five", "max_score": 1}"#, "score must be a number, but is the string"),
        (r#"{"score": NaN, "max_score": 1}"#, "score must be a number, but is the string"),
        (r#"{"score": 1, "max_score": -Infinity}"#, "max_score must be a number, but is the string"),
        (r#"{"score": "0x10", "max_score": 1}"#, "score must be a number"),
        (r#"{"score": "infinity", "max_score": 1}"#, "score must be a number"),
        (r#"{"score": 1e999, "max_score": 1}"#, "not valid gradescope"),
        (r#"{"score": 5}"#, "max_score is missing"),
        (r#"{"tests": []}"#, "score is missing"),
        (r#"{"max_score": 5, "tests": [{"name": "a", "status": "ok"}]}"#, "tests[0].status must be"),
        (r#"{"score": 1, "max_score": 1, "visibility": "all"}"#, "visibility must be"),
        (r#"[1]"#, "the report must be an object, but is an array of 1"),
    ] {
        let error = refuse(Format::Gradescope, report).to_string();
        assert!(error.contains(why), "{report}: {error}");
    }
}

#[test]
fn gradescope_deductions_take_no_total_below_zero() {
    for (report, score) in [
        (r#"{"tests": [{"score": 1, "max_score": 1}, {"score": -3, "max_score": 0}]}"#, 0.0),
        (r#"{"score": -2, "tests": [{"score": 1, "max_score": 1}, {"score": -3, "max_score": 0}]}"#, 0.0),
        (r#"{"tests": [{"score": 5, "max_score": 5}, {"score": -3}]}"#, 2.0),
    ] {
        let verdict = read(Format::Gradescope, report.as_bytes());
        assert_eq!((verdict.score, verdict.tests[1].score, verdict.tests[1].status), (score, -3.0, Failed), "{report}");
        assert!(!verdict.all_passed());
    }
}

#[test]
fn gradescope_text_is_kept_only_if_it_is_visible_at_once() {
    let output = |visibility: &str| {
        let report = format!(r#"{{"score": 1, "max_score": 1, "output": "x", "visibility": "{visibility}"}}"#);
        read(Format::Gradescope, report.as_bytes()).output
    };
    assert_eq!(output("visible").as_deref(), Some("x"));
    for visibility in ["hidden", "after_due_date", "after_published"] {
        assert_eq!(output(visibility), None, "{visibility}");
    }
}

#[test]
fn all_passed_needs_points_and_no_failure() {
    let pass = |report: &str| read(Format::Gradescope, report.as_bytes()).all_passed();
    assert!(pass(r#"{"score": 5, "max_score": 5}"#));
    assert!(!pass(r#"{"score": 0, "max_score": 0}"#));
    assert!(!pass(r#"{"score": 5, "max_score": 5, "tests": [{"name": "a", "status": "failed"}]}"#));
    assert!(!read(Format::Tap, b"1..0 # SKIP no network\n").all_passed());
    assert!(read(Format::Tap, b"1..2\nok 1\nok 2 # SKIP\n").all_passed());
}

#[test]
fn words_are_snake_case_in_json() {
    assert_eq!(serde_json::to_string(&Format::ExitCode).expect("serializes"), "\"exit_code\"");
    let verdict = from_exit_code(0, Integrity::Isolated);
    let json = serde_json::to_value(&verdict).expect("serializes");
    assert_eq!(json["tests"][0]["status"], "passed");
    assert_eq!(json["integrity"], "isolated");
    assert_eq!(json["tests"][0]["visibility"], "visible");
    // What was signed and stored before there was text about the whole submission reads and writes as it did.
    assert_eq!(json.as_object().map(serde_json::Map::len), Some(4));
    assert_eq!(serde_json::from_value::<Verdict>(json).expect("deserializes"), verdict);
    let with_output = Verdict { output: Some("x".to_owned()), ..verdict };
    assert_eq!(serde_json::to_value(&with_output).expect("serializes")["output"], "x");
    for format in [Format::Gradescope, Format::Junit, Format::Tap, Format::Ctrf, Format::ExitCode] {
        assert_eq!(serde_json::to_value(format).expect("serializes"), format.as_str());
    }
}

#[test]
fn a_tap_stream_without_its_end_counts_as_far_as_it_came() {
    let reader = |format, tests| Reader {
        format,
        integrity: Integrity::Isolated,
        limits: Limits::default(),
        scale: Scale { tests, ..Scale::default() },
    };
    let partial = |report: &str, tests| reader(Format::Tap, tests).read_partial(report.as_bytes());
    for (report, score, max_score) in [
        ("TAP version 13\nok 1 - a\nok 2 - b\n", 2.0, 4.0),
        ("ok 1 - a\nnot ok 2 - b\n  ---\n  error: 'no", 1.0, 4.0),
        // The end of the line could have been `# SKIP`.
        ("ok 1 - a\nok 2", 1.0, 4.0),
        ("1..4\nok 1 - a\nok 2", 1.0, 4.0),
        ("# Subtest: a\n    ok 1 - b\n", 1.0, 5.0),
        ("not", 0.0, 4.0),
    ] {
        let verdict = partial(report, Some(4)).unwrap_or_else(|error| panic!("{report:?}: {error}"));
        assert_eq!((verdict.score, verdict.max_score), (score, max_score), "{report:?}");
    }
    assert!(matches!(partial("ok 1\n", None), Err(ParseError::PlanMissing { seen: 1 })));
    assert_eq!(partial("1..1\nok 1\n", Some(4)).map(|verdict| verdict.max_score), Ok(1.0), "it says so itself");
    let json = reader(Format::Ctrf, Some(4)).read_partial(b"{");
    assert!(matches!(json, Err(ParseError::Truncated { .. })));
}
