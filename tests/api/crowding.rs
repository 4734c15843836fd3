//! Half-open connections at the limits, from few addresses and from many, beside normal clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use assize_config::Config;
use assize_host as host;
use futures_util::StreamExt;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::{DEADLINE, Server, Setup};

const HALF: &[u8] = b"GET /v1/runs HTTP/1.1\r\nhost: a\r\nx-half: ";

fn with(change: impl FnOnce(&mut Config)) -> Setup {
    let mut setup = Setup::default();
    (setup.config.rate_per_address, setup.config.rate_per_key) = (0, 0);
    change(&mut setup.config);
    setup
}

async fn connect_from(server: &Server, address: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::from(address), 0))).unwrap();
    socket.connect(server.address).await.unwrap()
}

async fn half_head(server: &Server, address: [u8; 4]) -> TcpStream {
    let mut socket = connect_from(server, address).await;
    // Whoever was let in last may have been closed for the next by now.
    socket.write_all(HALF).await.ok();
    socket
}

/// One request on this connection; `None` if it was reset or closed.
async fn ask(socket: &mut TcpStream, path: &str, key: Option<&str>) -> Option<u16> {
    let key = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
    socket.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n{key}\r\n").as_bytes()).await.ok()?;
    let mut answer = vec![0; 64 * 1024];
    let length = tokio::time::timeout(DEADLINE, socket.read(&mut answer)).await.unwrap().ok()?;
    String::from_utf8_lossy(&answer[..length]).split(' ').nth(1)?.parse().ok()
}

