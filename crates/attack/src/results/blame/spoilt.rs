//! Reports that the project spoils after the runner wrote them, and reports outside the scale.

use super::{FULL, Trial, trial, wrong};
use crate::trial::Expectation;
use assize_domain::run::FailureCode;

const SPOILED: Expectation = Expectation::Fails(&[FailureCode::ReportSpoiled]);
const INTERRUPTED: Expectation = Expectation::Fails(&[FailureCode::TestsInterrupted]);

pub(super) fn all() -> Vec<Trial> {
    [places(), ways(), scales()].concat()
}

/// A project that runs `code` after the runner has written its report.
fn at_exit(code: &str) -> Vec<u8> {
    wrong(&format!("def act():\n    {code}\natexit.register(act)"))
}

/// Cases by what the project puts in the place of the report.
fn places() -> Vec<Trial> {
    let spoilt = |name: &str, tried: &str, code: &str| {
        let control = "the runner did not write this report: report_spoiled";
        trial(&format!("report-{name}"), tried, control, "unit", at_exit(code), SPOILED)
    };
    let gone = |name: &str, tried: &str, code: &str| {
        let control = "tests that share the project's cell left no report: tests_interrupted";
        trial(&format!("report-{name}"), tried, control, "unit", at_exit(code), INTERRUPTED)
    };
    vec![
        gone("unlinked", "deletes the report at the runner's end", "os.unlink(R)"),
        gone("moved", "moves the report's folder away", "os.rename(F, F + '2')"),
        spoilt("truncated", "cuts the report in the middle", "os.truncate(R, 30)"),
        spoilt("emptied", "empties the report", "os.truncate(R, 0)"),
        spoilt("oversized", "makes the report longer than it may be", "open(R, 'a').write(' ' * 70000)"),
        spoilt("garbage", "writes noise into the report", "open(R, 'wb').write(os.urandom(512))"),
        spoilt("folder", "a folder in the report's place", "os.unlink(R); os.mkdir(R)"),
        spoilt("symlink", "a symbolic link in the report's place", "os.unlink(R); os.symlink('/etc/passwd', R)"),
        spoilt("fifo", "a FIFO in the report's place", "os.unlink(R); os.mkfifo(R)"),
        spoilt(
            "socket",
            "a socket in the report's place",
            "os.unlink(R); s = socket.socket(socket.AF_UNIX); s.bind(R)",
        ),
        spoilt("hard-link", "gives the report a second name", "os.link(R, F + '/other')"),
        spoilt(
            "folder-link",
            "a symbolic link in the place of the report's folder",
            "os.rename(F, F + '2'); os.symlink(F + '2', F)",
        ),
        spoilt("mode-0", "forbids everybody to read the report", "os.chmod(R, 0)"),
        spoilt(
            "other-format",
            "TAP in the place of the runner's JSON",
            "open(R, 'w').write('1..3\\nok 1\\nok 2\\nok 3\\n')",
        ),
    ]
}

/// Cases by the process that spoils the report.
fn ways() -> Vec<Trial> {
    let control = "tests that share the project's cell left no report: tests_interrupted";
    let way = |name: &str, tried: &str, code: &str| trial(name, tried, control, "unit", wrong(code), INTERRUPTED);
    // The end of the runner waits for the other processes.
    let wait = "def act():\n    while os.path.exists(R): time.sleep(0.01)\natexit.register(act)\n";
    vec![
        way(
            "unlink-by-thread",
            "a thread deletes the report",
            &format!(
                "{wait}def watch():\n    while not os.path.exists(R): time.sleep(0.01)\n    time.sleep(0.1); os.unlink(R)\nthreading.Thread(target=watch, daemon=True).start()"
            ),
        ),
        way(
            "unlink-by-daemon",
            "a process in a session of its own deletes the report",
            &format!(
                "{wait}if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        while not os.path.exists(R): time.sleep(0.01)\n        time.sleep(0.1); os.unlink(R)\n    os._exit(0)"
            ),
        ),
        way(
            "unlink-by-shell",
            "a shell that it starts deletes the report",
            &format!(
                "{wait}subprocess.Popen(['sh', '-c', f'while [ ! -s {{R}} ]; do :; done; rm {{R}}'], start_new_session=True)"
            ),
        ),
    ]
}

