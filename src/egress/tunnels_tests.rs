//! Tunnels against real sockets of this host; the test is the warden.

use std::sync::atomic::AtomicU8;

use assize_protocol::frame::Decoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::egress::{Resolved, Resolver};
use crate::test_clock::runtime_clock;
use assize_domain::egress::{ConnectionOutcome, EgressRecord};

const STAGE: u8 = 1;
const ALLOWANCE: Allowance = Allowance { connections: 1_000, bytes: 64 << 20 };

struct Cell {
    tunnels: Tunnels,
    frames: mpsc::Receiver<Vec<u8>>,
    port: u16,
    next: u32,
}

fn loopback() -> Resolved {
    Resolved { addresses: vec!["127.0.0.1".parse().unwrap()], valid_for: Duration::from_secs(60) }
}

/// What `service.example` leads to: a listener of this test.
async fn cell(allowance: Allowance) -> (Cell, TcpListener) {
    let resolver: Resolver = Arc::new(|_| Box::pin(async { Ok(loopback()) }));
    cell_resolving(allowance, resolver).await
}

async fn cell_resolving(allowance: Allowance, resolver: Resolver) -> (Cell, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let guard = Guard::new(&runtime_clock(), &format!("service.example:{port}"), resolver).unwrap();
    let mut rules = Rules::new(guard);
    rules.allow(STAGE, vec![Allow::new("service.example", port).unwrap()], None, allowance);
    let (sender, frames) = mpsc::channel(32);
    (Cell { tunnels: Tunnels::new(rules, sender, 1_000), frames, port, next: 0 }, listener)
}

impl Cell {
    fn open(&mut self, host: &str) -> u32 {
        let (id, port) = (self.next, self.port);
        self.next += 1;
        self.tunnels.hear(FromCell::Open { id, stage: STAGE, at_us: 1_000, port, host: host.to_owned() });
        id
    }

    async fn next_message(&mut self) -> ToCell {
        let bytes = self.frames.recv().await.unwrap();
        let mut decoder = Decoder::default();
        decoder.feed(&bytes);
        ToCell::decode(&decoder.next_frame().unwrap().unwrap().payload).unwrap()
    }

    async fn connected(&mut self, listener: &TcpListener) -> (u32, TcpStream) {
        let id = self.open("service.example");
        let (stream, _) = listener.accept().await.unwrap();
        assert_eq!(self.next_message().await, ToCell::Opened { id });
        (id, stream)
    }

    async fn recorded(&mut self) -> EgressRecord {
        self.tunnels.end_stage().await;
        self.tunnels.take_recorded().unwrap()
    }
}

#[tokio::test]
async fn bytes_go_both_ways_and_are_written_down() {
    let (mut cell, listener) = cell(ALLOWANCE).await;
    let (id, mut stream) = cell.connected(&listener).await;
    cell.tunnels.hear(FromCell::Data { id, bytes: b"ping".to_vec() });
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"ping");
    assert_eq!(cell.next_message().await, ToCell::Credit { id, bytes: 4 });
    stream.write_all(b"pong!").await.unwrap();
    assert_eq!(cell.next_message().await, ToCell::Data { id, bytes: b"pong!".to_vec() });
    cell.tunnels.hear(FromCell::End { id, how: How::Eof });
    assert_eq!(stream.read(&mut bytes).await.unwrap(), 0, "the end is passed on");
    drop(stream);
    assert_eq!(cell.next_message().await, ToCell::End { id, how: How::Eof });
    cell.tunnels.tasks.close();
    cell.tunnels.tasks.wait().await;
    let recorded = cell.recorded().await;
    let [only] = recorded.egress.as_slice() else { panic!("{recorded:?}") };
    assert_eq!((only.host.as_str(), only.port, only.up, only.down), ("service.example", cell.port, 4, 5));
    assert_eq!((only.outcome, only.address), (ConnectionOutcome::Closed, Some(([127, 0, 0, 1], cell.port).into())));
}

