//! Projects that end the tests in the cell that they share with them.

use super::{FULL, Trial, WRONG, trial, unit, wrong};
use crate::trial::Expectation;
use assize_domain::run::FailureCode;

const INTERRUPTED: Expectation = Expectation::Fails(&[FailureCode::TestsInterrupted]);
const NOTHING: Expectation = Expectation::GainsNothingOutOf(FULL);

pub(super) fn all() -> Vec<Trial> {
    [processes(), limits(), folders(), programs()].concat()
}

fn processes() -> Vec<Trial> {
    let ends = |name: &str, tried: &str, code: &str| {
        let control = "tests that share the project's cell left no report: tests_interrupted";
        trial(name, tried, control, "unit", wrong(code), INTERRUPTED)
    };
    let late = |name: &str, tried: &str, code: &str| {
        let control = "the time of the tests: stage_timeout";
        trial(name, tried, control, "unit", wrong(code), Expectation::Fails(&[FailureCode::StageTimeout]))
    };
    vec![
        ends("exit-0", "exits with 0 when it is imported", "os._exit(0)"),
        ends("exit-1", "exits with 1 when it is imported", "os._exit(1)"),
        ends("exit-in-test", "exits with 0 in the second test", "def two(): os._exit(0)"),
        ends(
            "exit-thread",
            "exits with 0 from a thread, while the first test waits for it",
            "threading.Timer(0.3, os._exit, (0,)).start()\ndef one(): time.sleep(3)",
        ),
        ends("kill-runner", "kills the runner with KILL", "os.kill(os.getpid(), 9)"),
        ends("term-runner", "ends the runner with TERM", "os.kill(os.getpid(), 15); time.sleep(3)"),
        ends(
            "kill-parent",
            "a child kills the runner",
            "if os.fork() == 0:\n    os.kill(os.getppid(), 9)\n    os._exit(0)\ntime.sleep(3)",
        ),
        ends("kill-group", "kills the runner's process group", "os.killpg(0, 9)"),
        ends(
            "kill-all",
            "kills every process that it may",
            "try: os.kill(-1, 9)\nexcept OSError: pass\nos.kill(os.getpid(), 9)",
        ),
        ends("abort", "aborts the runner", "os.abort()"),
        ends("segfault", "crashes the runner", "ctypes.string_at(0)"),
        ends("exec", "becomes another program, which exits with 0", "os.execv('/bin/true', ['true'])"),
        ends(
            "exec-cheering",
            "becomes a program that prints that all passed",
            "os.execv('/bin/echo', ['echo', 'one passed two passed three passed'])",
        ),
        late("stop-runner", "stops the runner", "os.kill(os.getpid(), signal.SIGSTOP)"),
        late("waits", "waits in the last test, for ever", "def three(): time.sleep(3600)"),
        trial(
            "close-outputs",
            "closes the runner's stdout and stderr",
            "the runner fails or continues: the project gains nothing",
            "unit",
            wrong("os.close(1); os.close(2)"),
            NOTHING,
        ),
        trial(
            "exit-softly",
            "raises SystemExit when it is imported",
            "the runner's own care: 0 of 3",
            "unit",
            wrong("sys.exit(0)"),
            Expectation::ScoresOutOf(0.0, FULL),
        ),
    ]
}

/// Restrictions that a process can impose on itself.
fn limits() -> Vec<Trial> {
    let limit = |name: &str, tried: &str, code: &str| {
        let control = "the submission is at fault for everything that its code can do: tests_interrupted, report_spoiled or 0 of 3";
        trial(&format!("rlimit-{name}"), tried, control, "unit", wrong(code), NOTHING)
    };
    vec![
        limit("fsize", "limits files to 0 bytes", "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"),
        limit("fsize-cut", "limits files to 40 bytes", "resource.setrlimit(resource.RLIMIT_FSIZE, (40, 40))"),
        limit("nofile", "permits no further open file", "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))"),
        limit(
            "cpu",
            "limits CPU time to a second, and uses it up",
            "resource.setrlimit(resource.RLIMIT_CPU, (1, 1))\nwhile True: pass",
        ),
        limit("as", "permits no further memory", "resource.setrlimit(resource.RLIMIT_AS, (1, 1))"),
        limit("data", "permits no further heap", "resource.setrlimit(resource.RLIMIT_DATA, (1, 1))"),
        limit("stack", "permits no further stack", "resource.setrlimit(resource.RLIMIT_STACK, (4096, 4096))"),
        limit("nproc", "permits no further process", "resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))"),
    ]
}

/// Folders that are closed, emptied or filled.
fn folders() -> Vec<Trial> {
    let control = "the submission is at fault for everything that its code can do";
    let by_module = |name: &str, tried: &str, code: &str| trial(name, tried, control, "unit", wrong(code), NOTHING);
    let by_build =
        |name: &str, tried: &str, script: &str| trial(name, tried, control, "unit", unit(script, WRONG), NOTHING);
    vec![
        trial(
            "chmod-workspace",
            "closes the workspace to everybody",
            "no process can have written there: tests_interrupted",
            "unit",
            wrong("os.chmod('/workspace', 0)"),
            INTERRUPTED,
        ),
        by_module("chmod-tmp", "closes /tmp to everybody", "os.chmod('/tmp', 0)"),
        trial(
            "chmod-report",
            "closes the folder of the report",
            "no process can have written there: tests_interrupted",
            "unit",
            wrong("os.chmod(F, 0)"),
            INTERRUPTED,
        ),
        trial(
            "chmod-build",
            "closes the workspace in its build, so that the tests cannot be started there",
            "the warden opens it again before the tests",
            "unit",
            unit("chmod 000 /workspace", WRONG),
            NOTHING,
        ),
        by_build("tests-deleted", "deletes the tests in its build", "rm -rf /grader/* /grader/.[!.]*; exit 0"),
        by_build("tests-closed", "closes the folder of the tests in its build", "chmod 000 /grader; exit 0"),
        by_build("tests-emptied", "empties the tests in its build", ": > /grader/runner.py; exit 0"),
        by_build(
            "grader-filled",
            "fills the folder of the tests in its build",
            "cat /dev/zero > /grader/full; n=0; while : > /grader/f$n; do n=$((n+1)); done; exit 0",
        ),
        by_build("report-file", "a file where the report's folder would be", "echo x > report"),
        by_module(
            "disk-full",
            "fills the workspace before the report is written",
            "try:\n    with open('/workspace/full', 'wb', 0) as f:\n        while True: f.write(bytes(65536))\nexcept OSError: pass",
        ),
        by_module(
            "inodes-full",
            "takes every inode of the workspace",
            "try:\n    for n in range(9999): open(f'/workspace/f{n}', 'w').close()\nexcept OSError: pass",
        ),
        by_module(
            "pids-full",
            "takes every process, and exits",
            "try:\n    while True:\n        if os.fork() == 0: time.sleep(60)\nexcept OSError: os._exit(1)",
        ),
    ]
}

/// Tests whose program is the project's.
fn programs() -> Vec<Trial> {
    let program = |name: &str, tried: &str, files: &[(String, Vec<u8>)]| {
        let control = "the program lies where the project's files are: tests_interrupted";
        trial(name, tried, control, "own-program", assize_corpus::project(files), INTERRUPTED)
    };
    let file = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
    vec![
        program("program-missing", "hands no program in", &[file("README", "none")]),
        program("program-folder", "a folder where its program would be", &[file("program/README", "none")]),
    ]
}
