//! Rate limits of keys, of addresses and of wrong keys, over several processes and without Redis.

use std::time::Duration;

use assize::redis::{Bucket, Redis, Taken};
use assize_config::Config;
use assize_domain::key::KeyRole;
use assize_host::clock::Stopwatch;
use reqwest::Response;
use sqlx::PgPool;
use uuid::Uuid;

use crate::harness::processes::RedisServer;
use crate::harness::{Server, Setup, asked_until, json, problem};

fn limited(change: impl FnOnce(&mut Config)) -> Setup {
    let mut setup = Setup::default();
    change(&mut setup.config);
    setup
}

fn key_limit(config: &mut Config) {
    (config.rate_per_key, config.constants.rate_burst_s) = (1, 5);
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn ask(server: &Server, key: &str) -> Response {
    server.client.get(format!("{}/v1/templates", server.url)).bearer_auth(key).send().await.unwrap()
}

/// Asks until a refusal; how many were answered, and the refusal.
async fn drain(server: &Server, key: &str) -> (u64, Response) {
    for answered in 0..1000 {
        let response = ask(server, key).await;
        if response.status() != 200 {
            return (answered, response);
        }
    }
    panic!("there is no limit");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_key_has_so_many_requests_and_another_its_own(pool: PgPool) {
    let server = Server::start_with(pool, limited(key_limit)).await;
    let first = ask(&server, &server.key).await;
    assert_eq!(header(&first, "ratelimit-policy"), "\"key\";q=5;w=5");
    assert_eq!(header(&first, "ratelimit"), "\"key\";r=4;t=1");
    let begun = Stopwatch::start();
    let (answered, refused) = drain(&server, &server.key).await;
    assert!((4..=5 + begun.elapsed().as_secs()).contains(&answered), "{answered}");
    assert_eq!(header(&refused, "retry-after"), "1");
    assert!(header(&refused, "ratelimit").starts_with("\"key\";r=0;t=1"));
    problem(refused, 429, "too_many_requests").await;
    // Nothing that needs the key is answered, and nothing was stored.
    problem(server.submit(crate::harness::good_form()).send().await.unwrap(), 429, "too_many_requests").await;
    let other = server.key_with(server.organization, KeyRole::Read, None).await;
    assert_eq!(ask(&server, &other).await.status(), 200);
    // It is only for so long.
    asked_until(async || ask(&server, &server.key).await.status() == 200).await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn the_limit_of_a_key_holds_over_all_processes(pool: PgPool) {
    let instance = format!("t{}", Uuid::now_v7().simple());
    let setup = || Setup { instance: Some(instance.clone()), ..limited(key_limit) };
    let one = Server::start_with(pool.clone(), setup()).await;
    let other = Server::start_with(pool, setup()).await;
    let begun = Stopwatch::start();
    let (first, _) = drain(&one, &one.key).await;
    let (second, refused) = drain(&other, &one.key).await;
    assert_eq!(refused.status(), 429);
    assert!((5..=6 + begun.elapsed().as_secs()).contains(&(first + second)), "{first} and {second}");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_address_has_so_many_requests_whatever_it_claims_to_be(pool: PgPool) {
    let address_limit = |config: &mut Config| (config.rate_per_address, config.constants.rate_burst_s) = (1, 5);
    let livez = async |server: &Server, claimed: &str| {
        server.client.get(format!("{}/livez", server.url)).header("x-forwarded-for", claimed).send().await.unwrap()
    };
    let server = Server::start_with(pool.clone(), limited(address_limit)).await;
    let mut refused = None;
    for number in 0..20 {
        let response = livez(&server, &format!("198.51.100.{number}")).await;
        if response.status() == 429 {
            refused = Some(response);
            break;
        }
    }
    let refused = refused.expect("no limit");
    assert_eq!(header(&refused, "ratelimit-policy"), "\"address\";q=5;w=5");
    problem(refused, 429, "too_many_requests").await;
    problem(server.get("/v1/templates").send().await.unwrap(), 429, "too_many_requests").await;

    let trusting = |config: &mut Config| {
        address_limit(config);
        config.trusted_proxies = "127.0.0.1".to_owned();
    };
    let server = Server::start_with(pool, limited(trusting)).await;
    for number in 0..20 {
        assert_eq!(livez(&server, &format!("198.51.100.{number}")).await.status(), 200);
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn who_guesses_keys_is_not_heard_and_a_right_key_always_is(pool: PgPool) {
    let server = Server::start_with(pool, limited(|config| config.wrong_keys_per_minute = 3)).await;
    assert_eq!(ask(&server, &server.key).await.status(), 200);
    for _ in 0..3 {
        problem(ask(&server, assize_domain::key::mint().text()).await, 401, "key_invalid").await;
    }
    // The id of a good key with another secret is a guess, too.
    let crossed = format!("{}{}", &server.key[..40], &assize_domain::key::mint().text()[40..]);
    for guess in [assize_domain::key::mint().text(), "assize_x", &crossed] {
        let refused = ask(&server, guess).await;
        assert!((1..=20).contains(&header(&refused, "retry-after").parse::<u64>().unwrap()));
        problem(refused, 429, "too_many_wrong_keys").await;
    }
    // A key that was never seen before, and one that was, in between more guesses than are looked at in turn.
    let unseen = server.key_with(server.organization, KeyRole::Read, None).await;
    assert_eq!(ask(&server, &unseen).await.status(), 200);
    let guesses = futures_util::future::join_all((0..50).map(async |_| {
        problem(ask(&server, assize_domain::key::mint().text()).await, 429, "too_many_wrong_keys").await;
    }));
    let other = server.key_with(server.organization, KeyRole::Read, None).await;
    let (_, answer) = tokio::join!(guesses, ask(&server, &other));
    assert_eq!(answer.status(), 200);
    for _ in 0..5 {
        assert_eq!(ask(&server, &server.key).await.status(), 200);
    }
    // To send none is no guess.
    let none = server.client.get(format!("{}/v1/templates", server.url)).send().await.unwrap();
    problem(none, 401, "key_missing").await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn without_redis_each_process_enforces_the_limit_and_reports_it(pool: PgPool) {
    let mut redis = RedisServer::start();
    let setup = Setup { redis_url: redis.url(), ..limited(key_limit) };
    let server = Server::start_with(pool, setup).await;
    server.connected().await;
    assert_eq!(ask(&server, &server.key).await.status(), 200);
    let note = async || {
        let ready = json(server.client.get(format!("{}/readyz", server.url)).send().await.unwrap()).await;
        assert_eq!(ready["ready"], true);
        ready["degraded"].to_string().contains("rate limits are counted by this process alone")
    };
    assert!(!note().await);
    redis.kill();
    asked_until(note).await;
    let begun = Stopwatch::start();
    let (answered, refused) = drain(&server, &server.key).await;
    assert!(answered <= 6 + begun.elapsed().as_secs(), "{answered}");
    problem(refused, 429, "too_many_requests").await;
    let logs = crate::harness::logs::text();
    assert!(logs.contains("rate limits are counted by this process alone"));
    redis.restart();
    asked_until(async || !note().await).await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_redis_that_hangs_keeps_nobody_waiting(pool: PgPool) {
    // The server accepts connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let redis_url = format!("redis://{}", silent.local_addr().unwrap());
    let server = Server::start_with(pool, Setup { redis_url, ..limited(key_limit) }).await;
    let mut taken = Vec::new();
    for number in 0..20 {
        // Another key each: none has a batch.
        let key = server.key_with(server.organization, KeyRole::Read, None).await;
        let begun = Stopwatch::start();
        assert_eq!(ask(&server, &key).await.status(), 200, "{number}");
        taken.push(begun.elapsed());
    }
    taken.sort();
    assert!(taken[10] < Duration::from_millis(50) && taken[19] < Duration::from_millis(900), "{taken:?}");
    let (_, refused) = drain(&server, &server.key).await;
    problem(refused, 429, "too_many_requests").await;
}

#[tokio::test]
async fn a_bucket_in_redis_gives_its_burst_and_then_its_rate() {
    let redis = Redis::open(&Setup::default().redis_url, &format!("t{}", Uuid::now_v7().simple())).unwrap();
    let hour = Duration::from_secs(3600);
    let bucket = Bucket { interval: hour, burst: 5 };
    let take = async |wanted: u32| redis.take_from_bucket("key:x", bucket, wanted).await.unwrap();
    let is_about = |time: Duration, hours: u32| hour * hours - time < Duration::from_secs(60);
    let Taken { given, left, next_in, full_in } = take(3).await;
    assert_eq!((given, left, next_in), (3, 2, Duration::ZERO));
    assert!(full_in <= 3 * hour && is_about(full_in, 3), "{full_in:?}");
    let Taken { given, left, .. } = take(3).await;
    assert_eq!((given, left), (2, 0));
    let Taken { given, left, next_in, full_in } = take(3).await;
    assert_eq!((given, left), (0, 0));
    assert!(is_about(next_in, 1) && is_about(full_in, 5), "{next_in:?} {full_in:?}");
    let fast = Bucket { interval: Duration::from_micros(1), burst: u32::MAX };
    assert_eq!(redis.take_from_bucket("key:fast", fast, 100).await.unwrap().given, 100);
}

/// What the limits cost: `cargo test --test api what_limits_cost -- --ignored --nocapture`.
#[sqlx::test(migrations = "crates/store/sql/migrations")]
#[ignore = "a measurement"]
async fn what_limits_cost(pool: PgPool) {
    let none = |config: &mut Config| {
        (config.rate_per_key, config.rate_per_address, config.wrong_keys_per_minute) = (0, 0, 0);
    };
    let large = |config: &mut Config| {
        (config.rate_per_key, config.rate_per_address) = (100_000, 100_000);
        config.constants.rate_burst_s = 1;
    };
    let servers =
        [Server::start_with(pool.clone(), limited(none)).await, Server::start_with(pool, limited(large)).await];
    let mut taken = [Vec::new(), Vec::new()];
    for _ in 0..3000 {
        for (server, taken) in servers.iter().zip(&mut taken) {
            let begun = Stopwatch::start();
            assert_eq!(ask(server, &server.key).await.status(), 200);
            taken.push(begun.elapsed());
        }
    }
    for (what, taken) in ["without", "with"].iter().zip(&mut taken) {
        taken.sort();
        println!("{what} limits: p50 {:?}, p99 {:?}", taken[1500], taken[2970]);
    }
}
