//! The proxy of a stage. The test is the client inside the cell, and the worker outside.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use assize_protocol::egress::{FRAME_COST, FromCell, How, MAX_OPEN, ToCell, WINDOW_DOWN, WINDOW_UP, resync};
use assize_protocol::event::StageExit;
use assize_protocol::frame::Kind;
use assize_protocol::plan::{Egress, OutputLimits, Plan, Stage};

use crate::cell::Cell;

const CONNECT: &str = "CONNECT packages.example:443 HTTP/1.1\r\nHost: packages.example\r\n\r\n";

/// Free now; nobody else takes it from the test but by bad luck.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A cell in whose only stage a proxy listens; the stage ends when the file `over` is there.
fn open(journal_bytes: u64) -> (Cell, u16) {
    let mut cell = Cell::start();
    let port = free_port();
    let stage = Stage {
        egress: Some(Egress { port, journal_bytes }),
        timeout_ms: 60_000,
        ..cell.shell("echo up; while [ ! -e over ]; do sleep 0.02; done")
    };
    let plan = Plan { stages: vec![stage], global_timeout_ms: 60_000, ..cell.empty_plan() };
    cell.send_plan(&plan);
    cell.wait_for_output("up");
    (cell, port)
}

fn end(cell: &Cell) {
    std::fs::write(cell.path().join("over"), "").unwrap();
}

fn client(port: u16) -> TcpStream {
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    client
}

fn ask(port: u16, head: &str) -> TcpStream {
    let mut client = client(port);
    client.write_all(head.as_bytes()).unwrap();
    client
}

fn next_message(cell: &mut Cell) -> FromCell {
    FromCell::decode(&cell.wait(Kind::FromTunnel).payload).unwrap()
}

fn send(cell: &mut Cell, message: ToCell) {
    cell.send_raw(&message.frame());
}

/// The next request: its id, host and port.
fn asked(cell: &mut Cell) -> (u32, String, u16) {
    loop {
        if let FromCell::Open { id, stage, port, host, at_us } = next_message(cell) {
            assert!(stage == 0 && at_us > 0);
            return (id, host, port);
        }
    }
}

fn read_exactly(client: &mut TcpStream, wanted: &str) {
    let mut bytes = vec![0; wanted.len()];
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), wanted);
}

