use assize_protocol::event::{EndStatus, ResultsStatus, StageExit, Stream};
use assize_protocol::frame::Kind;
use assize_protocol::plan::{OutputLimits, Plan, Stage};

use crate::cell::{Cell, Story, is_alive};

fn run_line(line: &str) -> Story {
    let cell = Cell::start();
    let stage = cell.shell(line);
    let plan = Plan { stages: vec![stage], ..cell.empty_plan() };
    cell.run(&plan)
}

#[test]
fn an_empty_plan_is_done() {
    let cell = Cell::start();
    let plan = cell.empty_plan();
    let story = cell.run(&plan);
    assert_eq!((story.end.status, story.end.results), (EndStatus::Done, ResultsStatus::None));
    assert!(story.status.success());
}

#[test]
fn an_exit_code_is_reported_and_ends_the_plan() {
    let cell = Cell::start();
    let stages = vec![cell.shell("echo out; echo err >&2; exit 3"), cell.shell("echo never")];
    let plan = Plan { stages, ..cell.empty_plan() };
    let story = cell.run(&plan);
    assert_eq!(story.exits(), [StageExit::Exited { code: 3 }]);
    assert_eq!(story.end.status, EndStatus::Done);
    let mut kept: Vec<_> = story.outputs().into_iter().map(|output| (output.stream, output.bytes)).collect();
    kept.sort_by_key(|(_, bytes)| bytes.clone());
    assert_eq!(kept, [(Stream::Stderr, b"err\n".to_vec()), (Stream::Stdout, b"out\n".to_vec())]);
    let ended = &story.ended()[0];
    assert_eq!((ended.output_bytes, ended.output_dropped), (8, 0));
    assert!(ended.started_us < ended.at_us && ended.max_rss_kib > 0);
}

#[test]
fn stages_run_one_after_another() {
    let cell = Cell::start();
    let stages = vec![cell.shell("echo first > a"), cell.shell("cat a"), cell.shell("rm a; ls")];
    let plan = Plan { stages, ..cell.empty_plan() };
    let story = cell.run(&plan);
    assert_eq!(story.exits(), vec![StageExit::Exited { code: 0 }; 3]);
    assert_eq!(story.text(), "first\n");
}

#[test]
fn a_signal_is_reported_even_a_real_time_one() {
    assert_eq!(run_line("kill -SEGV $$").exits(), [StageExit::Signalled { signal: 11 }]);
    assert_eq!(run_line("kill -40 $$").exits(), [StageExit::Signalled { signal: 40 }]);
}

#[test]
fn a_missing_program_is_not_a_127() {
    let cell = Cell::start();
    let missing = Stage { command: vec!["no-such-program".into()], ..cell.shell("") };
    let plan = Plan { stages: vec![missing], ..cell.empty_plan() };
    let story = cell.run(&plan);
    assert!(matches!(&story.exits()[..], [StageExit::NotStarted { error }] if error.contains("no-such-program")));
    assert_eq!(run_line("exit 127").exits(), [StageExit::Exited { code: 127 }]);
}

/// FAILURES 12: SIGTERM ignored.
#[test]
fn a_stage_that_ignores_sigterm_is_killed_after_its_grace() {
    let cell = Cell::start();
    let stubborn = Stage { timeout_ms: 100, ..cell.shell("trap '' TERM; echo started; while :; do :; done") };
    let plan = Plan { stages: vec![stubborn], ..cell.empty_plan() };
    let story = cell.run(&plan);
    assert_eq!(story.exits(), [StageExit::TimedOut]);
    let ended = &story.ended()[0];
    let took_ms = (ended.at_us - ended.started_us) / 1000;
    assert!((200..2000).contains(&took_ms), "{took_ms} ms for a limit of 100 ms and a grace of 100 ms");
}

#[test]
fn a_stage_that_ends_well_on_sigterm_has_timed_out_all_the_same() {
    let cell = Cell::start();
    let polite = Stage {
        timeout_ms: 100,
        ..cell.shell("exec 2> /dev/null; trap 'echo bye; exit 0' TERM; while :; do sleep 0.01; done")
    };
    let plan = Plan { stages: vec![polite], grace_ms: 5_000, ..cell.empty_plan() };
    let story = cell.run(&plan);
    assert_eq!(story.exits(), [StageExit::TimedOut]);
    assert_eq!(story.text(), "bye\n");
}

/// FAILURES 12: SIGSTOP by itself.
#[test]
fn a_stage_that_stops_itself_is_killed() {
    let cell = Cell::start();
    let stopped = Stage { timeout_ms: 100, ..cell.shell("kill -STOP $$; echo never") };
    let plan = Plan { stages: vec![stopped], ..cell.empty_plan() };
    assert_eq!(cell.run(&plan).exits(), [StageExit::TimedOut]);
}

#[test]
fn the_global_limit_ends_the_stage_that_runs() {
    let cell = Cell::start();
    let stages = vec![cell.shell("sleep 60"), cell.shell("echo never")];
    let plan = Plan { stages, global_timeout_ms: 150, ..cell.empty_plan() };
    assert_eq!(cell.run(&plan).exits(), [StageExit::GlobalTimedOut]);
}

