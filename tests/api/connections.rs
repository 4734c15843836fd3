//! The limits of connections and open requests, and clients that read slowly.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use assize_config::Config;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use uuid::Uuid;

use crate::harness::sse::Events;
use crate::harness::{DEADLINE, Server, Setup, asked_until, problem};
use crate::hostile::{SHORT, asked_for_much, hasty, long_entry, raw};

const LIVEZ: &[u8] = b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n";

fn with(mut setup: Setup, change: impl FnOnce(&mut Config)) -> Setup {
    change(&mut setup.config);
    setup
}

async fn connect_from(server: &Server, address: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::from(address), 0))).unwrap();
    socket.connect(server.address).await.unwrap()
}

/// The answer to one request, on a connection that stays.
async fn ask(socket: &mut TcpStream) -> String {
    socket.write_all(LIVEZ).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = tokio::time::timeout(DEADLINE, socket.read(&mut answer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

/// The same with a key: such a connection is not closed for another.
async fn ask_with_key(server: &Server, socket: &mut TcpStream) -> String {
    let head = format!("GET /v1/templates HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n", server.key);
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 16 * 1024];
    let length = tokio::time::timeout(DEADLINE, socket.read(&mut answer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn one_address_has_so_many_connections_and_another_its_own(pool: PgPool) {
    let server =
        Server::start_with(pool, with(Setup::default(), |config| config.max_connections_per_address = 3)).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut socket = connect_from(&server, [127, 0, 0, 1]).await;
        assert!(ask_with_key(&server, &mut socket).await.starts_with("HTTP/1.1 200 "));
        open.push(socket);
    }
    let refused = raw(&server, LIVEZ).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("too_many_connections"), "{refused}");
    for header in ["retry-after: 1", "connection: close", "x-request-id: ", "content-type: application/problem+json"] {
        assert!(refused.contains(header), "no {header} in {refused}");
    }
    let metrics = assize_observe::metrics().text();
    assert!(metrics.contains("assize_refusals_total{limit=\"connections_per_address\"}"), "{metrics}");
    assert!(ask(&mut connect_from(&server, [127, 0, 0, 2]).await).await.starts_with("HTTP/1.1 200 "));
    // Far more than are answered: those who are in do not notice.
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(connect_from(&server, [127, 0, 0, 1]).await);
    }
    assert!(ask(&mut open[0]).await.starts_with("HTTP/1.1 200 "));
    drop((open, crowd));
    asked_until(async || raw(&server, b"GET /livez HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200 ")).await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn all_together_have_so_many_connections(pool: PgPool) {
    let change = |config: &mut Config| {
        config.max_connections = 2;
        config.trusted_proxies = "127.0.0.3".to_owned();
    };
    let server = Server::start_with(pool, with(Setup::default(), change)).await;
    let mut open = [connect_from(&server, [127, 0, 0, 1]).await, connect_from(&server, [127, 0, 0, 2]).await];
    for socket in &mut open {
        assert!(ask_with_key(&server, socket).await.starts_with("HTTP/1.1 200 "));
    }
    // A proxy is exempt from the limit of its address, not from this one.
    let refused = ask(&mut connect_from(&server, [127, 0, 0, 3]).await).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("max_connections)"), "{refused}");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_trusted_proxy_may_have_more_connections_than_an_address(pool: PgPool) {
    let change = |config: &mut Config| {
        config.max_connections_per_address = 1;
        config.trusted_proxies = "127.0.0.0/30".to_owned();
    };
    let server = Server::start_with(pool, with(Setup::default(), change)).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut socket = connect_from(&server, [127, 0, 0, 1]).await;
        assert!(ask_with_key(&server, &mut socket).await.starts_with("HTTP/1.1 200 "));
        open.push(socket);
    }
}

/// Asks for live output and reads nothing but the first bytes.
async fn follow_without_reading(server: &Server, run: Uuid) -> TcpStream {
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let key = &server.key;
    let head = format!(
        "GET /v1/runs/{run}/output HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\nauthorization: Bearer {key}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut first = [0; 15];
    socket.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    socket
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_reader_of_live_output_that_does_not_read_is_cut_and_makes_room(pool: PgPool) {
    let server = Server::start_with(pool, with(hasty(), |config| config.max_open_requests_per_key = 1)).await;
    let run = server.insert_runs(1).await[0];
    server.running().await;
    for number in 1..=12 {
        server.redis.append_output(run, &[long_entry(number, 1 << 20)]).await.unwrap();
    }
    let slow = follow_without_reading(&server, run).await;
    let request = || server.get(&format!("/v1/runs/{run}/output")).header("accept", "text/event-stream");
    // While it holds its place there is no other for this key; then it is cut off.
    asked_until(async || request().send().await.unwrap().status() == 200).await;
    drop(slow);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_client_that_reads_by_drips_is_cut(pool: PgPool) {
    let mut server = Server::start_with(pool, hasty()).await;
    let mut socket = asked_for_much(&server).await;
    let mut drip = [0; 256];
    socket.read_exact(&mut drip).await.unwrap();
    let dripping = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(SHORT / 10);
        while socket.read(&mut drip).await.is_ok_and(|length| length > 0) {
            ticks.tick().await;
        }
    });
    server.stop.cancel();
    tokio::time::timeout(DEADLINE / 2, &mut server.served).await.unwrap().unwrap().unwrap();
    dripping.abort();
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_key_holds_so_many_requests_open_and_another_its_own(pool: PgPool) {
    let server = Server::start_with(pool, with(Setup::default(), |config| config.max_open_requests_per_key = 2)).await;
    server.connected().await;
    let run = server.insert_runs(1).await[0];
    server.running().await;
    let output = format!("/v1/runs/{run}/output");
    let mut first = Events::open(server.get(&output)).await;
    first.next().await.unwrap();
    let waiting = tokio::spawn(server.get(&format!("/v1/runs/{run}?wait=60")).send());
    // The stream and the wait both wait for this run.
    crate::harness::until(|| server.hints.waiting(run) > 1).await;
    for request in
        [server.get(&output).header("accept", "text/event-stream"), server.get(&format!("/v1/runs/{run}?wait=1"))]
    {
        let refused = request.send().await.unwrap();
        assert_eq!(refused.headers()["retry-after"], "1");
        assert_eq!(problem(refused, 429, "too_many_open_requests").await["limit"], 2);
    }
    // What is not held open is answered, and so is another key.
    assert_eq!(server.get(&format!("/v1/runs/{run}")).send().await.unwrap().status(), 200);
    assert_eq!(server.get(&output).send().await.unwrap().status(), 200);
    let other = server.key_with(server.organization, assize_domain::key::KeyRole::Read, None).await;
    let request = server.client.get(format!("{}/v1/runs/{run}?wait=1", server.url)).bearer_auth(other);
    assert_eq!(request.send().await.unwrap().status(), 200);
    // A client that goes away makes room.
    waiting.abort();
    drop(first);
    asked_until(async || server.get(&format!("/v1/runs/{run}?wait=1")).send().await.unwrap().status() == 200).await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_request_that_is_not_answered_in_time_is_503(pool: PgPool) {
    let mut setup = Setup::default();
    setup.timeouts.request = Duration::from_millis(300);
    let server = Server::start_with(pool, setup).await;
    let run = server.insert_runs(1).await[0];
    let response = server.get(&format!("/v1/runs/{run}?wait=60")).send().await.unwrap();
    assert_eq!(response.headers()["connection"], "close");
    problem(response, 503, "request_too_slow").await;
}
