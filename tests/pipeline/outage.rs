//! FAILURES 5: Redis is a convenience; without it everything goes on, a little later.

use std::time::Duration;

use chrono::DateTime;

use crate::harness::json;
use crate::harness::processes::RedisServer;
use crate::harness::sse::Events;
use crate::site::{Setup, Site};

/// The poll that stands in for the doorbell: 1 s, and as much again for a busy host.
const PICKED_UP: Duration = Duration::from_secs(2);

const LINES: &str = "for n in 1 2 3 4 5 6 7 8 9 10; do echo line $n; sleep 0.2; done";

fn captured_log() -> String {
    (1..=10).map(|n| format!("line {n}\n")).collect()
}

async fn begun(site: &Site) -> (uuid::Uuid, Events) {
    let run = site.submit("long", &[("run.sh", LINES)]).await;
    let mut events = Events::open(site.get(&format!("/v1/runs/{run}/output"))).await;
    events.next_named("output").await;
    (run, events)
}

#[tokio::test]
async fn when_redis_dies_in_mid_run_the_run_ends_and_a_new_one_is_picked_up() {
    let mut redis = RedisServer::start();
    let settings = vec![("worker_slots", "2".to_owned())];
    let site = Site::start(Setup { redis_url: Some(redis.url()), settings, ..Setup::default() });
    let (run, events) = begun(&site).await;
    redis.kill();
    let next = site.submit("script", &[("run.sh", "echo next")]).await;
    let ended = site.ended(next).await;
    assert_eq!(ended["score"], 1.0, "{ended}");
    let time = |key: &str| DateTime::parse_from_rfc3339(ended[key].as_str().unwrap()).unwrap();
    let waited = (time("started_at") - time("submitted_at")).to_std().unwrap();
    println!("picked up after {waited:?} without Redis");
    assert!(waited < PICKED_UP, "{waited:?}");
    // Whoever was reading still gets all of it, from the blob.
    let rest = events.rest().await;
    assert_eq!(rest.last().unwrap().name, "end");
    assert_eq!(rest.last().unwrap().data["score"], 1.0);
    let text: String =
        rest.iter().filter(|event| event.name == "output").map(|event| event.data["text"].as_str().unwrap()).collect();
    assert!(text.ends_with("line 9\nline 10\n"), "{text:?}");
    assert_eq!(site.text(run, "").await, captured_log());
    assert_eq!(site.text(next, "").await, "next\n");

    // It comes back empty, and the doorbell is heard again.
    redis.restart();
    let ended = site.run("script", &[("run.sh", "exit 0")]).await;
    assert_eq!(ended["score"], 1.0, "{ended}");
}

#[tokio::test]
async fn flushall_in_mid_run_loses_nothing() {
    let redis = RedisServer::start();
    let settings = vec![("worker_slots", "1".to_owned())];
    let site = Site::start(Setup { redis_url: Some(redis.url()), settings, ..Setup::default() });
    let (run, mut events) = begun(&site).await;
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let flush = async |connection: &mut redis::aio::MultiplexedConnection| {
        redis::cmd("FLUSHALL").exec_async(connection).await.unwrap();
    };
    flush(&mut connection).await;
    events.next_named("output").await;
    flush(&mut connection).await;
    let rest = events.rest().await;
    assert_eq!((rest.last().unwrap().name.as_str(), &rest.last().unwrap().data["score"]), ("end", &1.0.into()));
    let whole = json(site.get(&format!("/v1/runs/{run}/output")).send().await.unwrap()).await;
    let text: String =
        whole["entries"].as_array().unwrap().iter().map(|entry| entry["text"].as_str().unwrap()).collect();
    assert_eq!(text, captured_log());
    let again = site.run("script", &[("run.sh", "exit 0")]).await;
    assert_eq!(again["score"], 1.0, "{again}");
}
