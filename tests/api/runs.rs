//! Lists of runs, templates, health, and requests for things that do not exist.

use std::collections::HashSet;

use sqlx::PgPool;
use uuid::Uuid;

use crate::harness::{Server, id_of, json, problem};

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn pages_give_each_of_120_runs_once_newest_first(pool: PgPool) {
    let server = Server::start(pool).await;
    let mut wanted = server.insert_runs(120).await;
    wanted.reverse();
    for (filter, limit) in [("", 50), ("&status=queued", 7), ("", 120), ("&status=queued", 120)] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = json(server.get(&format!("/v1/runs?limit={limit}{filter}{cursor}")).send().await.unwrap()).await;
            seen.extend(page["runs"].as_array().unwrap().iter().map(id_of));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, wanted, "{filter} by {limit}");
    }
    let page = json(server.get("/v1/runs").send().await.unwrap()).await;
    assert_eq!(page["runs"].as_array().unwrap().len(), 50);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn runs_are_read_by_id_and_by_state(pool: PgPool) {
    let server = Server::start(pool).await;
    let ids = server.insert_runs(3).await;
    let lease = server.running().await;
    assert_eq!(lease.run_id, ids[0]);
    let list = async |query: &str| {
        let page = json(server.get(&format!("/v1/runs?{query}")).send().await.unwrap()).await;
        page["runs"].as_array().unwrap().iter().map(id_of).collect::<HashSet<_>>()
    };
    assert_eq!(list("status=running").await, HashSet::from([ids[0]]));
    assert_eq!(list("status=queued").await, HashSet::from([ids[1], ids[2]]));
    let unknown = Uuid::now_v7();
    assert_eq!(list(&format!("ids={},{unknown},{}", ids[0], ids[2])).await, HashSet::from([ids[0], ids[2]]));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_bad_parameter_is_refused_by_name(pool: PgPool) {
    let server = Server::start(pool).await;
    let run = server.queued().await;
    let many = vec![run.to_string(); 101].join(",");
    let cases = [
        ("/v1/runs?cursor=garbage".to_owned(), "malformed_cursor"),
        ("/v1/runs?cursor=".to_owned(), "malformed_cursor"),
        (format!("/v1/runs?cursor={}", "A".repeat(34)), "malformed_cursor"),
        ("/v1/runs?limit=0".to_owned(), "bad_parameter"),
        ("/v1/runs?limit=201".to_owned(), "bad_parameter"),
        ("/v1/runs?limit=-1".to_owned(), "bad_parameter"),
        ("/v1/runs?limit=x".to_owned(), "bad_parameter"),
        ("/v1/runs?status=asleep".to_owned(), "bad_parameter"),
        ("/v1/runs?colour=red".to_owned(), "bad_parameter"),
        ("/v1/runs?limit=1&limit=2".to_owned(), "bad_parameter"),
        ("/v1/runs?ids=".to_owned(), "malformed_ids"),
        ("/v1/runs?ids=1,2".to_owned(), "malformed_ids"),
        (format!("/v1/runs?ids={many}"), "bad_parameter"),
        (format!("/v1/runs?ids={run}&limit=5"), "bad_parameter"),
        (format!("/v1/runs/{run}?wait=61"), "bad_parameter"),
        (format!("/v1/runs/{run}?wait=-1"), "bad_parameter"),
        (format!("/v1/runs/{run}?wait=soon"), "bad_parameter"),
        (format!("/v1/runs/{run}?weight=1"), "bad_parameter"),
        (format!("/v1/runs/{run}/output?stage=lunch"), "bad_parameter"),
        (format!("/v1/runs/{run}/output?format=pdf"), "bad_parameter"),
        (format!("/v1/runs/{run}/output?after=x"), "malformed_event_id"),
        (format!("/v1/runs/{run}/verdict?format=pdf"), "bad_parameter"),
    ];
    for (path, code) in cases {
        problem(server.get(&path).send().await.unwrap(), 400, code).await;
    }
    let limit = problem(server.get("/v1/runs?limit=900").send().await.unwrap(), 400, "bad_parameter").await;
    assert_eq!((limit["limit"].as_u64(), limit["seen"].as_u64()), (Some(200), Some(900)));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn what_is_not_there_is_a_problem_too(pool: PgPool) {
    let server = Server::start(pool).await;
    let traversals = ["/v1/runs/..%2f..%2fetc%2fpasswd", "/v1/submissions/..%5c..", "/v1/runs/%00"];
    for path in traversals.into_iter().chain(["/v1/runs/%ff", "/v1/runs/0", "/v1/runs/1/output"]) {
        problem(server.get(path).send().await.unwrap(), 404, "not_found").await;
    }
    let run = server.queued().await;
    for path in [run.simple().to_string(), run.to_string().to_uppercase(), run.urn().to_string()] {
        problem(server.get(&format!("/v1/runs/{path}")).send().await.unwrap(), 404, "not_found").await;
    }
    for path in ["/", "/v2/runs", "/v1/run", "/v1/runs/"] {
        problem(server.get(path).send().await.unwrap(), 404, "no_such_route").await;
    }
    let wrong = server.client.delete(format!("{}/v1/runs", server.url)).send().await.unwrap();
    assert_eq!(wrong.headers()["allow"], "GET,HEAD");
    problem(wrong, 405, "method_not_allowed").await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn templates_and_probes_answer(pool: PgPool) {
    let server = Server::start(pool).await;
    let templates = json(server.get("/v1/templates").send().await.unwrap()).await;
    let unit = &templates["templates"][0];
    assert_eq!((unit["name"].as_str(), unit["integrity"].as_str()), (Some("unit"), Some("shared")));
    assert_eq!((unit["limits"]["pids"].as_u64(), unit["stages"][0]["timeout_s"].as_u64()), (Some(16), Some(1)));
    let open = |path: &str| server.client.get(format!("{}{path}", server.url)).send();
    assert_eq!(open("/livez").await.unwrap().text().await.unwrap(), "ok");
    let ready = open("/readyz").await.unwrap();
    assert_eq!(ready.status(), 200);
    assert_eq!(json(ready).await["ready"], true);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_request_id_is_kept_if_it_is_plain(pool: PgPool) {
    let server = Server::start(pool).await;
    let id_for = async |sent: &str| {
        let response = server.get("/v1/runs").header("x-request-id", sent).send().await.unwrap();
        response.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(id_for("abc-1.2").await, "abc-1.2");
    let too_long = "x".repeat(129);
    for forged in ["a b", "a\"b", too_long.as_str()] {
        assert!(id_for(forged).await.parse::<Uuid>().is_ok());
    }
}
