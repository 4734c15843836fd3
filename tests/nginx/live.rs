//! Live output and waits through nginx: nothing is held back.

use std::time::Duration;

use assize_domain::output::{Entry, EntryId, OutputEntry};
use assize_domain::run::StageName;
use assize_host::clock::Stopwatch;
use assize_protocol::event::Stream;
use sqlx::PgPool;

use crate::front::{self, PROTOCOLS};
use crate::harness::client::ApiClient;
use crate::harness::sse::Events;
use crate::harness::{Setup, json, until};

/// The time within which a line must reach its reader.
const LINE: Duration = Duration::from_millis(250);

/// A wait that ends on time ends before the API looks for a lost hint.
const HINT: Duration = Duration::from_secs(4);

fn line(number: u64) -> Entry {
    let id = EntryId { attempt: 1, number };
    let text = format!("line {number}\n");
    OutputEntry { id, stage: StageName::Tests, stream: Stream::Stdout, offset: 0, text }.into()
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_line_reaches_its_reader_within_250_ms_over_either_protocol(pool: PgPool) {
    let (server, front) = front::start(pool, Setup::default()).await;
    server.connected().await;
    let run = server.insert_runs(1).await[0];
    server.running().await;
    let mut number = 0;
    for (change, version) in PROTOCOLS {
        let client = front.client(change);
        let ready = client.get(format!("{}/livez", front.url())).send().await.unwrap();
        assert_eq!(ready.version(), version);
        let request = ApiClient::from(client).get(format!("{}/v1/runs/{run}/output?after=1-{number}", front.url()));
        let mut events = Events::open(request.bearer_auth(&server.key)).await;
        let mut taken = Vec::new();
        for _ in 0..20 {
            number += 1;
            let begun = Stopwatch::start();
            server.redis.append_output(run, &[line(number)]).await.unwrap();
            assert_eq!(events.ids(1).await, [format!("1-{number}")]);
            taken.push(begun.elapsed());
        }
        taken.sort();
        println!("{version:?}: median {:?}, longest {:?}", taken[10], taken[19]);
        // The median: the machine that runs the tests may be busy with others of them.
        assert!(taken[10] < LINE, "{version:?}: {taken:?}");
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_wait_ends_when_the_run_ends_and_not_before(pool: PgPool) {
    let (server, _front) = front::start(pool, Setup::default()).await;
    server.connected().await;
    let run = server.insert_runs(1).await[0];
    let lease = server.running().await;
    let request = server.get(&format!("/v1/runs/{run}?wait=60"));
    let waiting = tokio::spawn(async move { request.send().await.unwrap() });
    until(|| server.hints.waiting(run) > 0).await;
    assert!(!waiting.is_finished());
    server.complete(lease).await;
    server.redis.announce(run).await.unwrap();
    let answer = tokio::time::timeout(HINT, waiting).await.unwrap().unwrap();
    assert_eq!(json(answer).await["status"], "completed");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_reader_that_goes_away_ends_its_request_in_the_api_too(pool: PgPool) {
    let (server, _front) = front::start(pool, Setup::default()).await;
    server.connected().await;
    let run = server.insert_runs(1).await[0];
    server.running().await;
    let mut events = Events::open(server.get(&format!("/v1/runs/{run}/output"))).await;
    events.next().await.unwrap();
    until(|| server.hints.waiting(run) > 0).await;
    drop(events);
    until(|| server.hints.waiting(run) == 0).await;
}