/// FAILURES 24, rebinding: whoever owns the name answers otherwise when asked again, and nobody checks that answer.
#[tokio::test]
async fn the_address_that_was_checked_is_the_one_that_is_dialled() {
    let asked = Arc::new(AtomicU8::new(0));
    let resolver: Resolver = Arc::new({
        let asked = Arc::clone(&asked);
        move |_| {
            let last = 1 + asked.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move { Ok(Resolved { addresses: vec![[127, 0, 0, last].into()], ..loopback() }) })
        }
    });
    let (mut cell, checked) = cell_resolving(ALLOWANCE, resolver).await;
    let elsewhere = TcpListener::bind(("127.0.0.2", cell.port)).await.unwrap();
    let id = cell.open("service.example");
    assert_eq!(cell.next_message().await, ToCell::Opened { id });
    tokio::select! {
        accepted = checked.accept() => drop(accepted.unwrap()),
        _ = elsewhere.accept() => panic!("the second answer was dialled"),
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1, "the name was resolved again");
    let address = cell.recorded().await.egress[0].address;
    assert_eq!(address, Some(([127, 0, 0, 1], cell.port).into()));
}

#[tokio::test]
async fn what_is_not_listed_gets_403_and_is_written_down() {
    let (mut cell, _listener) = cell(ALLOWANCE).await;
    let id = cell.open("other.example");
    let ToCell::Refused { id: refused, status: 403, reason } = cell.next_message().await else { panic!("not refused") };
    assert!(refused == id && reason.contains("not on the list"), "{reason}");
    let recorded = cell.recorded().await;
    assert_eq!((recorded.egress[0].outcome, recorded.egress[0].address), (ConnectionOutcome::Refused, None));
    assert_eq!(cell.tunnels.take_heard(STAGE).await.outage, None, "that is nobody's outage");
}

#[tokio::test]
async fn a_stage_without_egress_reaches_nothing() {
    let (mut cell, _listener) = cell(ALLOWANCE).await;
    let port = cell.port;
    let host = "service.example".to_owned();
    cell.tunnels.hear(FromCell::Open { id: 9, stage: STAGE + 1, at_us: 2_000, port, host });
    assert!(matches!(cell.next_message().await, ToCell::Refused { id: 9, status: 403, .. }));
}

#[tokio::test]
async fn a_replayed_journal_dials_nothing() {
    let (mut cell, listener) = cell(ALLOWANCE).await;
    let (port, host) = (cell.port, "service.example".to_owned());
    cell.tunnels.hear(FromCell::Open { id: 7, stage: STAGE, at_us: 999, port, host });
    cell.tunnels.hear(FromCell::Data { id: 7, bytes: b"old".to_vec() });
    cell.tunnels.hear(FromCell::End { id: 7, how: How::Reset });
    cell.next = 8;
    let (id, _stream) = cell.connected(&listener).await;
    assert_eq!(id, 8, "the first that was dialled is the first that was asked of us");
}

#[tokio::test]
async fn nobody_there_is_an_outage() {
    let (mut cell, listener) = cell(ALLOWANCE).await;
    drop(listener);
    cell.open("service.example");
    assert!(matches!(cell.next_message().await, ToCell::Refused { status: 502, .. }));
    let recorded = cell.recorded().await;
    assert_eq!(recorded.egress[0].outcome, ConnectionOutcome::Unreachable);
    assert!(cell.tunnels.take_heard(STAGE).await.outage.unwrap().contains("did not answer"));
}

#[tokio::test]
async fn the_end_of_the_stage_is_the_end_of_its_connections() {
    let (mut cell, listener) = cell(ALLOWANCE).await;
    let (id, mut stream) = cell.connected(&listener).await;
    let recorded = cell.recorded().await;
    assert_eq!(recorded.egress[0].outcome, ConnectionOutcome::StageEnded);
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "it is closed");
    cell.tunnels.hear(FromCell::Data { id, bytes: b"late".to_vec() });
    assert_eq!(cell.tunnels.take_recorded(), None);
}

#[tokio::test]
async fn a_cell_that_is_slow_is_sent_one_window_and_no_more() {
    let (mut cell, listener) = cell(ALLOWANCE).await;
    let (id, mut stream) = cell.connected(&listener).await;
    let writing = tokio::spawn(async move {
        let piece = vec![b'x'; 64 * 1024];
        while stream.write_all(&piece).await.is_ok() {}
    });
    let mut received = 0;
    while received < WINDOW_DOWN as usize {
        let ToCell::Data { bytes, .. } = cell.next_message().await else { panic!("no data") };
        received += bytes.len();
    }
    assert_eq!(received, WINDOW_DOWN as usize);
    cell.tunnels.hear(FromCell::Credit { id, bytes: 1000 });
    let ToCell::Data { bytes, .. } = cell.next_message().await else { panic!("no data") };
    assert!(bytes.len() <= 1000, "{}", bytes.len());
    // Credit for more than it was sent is no warden's.
    cell.tunnels.hear(FromCell::Credit { id, bytes: 2 * WINDOW_DOWN });
    cell.tunnels.tasks.close();
    cell.tunnels.tasks.wait().await;
    assert_eq!(cell.recorded().await.egress[0].outcome, ConnectionOutcome::Reset);
    writing.abort();
}