fn read_all(client: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _or_cut = client.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn connected(cell: &mut Cell, port: u16) -> (TcpStream, u32) {
    let mut client = ask(port, CONNECT);
    let (id, ..) = asked(cell);
    send(cell, ToCell::Opened { id });
    read_exactly(&mut client, "HTTP/1.1 200 Connection established\r\n\r\n");
    (client, id)
}

#[test]
fn bytes_go_both_ways_and_both_ends_end() {
    let (mut cell, port) = open(1 << 20);
    let mut client = ask(port, CONNECT);
    let (id, host, wanted) = asked(&mut cell);
    assert_eq!((host.as_str(), wanted), ("packages.example", 443));
    send(&mut cell, ToCell::Opened { id });
    read_exactly(&mut client, "HTTP/1.1 200 Connection established\r\n\r\n");
    client.write_all(b"ping\n\n\n").unwrap();
    assert_eq!(next_message(&mut cell), FromCell::Data { id, bytes: b"ping\n\n\n".to_vec() });
    send(&mut cell, ToCell::Data { id, bytes: b"pong".to_vec() });
    read_exactly(&mut client, "pong");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(next_message(&mut cell), FromCell::End { id, how: How::Eof });
    send(&mut cell, ToCell::Data { id, bytes: b"last".to_vec() });
    send(&mut cell, ToCell::End { id, how: How::Eof });
    assert_eq!(read_all(&mut client), "last");
    end(&cell);
    assert_eq!(cell.story().exits(), [StageExit::Exited { code: 0 }]);
}

#[test]
fn plain_http_goes_by_whole_address() {
    let (mut cell, port) = open(1 << 20);
    let mut client = ask(port, "GET http://packages.example:4873/a HTTP/1.1\r\nHost: packages.example:4873\r\n\r\n");
    let (id, host, wanted) = asked(&mut cell);
    assert_eq!((host.as_str(), wanted), ("packages.example", 4873));
    send(&mut cell, ToCell::Opened { id });
    let FromCell::Data { bytes, .. } = next_message(&mut cell) else { panic!("no request") };
    let wanted = "GET /a HTTP/1.1\r\nHost: packages.example:4873\r\nConnection: close\r\n\r\n";
    assert_eq!(String::from_utf8(bytes).unwrap(), wanted);
    send(&mut cell, ToCell::Data { id, bytes: b"HTTP/1.1 200 OK\r\n\r\nhello".to_vec() });
    send(&mut cell, ToCell::End { id, how: How::Eof });
    assert_eq!(read_all(&mut client), "HTTP/1.1 200 OK\r\n\r\nhello");
    end(&cell);
    cell.story();
}

#[test]
fn a_refusal_tells_the_client_why() {
    let (mut cell, port) = open(1 << 20);
    let mut client = ask(port, CONNECT);
    let (id, ..) = asked(&mut cell);
    send(&mut cell, ToCell::Refused { id, status: 403, reason: "not on the list".to_owned() });
    let answer = read_all(&mut client);
    assert!(
        answer.starts_with("HTTP/1.1 403 Forbidden\r\n") && answer.ends_with("\r\n\r\nnot on the list\n"),
        "{answer}"
    );
    let answer = read_all(&mut ask(port, "GET / HTTP/1.1\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    end(&cell);
    let frames = cell.story().frames;
    assert_eq!(frames.iter().filter(|frame| frame.kind == Kind::FromTunnel).count(), 1, "a bad request asks nobody");
}

#[test]
fn the_tunnel_closes_with_its_stage() {
    let mut cell = Cell::start();
    let port = free_port();
    let first = Stage {
        egress: Some(Egress { port, journal_bytes: 1 << 20 }),
        ..cell.shell("echo up; while [ ! -e over ]; do sleep 0.02; done")
    };
    let second = cell.shell("echo second; while [ ! -e past ]; do sleep 0.02; done");
    let plan = Plan { stages: vec![first, second], ..cell.empty_plan() };
    cell.send_plan(&plan);
    cell.wait_for_output("up");
    let (mut open, id) = connected(&mut cell, port);
    end(&cell);
    cell.wait_for_output("second");
    let mut bytes = [0; 1];
    assert!(open.read(&mut bytes).is_err(), "it was reset");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens");
    // What was under way comes too late, and is no fault.
    send(&mut cell, ToCell::Data { id, bytes: b"late".to_vec() });
    std::fs::write(cell.path().join("past"), "").unwrap();
    let exit = StageExit::Exited { code: 0 };
    assert_eq!(cell.story().exits(), [exit.clone(), exit]);
}

/// The report that a stage has ended is reliable. Here the report blocks, because there is more output than a pipe
/// holds: whatever the warden does only after the report is then visibly missing.
#[test]
fn the_tunnel_is_gone_before_the_end_of_its_stage_is_reported() {
    let mut cell = Cell::start();
    let port = free_port();
    let first = Stage {
        egress: Some(Egress { port, journal_bytes: 1 << 20 }),
        output: OutputLimits { head: 3, tail: 1 << 20, limit: 1 << 30 },
        ..cell.shell("echo up; while [ ! -e over ]; do sleep 0.02; done; head -c 1000000 /dev/zero")
    };
    let plan = Plan { stages: vec![first, cell.shell("echo second")], ..cell.empty_plan() };
    cell.send_plan(&plan);
    cell.wait_for_output("up");
    let mut open = client(port);
    let gate = cell.gate();
    let held = gate.lock().unwrap();
    end(&cell);
    let cut = open.read(&mut [0; 1]).unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::ConnectionReset, "{cut}");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens");
    drop(held);
    let exit = StageExit::Exited { code: 0 };
    assert_eq!(cell.story().exits(), [exit.clone(), exit]);
}

#[test]
fn a_taken_port_fails_the_stage_and_says_so() {
    let cell = Cell::start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let stage = Stage { egress: Some(Egress { port, journal_bytes: 1 }), ..cell.shell("echo never") };
    let plan = Plan { stages: vec![stage], ..cell.empty_plan() };
    let story = cell.run(&plan);
    let [StageExit::NotStarted { error }] = &story.exits()[..] else { panic!("{:?}", story.exits()) };
    assert!(error.contains(&format!("cannot listen on port {port}, which must be free")), "{error}");
}

#[test]
fn a_slow_client_holds_a_window_and_no_more() {
    let (mut cell, port) = open(1 << 20);
    let (mut client, id) = connected(&mut cell, port);
    let piece = vec![b'x'; 16 * 1024];
    let mut sent: u32 = 0;
    while sent < WINDOW_DOWN {
        send(&mut cell, ToCell::Data { id, bytes: piece.clone() });
        sent += 16 * 1024;
    }
    // It reads, and credit comes back for what it has read.
    let mut credit = 0;
    let mut bytes = vec![0; WINDOW_DOWN as usize];
    client.read_exact(&mut bytes).unwrap();
    while credit < WINDOW_DOWN {
        let FromCell::Credit { bytes, .. } = next_message(&mut cell) else { panic!("no credit") };
        credit += bytes;
    }
    assert_eq!(credit, WINDOW_DOWN);
    end(&cell);
    cell.story();
}

#[test]
fn a_worker_that_ignores_the_window_is_cut_off() {
    let (mut cell, port) = open(1 << 20);
    let (client, id) = connected(&mut cell, port);
    // The kernel's own buffers take some; what is beyond them and the window is refused.
    for _ in 0..4096 {
        send(&mut cell, ToCell::Data { id, bytes: vec![b'x'; 16 * 1024] });
    }
    loop {
        match next_message(&mut cell) {
            FromCell::End { how: How::Reset, .. } => break,
            FromCell::Credit { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    drop(client);
    end(&cell);
    cell.story();
}

#[test]
fn what_goes_up_waits_for_credit() {
    let (mut cell, port) = open(1 << 20);
    let (client, id) = connected(&mut cell, port);
    let mut writer = client.try_clone().unwrap();
    let total = 3 * WINDOW_UP as usize;
    let writing = std::thread::spawn(move || {
        let _cut_in_the_end = writer.write_all(&vec![b'y'; total]);
    });
    let mut seen = 0;
    while seen < WINDOW_UP {
        let FromCell::Data { bytes, .. } = next_message(&mut cell) else { panic!("no data") };
        seen += u32::try_from(bytes.len()).unwrap();
    }
    assert_eq!(seen, WINDOW_UP, "not a byte beyond");
    send(&mut cell, ToCell::Credit { id, bytes: 100 });
    let FromCell::Data { bytes, .. } = next_message(&mut cell) else { panic!("no data") };
    assert_eq!(bytes.len(), 100);
    end(&cell);
    cell.story();
    writing.join().unwrap();
}

#[test]
fn the_journal_is_never_filled_from_inside() {
    let limit: u64 = 40_000;
    let (mut cell, port) = open(limit);
    let (mut client, id) = connected(&mut cell, port);
    // One byte at a time costs most, and leaves less than a question costs: the next goes when this was seen.
    loop {
        client.write_all(b"\n").unwrap();
        match next_message(&mut cell) {
            FromCell::Data { bytes, .. } => {
                send(&mut cell, ToCell::Credit { id, bytes: u32::try_from(bytes.len()).unwrap() })
            }
            FromCell::End { how: How::Reset, .. } => break,
            other => panic!("{other:?}"),
        }
    }
    read_all(&mut client);
    let answer = read_all(&mut ask(port, CONNECT));
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    end(&cell);
    let frames = cell.story().frames;
    let mut cost = 0;
    for frame in frames.iter().filter(|frame| frame.kind == Kind::FromTunnel) {
        cost += frame.payload.len() as u64 + FRAME_COST - 10;
    }
    assert!(cost <= limit, "{cost}");
}

#[test]
fn a_flood_of_connections_costs_no_more_than_a_few() {
    let (mut cell, port) = open(1 << 20);
    let flood: Vec<TcpStream> = (0..MAX_OPEN + 40).map(|_| ask(port, CONNECT)).collect();
    for _ in 0..MAX_OPEN {
        asked(&mut cell);
    }
    // The next is asked for only when there is room.
    send(&mut cell, ToCell::Refused { id: 0, status: 403, reason: String::new() });
    drop(flood);
    let (id, ..) = asked(&mut cell);
    assert_eq!(id as usize, MAX_OPEN);
    end(&cell);
    cell.story();
}

/// FAILURES 3, from inside: a worker died in the middle of a frame, its successor goes on.
#[test]
fn a_worker_that_comes_back_ends_what_its_predecessor_began() {
    let (mut cell, port) = open(1 << 20);
    let (mut client, id) = connected(&mut cell, port);
    let mut waiting = ask(port, CONNECT);
    asked(&mut cell);
    let cut = ToCell::Data { id, bytes: vec![b'x'; 1000] }.frame();
    cell.send_raw(&cut[..500]);
    cell.send_raw(&resync());
    assert_eq!(read_all(&mut client), "", "not half a frame");
    let answer = read_all(&mut waiting);
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    let (mut again, id) = connected(&mut cell, port);
    send(&mut cell, ToCell::Data { id, bytes: b"again".to_vec() });
    read_exactly(&mut again, "again");
    end(&cell);
    assert_eq!(cell.story().exits(), [StageExit::Exited { code: 0 }]);
}
