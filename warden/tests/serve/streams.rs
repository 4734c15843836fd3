use std::fs::File;
use std::io::Write;

use assize_protocol::event::{EndStatus, StageExit};
use assize_protocol::frame::{Kind, MAX_PAYLOAD, encode};
use assize_protocol::plan::Plan;
use nix::sys::stat::Mode;

use crate::cell::{Cell, plan_bytes};

#[test]
fn a_plan_of_another_version_is_a_fault_even_with_unknown_fields() {
    let mut cell = Cell::start();
    cell.send(Kind::Plan, br#"{"version": 99, "novelty": true}"#);
    cell.send(Kind::PlanEnd, &[]);
    let story = cell.story();
    assert_eq!(story.fault(), "the plan is of version 99, this warden speaks 7: install both from one build");
    assert_eq!(story.status.code(), Some(1));
}

#[test]
fn an_unusable_plan_is_a_fault() {
    for (word, edit) in [
        ("names no program", (|plan| plan.stages[0].command.clear()) as fn(&mut Plan)),
        ("65 stages, the limit is 64", |plan| plan.stages = vec![plan.stages[0].clone(); 65]),
        ("\"A=B\"", |plan| drop(plan.stages[0].env.insert("A=B".into(), String::new()))),
        ("cwd", |plan| plan.stages[0].cwd = "folder".into()),
    ] {
        let cell = Cell::start();
        let mut plan = Plan { stages: vec![cell.shell("true")], ..cell.empty_plan() };
        edit(&mut plan);
        let story = cell.run(&plan);
        assert!(story.fault().contains(word), "{}", story.fault());
        assert!(story.exits().is_empty());
    }
}

#[test]
fn a_plan_without_end_is_a_fault() {
    let mut cell = Cell::start();
    for _ in 0..5 {
        cell.send(Kind::Plan, &[b' '; MAX_PAYLOAD]);
    }
    assert!(cell.story().fault().contains("more than 262144 bytes"));
}

#[test]
fn bytes_that_are_no_frame_end_everything() {
    for (bytes, word) in [(&b"\x77hello"[..], "unknown frame kind 0x77"), (b"\x01\xff\xff\xff\xff", "4294967295 bytes")]
    {
        let mut cell = Cell::start();
        cell.send_raw(bytes);
        let story = cell.story();
        assert!(story.fault().contains(word), "{}", story.fault());
    }
}

#[test]
fn a_frame_that_does_not_belong_stops_the_stages() {
    let mut cell = Cell::start();
    let plan = Plan { stages: vec![cell.shell("trap '' TERM; echo up; while :; do :; done")], ..cell.empty_plan() };
    cell.send_plan(&plan);
    cell.wait_for_output("up");
    cell.send(Kind::PlanEnd, &[]);
    let story = cell.story();
    assert!(story.fault().contains("PlanEnd"), "{}", story.fault());
    assert_eq!(story.exits(), [StageExit::Stopped]);
}

#[test]
fn finish_instead_of_a_plan_ends_quietly() {
    let mut cell = Cell::start();
    cell.send(Kind::Finish, &[]);
    let story = cell.story();
    assert_eq!(story.end.status, EndStatus::Done);
    assert!(story.status.success());
}

#[test]
fn an_input_that_never_comes_ends_with_the_plans_time() {
    let cell = Cell::start();
    let plan = Plan { inputs: vec![cell.input()], global_timeout_ms: 100, ..cell.empty_plan() };
    let story = cell.run(&plan);
    assert!(story.fault().contains("input 0 did not arrive within the plan's 100 ms"), "{}", story.fault());
}

/// FAILURES 3, from inside: a worker died, its successor attaches to the same stdin.
#[test]
fn a_worker_that_comes_back_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("stdin");
    nix::unistd::mkfifo(&fifo, Mode::from_bits_truncate(0o600)).unwrap();
    let mut cell = Cell::start_on_fifo(&fifo);
    let plan = Plan { stages: vec![cell.shell("while :; do echo up; sleep 0.02; done")], ..cell.empty_plan() };

    let mut first = File::options().write(true).open(&fifo).unwrap();
    first.write_all(&plan_bytes(&plan)).unwrap();
    cell.wait_for_output("up");
    drop(first);
    // Each piece of output is a turn of the loop: by now it has met the end of file.
    for _ in 0..3 {
        cell.wait_for_output("up");
    }

    let mut finish = Vec::new();
    encode(Kind::Finish, &[], &mut finish);
    File::options().write(true).open(&fifo).unwrap().write_all(&finish).unwrap();
    assert_eq!(cell.story().exits(), [StageExit::Stopped]);
}

#[test]
fn finish_right_behind_the_plan_starts_nothing() {
    let mut cell = Cell::start();
    let plan = Plan { stages: vec![cell.shell("sleep 60")], ..cell.empty_plan() };
    let mut bytes = plan_bytes(&plan);
    encode(Kind::Finish, &[], &mut bytes);
    cell.send_raw(&bytes);
    let story = cell.story();
    assert!(story.exits().is_empty());
    assert_eq!(story.end.status, EndStatus::Done);
}