#[tokio::test]
async fn a_cell_that_ignores_the_window_is_cut_off() {
    let (mut cell, listener) = cell(ALLOWANCE).await;
    let (id, _stream) = cell.connected(&listener).await;
    // Nobody runs between these: no credit is given.
    for _ in 0..=WINDOW_UP / 1024 {
        cell.tunnels.hear(FromCell::Data { id, bytes: vec![0; 1024] });
    }
    cell.tunnels.tasks.close();
    cell.tunnels.tasks.wait().await;
    assert_eq!(cell.tunnels.take_recorded().unwrap().egress[0].outcome, ConnectionOutcome::Reset);
}

#[tokio::test]
async fn bytes_and_connections_have_quotas() {
    let (mut cell, listener) = cell(Allowance { connections: 2, bytes: 100 }).await;
    let (id, mut stream) = cell.connected(&listener).await;
    stream.write_all(&[0; 101]).await.unwrap();
    assert_eq!(cell.next_message().await, ToCell::End { id, how: How::Reset });
    cell.open("service.example");
    let ToCell::Refused { status: 429, reason, .. } = cell.next_message().await else { panic!("not refused") };
    assert_eq!(reason, "this stage has used up its 100 bytes");
    cell.open("service.example");
    let ToCell::Refused { status: 429, reason, .. } = cell.next_message().await else { panic!("not refused") };
    assert_eq!(reason, "this stage has used up its 2 connections");
    let outcomes: Vec<_> = cell.recorded().await.egress.iter().map(|connection| connection.outcome).collect();
    assert_eq!(outcomes, [ConnectionOutcome::Quota; 3]);
}

#[tokio::test]
async fn a_flood_of_ten_thousand_requests_is_answered_and_bounded() {
    let (mut cell, _listener) = cell(Allowance { connections: 3, bytes: 100 }).await;
    for _ in 0..10_000 {
        let id = cell.open("elsewhere.example");
        let ToCell::Refused { id: refused, .. } = cell.next_message().await else { panic!("not refused") };
        assert_eq!(refused, id);
        assert!(cell.tunnels.open.len() <= MAX_OPEN);
    }
    let recorded = cell.recorded().await;
    assert_eq!((recorded.egress.len(), recorded.unlisted), (200, 9_800));
}

#[tokio::test]
async fn a_connection_on_which_nothing_goes_is_ended() {
    let (mut cell, listener) = cell(ALLOWANCE).await;
    cell.tunnels.rules.end_slow_after(Duration::from_millis(20), 0);
    let (id, _stream) = cell.connected(&listener).await;
    assert_eq!(cell.next_message().await, ToCell::End { id, how: How::Reset });
    assert_eq!(cell.recorded().await.egress[0].outcome, ConnectionOutcome::Idle);
}

#[tokio::test]
async fn another_stream_to_the_cell_ends_what_was_open() {
    let (mut cell, listener) = cell(ALLOWANCE).await;
    let (_, mut stream) = cell.connected(&listener).await;
    let (sender, frames) = mpsc::channel(32);
    cell.tunnels.renew(sender, 1_000);
    cell.frames = frames;
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "it is closed");
    cell.connected(&listener).await;
}

/// The host in its one form, however it was asked for: an outage of `host.` is over when `host` is reached.
#[tokio::test]
async fn a_host_is_the_same_with_a_dot_and_in_capitals() {
    let (mut cell, listener) = cell(ALLOWANCE).await;
    let address = listener.local_addr().unwrap();
    drop(listener);
    for host in ["service.example.", "SERVICE.example"] {
        cell.open(host);
        assert!(matches!(cell.next_message().await, ToCell::Refused { status: 502, .. }));
    }
    let listener = TcpListener::bind(address).await.unwrap();
    let (_, stream) = cell.connected(&listener).await;
    drop(stream);
    let recorded = cell.recorded().await;
    assert!(recorded.egress.iter().all(|one| one.host == "service.example"), "{recorded:?}");
    assert_eq!(cell.tunnels.take_heard(STAGE).await.outage, None);
}