/// Whether the service has closed this connection.
async fn is_closed(socket: &mut TcpStream) -> bool {
    let mut byte = [0];
    !matches!(tokio::time::timeout(DEADLINE, socket.read(&mut byte)).await.unwrap(), Ok(length) if length > 0)
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn half_heads_of_five_addresses_keep_no_honest_request_out(pool: PgPool) {
    // A quarter of the limits and of the 5,150 that pass them by as much: both ends are in this process, beside other
    // tests. `assize doctor --attack` does it with all (http/crowd-half-heads).
    const CROWD: usize = 5_150 / 4;
    assert!(host::raise_open_files(4_096) >= 4_096, "too few open files: raise ulimit -Hn");
    let change = |config: &mut Config| (config.max_connections, config.max_connections_per_address) = (1_024, 256);
    let server = Server::start_with(pool, with(change)).await;
    // In before the attack, and kept: one with a key, whatever else it does.
    let mut known = connect_from(&server, [127, 0, 0, 9]).await;
    assert_eq!(ask(&mut known, "/v1/runs", Some(&server.key)).await, Some(200));
    let attack = futures_util::stream::iter(0..CROWD)
        .map(async |number| half_head(&server, [127, 0, 0, 1 + u8::try_from(number % 5).unwrap()]).await)
        .buffer_unordered(64)
        .collect::<Vec<_>>();
    let is_crowded = AtomicBool::new(false);
    let attack = async {
        let held = attack.await;
        is_crowded.store(true, Ordering::Relaxed);
        held
    };
    let honest = async {
        let mut round = 0;
        while round < 40 || !is_crowded.load(Ordering::Relaxed) {
            round += 1;
            let mut beside = connect_from(&server, [127, 0, 0, 9]).await;
            assert_eq!(ask(&mut beside, "/livez", None).await, Some(200), "round {round}");
            // At an address of the attack itself.
            let mut same = connect_from(&server, [127, 0, 0, 1]).await;
            assert_eq!(ask(&mut same, "/v1/runs", Some(&server.key)).await, Some(200), "round {round}");
            assert_eq!(ask(&mut known, "/v1/runs", Some(&server.key)).await, Some(200), "round {round}");
        }
    };
    let (held, ()) = tokio::join!(attack, honest);
    assert_eq!(held.len(), CROWD);
    // And all the time that the half heads stay.
    for _ in 0..20 {
        assert_eq!(server.get("/v1/runs").send().await.unwrap().status(), 200);
        assert_eq!(ask(&mut connect_from(&server, [127, 0, 0, 1]).await, "/livez", None).await, Some(200));
    }
    assert_eq!(ask(&mut known, "/v1/runs", Some(&server.key)).await, Some(200));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn at_the_limit_the_oldest_half_head_of_the_largest_address_is_closed(pool: PgPool) {
    let server = Server::start_with(pool, with(|config| config.max_connections = 5)).await;
    let mut few = half_head(&server, [127, 0, 0, 1]).await;
    let mut many = Vec::new();
    for _ in 0..4 {
        many.push(half_head(&server, [127, 0, 0, 2]).await);
    }
    let mut next = connect_from(&server, [127, 0, 0, 3]).await;
    assert_eq!(ask(&mut next, "/livez", None).await, Some(200));
    assert!(is_closed(&mut many[0]).await);
    // The others still may send the rest of their heads.
    for socket in many[1..].iter_mut().chain([&mut few]) {
        socket.write_all(b"x\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        tokio::time::timeout(DEADLINE, socket.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer, b"HTTP/1.1 401");
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn half_heads_and_idle_connections_make_room_and_those_with_a_key_stay(pool: PgPool) {
    let server = Server::start_with(pool, with(|config| config.max_connections_per_address = 3)).await;
    let address = [127, 0, 0, 1];
    let mut known = connect_from(&server, address).await;
    assert_eq!(ask(&mut known, "/v1/runs", Some(&server.key)).await, Some(200));
    let mut idle = connect_from(&server, address).await;
    assert_eq!(ask(&mut idle, "/livez", None).await, Some(200));
    let mut half = half_head(&server, address).await;
    let mut wrong = connect_from(&server, address).await;
    assert!(is_closed(&mut half).await);
    assert_eq!(ask(&mut wrong, "/v1/runs", Some(assize_domain::key::mint().text())).await, Some(401));
    let mut next = connect_from(&server, address).await;
    assert!(is_closed(&mut idle).await);
    assert_eq!(ask(&mut next, "/v1/runs", Some(&server.key)).await, Some(200));
    let mut last = connect_from(&server, address).await;
    assert!(is_closed(&mut wrong).await);
    assert_eq!(ask(&mut last, "/v1/runs", Some(&server.key)).await, Some(200));
    // All three have shown a key: there is nothing to close.
    assert_eq!(ask(&mut connect_from(&server, address).await, "/livez", None).await, Some(503));
    assert_eq!(ask(&mut known, "/v1/runs", Some(&server.key)).await, Some(200));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn idle_connections_of_the_same_address_leave_a_new_one_the_time_for_its_head(pool: PgPool) {
    let server = Server::start_with(pool, with(|config| config.max_connections_per_address = 20)).await;
    let address = [127, 0, 0, 1];
    let mut idle = Vec::new();
    for _ in 0..20 {
        let mut socket = connect_from(&server, address).await;
        assert_eq!(ask(&mut socket, "/livez", None).await, Some(200));
        idle.push(socket);
    }
    let mut honest = half_head(&server, address).await;
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(half_head(&server, address).await);
    }
    honest.write_all(b"x\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    tokio::time::timeout(DEADLINE, honest.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
    assert!(is_closed(&mut idle[0]).await);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn answers_that_nobody_reads_keep_no_other_address_out(pool: PgPool) {
    let change = |config: &mut Config| (config.max_connections, config.max_connections_per_address) = (8, 4);
    let server = Server::start_with(pool, with(change)).await;
    // Whole heads without a key: a body that is announced and never comes, and answers that are not read.
    let head = b"POST /v1/submissions HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n";
    let mut held = Vec::new();
    for number in 0..8 {
        let mut socket = connect_from(&server, [127, 0, 0, 1 + number / 4]).await;
        socket
            .write_all(if number % 2 == 0 {
                head.as_slice()
            } else {
                b"GET /v1/openapi.json HTTP/1.1\r\nhost: a\r\n\r\n".as_slice()
            })
            .await
            .unwrap();
        socket.readable().await.unwrap();
        held.push(socket);
    }
    for _ in 0..3 {
        let mut honest = connect_from(&server, [127, 0, 0, 9]).await;
        assert_eq!(ask(&mut honest, "/v1/runs", Some(&server.key)).await, Some(200));
        held.push(honest);
    }
}
