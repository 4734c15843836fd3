use assize_protocol::event::{EndStatus, ResultsStatus, StageExit};
use assize_protocol::frame::Kind;
use assize_protocol::plan::{Plan, ResultsFile};

use crate::cell::{Cell, Story, is_alive};

/// Runs a line of shell that writes `results` in the working folder, or something else there.
fn after(line: &str) -> Story {
    let cell = Cell::start();
    let plan = Plan { stages: vec![cell.shell(line)], results: cell.results("results"), ..cell.empty_plan() };
    cell.run(&plan)
}

#[test]
fn a_plain_file_is_read_whole() {
    let story = after("printf '{\"score\": 1}' > results");
    assert_eq!(story.end.results, ResultsStatus::Read { bytes: 12 });
    assert_eq!(story.results(), b"{\"score\": 1}");
}

#[test]
fn a_failed_stage_does_not_hide_the_results() {
    let story = after("printf partial > results; exit 1");
    assert_eq!(story.exits(), [StageExit::Exited { code: 1 }]);
    assert_eq!(story.results(), b"partial");
}

#[test]
fn missing_is_said() {
    assert_eq!(after("true").end.results, ResultsStatus::Missing { reason: None });
}

/// FAILURES 14.
#[test]
fn what_is_no_plain_file_is_refused() {
    for (line, word) in [
        ("ln -s /etc/passwd results", "symbolic link"),
        ("mkfifo results", "FIFO"),
        ("mkdir results", "folder"),
        ("echo x > other; ln other results", "2 names"),
        ("ln -s /dev/zero results", "symbolic link"),
    ] {
        let story = after(line);
        assert!(story.refusal().contains(word), "{line}: {}", story.refusal());
        assert!(story.results().is_empty());
    }
}

#[test]
fn a_link_among_the_folders_is_refused() {
    let cell = Cell::start();
    let plan = Plan {
        stages: vec![cell.shell("mkdir real; echo x > real/results; ln -s real folder")],
        results: cell.results("folder/results"),
        ..cell.empty_plan()
    };
    let story = cell.run(&plan);
    assert!(story.refusal().contains("behind folder"), "{}", story.refusal());
}

#[test]
fn the_limit_holds_for_long_and_for_sparse_files() {
    let story = after("head -c 1000 /dev/zero > results");
    assert_eq!(story.end.results, ResultsStatus::Read { bytes: 1000 });
    for line in ["head -c 1001 /dev/zero > results", "truncate -s 8G results"] {
        let story = after(line);
        assert!(story.refusal().contains("the limit is 1000"), "{}", story.refusal());
        assert!(story.results().is_empty());
    }
}

/// FAILURES, results: written after exit.
#[test]
fn nobody_is_left_to_write_while_they_are_read() {
    let mut cell = Cell::start();
    let line = "setsid sh -c 'echo $$ > pid; while :; do echo forged > new; mv new results; done' &
        while [ ! -e results ]; do :; done";
    let plan = Plan { stages: vec![cell.shell(line)], results: cell.results("results"), ..cell.empty_plan() };
    let pid = cell.path().join("pid");
    cell.send_plan(&plan);
    cell.wait_for(|frame| matches!(frame.kind, Kind::Results | Kind::End));
    let pid = std::fs::read_to_string(pid).unwrap();
    assert!(!is_alive(&pid), "{pid} still writes");
}

#[test]
fn a_relative_path_is_a_fault_of_the_plan() {
    let mut cell = Cell::start();
    let results = Some(ResultsFile { path: "results".into(), max_bytes: 1 });
    let plan = Plan { results, ..cell.empty_plan() };
    cell.send_plan(&plan);
    cell.send(Kind::Finish, &[]);
    let story = cell.story();
    assert!(matches!(&story.end.status, EndStatus::Fault { error } if error.contains("absolute")));
    assert!(!story.status.success());
}
