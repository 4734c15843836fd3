//! The addresses of clients: nginx names the real ones, whatever a client sends.

use std::net::{IpAddr, Ipv4Addr};

use assize_config::Config;
use reqwest::{Client, Response};
use sqlx::PgPool;

use crate::front::{self, Front};
use crate::harness::{Setup, problem, until};

fn client(front: &Front, last: u8) -> Client {
    front.client(|client| client.local_address(IpAddr::from(Ipv4Addr::new(127, 0, 0, last))))
}

async fn get(front: &Front, client: &Client, path: &str, claimed: &str) -> Response {
    let request = client.get(format!("{}{path}", front.url()));
    request.header("x-forwarded-for", claimed).header("x-request-id", "mine-1").send().await.unwrap()
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn each_client_has_its_own_limit_and_a_claimed_address_gives_no_other(pool: PgPool) {
    let mut setup = Setup::default();
    (setup.config.rate_per_address, setup.config.constants.rate_burst_s) = (1, 5);
    let (_server, front) = front::start(pool, setup).await;
    let (first, second) = (client(&front, 2), client(&front, 3));
    let mut refused = None;
    for number in 0..30 {
        let answer = get(&front, &first, "/v1/templates", &format!("198.51.100.{number}")).await;
        if answer.status() == 429 {
            refused = Some(answer);
            break;
        }
    }
    // The answer of the API passes unchanged, with its headers.
    let refused = refused.expect("a claimed address had a limit of its own");
    assert_eq!(refused.headers()["ratelimit-policy"], "\"address\";q=5;w=5");
    assert_eq!(refused.headers()["x-request-id"], "mine-1");
    problem(refused, 429, "too_many_requests").await;
    // The claim to be the other client takes nothing from it.
    for _ in 0..10 {
        get(&front, &first, "/v1/templates", "127.0.0.3").await;
    }
    assert_eq!(get(&front, &second, "/v1/templates", "127.0.0.2").await.status(), 401);
    until(|| front.log("assize.log").contains("\"client\":\"127.0.0.3\"")).await;
    let log = front.log("assize.log");
    assert!(log.contains("\"client\":\"127.0.0.2\"") && log.contains("\"client\":\"127.0.0.3\""), "{log}");
    assert!(!log.contains("198.51.100") && log.contains("\"requestId\":\"mine-1\""), "{log}");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_id_that_the_api_would_not_accept_is_replaced_and_a_log_has_no_path_and_no_key(pool: PgPool) {
    let (server, front) = front::start(pool, Setup::default()).await;
    let answer = server.get("/v1/templates?secret=hunter2").header("x-request-id", "two words").send().await.unwrap();
    let id = answer.headers()["x-request-id"].to_str().unwrap();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let log = front.requests(1).await;
    assert!(log.contains(id) && !log.contains("hunter2") && !log.contains("templates"), "{log}");
    assert!(!log.contains(&server.key[..20]), "{log}");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn metrics_are_not_there_and_readiness_is_for_this_host_only(pool: PgPool) {
    let setup = Setup { config: Config { min_free_disk_mib: 0, ..Config::default() }, ..Setup::default() };
    let (_server, front) = front::start(pool, setup).await;
    let (near, far) = (client(&front, 1), client(&front, 2));
    for client in [&near, &far] {
        problem(get(&front, client, "/metrics", "127.0.0.1").await, 404, "no_such_route").await;
        assert_eq!(get(&front, client, "/livez", "127.0.0.1").await.status(), 200);
    }
    assert_eq!(get(&front, &near, "/readyz", "198.51.100.1").await.status(), 200);
    problem(get(&front, &far, "/readyz", "127.0.0.1").await, 404, "no_such_route").await;
}