/// Well-formed reports with impossible scores.
fn scales() -> Vec<Trial> {
    let says = |name: &str, tried: &str, control: &str, report: &str, expected: Expectation| {
        let code = format!("open(R, 'w').write('{report}'); os._exit(0)");
        trial(&format!("scale-{name}"), tried, control, "unit", at_exit(&code), expected)
    };
    let three = |scores: [&str; 3], max: &str| {
        let tests = scores.map(|score| format!(r#"{{"name": "a", "score": {score}, "max_score": {max}}}"#));
        format!(r#"{{"tests": [{}]}}"#, tests.join(", "))
    };
    let left = |report: &str| {
        let files = [("run.sh", "cp report results"), ("report", report)];
        assize_corpus::project(&files.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())))
    };
    let skipped = |name: &str, template: &'static str, report: &str| {
        let tried = format!("a test that fails is reported as skipped, as {name}");
        let control = "results.max_score of the template: a test that was left out loses its point";
        trial(
            &format!("scale-skipped-{name}"),
            &tried,
            control,
            template,
            left(report),
            Expectation::ScoresOutOf(1.0, 2.0),
        )
    };
    let none = |name: &str, template: &'static str, report: &str| {
        let tried = format!("a report in which nothing ran, as {name}: 0 of 0");
        let control = "results.expect_tests of the template, at every score: report_spoiled";
        trial(&format!("scale-nothing-{name}"), &tried, control, template, left(report), SPOILED)
    };
    let max = "results.max_score of the template: report_spoiled";
    let above = "results.extra_credit of the template: report_spoiled";
    let number = "a score is a number of 0 or more: report_spoiled";
    let count = "results.expect_tests of the template, at every score: report_spoiled";
    vec![
        says("102-of-3", "102 of 3 points", above, &three(["100", "1", "1"], "1"), SPOILED),
        says("9.5-of-3", "9.5 of 3 points, in one test", above, &three(["9.5", "0", "0"], "1"), SPOILED),
        says(
            "total-above",
            "a total of 100 above tests that failed",
            above,
            r#"{"score": 100, "tests": [{"name": "a", "max_score": 1}, {"name": "b", "max_score": 1}, {"name": "c", "max_score": 1}]}"#,
            SPOILED,
        ),
        says("max-lower", "one point of one, where there are three", max, &three(["0", "0", "1"], "0.3"), SPOILED),
        says("max-higher", "three points of three hundred", max, &three(["1", "1", "1"], "100"), SPOILED),
        says("max-0", "tests that are worth nothing", max, &three(["0", "0", "0"], "0"), SPOILED),
        says(
            "negative",
            "a score of -1, from the runner",
            "a deduction takes no total below 0: 0 of 3",
            &three(["-1", "0", "0"], "1"),
            Expectation::ScoresOutOf(0.0, FULL),
        ),
        says("nan", "a score that is NaN, from the runner", number, &three(["NaN", "0", "0"], "1"), SPOILED),
        says("infinite", "a score without end", number, &three(["Infinity", "0", "0"], "1"), SPOILED),
        says("huge", "a score of 1e308", number, &three(["1e308", "0", "0"], "1"), SPOILED),
        says(
            "minus-zero",
            "three scores of minus zero",
            "no zero of a verdict has a sign: 0 of 3",
            &three(["-0.0", "-0.0", "-0.0"], "1"),
            Expectation::ScoresOutOf(0.0, FULL),
        ),
        says("no-tests", "a report without a test", count, r#"{"score": 0, "max_score": 3, "tests": []}"#, SPOILED),
        says(
            "one-test",
            "a report of one test, failed",
            count,
            r#"{"tests": [{"name": "a", "score": 0, "max_score": 3}]}"#,
            SPOILED,
        ),
        skipped(
            "junit",
            "report-junit",
            "<testsuite><testcase name='a'/><testcase name='b'><skipped/></testcase></testsuite>",
        ),
        skipped("tap", "report-tap", "1..2\nok 1 - a\nok 2 - b # SKIP not today\n"),
        skipped(
            "ctrf",
            "report-ctrf",
            r#"{"results": {"tests": [{"name": "a", "status": "passed"}, {"name": "b", "status": "skipped"}]}}"#,
        ),
        none("junit", "report-junit", "<testsuite name=\"all\" tests=\"0\"/>"),
        none("tap", "report-tap", "1..0 # SKIP nothing to see"),
        none("ctrf", "report-ctrf", r#"{"results": {"tests": []}}"#),
        trial(
            "scale-tests-forgotten",
            "makes the runner forget its tests",
            count,
            "unit",
            wrong("runner.TESTS.clear()"),
            SPOILED,
        ),
        trial(
            "scale-tests-added",
            "adds tests that pass to the runner's",
            count,
            "unit",
            wrong("def four(): return 4\nrunner.TESTS.extend([('four', 4)] * 97)"),
            SPOILED,
        ),
    ]
}
