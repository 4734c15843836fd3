//! What a stage reports of its tests through descriptor 3.

use assize_protocol::event::StageExit;
use assize_protocol::frame::Kind;
use assize_protocol::plan::{Plan, Stage};
use assize_protocol::progress::{DroppedLines, MAX_LINES};

use crate::cell::{Cell, Story};
use crate::services::listen;

const OK: StageExit = StageExit::Exited { code: 0 };

const LINE: &str = r#"{"test":"a","status":"passed"}"#;

/// A stage that may report.
fn reporting(cell: &Cell, line: &str) -> Stage {
    Stage { progress: true, ..cell.shell(line) }
}

fn run_line(line: &str) -> Story {
    let cell = Cell::start();
    let plan = Plan { stages: vec![reporting(&cell, line)], ..cell.empty_plan() };
    cell.run(&plan)
}

#[test]
fn a_line_is_sent_while_the_stage_runs() {
    let mut cell = Cell::start();
    let line = format!("echo '{LINE}' >&3; while [ ! -e seen ]; do sleep 0.01; done; echo '{LINE}' >&3");
    let plan = Plan { stages: vec![reporting(&cell, &line)], ..cell.empty_plan() };
    cell.send_plan(&plan);
    cell.wait(Kind::Progress);
    std::fs::write(cell.path().join("seen"), "").unwrap();
    let story = cell.story();
    assert_eq!(story.exits(), [OK]);
    assert_eq!(story.progress(), format!("{LINE}\n{LINE}\n"));
    let kinds: Vec<Kind> = story.frames.iter().map(|frame| frame.kind).collect();
    let place = |kind| kinds.iter().rposition(|seen| *seen == kind);
    assert!(place(Kind::Progress) < place(Kind::StageEnded), "{kinds:?}");
    assert_eq!(story.ended()[0].lines_dropped, DroppedLines::default());
}

#[test]
fn only_the_stage_that_may_report_has_the_descriptor() {
    let cell = Cell::start();
    let look = "ls /proc/self/fd | sort -n | tr '\\n' ' '; readlink /proc/self/fd/0";
    let stages = vec![cell.shell(look), reporting(&cell, look), cell.shell(look)];
    let plan = Plan { stages, ..cell.empty_plan() };
    let story = cell.run(&plan);
    // `ls` has its own listing open.
    let without = "0 1 2 3 /dev/null\n";
    assert_eq!(story.text(), format!("{without}0 1 2 3 4 /dev/null\n{without}"));
}

#[test]
fn children_inherit_the_descriptor_and_the_last_line_needs_no_line_feed() {
    let story = run_line(&format!("(echo '{LINE}' >&3); sh -c 'echo nothing >&3'; printf '{LINE}' >&3"));
    assert_eq!(story.progress(), format!("{LINE}\n{LINE}\n"));
    assert_eq!(story.ended()[0].lines_dropped, DroppedLines { bad: 1, surplus: 0 });
}

#[test]
fn a_stage_that_closes_the_descriptor_goes_on() {
    let story = run_line(&format!("echo '{LINE}' >&3; exec 3>&-; echo on"));
    assert_eq!((story.exits(), story.text().as_str()), (vec![OK], "on\n"));
    assert_eq!(story.progress(), format!("{LINE}\n"));
}

#[test]
fn a_million_lines_are_read_and_ten_thousand_are_sent() {
    let story = run_line(&format!("yes '{LINE}' | head -n 1000000 >&3; echo on"));
    assert_eq!((story.exits(), story.text().as_str()), (vec![OK], "on\n"));
    assert_eq!(story.progress().lines().count() as u64, MAX_LINES);
    assert_eq!(story.ended()[0].lines_dropped, DroppedLines { bad: 0, surplus: 1_000_000 - MAX_LINES });
}

#[test]
fn a_line_of_a_hundred_megabytes_is_one_bad_line() {
    let story = run_line(&format!("head -c 100000000 /dev/zero | tr '\\0' x >&3; echo >&3; echo '{LINE}' >&3"));
    assert_eq!((story.exits(), story.progress()), (vec![OK], format!("{LINE}\n")));
    assert_eq!(story.ended()[0].lines_dropped, DroppedLines { bad: 1, surplus: 0 });
}

/// Behind a service only the group of a stage is killed, and a process can leave its group.
#[test]
fn the_end_of_a_stage_waits_for_nobody_who_keeps_the_descriptor() {
    for keeps in ["sleep 60", "while :; do echo on >&3; done"] {
        let cell = Cell::start();
        let port = listen(drop);
        let service = cell.service("exec sleep 60", port, None);
        let line = format!("echo '{LINE}' >&3; setsid sh -c '{keeps}' > /dev/null 2>&1 & echo done");
        let plan = Plan { stages: vec![service, reporting(&cell, &line)], ..cell.empty_plan() };
        let story = cell.run(&plan);
        let ended = &story.ended()[0];
        assert_eq!((ended.stage, &ended.exit), (1, &OK), "{keeps}");
        assert!(ended.at_us - ended.started_us < 5_000_000, "{keeps}: {ended:?}");
        assert_eq!(story.progress(), format!("{LINE}\n"), "{keeps}");
    }
}

#[test]
fn thousands_of_lines_keep_their_order() {
    let story = run_line(
        "i=0; while [ $i -lt 5000 ]; do echo '{\"test\":\"'$i'\",\"status\":\"failed\"}' >&3; i=$((i+1)); done",
    );
    let expected: String = (0..5000).map(|at| format!("{{\"test\":\"{at}\",\"status\":\"failed\"}}\n")).collect();
    assert_eq!(story.progress(), expected);
}
