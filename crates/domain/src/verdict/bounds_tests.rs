//! No report of the allowed length takes long, whatever it is made of, and none that is four times as long takes much
//! more than four times as long: what grows with the square of its length takes sixteen times.

use super::*;

/// Seconds of CPU for 1 MiB in an unoptimised build on a slow host; measured: below 2 each.
const MAX_SECONDS: i64 = 15;

const MIB: usize = 1024 * 1024;

/// Bytes of a report that is compared with one four times as long: first few, so that what is far out of proportion is
/// known at once, and then enough to see what is only copied too often.
const LENGTHS: [usize; 2] = [8 * 1024, 64 * 1024];

/// Between the four times that is in proportion and the sixteen of what grows with the square.
const MAX_GROWTH: i64 = 8;

/// What takes less is not compared, in µs: a clock and a busy host make of it what they like.
const MIN_MICROS: i64 = 10_000;

/// Each comparison may be spoilt by the host, and what is out of proportion fails all of them.
const TRIES: usize = 3;

/// A report of at most so many bytes.
type Report = Box<dyn Fn(usize) -> String>;

/// As often as it fits into a report, with a beginning and an end.
fn filled(head: &str, piece: &str, tail: &str) -> Report {
    let [head, piece, tail] = [head, piece, tail].map(str::to_owned);
    Box::new(move |length| {
        let times = (length - head.len() - tail.len()) / piece.len();
        format!("{head}{}{tail}", piece.repeat(times))
    })
}

/// As [`filled`], numbered.
fn counted(head: &str, piece: impl Fn(usize) -> String + 'static, tail: &str) -> Report {
    let [head, tail] = [head, tail].map(str::to_owned);
    Box::new(move |length| {
        let mut text = head.clone();
        for number in 0.. {
            let piece = piece(number);
            if text.len() + piece.len() + tail.len() > length {
                break;
            }
            text.push_str(&piece);
        }
        text + &tail
    })
}

/// What a report became, and the µs of CPU that this took.
fn timed(format: Format, report: &str) -> (Result<Verdict, ParseError>, i64) {
    let clock = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        now.tv_sec * 1_000_000 + now.tv_nsec / 1000
    };
    let began = clock();
    let parsed = parse(format, report.as_bytes(), Integrity::Shared, &Limits::default());
    (parsed, clock() - began)
}

fn check(format: Format, report: &Report) {
    let whole = report(MIB);
    let head: String = whole.chars().take(60).collect();
    for length in LENGTHS {
        let (short, long) = (report(length), report(4 * length));
        let mut seen = Vec::new();
        let in_proportion = (0..TRIES).any(|_| {
            let (short, long) = (timed(format, &short).1, timed(format, &long).1);
            seen.push((short, long));
            long <= (MAX_GROWTH * short).max(MIN_MICROS)
        });
        assert!(
            in_proportion,
            "{format:?} took {seen:?} µs of CPU for {length} bytes of {head:?} and four times as many"
        );
    }

    assert!(whole.len() <= MIB && whole.len() > MIB / 2, "{}", whole.len());
    let (parsed, micros) = timed(format, &whole);
    let became = parsed.as_ref().map_or_else(ToString::to_string, |verdict| format!("{} tests", verdict.tests.len()));
    assert!(micros <= MAX_SECONDS * 1_000_000, "{format:?} took {micros} µs of CPU for {head:?}: {became}");
    if let Ok(verdict) = parsed {
        assert!(to_junit(&verdict).len() < 64 * MIB && to_gradescope(&verdict).to_string().len() < 64 * MIB);
    }
}

/// What explains the tests of a subtest.
const HOOK_FAILED: &str = "not ok\n  ---\n  failureType: 'hookFailed'\n  error: 'no database'\n  ...\n";

#[test]
fn tap_takes_no_more_than_in_proportion() {
    for report in [
        filled("1..1\nok 1", " # time=", "\n"),
        filled("1..1\nok 1", " #", "\n"),
        filled("1..1\nok 1 ", "\\", "\n"),
        filled("1..1\nok 1 # SKIP ", "\\#", "\n"),
        filled("1..1\nok 1", " \u{2003}#", "\n"),
        filled("1..1\nnot ok 1\n", "# x\n", ""),
        filled("1..1\nnot ok 1\n  ---\n", "  duration_ms: 1\n", "  ...\n"),
        filled("1..1\nnot ok 1\n", "  ---\n  ...\n", ""),
        filled("", "1..9999\n        1..9999\n    1..9999\n", ""),
        filled("1..1\n", "    }\n        1..0\n}\n", "ok 1\n"),
        filled("1..1\n", &format!("{}ok\n", " ".repeat(64)), "ok 1\n"),
        counted("1..1\n", |i| format!("{}ok {i} {}\n", " ".repeat(4 * (16 - i % 17)), "x".repeat(40)), ""),
        filled("1..1\n", " ", "\nok 1\n"),
        filled("", "ok - a {\n", "1..1\n"),
        filled("1..1\n", "ok - a\n{\n", "}\n"),
        filled("1..1\n", "ok - a {\n    not ok - b\n}\n", ""),
        filled("1..1\n", "    not ok\n      ---\n      failureType: 'cancelledByParent'\n      ...\n", HOOK_FAILED),
        filled("1..1\n    not ok\n", HOOK_FAILED, ""),
        filled("1..1\nok 1 ", "\u{1b}[", "\n"),
        filled("1..1\nok ", "9", "\n"),
        filled("1..", "9", "\n"),
    ] {
        check(Format::Tap, &report);
    }
}

