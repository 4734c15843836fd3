//! What only a PID 1 does: it outlives what is sent to it, and inherits and ends everybody.

use assize_corpus::stored;
use assize_protocol::event::{EndStatus, StageExit};
use assize_protocol::plan::{Plan, Stage};

use crate::archives::plain;
use crate::cell::{Cell, Story};

fn run_lines(lines: &[&str]) -> Story {
    let cell = Cell::start_as_init();
    let stages = lines.iter().map(|line| cell.shell(line)).collect();
    let plan = Plan { stages, disks: vec![cell.path().display().to_string()], ..cell.empty_plan() };
    cell.run(&plan)
}

const OK: StageExit = StageExit::Exited { code: 0 };

/// FAILURES, code in the cell: kill of PID 1. Twice, for a first one could remove a handler.
#[test]
fn no_signal_from_inside_reaches_the_warden() {
    let line = "for s in $(seq 1 31) 34 50 64; do kill -$s 1; kill -$s 1; done; echo $$ lives";
    let story = run_lines(&[line, "echo and serves"]);
    assert_eq!(story.exits(), [OK, OK]);
    assert!(story.text().ends_with("lives\nand serves\n"), "{}", story.text());
}

/// FAILURES, code in the cell: what asks only for the same uid must not reach the warden either.
#[test]
fn no_call_changes_the_limits_or_the_priority_of_the_warden() {
    let tries = "prlimit --pid 1 --nofile=3:3 2>/dev/null && echo files
        prlimit --pid 1 --cpu=1:1 2>/dev/null && echo cpu
        taskset -p 1 1 >/dev/null 2>&1 && echo affinity
        chrt --idle --pid 0 1 2>/dev/null && echo scheduler
        renice -n 19 -p 1 >/dev/null 2>&1 && echo priority
        renice -n 19 -u $(id -u) >/dev/null 2>&1 && echo user
        ionice -c 3 -p 1 2>/dev/null && echo io
        prlimit --pid $$ --nofile=99:99 && renice -n 5 -p $$ >/dev/null && taskset -p 1 $$ >/dev/null && echo own";
    let story = run_lines(&[tries]);
    assert_eq!(story.text(), "own\n", "{}", story.text());
    assert_eq!(story.exits(), [OK]);
}

/// FAILURES, code in the cell: double-forked daemons that outlive the stage.
#[test]
fn nothing_survives_from_one_stage_to_the_next() {
    let daemons = "for i in 1 2 3; do setsid sh -c 'trap \"\" TERM HUP; (sleep 300 &) ; echo > started$0; kill -STOP $$' $i & done
        while [ ! -e started1 ] || [ ! -e started2 ] || [ ! -e started3 ]; do :; done";
    let story = run_lines(&[daemons, "for p in /proc/[0-9]*; do read name < $p/comm && echo $name; done"]);
    assert_eq!(story.exits(), [OK, OK]);
    assert_eq!(story.text(), "warden\nsh\n");
}

/// FAILURES 19, as far as one may go without a limit on processes.
#[test]
fn a_storm_of_short_lives_does_not_move_the_deadline() {
    let cell = Cell::start_as_init();
    let storm = Stage { timeout_ms: 400, ..cell.shell("while :; do (true &); (setsid true &); done") };
    let plan = Plan { stages: vec![storm], ..cell.empty_plan() };
    let story = cell.run(&plan);
    assert_eq!(story.exits(), [StageExit::TimedOut]);
    let ended = &story.ended()[0];
    assert!((ended.at_us - ended.started_us) / 1000 < 1500);
}

/// FAILURES 17.
#[test]
fn a_full_disk_is_named() {
    let story = run_lines(&["head -c 1M /dev/zero > big"]);
    assert_eq!(story.exits(), [StageExit::Exited { code: 1 }]);
    assert!(story.ended()[0].disk_full.is_some());
    let story = run_lines(&["for i in $(seq 30); do echo > $i || exit 1; done"]);
    assert!(story.ended()[0].disk_full.is_some(), "inodes run out too");
    let story = run_lines(&["exit 1"]);
    assert_eq!(story.ended()[0].disk_full, None);
}

#[test]
fn an_archive_that_fills_the_disk_differs_from_a_bad_one() {
    let files = (0..30).map(|at| stored(&format!("f{at}"), b"")).collect::<Vec<_>>();
    let large = [stored("large", &vec![b'x'; 300 << 10])];
    for archive in [plain(&files), plain(&large)] {
        let mut cell = Cell::start_as_init();
        // The file system lies over the folder only inside, so `into` must be the folder itself.
        let into = cell.path().display().to_string();
        let input = assize_protocol::plan::Input { into: into.clone(), max_entries: 100, ..cell.input() };
        let plan = Plan { inputs: vec![input], disks: vec!["/".into(), into.clone()], ..cell.empty_plan() };
        cell.send_plan(&plan);
        cell.send_archive(0, &archive);
        assert_eq!(cell.story().end.status, EndStatus::DiskFull { input: 0, path: into });
    }
}