/// FAILURES 18: a flood, with bounded memory.
#[test]
fn a_flood_stops_at_the_limit_and_keeps_head_and_tail() {
    let cell = Cell::start();
    let output = OutputLimits { head: 100, tail: 200, limit: 3_000_000 };
    let flood = Stage { output, ..cell.shell("yes flood") };
    let plan = Plan { stages: vec![flood], ..cell.empty_plan() };
    let story = cell.run(&plan);
    assert_eq!(story.exits(), [StageExit::OutputLimit]);
    let ended = &story.ended()[0];
    assert!(ended.output_bytes > 3_000_000 && ended.output_bytes < 6_000_000, "{}", ended.output_bytes);
    assert_eq!(ended.output_bytes - ended.output_dropped, 300);
    let outputs = story.outputs();
    let last = outputs.last().unwrap();
    assert_eq!(last.offset + last.bytes.len() as u64, ended.output_bytes);
}

#[test]
fn more_than_the_limit_at_exit_is_over_the_limit_too() {
    let cell = Cell::start();
    let output = OutputLimits { head: 10, tail: 10, limit: 20 };
    let stage = Stage { output, ..cell.shell("echo 123456789012345678901234567890") };
    let plan = Plan { stages: vec![stage], ..cell.empty_plan() };
    assert_eq!(cell.run(&plan).exits(), [StageExit::OutputLimit]);
}

#[test]
fn a_line_arrives_while_the_stage_still_runs() {
    let mut cell = Cell::start();
    let go = cell.path().join("go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let plan = Plan { stages: vec![cell.shell("echo live; read line < go; echo $line")], ..cell.empty_plan() };
    cell.send_plan(&plan);
    cell.wait_for_output("live");
    // The stage cannot have ended: it waits for this.
    std::fs::write(go, "on\n").unwrap();
    assert_eq!(cell.story().text(), "live\non\n");
}

#[test]
fn line_by_line_costs_a_bounded_number_of_frames() {
    let cell = Cell::start();
    let output = OutputLimits { head: 1 << 20, tail: 0, limit: 1 << 20 };
    let chatty = Stage { output, ..cell.shell("i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done") };
    let plan = Plan { stages: vec![chatty], ..cell.empty_plan() };
    let story = cell.run(&plan);
    let ended = &story.ended()[0];
    let took_ms = (ended.at_us - ended.started_us) / 1000;
    let frames = story.outputs().len() as u64;
    // One for each rest, one for each 16 KiB that did not wait, and both ends.
    let most = took_ms / 10 + ended.output_bytes / (16 << 10) + 3;
    assert!(frames <= most, "{frames} frames in {took_ms} ms, {most} are allowed");
}

#[test]
fn what_a_stage_leaves_behind_is_gone_before_it_is_reported() {
    let cell = Cell::start();
    // Another session, another group, no parent that waits: only a subreaper finds it.
    let line = "setsid sh -c 'echo $$ > pid; trap \"\" TERM; while :; do sleep 1; done' > /dev/null 2>&1 &
        while [ ! -s pid ]; do :; done";
    let plan = Plan { stages: vec![cell.shell(line), cell.shell("kill -0 $(cat pid)")], ..cell.empty_plan() };
    let pid = cell.path().join("pid");
    let folder = cell.path().to_owned();
    let mut cell = cell;
    cell.send_plan(&plan);
    cell.wait(Kind::StageEnded);
    let pid = std::fs::read_to_string(pid).unwrap();
    assert!(!is_alive(&pid), "{pid} of {} lives", folder.display());
    let story = cell.story();
    assert_eq!(story.exits(), [StageExit::Exited { code: 0 }, StageExit::Exited { code: 1 }]);
}

#[test]
fn a_background_process_that_holds_the_pipes_does_not_hold_the_stage() {
    let story = run_line("sleep 60 & echo done");
    assert_eq!(story.exits(), [StageExit::Exited { code: 0 }]);
    assert_eq!(story.text(), "done\n");
}

#[test]
fn finish_stops_a_stage_in_the_middle() {
    let mut cell = Cell::start();
    let stages = vec![cell.shell("echo up; sleep 60"), cell.shell("echo never")];
    let plan = Plan { stages, ..cell.empty_plan() };
    cell.send_plan(&plan);
    cell.wait_for_output("up");
    cell.send(Kind::Finish, &[]);
    let story = cell.story();
    assert_eq!(story.exits(), [StageExit::Stopped]);
    assert_eq!(story.end.status, EndStatus::Done);
}

#[test]
fn the_end_of_stdin_is_not_the_end_of_the_plan() {
    let mut cell = Cell::start();
    let plan = Plan { stages: vec![cell.shell("echo up; sleep 0.4; echo down")], ..cell.empty_plan() };
    cell.send_plan(&plan);
    cell.close_stdin();
    let story = cell.story();
    assert_eq!(story.exits(), [StageExit::Exited { code: 0 }]);
    assert_eq!(story.text(), "up\ndown\n");
}

/// FAILURES, code in the cell: leaked descriptors, environment, signal masks.
#[test]
fn a_stage_inherits_nothing_of_the_warden() {
    let story = run_line(
        "ls /proc/self/fd | tr '\\n' ' '; env | cut -d= -f1 | grep -v -e PWD -e _ | tr '\\n' ' '
         grep SigBlk /proc/self/status | cut -f2
         grep SigIgn /proc/self/status | cut -f2
         cat /proc/self/oom_score_adj; ulimit -c; readlink /proc/self/fd/0",
    );
    let mut lines: Vec<_> = story.text().lines().map(str::to_owned).collect();
    // Rust ignores SIGPIPE in the warden; what else is ignored is how the tests were started.
    const SIGPIPE: u64 = 0x1000;
    let ignored = u64::from_str_radix(&lines.remove(1), 16).unwrap();
    assert_eq!(ignored & SIGPIPE, 0, "{ignored:x}");
    assert_eq!(lines, ["0 1 2 3 PATH 0000000000000000", "1000", "0", "/dev/null"]);
}
