//! Malicious and very slow clients (FAILURES 22; SECURITY.md, Hostile HTTP).

use std::time::Duration;

use assize::api::Timeouts;
use assize_domain::output::{Entry, EntryId, OutputEntry, blob_key};
use assize_domain::run::StageName;
use assize_protocol::event::Stream;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{DEADLINE, Server, Setup, contract, problem, zips};

pub const SHORT: Duration = Duration::from_millis(300);

pub fn hasty() -> Setup {
    let upload = Duration::from_secs(2);
    let timeouts =
        Timeouts { head: SHORT, upload, upload_idle: SHORT, unread: SHORT, request: DEADLINE, stop: DEADLINE };
    Setup { timeouts, ..Setup::default() }
}

/// Sends the bytes and reads until the server closes.
pub async fn raw(server: &Server, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    // The server may close before it has everything.
    socket.write_all(bytes).await.ok();
    let mut answer = Vec::new();
    // A reset instead of an end is an end, too.
    let closed = tokio::time::timeout(DEADLINE, socket.read_to_end(&mut answer)).await;
    assert!(closed.is_ok(), "the connection was not closed: {:?}", String::from_utf8_lossy(&answer));
    let answer = String::from_utf8_lossy(&answer).into_owned();
    contract::check_raw(bytes, &answer);
    answer
}

