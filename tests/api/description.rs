//! The contract of the API: the OpenAPI document and the list of problem codes, which are generated from the code and
//! have copies in the tree.

use std::fmt::Write;

use assize::api::{ProblemCode, openapi_document};
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
        "/v1/runs/{id}/artifacts",
        "/v1/runs/{id}/artifacts/{name}",
        "/v1/runs/{id}/cancel",
        "/v1/runs/{id}/output",
        "/v1/runs/{id}/verdict",
        "/v1/signing-keys",
        "/v1/submissions",
        "/v1/submissions/{id}",
        "/v1/templates",
    ];
    assert!(wanted.iter().all(|path| paths.contains(path)) && paths.len() == wanted.len(), "{paths:?}");
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
    let ids: Vec<_> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let url = format!("{}{}", server.url, path.replace("{id}", &server.key));
            let method = method.to_uppercase().parse().unwrap();
            let answer = server.client.request(method, url).send().await.unwrap().text().await.unwrap();
            let is_routed = !["no_such_route", "method_not_allowed"].iter().any(|code| answer.contains(code));
            assert!(is_routed, "{path}: {answer}");
        }
    }
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

/// Compares a text with its copy in the tree. `UPDATE_SNAPSHOTS=1` writes the copy instead.
fn check_snapshot(path: &str, text: &str) {
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(path, text).unwrap();
        return;
    }
    let copy = std::fs::read_to_string(path).unwrap();
    let advice = "run `UPDATE_SNAPSHOTS=1 cargo test --test api the_copy` and review the difference";
    assert!(copy == text, "{path} differs from the code; {advice}");
}

#[test]
fn the_copy_of_the_openapi_document_is_current() {
    check_snapshot("docs/openapi.json", &openapi_document());
}

#[test]
fn the_copy_of_the_list_of_problem_codes_is_current() {
    let mut text = "# Problem codes\n\n\
        Every error of the API is a problem document (RFC 9457, `application/problem+json`). Its member `code` is one of\n\
        the codes below. From version 0.1.0 on, a code keeps its meaning and its status. New versions may add codes; treat an\n\
        unknown code by its HTTP status.\n\n\
        The members `limit` and `seen` are present where a limit was exceeded. `help` describes what to do next. Where\n\
        `help` is absent, the last part of `detail` does.\n\n\
        This file is generated: `UPDATE_SNAPSHOTS=1 cargo test --test api the_copy`.\n"
        .to_owned();
    for (heading, codes) in ProblemCode::sections() {
        writeln!(text, "\n## {heading}\n\n| code | status | what was wrong | what to do |\n|---|---|---|---|").unwrap();
        for ProblemCode { name, status, meaning, advice } in codes {
            writeln!(text, "| `{name}` | {status} | {meaning} | {advice} |").unwrap();
        }
    }
    check_snapshot("docs/problems.md", &text);
}

#[test]
fn every_problem_code_belongs_to_a_route() {
    let document: Value = serde_json::from_str(&openapi_document()).unwrap();
    let described = document["paths"].to_string();
    // Only a request outside every route receives these two.
    let outside = ["no_such_route", "method_not_allowed"];
    for ProblemCode { name, .. } in ProblemCode::all() {
        assert_eq!(described.contains(&format!("\"{name}\"")), !outside.contains(&name), "{name}");
    }
}
