//! Two wardens, one of which runs programs for the other's stages.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use assize_protocol::event::{EndStatus, StageExit, StageReady};
use assize_protocol::exec::{ExecClient, ExecService, Fresh, Secret};
use assize_protocol::frame::Kind;
use assize_protocol::plan::{Plan, Stage};
use serde_json::Value;

use crate::cell::{Cell, Story, read};

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A subject that has built and serves calls.
pub struct Subject {
    pub cell: Cell,
    pub port: u16,
    pub secret: Secret,
}

impl Subject {
    fn build(line: &str) -> Self {
        Self::start(Cell::start(), line, false)
    }

    pub fn start(mut cell: Cell, line: &str, is_fresh: bool) -> Self {
        let port = free_port();
        let plan = serving(&cell, line, port, is_fresh);
        cell.send_plan(&plan);
        let ready: StageReady = read(&cell.wait(Kind::StageReady));
        Self { cell, port, secret: ready.secret.unwrap() }
    }

    /// A driver whose one stage is this line.
    fn drive(&self, line: &str) -> Story {
        self.driver(line, self.secret.clone())
    }

    fn driver(&self, line: &str, secret: Secret) -> Story {
        let cell = Cell::start();
        let plan = calling(&cell, line, self.port, secret);
        cell.run(&plan)
    }

    fn finish(mut self) -> Story {
        self.cell.send(Kind::Finish, &[]);
        self.cell.story()
    }
}

fn serving(cell: &Cell, line: &str, port: u16, is_fresh: bool) -> Plan {
    let fresh = is_fresh.then(|| Fresh { max_bytes: 1 << 20, max_entries: 100, emptied: vec![] });
    let calls = Stage { command: vec![], exec: Some(ExecService { port, fresh }), ..cell.shell("") };
    Plan { stages: vec![cell.shell(line), calls], ..cell.empty_plan() }
}

pub fn calling(cell: &Cell, line: &str, port: u16, secret: Secret) -> Plan {
    let folder = cell.path().join("exec").display().to_string();
    let mut stage = cell.shell(line);
    stage.env.insert("PATH".to_owned(), format!("{folder}:/usr/bin:/bin"));
    stage.env.insert("ASSIZE_EXEC_SOCKET".to_owned(), format!("{folder}/socket"));
    Plan { stages: vec![stage], exec: Some(ExecClient { port, secret, folder }), ..cell.empty_plan() }
}

const OK: StageExit = StageExit::Exited { code: 0 };

#[test]
fn a_program_of_the_subject_runs_as_if_it_ran_here() {
    let subject = Subject::build("echo built > main.txt");
    let story = subject.drive(
        "exec 2>&1; printf 'one\\ntwo\\n' > in
        assize-exec --stdin in -- sh -c 'cat main.txt -; echo wrong >&2; exit 7' 2>err; echo code $?; cat err
        echo three | assize-exec --stdin - -- cat
        assize-exec -- sh -c 'cat; kill -11 $$'; echo code $?
        assize-exec -- ./no-such; echo code $?
        assize-exec -- pwd",
    );
    assert_eq!(story.exits(), [OK], "{}", story.text());
    let folder = subject.cell.path().display().to_string();
    let text = story.text();
    assert!(text.starts_with("built\none\ntwo\ncode 7\nwrong\nthree\ncode 139\n"), "{text}");
    assert!(text.contains("no-such cannot be executed") && text.contains("code 127\n"), "{text}");
    assert!(text.ends_with(&format!("{folder}\n")), "{text}");
    let story = subject.finish();
    assert_eq!(story.exits(), [OK, StageExit::Stopped]);
    assert_eq!(story.end.status, EndStatus::Done);
}

#[test]
fn all_facts_of_a_call_are_reported() {
    let subject = Subject::build("true");
    let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; head -c 30000000 /dev/zero | tail -c 30000000 | wc -c; sleep 0.05";
    let story = subject.drive(&format!("assize-exec --json -- sh -c '{busy}'"));
    let report: Value = serde_json::from_str(&story.text()).unwrap();
    assert_eq!((report["how"].as_str(), report["code"].as_i64()), (Some("exited"), Some(0)), "{report}");
    assert_eq!(report["stdout"], "30000000\n");
    let (wall, cpu) = (report["wall_us"].as_u64().unwrap(), report["cpu_us"].as_u64().unwrap());
    assert!(wall > 50_000 && cpu > 10_000, "{report}");
    assert!(report["peak_kib"].as_u64().unwrap() > 25_000, "{report}");
}