#[test]
fn junit_takes_no_more_than_in_proportion() {
    let case = |inner: &str, tail: &str| {
        (format!("<testsuite><testcase name='a'>{inner}"), format!("{tail}</testcase></testsuite>"))
    };
    for (inner, piece, tail) in [
        ("", "<failure/>", ""),
        ("", "<failure message='aaaaaaaaaaaaaaaaaaaaaaaaa'>aaaaaaaaaaaaaaaaaaaaaaaab</failure>", ""),
        ("<failure>", "&", "</failure>"),
        ("<failure>", "&#", "</failure>"),
        ("<failure>", "&#x110000;", "</failure>"),
        ("<failure>", "&a;", "</failure>"),
        ("<failure>", "<![CDATA[]]>", "</failure>"),
        ("<failure>", "<!-- - -->", "</failure>"),
        ("<failure>", "<b/>", "</failure>"),
        ("<failure>", "\u{1}", "</failure>"),
        ("<failure message='", "&", "'/>"),
        ("<failure message='", "&#0000000000000000000001", "'/>"),
        ("<system-out>", "<testcase name='x'/>", "</system-out>"),
        ("<failure/>", "<system-out>aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa</system-out>", ""),
        ("<failure/><system-out>", "a&amp;", "</system-out>"),
        ("", "<rerunFailure><system-out>a</system-out></rerunFailure>", ""),
        ("<!--", "-", "-->"),
        ("<!--", "<!--", "-->"),
        ("<?x ", "?", "?>"),
        ("<![CDATA[", "]]", "]]>"),
        ("<", "a", "/>"),
        ("<a ", "b", "/>"),
        ("<a b='", "<", "'/>"),
    ] {
        let (head, tail) = case(inner, tail);
        check(Format::Junit, &filled(&head, piece, &tail));
        // And cut off, so that whatever is searched for is never found.
        check(Format::Junit, &filled(&head, piece, ""));
    }
    check(Format::Junit, &filled("<testsuite>", "<testsuite name='a' errors='1'></testsuite>", "</testsuite>"));
    let again = "<testcase name='a'><failure>aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa</failure></testcase>";
    check(Format::Junit, &filled("<testsuite name='pytest'>", again, "</testsuite>"));
    let deep = format!("<testsuite name='{}'>", "n".repeat(200)).repeat(20);
    let node = "<testcase name='a' time='1' classname='test'/>";
    check(Format::Junit, &filled(&deep, node, &"</testsuite>".repeat(20)));
    check(Format::Junit, &counted("<testsuite>", |i| format!("<testcase name='{i}'/>"), "</testsuite>"));
    let attributes = |i: usize| format!("<b{}/>", (0..60).map(|j| format!(" a{i}{j}=''")).collect::<String>());
    check(Format::Junit, &counted("<testsuite>", attributes, "</testsuite>"));
}

#[test]
fn json_takes_no_more_than_in_proportion() {
    for format in [Format::Gradescope, Format::Ctrf] {
        let (head, tail) = match format {
            Format::Ctrf => ("{\"results\":{\"tests\":[", "]}}"),
            _ => ("{\"score\":1,\"max_score\":1,\"tests\":[", "]}"),
        };
        let end = format!("0{tail}");
        for piece in [
            "0,",
            "{},",
            "[],",
            "{\"a\":0},",
            "\"\\ud800\",",
            "\"\u{1}\",",
            "1e9,",
            "NaN,",
            "-Infinity,",
            "\"1\",",
            "-0.0,",
            "[[[[[[[[0]]]]]]]],",
        ] {
            check(format, &filled(head, piece, &end));
        }
        let test = "{\"name\":\"a\",\"status\":\"failed\",\"score\":0,\"max_score\":1},";
        check(format, &filled(head, test, &format!("{}{tail}", test.trim_end_matches(','))));
        check(format, &counted("{", |i| format!("\"{i}\":0,"), "\"score\":1,\"max_score\":1}"));
        let shared = "k".repeat(500);
        check(format, &counted("{", move |i| format!("\"{shared}{i}\":0,"), "\"score\":1,\"max_score\":1}"));
        check(format, &filled("{\"score\":", "1", "}"));
        check(format, &filled("{\"score\":0.", "1", "}"));
        check(format, &filled("{\"score\":1e", "1", "}"));
        check(format, &filled("{\"output\":\"", "\\u001b[", "\"}"));
    }
}

#[test]
fn values_are_bounded_before_they_cost_memory() {
    let report = filled("{\"extra_data\":[", "{\"\":0},", "0]}")(MIB);
    let refused = parse(Format::Gradescope, report.as_bytes(), Integrity::Shared, &Limits::default());
    assert_eq!(refused, Err(ParseError::TooManyValues { limit: 200_000 }));
    let limits = Limits { json_values: 5, ..Limits::default() };
    let read = |text: &str| parse(Format::Gradescope, text.as_bytes(), Integrity::Shared, &limits);
    assert!(read("{\"score\":1,\"max_score\":1,\"a\":[0]}").is_ok());
    assert_eq!(read("{\"score\":1,\"max_score\":1,\"a\":[0,0]}"), Err(ParseError::TooManyValues { limit: 5 }));
}
