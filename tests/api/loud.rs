//! Loud runs beside a quiet one, in a Redis of the size that the embedded one has.

use std::time::Duration;

use assize::redis::{Bucket, Redis, Share};
use assize_config::Config;
use assize_domain::output::{Entry, EntryId, OutputEntry};
use assize_domain::run::StageName;
use assize_protocol::event::Stream;
use uuid::Uuid;

use crate::harness::processes::RedisServer;

fn entries(attempt: u32, numbers: std::ops::RangeInclusive<u64>, text: &str) -> Vec<Entry> {
    let entry = |number| OutputEntry {
        id: EntryId { attempt, number },
        stage: StageName::Tests,
        stream: Stream::Stdout,
        offset: number,
        text: text.to_owned(),
    };
    numbers.map(entry).map(Entry::from).collect()
}

async fn numbers(redis: &Redis, run: Uuid, attempt: u32) -> Vec<u64> {
    let read = redis.read_output(run, EntryId { attempt, number: 0 }, 100_000).await.unwrap();
    read.into_iter().map(|entry| entry.id().number).collect()
}

#[tokio::test]
async fn a_quiet_run_keeps_its_live_output_beside_as_many_loud_ones_as_may_run() {
    let server = RedisServer::start_small();
    let redis = Redis::open(&server.url(), "loud").unwrap();
    let config = Config::default();
    let quiet = Uuid::now_v7();
    let mut share = Share::from_config(&config);
    redis.append_within(&mut share, quiet, &entries(1, 1..=3, "quiet")).await.unwrap();
    let bucket = Bucket { interval: Duration::from_secs(3600), burst: 10 };
    redis.take_from_bucket("of-somebody", bucket, 9).await.unwrap();

    // Of 1 KiB in a project's output this makes 6 KiB here: 88 MiB in all, of which less than 64 MiB would fit.
    let nul = "\0".repeat(16 * 1024);
    let loud = futures_util::future::join_all((1..config.max_active_evaluations).map(async |_| {
        let (run, mut share) = (Uuid::now_v7(), Share::from_config(&config));
        for first in (1..=24).step_by(8) {
            redis.append_within(&mut share, run, &entries(1, first..=first + 7, &nul)).await.unwrap();
        }
        run
    }))
    .await;

    assert_eq!(numbers(&redis, quiet, 1).await, [1, 2, 3]);
    let left = redis.take_from_bucket("of-somebody", bucket, 5).await.unwrap();
    assert_eq!(left.given, 1, "what was taken before the flood is known");
    for run in loud {
        let kept = numbers(&redis, run, 1).await;
        assert!(kept.len() >= 4 && kept.last() == Some(&24), "who keeps up sees the newest: {kept:?}");
        assert!(kept.windows(2).all(|pair| pair[0] + 1 == pair[1]), "without a gap: {kept:?}");
    }
}

#[tokio::test]
async fn the_live_output_of_an_attempt_goes_with_it_and_the_next_ones_stays() {
    let server = RedisServer::start_small();
    let redis = Redis::open(&server.url(), "over").unwrap();
    let run = Uuid::now_v7();
    redis.append_output(run, &entries(1, 1..=3, "first")).await.unwrap();
    redis.append_output(run, &entries(2, 1..=2, "second")).await.unwrap();
    redis.drop_output(run, 1).await.unwrap();
    assert_eq!(numbers(&redis, run, 1).await, [1, 2], "those of the second");
    redis.drop_output(run, 2).await.unwrap();
    assert_eq!(numbers(&redis, run, 0).await, Vec::<u64>::new());
}