/// A client that has asked for more output than the kernel keeps for a connection, and has read none.
pub async fn asked_for_much(server: &Server) -> TcpStream {
    let run = server.insert_runs(1).await[0];
    let lease = server.running().await;
    let blob = serde_json::to_vec(&long_entry(1, 48 << 20)).unwrap();
    server.blobs.put_output(&blob_key(run, 1), blob.into()).await.unwrap();
    server.complete(lease).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let key = &server.key;
    let head = format!("GET /v1/runs/{run}/output HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    socket
}

pub fn long_entry(number: u64, length: usize) -> Entry {
    let id = EntryId { attempt: 1, number };
    OutputEntry { id, stage: StageName::Tests, stream: Stream::Stdout, offset: 0, text: "x".repeat(length) }.into()
}

pub fn post(server: &Server, length: &str, body: &str) -> Vec<u8> {
    let key = &server.key;
    let head = format!(
        "POST /v1/submissions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\n\
         content-type: multipart/form-data; boundary=b\r\n{length}\r\n\r\n{body}"
    );
    head.into_bytes()
}

pub const FIELD: &str = "--b\r\ncontent-disposition: form-data; name=\"user\"\r\n\r\nada";

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn slow_and_half_sent_headers_are_cut(pool: PgPool) {
    let server = Server::start_with(pool, hasty()).await;
    for head in ["", "G", "GET /livez HTTP/1.1\r\n", "GET /livez HTTP/1.1\r\nhost: a\r\nx-slow: "] {
        raw(&server, head.as_bytes()).await;
    }
    // An idle connection is not kept for ever either.
    assert!(raw(&server, b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await.ends_with("ok"));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_body_that_stalls_is_408(pool: PgPool) {
    let server = Server::start_with(pool, hasty()).await;
    let answer = raw(&server, &post(&server, "content-length: 100000", FIELD)).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("body_stalled"), "{answer}");
    assert_eq!(server.left_behind().await, (0, 0, 0, 0, 0));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_body_that_trickles_is_408(pool: PgPool) {
    let server = Server::start_with(pool, hasty()).await;
    let archive = "--b\r\ncontent-disposition: form-data; name=\"archive\"; filename=\"a\"\r\n\r\n";
    // A byte now and then keeps it from stalling, not from taking too long.
    let ticks = tokio::time::interval(SHORT / 3);
    let pieces = futures_util::stream::unfold((archive, ticks), |(piece, mut ticks)| async move {
        ticks.tick().await;
        Some((Ok::<_, std::io::Error>(piece), ("x", ticks)))
    });
    let request = server.post("/v1/submissions").header("content-type", "multipart/form-data; boundary=b");
    let response = request.body(reqwest::Body::wrap_stream(pieces)).send().await.unwrap();
    problem(response, 408, "body_too_slow").await;
    assert_eq!(server.left_behind().await, (0, 0, 0, 0, 0));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_client_that_does_not_read_its_answer_is_cut(pool: PgPool) {
    let mut server = Server::start_with(pool, hasty()).await;
    let mut socket = asked_for_much(&server).await;
    let mut first = [0; 15];
    socket.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    // The service ends when its connections have; this one would keep it for as long as it may.
    server.stop.cancel();
    tokio::time::timeout(DEADLINE / 2, &mut server.served).await.unwrap().unwrap().unwrap();
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_connection_that_breaks_off_leaves_nothing(pool: PgPool) {
    let server = Server::start(pool).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(&post(&server, "content-length: 100000", FIELD)).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(DEADLINE, socket.read_to_end(&mut answer)).await.unwrap().ok();
    assert_eq!(server.left_behind().await, (0, 0, 0, 0, 0));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_flood_of_multipart_header_is_not_gathered(pool: PgPool) {
    let mut setup = Setup::default();
    setup.config.max_archive_bytes = 64 << 20;
    let server = Server::start_with(pool, setup).await;
    let mut body = b"--b\r\nx-flood: ".to_vec();
    body.resize(8 << 20, b'x');
    let request = server.post("/v1/submissions").header("content-type", "multipart/form-data; boundary=b");
    let problem = problem(request.body(body).send().await.unwrap(), 400, "malformed_multipart").await;
    assert!(problem["detail"].as_str().unwrap().contains("without a field"), "{problem}");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_hundred_thousand_parts_are_refused_at_the_first_that_is_too_many(pool: PgPool) {
    let server = Server::start(pool).await;
    let part = "--b\r\ncontent-disposition: form-data; name=\"user\"\r\n\r\nada\r\n";
    let body = format!("{}--b--\r\n", part.repeat(10_000));
    let request = server.post("/v1/submissions").header("content-type", "multipart/form-data; boundary=b");
    problem(request.body(body).send().await.unwrap(), 400, "repeated_field").await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn where_no_archive_belongs_a_body_is_small(pool: PgPool) {
    let server = Server::start(pool).await;
    let run = server.insert_runs(1).await[0];
    for path in [format!("/v1/runs/{run}/cancel"), "/v1/nothing".to_owned()] {
        let response = server.post(&path).body(vec![0; 100_000]).send().await.unwrap();
        let body = problem(response, 413, "body_too_long").await;
        assert_eq!((body["limit"].as_u64(), body["seen"].as_u64()), (Some(65_536), Some(100_000)));
    }
    // In chunks nothing is announced; nobody reads them either.
    let bomb = futures_util::stream::iter((0..64).map(|_| Ok::<_, std::io::Error>(vec![0; 65_536])));
    let request = server.post(&format!("/v1/runs/{run}/cancel")).body(reqwest::Body::wrap_stream(bomb));
    assert_eq!(request.send().await.unwrap().status(), 202);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_refused_upload_gets_its_answer_before_the_connection_ends(pool: PgPool) {
    let server = Server::start(pool).await;
    // Sent whole without looking for an answer, as simple clients do.
    for (key, length, status) in [("wrong", 1_200_000, 401), (server.key.as_str(), 8_000_000, 413)] {
        let head = post(&server, &format!("connection: close\r\ncontent-length: {length}"), "");
        let mut bytes = String::from_utf8(head).unwrap().replace(&server.key, key).into_bytes();
        bytes.resize(bytes.len() + length, b'x');
        let answer = raw(&server, &bytes).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn length_and_chunks_together_smuggle_nothing(pool: PgPool) {
    let server = Server::start_with(pool, hasty()).await;
    let smuggled = "0\r\n\r\nGET /v1/openapi.json HTTP/1.1\r\nhost: a\r\n\r\n";
    let head = format!(
        "POST /livez HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\ntransfer-encoding: chunked\r\n\r\n{smuggled}",
        smuggled.len()
    );
    let answer = raw(&server, head.as_bytes()).await;
    assert!(!answer.contains("openapi"), "{answer}");
    for head in ["GET /livez HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "nonsense\r\n\r\n"]
    {
        let answer = raw(&server, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_upload_in_progress_is_finished_when_the_service_stops(pool: PgPool) {
    let mut server = Server::start(pool).await;
    let archive = String::from_utf8_lossy(&zips::good()).into_owned();
    let form =
        format!("{FIELD}\r\n--b\r\ncontent-disposition: form-data; name=\"archive\"\r\n\r\n{archive}\r\n--b--\r\n");
    let length = format!("expect: 100-continue\r\ncontent-length: {}", form.len());
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(&post(&server, &length, "")).await.unwrap();
    let mut begun = [0; 25];
    socket.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 100 Continue\r\n\r\n");
    server.stop.cancel();
    socket.write_all(form.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    // It got as far as the check for the template that this form lacks.
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("missing_field"), "{answer}");
    tokio::time::timeout(DEADLINE, &mut server.served).await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn the_address_of_the_metrics_is_held_by_nobody() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let served = tokio::spawn(assize::metrics_listener::serve_within(
        SHORT,
        listener,
        std::sync::Arc::new(Vec::new),
        stop.clone(),
    ));
    let mut open = Vec::new();
    for _ in 0..100 {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(b"GET /metrics HTTP/1.1\r\nx-slow: ").await.ok();
        open.push(socket);
    }
    for mut socket in open {
        tokio::time::timeout(DEADLINE, socket.read_to_end(&mut Vec::new())).await.unwrap().ok();
    }
    let metrics = reqwest::get(format!("http://{address}/metrics")).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("assize_connections ") && metrics.ends_with("# EOF\n"), "{metrics}");
    stop.cancel();
    served.await.unwrap();
}
