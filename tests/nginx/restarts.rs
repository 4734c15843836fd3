//! nginx reloads and restarts while clients submit: nothing is lost and nothing is stored twice.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use assize_domain::output::{Entry, EntryId, OutputEntry};
use assize_domain::run::StageName;
use assize_protocol::event::Stream;
use reqwest::Client;
use sqlx::PgPool;

use crate::front::{self, Front, PROTOCOLS};
use crate::harness::sse::Events;
use crate::harness::{DEADLINE, Server, Setup, good_form_of};

const CLIENTS: usize = 8;
const INTERRUPTIONS: usize = 6;

/// What the clients saw.
#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicUsize,
    /// Requests that failed and were sent again with the same key.
    repeated: AtomicUsize,
    /// Those of them that got no connection.
    unconnected: AtomicUsize,
}

/// Where the clients submit.
struct Target {
    url: String,
    key: String,
}

/// Submits with one idempotency key until the submission is accepted, as a client should.
async fn submit(target: &Target, client: &Client, key: &str, counts: &Counts) {
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    loop {
        pause.tick().await;
        let request = client.post(format!("{}/v1/submissions", target.url)).bearer_auth(&target.key);
        let request = request.header("idempotency-key", key).multipart(good_form_of(key));
        match request.send().await {
            Ok(answer) if answer.status() == 202 => {
                counts.accepted.fetch_add(1, Ordering::Relaxed);
                return;
            }
            // What nginx answers while the API is away; everything else is a broken promise.
            Ok(answer) => assert_eq!(answer.status(), 503, "{answer:?}"),
            Err(error) if error.is_connect() => {
                counts.unconnected.fetch_add(1, Ordering::Relaxed);
            }
            // A kept connection was closed just when the request arrived.
            Err(_) => {}
        }
        counts.repeated.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets clients submit over both protocols until `interrupt` has ended.
async fn under_load(target: &Target, clients: &[Client], counts: &Counts, interrupt: impl Future<Output = ()>) {
    let stop = AtomicBool::new(false);
    let submitting = futures_util::future::join_all(clients.iter().enumerate().map(|(number, client)| {
        let stop = &stop;
        async move {
            let mut submitted = 0;
            while !stop.load(Ordering::Relaxed) {
                submit(target, client, &format!("{number}-{submitted}"), counts).await;
                submitted += 1;
            }
        }
    }));
    let interrupting = async {
        interrupt.await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::time::timeout(5 * DEADLINE, async { tokio::join!(submitting, interrupting) }).await.unwrap();
}

fn clients(front: &Front) -> Vec<Client> {
    (0..CLIENTS).map(|number| front.client(PROTOCOLS[number % PROTOCOLS.len()].0)).collect()
}

fn unlimited() -> Setup {
    let mut setup = Setup::default();
    (setup.config.rate_per_key, setup.config.rate_per_address) = (0, 0);
    setup
}

/// Checks that each accepted submission is stored once.
async fn assert_stored(server: &Server, counts: &Counts) {
    let (submissions, runs, keys, _, spooled) = server.left_behind().await;
    let wanted = i64::try_from(counts.accepted.load(Ordering::Relaxed)).unwrap();
    assert_eq!((submissions, runs, keys, spooled), (wanted, wanted, wanted, 0));
}

/// Waits until this many more submissions were accepted.
async fn more(counts: &Counts, count: usize) {
    let wanted = counts.accepted.load(Ordering::Relaxed) + count;
    crate::harness::until(|| counts.accepted.load(Ordering::Relaxed) >= wanted).await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_reload_loses_no_submission_and_refuses_no_connection(pool: PgPool) {
    let (server, front) = front::start(pool, unlimited()).await;
    let (target, counts) = (Target { url: front.url(), key: server.key.clone() }, Counts::default());
    let reloading = async {
        for _ in 0..INTERRUPTIONS {
            more(&counts, 4 * CLIENTS).await;
            front.reload().await;
        }
        more(&counts, 4 * CLIENTS).await;
    };
    under_load(&target, &clients(&front), &counts, reloading).await;
    assert_stored(&server, &counts).await;
    println!("{INTERRUPTIONS} reloads: {counts:?}");
    assert_eq!(counts.unconnected.into_inner(), 0);
    let errors = front.log("error.log");
    assert!(!errors.contains("[error]"), "{errors}");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_restart_loses_no_submission_and_stores_none_twice(pool: PgPool) {
    let (server, mut front) = front::start(pool, unlimited()).await;
    let (target, counts) = (Target { url: front.url(), key: server.key.clone() }, Counts::default());
    let clients = clients(&front);
    let restarting = async {
        for _ in 0..INTERRUPTIONS {
            more(&counts, 4 * CLIENTS).await;
            front.stop();
            front.run().await;
        }
        more(&counts, 4 * CLIENTS).await;
    };
    under_load(&target, &clients, &counts, restarting).await;
    assert_stored(&server, &counts).await;
    println!("{INTERRUPTIONS} restarts: {counts:?}");
    assert!(counts.repeated.into_inner() > 0, "no request met a restart");
}

/// Two processes of the API accept from one socket, as under a socket unit of systemd.
#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_api_that_is_replaced_on_its_socket_refuses_no_request(pool: PgPool) {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let api = async || {
        let mut setup = Setup { listener: Some(socket.try_clone().unwrap()), ..unlimited() };
        setup.config.trusted_proxies = "127.0.0.1".to_owned();
        Server::start_with(pool.clone(), setup).await
    };
    let front = Front::start(socket.local_addr().unwrap(), &[]).await;
    let mut serving = VecDeque::from([api().await, api().await]);
    let (target, counts) = (Target { url: front.url(), key: serving[0].key.clone() }, Counts::default());
    let replacing = async {
        for _ in 0..INTERRUPTIONS {
            more(&counts, 4 * CLIENTS).await;
            serving.push_back(api().await);
            let mut old = serving.pop_front().unwrap();
            old.stop.cancel();
            tokio::time::timeout(2 * DEADLINE, &mut old.served).await.unwrap().unwrap().unwrap();
        }
        more(&counts, 4 * CLIENTS).await;
    };
    under_load(&target, &clients(&front), &counts, replacing).await;
    println!("{INTERRUPTIONS} replaced processes of the API: {counts:?}");
    assert_eq!(counts.repeated.into_inner(), 0, "{}", front.log("error.log"));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn live_output_goes_on_over_a_reload_and_is_resumed_after_a_restart(pool: PgPool) {
    let (server, mut front) = front::start(pool, Setup::default()).await;
    server.connected().await;
    let run = server.insert_runs(1).await[0];
    server.running().await;
    let line = |number| -> Entry {
        let id = EntryId { attempt: 1, number };
        let text = "line\n".to_owned();
        OutputEntry { id, stage: StageName::Tests, stream: Stream::Stdout, offset: 0, text }.into()
    };
    let follow = |front: &Front| {
        let client = crate::harness::client::ApiClient::from(front.client(|client| client));
        client.get(format!("{}/v1/runs/{run}/output", server.url)).bearer_auth(&server.key)
    };
    let mut events = Events::open(follow(&front)).await;
    server.redis.append_output(run, &[line(1)]).await.unwrap();
    assert_eq!(events.ids(1).await, ["1-1"]);
    front.reload().await;
    // A new worker process answers.
    let mut newer = Events::open(follow(&front)).await;
    server.redis.append_output(run, &[line(2)]).await.unwrap();
    assert_eq!(newer.ids(2).await, ["1-1", "1-2"]);
    assert_eq!(events.ids(1).await, ["1-2"], "the old worker process follows to the end");
    front.stop();
    server.redis.append_output(run, &[line(3)]).await.unwrap();
    front.run().await;
    let mut resumed = Events::open(follow(&front).header("last-event-id", "1-2")).await;
    assert_eq!(resumed.ids(1).await, ["1-3"]);
}
