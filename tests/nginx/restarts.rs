//! nginx reloads and restarts while clients submit: nothing is lost and nothing is stored twice.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use assize_domain::output::{Entry, EntryId, OutputEntry};
use assize_domain::run::StageName;
use assize_protocol::event::Stream;
use reqwest::{Client, Response};
use sqlx::PgPool;

use crate::front::{self, Front};
use crate::harness::sse::Events;
use crate::harness::{DEADLINE, Server, Setup, good_form_of};

const CLIENTS: usize = 8;
const INTERRUPTIONS: usize = 6;

/// What the clients saw.
#[derive(Default)]
struct Counts {
    accepted: AtomicUsize,
    /// Requests that failed and were sent again with the same key.
    repeated: AtomicUsize,
}

/// Submits with one idempotency key until the submission is accepted, as a client should.
async fn submit(server: &Server, client: &Client, key: &str, counts: &Counts) -> Response {
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    loop {
        pause.tick().await;
        let request = client.post(format!("{}/v1/submissions", server.url)).bearer_auth(&server.key);
        let request = request.header("idempotency-key", key).multipart(good_form_of(key));
        match request.send().await {
            Ok(answer) if answer.status() == 202 => {
                counts.accepted.fetch_add(1, Ordering::Relaxed);
                return answer;
            }
            // What nginx answers while the API is away; everything else is a broken promise.
            Ok(answer) => assert_eq!(answer.status(), 503, "{answer:?}"),
            // The connection broke off, or was refused.
            Err(_) => {}
        }
        counts.repeated.fetch_add(1, Ordering::Relaxed);
    }
}

/// Submits until `stop`, and then checks that each submission is stored once.
async fn under_load(pool: PgPool, interrupt: impl AsyncFnOnce(&mut Front, &Counts)) -> (usize, usize) {
    let mut setup = Setup::default();
    (setup.config.rate_per_key, setup.config.rate_per_address) = (0, 0);
    let (server, mut front) = front::start(pool, setup).await;
    let (counts, stop) = (Counts::default(), AtomicBool::new(false));
    let clients: Vec<Client> = (0..CLIENTS)
        .map(|number| front.client(|client| if number % 2 == 0 { client } else { client.http1_only() }))
        .collect();
    let submitting = futures_util::future::join_all(clients.iter().enumerate().map(|(number, client)| {
        let (server, counts, stop) = (&server, &counts, &stop);
        async move {
            let mut submitted = 0;
            while !stop.load(Ordering::Relaxed) {
                submit(server, client, &format!("{number}-{submitted}"), counts).await;
                submitted += 1;
            }
        }
    }));
    let interrupting = async {
        interrupt(&mut front, &counts).await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::time::timeout(5 * DEADLINE, async { tokio::join!(submitting, interrupting) }).await.unwrap();
    let accepted = counts.accepted.into_inner();
    let (submissions, runs, keys, _, spooled) = server.left_behind().await;
    let wanted = i64::try_from(accepted).unwrap();
    assert_eq!((submissions, runs, keys, spooled), (wanted, wanted, wanted, 0));
    (accepted, counts.repeated.into_inner())
}

/// Waits until this many more submissions were accepted.
async fn more(counts: &Counts, count: usize) {
    let wanted = counts.accepted.load(Ordering::Relaxed) + count;
    crate::harness::until(|| counts.accepted.load(Ordering::Relaxed) >= wanted).await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_reload_loses_no_submission_and_refuses_no_connection(pool: PgPool) {
    let (accepted, repeated) = under_load(pool, async |front, counts| {
        for _ in 0..INTERRUPTIONS {
            more(counts, 4 * CLIENTS).await;
            front.reload().await;
        }
        more(counts, 4 * CLIENTS).await;
        let errors = front.log("error.log");
        assert!(!errors.contains("[error]"), "{errors}");
    })
    .await;
    println!("{INTERRUPTIONS} reloads: {accepted} submissions, {repeated} requests were repeated");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_restart_loses_no_submission_and_stores_none_twice(pool: PgPool) {
    let (accepted, repeated) = under_load(pool, async |front, counts| {
        for _ in 0..INTERRUPTIONS {
            more(counts, 4 * CLIENTS).await;
            front.stop();
            front.run().await;
        }
        more(counts, 4 * CLIENTS).await;
    })
    .await;
    println!("{INTERRUPTIONS} restarts: {accepted} submissions, {repeated} requests were repeated");
    assert!(repeated > 0, "no request met a restart");
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
