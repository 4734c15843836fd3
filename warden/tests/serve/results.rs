use assize_protocol::event::{EndStatus, ResultsFileStarted, ResultsStatus, StageExit};
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

/// Runs a line of shell in the working folder, whose files `r/*.xml` are the results.
fn after_several(line: &str) -> Story {
    let cell = Cell::start();
    let plan = Plan {
        stages: vec![cell.shell(&format!("mkdir r; cd r; {line}"))],
        results: cell.results("r/*.xml"),
        ..cell.empty_plan()
    };
    cell.run(&plan)
}

#[test]
fn several_files_come_in_the_order_of_their_names() {
    let story = after_several("printf bb > b.xml; printf a > a.xml; : > 'c d.xml'; echo no > a.txt; echo no > .e.xml");
    assert_eq!(story.end.results, ResultsStatus::Read { bytes: 3 });
    let files: Vec<ResultsFileStarted> = story.all(Kind::ResultsFile);
    assert_eq!(files.into_iter().map(|file| file.name).collect::<Vec<_>>(), ["a.xml", "b.xml", "c d.xml"]);
    assert_eq!(story.results(), b"abb");
    let kinds: Vec<Kind> = story.frames.iter().map(|frame| frame.kind).collect();
    let wanted = [Kind::ResultsFile, Kind::Results, Kind::ResultsFile, Kind::Results, Kind::ResultsFile, Kind::End];
    assert!(kinds.ends_with(&wanted), "{kinds:?}");
}

#[test]
fn no_file_that_matches_is_missing() {
    for line in ["true", "echo x > a.txt", "cd ..; rmdir r"] {
        assert_eq!(after_several(line).end.results, ResultsStatus::Missing { reason: None }, "{line}");
    }
}

/// None is left out: a report without it could be better than the whole one.
#[test]
fn one_that_is_no_plain_file_refuses_all() {
    for (line, word) in [
        ("ln -s /etc/passwd b.xml", "(\"b.xml\") is a symbolic link"),
        ("mkfifo b.xml", "(\"b.xml\") is a FIFO"),
        ("mkdir b.xml", "(\"b.xml\") is a folder"),
        ("echo x > other; ln other b.xml", "(\"b.xml\") has 2 names"),
        ("ln -s nowhere $'b\\nc.xml'", "b"),
        ("cd ..; mv r real; ln -s real r", "behind r, which is a link"),
    ] {
        let story = after_several(&format!("echo x > a.xml; {line}"));
        assert!(story.refusal().contains(word) && !story.refusal().contains('\n'), "{line}: {}", story.refusal());
    }
}

#[test]
fn the_limits_hold_for_all_files_together() {
    let half = "head -c 500 /dev/zero";
    let story = after_several(&format!("{half} > a.xml; {half} > b.xml"));
    assert_eq!(story.end.results, ResultsStatus::Read { bytes: 1000 });
    for line in ["printf x > c.xml", "truncate -s 8G c.xml"] {
        let story = after_several(&format!("{half} > a.xml; {half} > b.xml; {line}"));
        assert!(story.refusal().contains("(\"c.xml\") and those before it have"), "{}", story.refusal());
    }
    let many = |count: usize| after_several(&format!("seq 1 {count} | while read n; do : > $n.xml; done"));
    assert_eq!(many(1000).end.results, ResultsStatus::Read { bytes: 0 });
    assert!(many(1001).refusal().contains("matches more than 1000 files"));
}