#[test]
fn time_output_memory_and_arguments_are_bounded() {
    let subject = Subject::build("true");
    let story = subject.drive(
        "exec 2>&1; assize-exec --timeout 0.2 -- sleep 60; echo code $?
        assize-exec --timeout 0.2 -- sh -c 'trap \"\" TERM; while :; do :; done'; echo code $?
        assize-exec --output 1000 -- sh -c 'yes | head -c 100000' | wc -c
        assize-exec --output 1000 --json -- yes | grep -c '\"how\":\"output_limit\"'
        assize-exec --output 8M -- head -c 8388608 /dev/zero | wc -c
        assize-exec --memory 16M -- sh -c 'head -c 100000000 /dev/zero | tail -c 100000000 | wc -c' 2>/dev/null
        head -c 16777217 /dev/zero | assize-exec --stdin - -- wc -c; echo code $?
        head -c 16777216 /dev/zero | assize-exec --stdin - -- wc -c
        assize-exec -- echo $(seq 20000); echo code $?
        assize-exec --; echo code $?
        assize-exec -- true; echo code $?",
    );
    let text = story.text();
    let codes: Vec<_> = text.lines().filter(|line| line.len() < 12).collect();
    assert_eq!(
        codes,
        ["code 124", "code 124", "1000", "1", "8388608", "0", "code 125", "16777216", "code 125", "code 125", "code 0"],
        "{text}"
    );
    for words in ["the limit is 16777216; shorten it", "as JSON, the limit is 65536", "names no program"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_call_meets_no_process_of_the_one_before() {
    let subject = Subject::start(Cell::start(), "true", false);
    let leave = "for i in 1 2 3; do setsid sh -c \"trap : TERM HUP; echo > up\\$0; while :; do sleep 0.01; done\" $i & done
        while [ ! -e up1 ] || [ ! -e up2 ] || [ ! -e up3 ]; do :; done; ls /proc | grep -c . >/dev/null; jobs -p > pids";
    let story = subject.drive(&format!(
        "assize-exec -- sh -c '{leave}'; assize-exec -- sh -c 'for p in $(cat pids); do kill -0 $p && echo alive; done; echo done' 2>/dev/null"
    ));
    assert_eq!(story.text(), "done\n");
}

/// The files of a call are there for the next one, unless each is to have its own.
#[test]
fn with_fresh_calls_no_file_passes_from_one_to_the_next() {
    for (is_fresh, seen) in [(false, "forged\n"), (true, "built\n")] {
        let subject = Subject::start(Cell::start(), "mkdir out; echo built > out/a", is_fresh);
        let story = subject.drive(
            "assize-exec -- sh -c 'echo forged > out/a; echo > new; rm -rf out/b; mkdir -p x/y'; assize-exec -- cat out/a",
        );
        assert_eq!(story.text(), seen);
        let story = subject.drive("assize-exec -- ls");
        assert!(story.fault().contains("cannot be reached on port"), "one driver is served: {}", story.fault());
    }
}

#[test]
fn what_fresh_calls_cannot_copy_is_the_projects_fault_and_named() {
    let mut cell = Cell::start();
    let plan = serving(&cell, "head -c 2M /dev/zero > large", free_port(), true);
    cell.send_plan(&plan);
    let story = cell.story();
    match &story.exits()[1] {
        StageExit::NotStarted { error } => assert!(error.contains("more than 1048576 bytes"), "{error}"),
        exit => panic!("{exit:?}"),
    }
}

#[test]
fn many_calls_at_once_are_served_one_by_one() {
    let subject = Subject::build("echo 0 > n");
    let story = subject.drive(
        "for i in $(seq 40); do assize-exec -- sh -c 'read n < n; sleep 0.002; echo $((n+1)) > n' & done; wait; assize-exec -- cat n",
    );
    assert_eq!(story.text(), "40\n");
}

#[test]
fn a_call_that_nobody_waits_for_is_killed() {
    let subject = Subject::build("true");
    let story = subject.drive(
        "assize-exec --timeout 60 -- sh -c 'echo > begun; sleep 60' & call=$!
        kill -9 $call; assize-exec -- echo next; assize-exec --timeout 60 -- sh -c 'echo up; sleep 60' > up & call=$!
        while [ ! -s up ]; do :; done; kill -9 $call; assize-exec -- echo last",
    );
    assert_eq!(story.text(), "next\nlast\n");
    assert_eq!(story.exits(), [OK], "it ends before the stage's time limit");
}

#[test]
fn who_does_not_know_the_secret_reaches_nothing() {
    let subject = Subject::build("true");
    let other = Secret::new([0; 32]);
    let story = subject.driver("assize-exec -- echo never", other);
    assert!(story.fault().contains("does not know the secret of this run"), "{}", story.fault());
    assert_eq!(story.text(), "");
    // Guests that send nothing, too much, or hang up do not keep the driver out.
    let mut guests: Vec<TcpStream> = (0..100)
        .filter_map(|_| TcpStream::connect_timeout(&([127, 0, 0, 1], subject.port).into(), Duration::from_secs(1)).ok())
        .collect();
    for guest in guests.iter_mut().step_by(2) {
        let _refused_or_not = guest.write_all(&[0; 4096]);
    }
    drop(guests);
    assert_eq!(subject.drive("assize-exec -- echo served").text(), "served\n");
    assert!(TcpStream::connect(("127.0.0.1", subject.port)).is_err(), "nobody listens any more");
}

/// The port is the warden's before a project could take it, and what waits there is dropped.
#[test]
fn a_stage_cannot_take_the_port_nor_answer_on_it() {
    let mut cell = Cell::start();
    let port = free_port();
    let squat = format!(
        "python3 -c \"
import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
for address in ('127.0.0.1', '0.0.0.0'):
    try:
        s.bind((address, {port})); print('bound')
    except OSError: print('taken')
waiting = [socket.create_connection(('127.0.0.1', {port})) for _ in range(50)]
for w in waiting: w.send(b'x' * 1000)
\""
    );
    let plan = serving(&cell, &squat, port, false);
    cell.send_plan(&plan);
    cell.wait_for_output("taken\ntaken\n");
    let ready: StageReady = read(&cell.wait(Kind::StageReady));
    let subject = Subject { cell, port, secret: ready.secret.unwrap() };
    assert_eq!(subject.drive("assize-exec -- echo served").text(), "served\n");
}

/// No environment, argument or file shows the secret, and the connection shows only what is new each time.
#[test]
fn the_secret_is_nowhere_that_a_program_can_look() {
    let subject = Subject::build(
        "env; cat /proc/*/cmdline /proc/*/environ 2>/dev/null | tr '\\0' '\\n'; cat /proc/$PPID/mem; true",
    );
    let hex = String::from(subject.secret.clone());
    let story = subject.drive(
        "env; cat /proc/*/cmdline /proc/*/environ 2>/dev/null | tr '\\0' '\\n'; assize-exec -- env; cat exec/* 2>/dev/null | head -c 1",
    );
    assert!(!story.text().contains(&hex));
    assert!(!subject.finish().text().contains(&hex));
    assert_ne!(String::from(Subject::build("true").secret), hex);
}

#[test]
fn a_plan_ends_in_the_middle_of_a_call() {
    let mut subject = Subject::build("true");
    let cell = Cell::start();
    let plan = calling(
        &cell,
        "exec 2>&1; assize-exec --timeout 60 -- sh -c 'echo up; sleep 60'; echo code $?",
        subject.port,
        subject.secret.clone(),
    );
    let mut driver = cell;
    driver.send_plan(&plan);
    driver.wait_for_output("up\n");
    subject.cell.send(Kind::Finish, &[]);
    let story = subject.cell.story();
    assert_eq!(story.exits(), [OK, StageExit::Stopped]);
    let story = driver.story();
    assert!(
        story.text().contains("the subject's cell is gone") && story.text().ends_with("code 125\n"),
        "{}",
        story.text()
    );
}

#[test]
fn at_the_end_of_the_plans_time_nothing_is_served_any_more() {
    let cell = Cell::start();
    let plan = Plan { global_timeout_ms: 300, ..serving(&cell, "true", free_port(), false) };
    let story = cell.run(&plan);
    assert_eq!(story.exits(), [OK, StageExit::GlobalTimedOut]);
}

/// What the warden costs for each call.
#[test]
fn five_hundred_calls_of_a_short_program_take_less_than_ten_seconds() {
    let subject = Subject::start(Cell::start(), "echo built > a", true);
    let story = subject.drive("for i in $(seq 500); do assize-exec -- true || exit 1; done");
    assert_eq!(story.exits(), [OK], "the time limit of the stage is 10 s");
    let ended = &story.ended()[0];
    println!("500 fresh calls took {} ms", (ended.at_us - ended.started_us) / 1000);
}

/// PID 1 of a namespace of its own ends what has escaped from the group too.
#[test]
fn a_warden_that_is_init_ends_every_process_of_a_call() {
    let mut cell = Cell::start_as_init();
    let port = free_port();
    let plan = serving(&cell, "true", port, false);
    cell.send_plan(&plan);
    let ready: StageReady = read(&cell.wait(Kind::StageReady));
    let subject = Subject { cell, port, secret: ready.secret.unwrap() };
    let story = subject.drive(
        "assize-exec -- sh -c 'for i in 1 2 3; do setsid sh -c \"trap : TERM; echo > up\\$0; (sleep 99 &); sleep 99\" $i & done
            while [ ! -e up1 ] || [ ! -e up2 ] || [ ! -e up3 ]; do :; done'
        assize-exec -- sh -c 'for p in /proc/[0-9]*; do read name < $p/comm && echo $name; done'",
    );
    assert_eq!(story.text(), "warden\nsh\n");
}