/// A registry with room for one, which the project takes.
#[tokio::test]
async fn a_host_that_the_project_filled_itself_is_no_outage() {
    let (mut cell, listener) = cell(ALLOWANCE).await;
    let address = listener.local_addr().unwrap();
    let (_, held) = cell.connected(&listener).await;
    drop(listener);
    cell.open("service.example.");
    assert!(matches!(cell.next_message().await, ToCell::Refused { status: 502, .. }));
    cell.tunnels.end_stage().await;
    // It has room again.
    drop(held);
    let _listener = TcpListener::bind(address).await.unwrap();
    assert_eq!(cell.tunnels.take_heard(STAGE).await.outage, None);
}

#[tokio::test]
async fn a_host_that_went_away_for_everybody_is_an_outage() {
    let (mut cell, listener) = cell(ALLOWANCE).await;
    let (_, stream) = cell.connected(&listener).await;
    drop((listener, stream));
    assert!(matches!(cell.next_message().await, ToCell::End { .. }));
    cell.open("service.example");
    assert!(matches!(cell.next_message().await, ToCell::Refused { status: 502, .. }));
    cell.tunnels.end_stage().await;
    assert!(cell.tunnels.take_heard(STAGE).await.outage.unwrap().contains("did not answer"));
    assert_eq!(cell.tunnels.take_heard(STAGE).await.outage, None, "the next stage begins with nothing");
}

#[tokio::test]
async fn a_name_that_the_project_chose_is_no_outage_where_nobody_answers() {
    let (mut cell, listener) = cell(ALLOWANCE).await;
    drop(listener);
    let allowed = vec![Allow::new("*.service.example", cell.port).unwrap()];
    cell.tunnels.rules.guard =
        Guard::new(&runtime_clock(), "127.0.0.0/8", Arc::new(|_| Box::pin(async { Ok(loopback()) }))).unwrap();
    cell.tunnels.rules.stages.clear();
    cell.tunnels.rules.allow(STAGE, allowed, None, ALLOWANCE);
    cell.open("chosen.service.example");
    let ToCell::Refused { status: 502, reason, .. } = cell.next_message().await else { panic!("not refused") };
    assert!(reason.contains("only names above it are listed"), "{reason}");
    assert_eq!(cell.recorded().await.egress[0].outcome, ConnectionOutcome::Unreachable);
    assert_eq!(cell.tunnels.take_heard(STAGE).await.outage, None);
}

/// FAILURES 31: a listed host whose address the operator did not name is no fault of the project's.
#[tokio::test]
async fn a_listed_host_that_a_missing_setting_forbids_is_told_apart() {
    let (mut cell, _listener) = cell(ALLOWANCE).await;
    let resolver: Resolver = Arc::new(|_| Box::pin(async { Ok(loopback()) }));
    cell.tunnels.rules.guard = Guard::new(&runtime_clock(), "", resolver).unwrap();
    cell.open("service.example");
    assert!(matches!(cell.next_message().await, ToCell::Refused { status: 403, .. }));
    assert_eq!(cell.recorded().await.egress[0].outcome, ConnectionOutcome::Refused);
    let heard = cell.tunnels.take_heard(STAGE).await;
    assert_eq!(heard.outage, None);
    assert!(heard.forbidden.unwrap().contains("which egress_private_hosts does not name"));
}

/// FAILURES 31: with an empty setting every host is refused, whatever the project asks for.
#[tokio::test]
async fn an_empty_setting_that_the_template_needs_is_told_apart() {
    let (mut cell, _listener) = cell(ALLOWANCE).await;
    cell.tunnels.rules.stages.clear();
    cell.tunnels.rules.allow(STAGE, Vec::new(), Some("npm_registry"), ALLOWANCE);
    let id = cell.open("packages.example");
    let ToCell::Refused { id: refused, status: 403, reason } = cell.next_message().await else { panic!("not refused") };
    assert!(
        refused == id && reason.contains("the setting npm_registry, which the template needs, is empty"),
        "{reason}"
    );
    cell.recorded().await;
    cell.tunnels.end_stage().await;
    assert_eq!(cell.tunnels.take_heard(STAGE).await.forbidden, Some(reason));
}
