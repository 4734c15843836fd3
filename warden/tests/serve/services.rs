use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use assize_protocol::event::StageExit;
use assize_protocol::frame::Kind;
use assize_protocol::plan::{Plan, Stage};

use crate::cell::Cell;

/// The other end of a probe. It lives in the test, so no stage needs a server program.
pub fn listen(answer: impl Fn(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap());
        }
    });
    port
}

/// A port that refuses.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_service_runs_behind_the_stages_that_follow_and_is_stopped_at_the_end() {
    let cell = Cell::start();
    let port = listen(drop);
    let service = cell.service(
        "exec 2> /dev/null; trap 'echo bye; exit 0' TERM; echo $$ > pid; while :; do sleep 0.01; done",
        port,
        None,
    );
    let tests = cell.shell("while [ ! -s pid ]; do :; done; kill -0 $(cat pid) && echo alive");
    let plan = Plan { stages: vec![service, tests], grace_ms: 5_000, ..cell.empty_plan() };
    let story = cell.run(&plan);
    let kinds: Vec<Kind> = story.frames.iter().map(|frame| frame.kind).filter(|kind| *kind != Kind::Output).collect();
    assert_eq!(
        kinds,
        [
            Kind::Hello,
            Kind::StageStarted,
            Kind::StageReady,
            Kind::StageStarted,
            Kind::StageEnded,
            Kind::StageEnded,
            Kind::End
        ]
    );
    let ended = story.ended();
    assert_eq!((ended[0].stage, &ended[0].exit), (1, &StageExit::Exited { code: 0 }));
    assert_eq!((ended[1].stage, &ended[1].exit, ended[1].ready), (0, &StageExit::Stopped, true));
    assert_eq!(story.text(), "alive\nbye\n");
}

#[test]
fn a_last_stage_that_is_a_service_waits_for_finish() {
    let mut cell = Cell::start();
    let port = listen(|mut stream| {
        let mut request = [0; 512];
        let length = stream.read(&mut request).unwrap();
        assert!(request[..length].starts_with(b"GET /health HTTP/1.1\r\n"));
        stream.write_all(b"HTTP/1.1 503 Not yet\r\n\r\n").unwrap();
    });
    let plan = Plan { stages: vec![cell.service("sleep 60", port, Some("/health"))], ..cell.empty_plan() };
    cell.send_plan(&plan);
    cell.wait(Kind::StageReady);
    cell.send(Kind::Finish, &[]);
    let story = cell.story();
    assert_eq!(story.exits(), [StageExit::Stopped]);
    assert!(story.ended()[0].ready);
}

#[test]
fn a_service_that_dies_before_it_answers_was_never_ready() {
    let cell = Cell::start();
    let stages = vec![cell.service("echo crashed >&2; exit 1", closed_port(), None), cell.shell("echo never")];
    let plan = Plan { stages, ..cell.empty_plan() };
    let story = cell.run(&plan);
    assert_eq!(story.exits(), [StageExit::Exited { code: 1 }]);
    assert!(!story.ended()[0].ready);
    assert_eq!(story.text(), "crashed\n");
}

#[test]
fn a_service_that_ends_well_has_failed_all_the_same() {
    let cell = Cell::start();
    let stages = vec![cell.service("exit 0", closed_port(), None), cell.shell("echo never")];
    let plan = Plan { stages, ..cell.empty_plan() };
    let story = cell.run(&plan);
    assert_eq!(story.exits(), [StageExit::Exited { code: 0 }]);
    assert!(!story.ended()[0].ready);
}

#[test]
fn a_service_that_dies_ends_the_stage_in_front_of_it() {
    let cell = Cell::start();
    let service = cell.service("while [ ! -e die ]; do sleep 0.01; done; exit 7", listen(drop), None);
    let plan = Plan { stages: vec![service, cell.shell("touch die; sleep 60")], ..cell.empty_plan() };
    let ended = cell.run(&plan).ended();
    assert_eq!((ended[0].stage, &ended[0].exit, ended[0].ready), (0, &StageExit::Exited { code: 7 }, true));
    assert_eq!((ended[1].stage, &ended[1].exit), (1, &StageExit::Stopped));
}

#[test]
fn a_service_that_never_answers_times_out() {
    let cell = Cell::start();
    let service = Stage { timeout_ms: 200, ..cell.service("sleep 60", closed_port(), None) };
    let plan = Plan { stages: vec![service], ..cell.empty_plan() };
    let story = cell.run(&plan);
    assert_eq!(story.exits(), [StageExit::TimedOut]);
    assert!(!story.ended()[0].ready);
}

#[test]
fn a_hostile_service_neither_stalls_the_loop_nor_counts_as_ready() {
    // Accepts and says nothing, or says the wrong thing without end.
    let mute = listen(std::mem::forget);
    let endless = listen(|mut stream| while stream.write_all(&[b'x'; 4096]).is_ok() {});
    for port in [mute, endless] {
        let mut cell = Cell::start();
        let service = Stage {
            timeout_ms: 1200,
            ..cell.service("i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.05; done", port, Some("/"))
        };
        let plan = Plan { stages: vec![service], ..cell.empty_plan() };
        cell.send_plan(&plan);
        cell.wait_for_output("tick 10");
        let story = cell.story();
        assert_eq!(story.exits(), [StageExit::TimedOut]);
        assert!(!story.ended()[0].ready);
    }
}

#[test]
fn an_answer_in_pieces_is_an_answer() {
    let cell = Cell::start();
    let port = listen(|mut stream| {
        let _request = stream.read(&mut [0; 512]).unwrap();
        stream.set_nodelay(true).unwrap();
        for byte in b"HTTP/1.0 200" {
            let _closed_by_then = stream.write_all(&[*byte]);
        }
    });
    let stages = vec![cell.service("sleep 60", port, Some("/")), cell.shell("echo ran")];
    let plan = Plan { stages, ..cell.empty_plan() };
    assert_eq!(cell.run(&plan).text(), "ran\n");
}
