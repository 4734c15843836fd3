//! Authentication and roles, and that no answer or log contains the secret of a key.

use assize_domain::key::KeyRole;
use reqwest::{Method, Response};
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::harness::client::ApiClient;
use crate::harness::{Server, good_form, json, logs, problem};

/// Every route that the service describes, with this id where one belongs.
async fn routes(server: &Server, id: Uuid) -> Vec<(Method, String, bool)> {
    let document = json(server.client.get(format!("{}/v1/openapi.json", server.url)).send().await.unwrap()).await;
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let method = method.to_uppercase().parse().unwrap();
            routes.push((method, path.replace("{id}", &id.to_string()), path.contains("{id}")));
        }
    }
    routes.retain(|(_, path, _)| path.starts_with("/v1/"));
    assert!(routes.len() >= 8, "{routes:?}");
    routes
}

async fn send(server: &Server, method: &Method, path: &str, key: Option<&str>) -> Response {
    let request = ApiClient::new().request(method.clone(), format!("{}{path}", server.url));
    key.map_or(request.try_clone().unwrap(), |key| request.bearer_auth(key)).send().await.unwrap()
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn what_is_no_bearer_key_is_none(pool: PgPool) {
    let server = Server::start(pool).await;
    let basic = server.client.get(format!("{}/v1/runs", server.url)).basic_auth("a", Some("b"));
    problem(basic.send().await.unwrap(), 401, "key_missing").await;
    let twice = server.get("/v1/runs").header("authorization", "Bearer x");
    problem(twice.send().await.unwrap(), 401, "key_missing").await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn another_organisations_ids_are_not_found_on_any_route(pool: PgPool) {
    let server = Server::start(pool).await;
    let created = json(server.submit(good_form()).send().await.unwrap()).await;
    let stranger = server.stranger().await;
    for what in ["submission", "run"] {
        let id: Uuid = created[what]["id"].as_str().unwrap().parse().unwrap();
        for (method, path, _) in routes(&server, id).await.into_iter().filter(|(_, _, has_id)| *has_id) {
            problem(send(&server, &method, &path, Some(&stranger)).await, 404, "not_found").await;
        }
    }
    let listed = |path: String| {
        let request = server.client.get(format!("{}{path}", server.url)).bearer_auth(&stranger);
        async move { json(request.send().await.unwrap()).await }
    };
    let id = created["run"]["id"].as_str().unwrap();
    assert_eq!(listed("/v1/runs".to_owned()).await["runs"], Value::Array(Vec::new()));
    assert_eq!(listed(format!("/v1/runs?ids={id}")).await["runs"], Value::Array(Vec::new()));
    // The owner still has it, and it was not cancelled.
    assert_eq!(json(server.get(&format!("/v1/runs/{id}")).send().await.unwrap()).await["status"], "queued");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn who_may_read_may_not_write(pool: PgPool) {
    let server = Server::start(pool).await;
    let run = server.queued().await;
    let reader = server.key_with(server.organization, KeyRole::Read, None).await;
    for (method, path, _) in routes(&server, run).await {
        let response = send(&server, &method, &path, Some(&reader)).await;
        if method == Method::POST {
            problem(response, 403, "role_missing").await;
        } else {
            assert!(![401, 403].contains(&response.status().as_u16()), "{method} {path}");
        }
    }
    let admin = server.key_with(server.organization, KeyRole::Admin, None).await;
    let cancelled = send(&server, &Method::POST, &format!("/v1/runs/{run}/cancel"), Some(&admin)).await;
    assert_eq!(cancelled.status(), 202);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_secret_reaches_no_log_no_answer_and_no_table(pool: PgPool) {
    let server = Server::start(pool).await;
    let secret = &server.key[40..];
    let run = server.queued().await;
    let mut answers = String::new();
    for key in [server.key.clone(), format!("assize_{}_{secret}", Uuid::now_v7().simple()), format!("x{}", server.key)]
    {
        for (method, path, _) in routes(&server, run).await {
            let response = send(&server, &method, &path, Some(&key)).await;
            answers.push_str(&format!("{:?}", response.headers()));
            answers.push_str(&response.text().await.unwrap());
        }
    }
    // In places where it does not belong.
    for path in [format!("/v1/runs/{secret}"), format!("/{secret}"), format!("/v1/runs?cursor={secret}")] {
        answers.push_str(&server.get(&path).send().await.unwrap().text().await.unwrap());
    }
    let as_request_id = server.get("/v1/runs").header("x-request-id", format!("\"{secret}")).send().await.unwrap();
    assert!(!as_request_id.headers()["x-request-id"].to_str().unwrap().contains(secret));
    assert!(!answers.contains(secret));
    assert!(logs::text().contains(&run.to_string()), "the logs are not being gathered");
    assert!(!logs::text().contains(secret));

    let tables: Vec<String> = sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
        .fetch_all(&server.pool)
        .await
        .unwrap();
    for table in tables {
        let query = format!("SELECT coalesce(string_agg(t::text, ' '), '') FROM {table} AS t");
        let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&server.pool).await.unwrap();
        assert!(!rows.contains(secret), "{table}");
    }
}
