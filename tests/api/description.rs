//! The description of the API that is generated from its handlers.

use serde_json::Value;
use sqlx::PgPool;

use crate::harness::{Server, json};

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn the_description_names_every_route_and_all_that_it_refers_to(pool: PgPool) {
    let server = Server::start(pool).await;
    let answer = server.client.get(format!("{}/v1/openapi.json", server.url)).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    let document = json(answer).await;
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let wanted = [
        "/livez",
        "/readyz",
        "/v1/runs",
        "/v1/runs/{id}",
        "/v1/runs/{id}/cancel",
        "/v1/runs/{id}/output",
        "/v1/runs/{id}/verdict",
        "/v1/signing-keys",
        "/v1/submissions",
        "/v1/submissions/{id}",
        "/v1/templates",
    ];
    assert!(wanted.iter().all(|path| paths.contains(path)) && paths.len() == wanted.len(), "{paths:?}");
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 10);
    for reference in found {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    assert_eq!(document["components"]["securitySchemes"]["key"]["scheme"], "bearer");
    assert_eq!(document["security"][0]["key"], Value::Array(Vec::new()));
    let run = &document["components"]["schemas"]["Run"]["properties"];
    assert!(["id", "status", "attempt", "failure"].iter().all(|name| !run[name].is_null()), "{run}");
}
