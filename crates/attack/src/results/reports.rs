//! Reports that a project can leave if the tests run inside its own process: not a plain file, not a report, a bomb for
//! the reader, or points that the tests did not award.
//!
//! A project can forge such a report; the verdict then has the integrity `shared`. But a project cannot contradict what
//! the warden observed, harm the reader, or make it read another file.

use crate::case::{Case, Group};
use crate::trial::{Expectation, Trial};
use assize_domain::run::FailureCode;

const INVALID: Expectation = Expectation::Fails(&[FailureCode::ReportSpoiled]);
const COPY: &str = "cp report results";

pub(super) fn all() -> Vec<Trial> {
    [files(), xml(), json(), tap(), claims()].concat()
}

fn trial(
    name: &str,
    format: &'static str,
    tried: &str,
    control: &str,
    expected: Expectation,
    script: &str,
    report: &[u8],
) -> Trial {
    let files =
        [("run.sh", script.as_bytes()), ("report", report)].map(|(name, text)| (name.to_owned(), text.to_vec()));
    let case = Case::new(Group::Results, &format!("report-{name}"), tried, control);
    Trial { case, template: format, archive: assize_corpus::project(&files), expected }
}

/// Reports that the reader of a format must refuse: name, what is tried, the control, the report.
fn invalid(format: &'static str) -> impl Fn(&str, &str, &str, &str) -> Trial {
    move |name, tried, control, report| trial(name, format, tried, control, INVALID, COPY, report.as_bytes())
}

/// Files that the warden refuses to open or to read.
fn files() -> Vec<Trial> {
    let refused = "the warden: no link, one name, a plain file, within its size";
    let file = |name, tried, script| trial(name, "report-tap", tried, refused, INVALID, script, b"");
    let ok = "printf '1..2\\nok 1\\nok 2\\n'";
    vec![
        file("symlink", "a symbolic link to a file of the image", "ln -s /etc/passwd results"),
        file("symlink-proc", "a symbolic link to the environment of PID 1", "ln -s /proc/1/environ results"),
        file("symlink-zero", "a symbolic link to an endless device", "ln -s /dev/zero results"),
        file("symlink-dangling", "a symbolic link to nothing", "ln -s /no/such results"),
        file("symlink-loop", "a symbolic link to itself", "ln -s results results"),
        file("fifo", "a FIFO, at which a reader would wait for ever", "mkfifo results"),
        file("folder", "a folder", "mkdir results"),
        file("hard-link", "a file with two names", &format!("{ok} > other; ln other results")),
        file("sparse", "a sparse file of 8 GiB", "truncate -s 8G results"),
        file("too-long", "a byte more than allowed", "head -c 262145 /dev/zero > results"),
        file("unreadable-bytes", "random bytes", "head -c 4096 /dev/urandom > results"),
        file("empty", "an empty file", ": > results"),
        trial(
            "missing",
            "report-tap",
            "no file",
            "tests_interrupted",
            Expectation::Fails(&[FailureCode::TestsInterrupted]),
            "exit 0",
            b"",
        ),
        trial(
            "unreadable-mode",
            "report-tap",
            "a file that its owner may not read",
            "the warden, which is the same user, cannot open the file",
            INVALID,
            &format!("{ok} > results; chmod 0 results"),
            b"",
        ),
        trial(
            "many-files",
            "report-tap",
            "a million files beside the report",
            "the inodes of the workspace",
            Expectation::GainsNothing,
            "n=0; while [ $n -lt 1000000 ]; do : > f$n || exit 1; n=$((n+1)); done",
            b"",
        ),
        trial(
            "swap-race",
            "report-junit",
            "a daemon that swaps the file and a link to another for ever",
            "the warden reads when no process is left; no link is followed",
            Expectation::GainsNothing,
            "echo nothing > report; (setsid sh -c 'trap \"\" TERM HUP; while :; do ln -sf /etc/passwd results; cp report new; mv new results; done' >/dev/null 2>&1 &); sleep 0.3; exit 1",
            b"",
        ),
        trial(
            "after-exit",
            "report-tap",
            "a daemon that writes full marks when the tests have ended",
            "the warden reads when no process is left",
            Expectation::GainsNothing,
            "(setsid sh -c 'trap \"\" TERM HUP; while kill -0 $PPID 2>/dev/null; do :; done; sleep 0.2; printf \"1..2\\nok 1\\nok 2\\n\" > results' >/dev/null 2>&1 &); exit 0",
            b"",
        ),
    ]
}

