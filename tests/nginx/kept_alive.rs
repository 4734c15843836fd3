//! Connections that are kept: a request never meets one that is just being closed.

use std::time::Duration;

use reqwest::StatusCode;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::front::{self, Front};
use crate::harness::client::ApiClient;
use crate::harness::{Server, Setup, good_form_of, json};

const CLIENTS: usize = 16;
const ROUNDS: usize = 25;
const PER_ROUND: usize = 25;

/// How long the API of this test keeps an idle connection. nginx expects more, so that both sides use and close
/// connections at the same time in every round.
const IDLE: Duration = Duration::from_millis(500);

/// Sends POSTs in rounds. The pause between two rounds ends just when the API closes what was idle meanwhile.
async fn post_in_rounds(server: &Server, client: ApiClient, number: usize) -> Vec<StatusCode> {
    let server_url = &server.url;
    let post = |path: String| client.post(format!("{server_url}{path}")).bearer_auth(&server.key);
    let user = format!("user-{number}");
    let mut run = Uuid::nil();
    let mut seen = Vec::new();
    let mut pause = tokio::time::interval(IDLE + Duration::from_millis(number as u64));
    pause.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for _ in 0..ROUNDS {
        pause.reset();
        pause.tick().await;
        for of_round in 0..PER_ROUND {
            let is_upload = of_round == 0;
            let request = if is_upload {
                post("/v1/submissions".to_owned()).multipart(good_form_of(&user))
            } else {
                post(format!("/v1/runs/{run}/cancel"))
            };
            let answer = request.send().await.unwrap();
            seen.push(answer.status());
            if is_upload && answer.status() == 202 {
                run = crate::harness::id_of(&json(answer).await["run"]);
            }
        }
    }
    seen
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn of_10_000_posts_none_meets_a_connection_that_is_being_closed(pool: PgPool) {
    let mut setup = Setup::default();
    setup.timeouts.head = IDLE;
    (setup.config.rate_per_key, setup.config.rate_per_address) = (0, 0);
    let (server, front) = front::start(pool, setup).await;
    let clients = (0..CLIENTS).map(|number| {
        // Each its own connection, over one protocol and over the other.
        let client = front.client(|client| if number % 2 == 0 { client } else { client.http1_only() });
        post_in_rounds(&server, client.into(), number)
    });
    let seen: Vec<StatusCode> = futures_util::future::join_all(clients).await.into_iter().flatten().collect();
    let failed: Vec<_> = seen.iter().filter(|status| !status.is_success()).collect();
    assert!(failed.is_empty(), "{} of {}: {failed:?}\n{}", failed.len(), seen.len(), front.log("error.log"));
    assert_eq!(seen.len(), 10_000);
    assert_eq!(front.requests(10_000).await.lines().count(), 10_000);
}

/// Answers the first request of each connection, and closes the connection when the second arrives: the moment in which
/// an API that stops closes an idle connection.
async fn answer_once(listener: TcpListener) {
    loop {
        let (mut socket, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut request = vec![0; 4096];
            let mut length = 0;
            while !request[..length].ends_with(LAST_BYTES) {
                match socket.read(&mut request[length..]).await {
                    Ok(0) | Err(_) => return,
                    Ok(read) => length += read,
                }
            }
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.ok();
            socket.read_u8().await.ok();
        });
    }
}

const LAST_BYTES: &[u8] = b"the end";

#[tokio::test]
async fn a_request_on_a_connection_that_is_being_closed_is_sent_again_and_an_upload_never_meets_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = Front::start(listener.local_addr().unwrap(), &[]).await;
    let api = tokio::spawn(answer_once(listener));
    let client = front.client(|client| client);
    for number in 0..20 {
        for path in ["/v1/submissions", "/v1/runs/x/cancel"] {
            let answer = client.post(format!("{}{path}", front.url())).body(LAST_BYTES).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{number}: {path}\n{}", front.log("error.log"));
        }
    }
    // The log says which were sent again: all but the first, and no upload.
    let log = front.requests(40).await;
    let again = log.lines().filter(|line| line.contains("\"upstreamCode\":\"502, 200\"")).count();
    assert_eq!((log.lines().count(), again), (40, 19), "{log}");
    api.abort();
}