fn xml() -> Vec<Trial> {
    let doctype = "the reader: no document type with declarations, no entity is ever expanded";
    let bad = invalid("report-junit");
    let case = "<testcase name=\"a\"/>";
    let levels: String =
        (1..10).map(|n| format!("<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10))).collect();
    let attributes: String = (0..5_000).map(|n| format!(" a{n}=\"\"")).collect();
    vec![
        bad("billion-laughs", "entities that expand to a billion", doctype, &format!(
            "<!DOCTYPE x [<!ENTITY l0 \"ha\">{levels}]><testsuite>&l9;{case}</testsuite>"
        )),
        bad("quadratic", "one long entity, ten thousand times", doctype, &format!(
            "<!DOCTYPE x [<!ENTITY a \"{}\">]><testsuite>{}</testsuite>",
            "a".repeat(10_000),
            "&a;".repeat(10_000)
        )),
        bad("external-entity", "an entity that is a file of the reader (XXE)", doctype, &format!(
            "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><testsuite>&e;{case}</testsuite>"
        )),
        bad("external-subset", "a document type at an address (SSRF)", "the reader: nothing is fetched; the number of tests that the template expects", &format!(
            "<!DOCTYPE x SYSTEM \"http://169.254.169.254/\"><testsuite>{case}</testsuite>"
        )),
        bad("parameter-entity", "a parameter entity", doctype, "<!DOCTYPE x [<!ENTITY % p \"<!ENTITY q 'r'>\"> %p;]><testsuite/>"),
        bad("two-doctypes", "two document types, the first harmless", doctype, &format!(
            "<!DOCTYPE x><!DOCTYPE x [<!ENTITY a \"b\">]><testsuite>{case}</testsuite>"
        )),
        bad("xml-deep", "10,000 elements in each other", "the reader's depth", &format!("{}{}", "<testsuite>".repeat(10_000), "</testsuite>".repeat(10_000))),
        bad("xml-attributes", "an element with 5,000 attributes", "the reader's count", &format!("<testsuite{attributes}>{case}</testsuite>")),
        bad("xml-cut", "a report that is cut off", "the reader: missing tests cannot be scored", "<testsuite><testcase name=\"a\"/><testcase name=\"b\"/>"),
        bad("xml-utf16", "a report that says it is UTF-16 and is not", "the reader: the bytes outrank what they say; the number of tests that the template expects", "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-16\"?><testsuite/>"),
        bad("xml-undefined-entity", "an undefined entity", "the reader: no entity", "<testsuite><testcase name=\"a\"><failure>&nothing;</failure></testcase></testsuite"),
        trial("xml-include", "report-junit", "an XInclude of a file", "it is an element like any other", Expectation::GainsNothing, &format!("{COPY}; exit 1"), format!(
            "<testsuite xmlns:xi=\"http://www.w3.org/2001/XInclude\"><xi:include href=\"file:///etc/passwd\" parse=\"text\"/>{case}<testcase name=\"b\"/></testsuite>"
        ).as_bytes()),
    ]
}

fn json() -> Vec<Trial> {
    let bad = invalid("report-gradescope");
    let two = r#"{"name":"a","score":1,"max_score":1},{"name":"b","score":1,"max_score":1}"#;
    let scored = |score: &str, max: &str| {
        format!(
            r#"{{"score":{score},"tests":[{{"name":"a","score":{score},"max_score":{max}}},{{"name":"b","score":0,"max_score":1}}]}}"#
        )
    };
    let many: String = (0..10_050).map(|_| "{},").collect();
    vec![
        bad(
            "json-deep",
            "100,000 lists in each other",
            "the reader's depth",
            &format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
        ),
        bad("json-nan", "a score that is NaN", "JSON has none", &scored("NaN", "1")),
        bad("json-infinite", "a score of 1e999", "a score is at most a billion", &scored("1e999", "1")),
        trial(
            "json-negative",
            "report-gradescope",
            "a score below 0",
            "a test may deduct points, and a total is at least 0",
            Expectation::Scores(0.0),
            &format!("{COPY}; exit 1"),
            scored("-5", "1").as_bytes(),
        ),
        bad("json-huge", "a score of 1e300", "a score is at most a billion", &scored("1e300", "1e300")),
        bad(
            "json-duplicate-key",
            "a score that is there twice",
            "the reader: a key counts once",
            &format!(r#"{{"score":0,"score":2,"tests":[{two}]}}"#),
        ),
        bad("json-text-score", "a score that is a list", "the reader's types", &scored("[1]", "1")),
        bad("json-many", "10,050 tests", "the reader's count", &format!(r#"{{"tests":[{}{{}}]}}"#, many)),
        bad(
            "json-trailing",
            "a second document behind the first",
            "the reader: one document",
            &format!(r#"{{"tests":[{two}]}}{{"score":9}}"#),
        ),
        bad("json-not-an-object", "a number", "the reader's types", "10"),
        bad(
            "json-no-tests",
            "full marks without a test",
            "the number of tests that the template expects",
            r#"{"score":10,"max_score":10}"#,
        ),
    ]
}

fn tap() -> Vec<Trial> {
    let bad = invalid("report-tap");
    let nested: String = (0..200).map(|depth| format!("{}# Subtest: a\n", "    ".repeat(depth))).collect();
    vec![
        bad("tap-huge-plan", "a plan of 10^18 tests", "the reader's count", "1..1000000000000000000\nok 1\n"),
        bad("tap-no-plan", "passes without a plan", "the reader: the report may be incomplete", "ok 1\nok 2\n"),
        bad("tap-two-plans", "two plans", "the reader: one plan", "1..2\nok 1\n1..1\nok 2\n"),
        bad(
            "tap-bail-out",
            "a bail out before the plan",
            "the reader: the tests gave up",
            "Bail out! enough\n1..2\nok 1\nok 2\n",
        ),
        bad(
            "tap-deep",
            "subtests 200 levels deep",
            "the reader's depth",
            &format!("1..1\n{nested}{}ok 1\n", "    ".repeat(200)),
        ),
        trial(
            "bad-utf8",
            "report-tap",
            "a byte that is no UTF-8 in a passing report",
            "only that byte is replaced: both tests count",
            Expectation::Scores(2.0),
            COPY,
            b"1..2\nok 1 - caf\xe9\nok 2 - fine\n",
        ),
        bad(
            "ctrf-in-tap",
            "a report of another format",
            "the reader's format",
            r#"{"results":{"summary":{"tests":2,"passed":2}}}"#,
        ),
    ]
}

/// Points that contradict the warden's observations.
fn claims() -> Vec<Trial> {
    let exit = "the exit code contradicts it: report_spoiled";
    let count = "the number of tests that the template expects: report_spoiled";
    let claim = |name, format, tried, control, script: &str, report: &str| {
        trial(name, format, tried, control, INVALID, script, report.as_bytes())
    };
    let both = "1..2\nok 1\nok 2\n";
    let junit = "<testsuite><testcase name='a'/><testcase name='b'/></testsuite>";
    let gradescope = r#"{"tests":[{"name":"a","score":1,"max_score":1},{"name":"b","score":1,"max_score":1}]}"#;
    let ctrf = r#"{"results":{"tool":{"name":"x"},"summary":{"tests":1,"passed":1,"failed":0,"pending":0,"skipped":0,"other":0,"start":0,"stop":1},"tests":[{"name":"a","status":"passed","duration":1}]}}"#;
    vec![
        claim(
            "passed-but-failed-tap",
            "report-tap",
            "TAP in which all passed, from a runner that failed",
            exit,
            &format!("{COPY}; exit 1"),
            both,
        ),
        claim(
            "passed-but-failed-junit",
            "report-junit",
            "JUnit in which all passed, from a runner that failed",
            exit,
            &format!("{COPY}; exit 1"),
            junit,
        ),
        claim(
            "passed-but-failed-gradescope",
            "report-gradescope",
            "full marks, from a runner that failed",
            exit,
            &format!("{COPY}; exit 1"),
            gradescope,
        ),
        claim(
            "passed-but-killed",
            "report-tap",
            "all passed, from a runner that was killed",
            exit,
            &format!("{COPY}; kill -9 $$"),
            both,
        ),
        claim("fewer-tests", "report-tap", "one passing test instead of two", count, COPY, "1..1\nok 1\n"),
        claim(
            "more-tests",
            "report-tap",
            "a hundred passing tests beside the two",
            count,
            COPY,
            &format!("1..102\n{}", "ok\n".repeat(102)),
        ),
        claim("fewer-tests-ctrf", "report-ctrf", "one passing test instead of two, as CTRF", count, COPY, ctrf),
    ]
}
