//! Every route rejects callers without the right to use it. The routes come from the OpenAPI document, so that no route
//! is forgotten. This file lists the routes outside the document, and searches the code for more.

use std::collections::BTreeSet;

use assize_domain::key::KeyRole;
use reqwest::{Method, Response};
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::harness::{Server, json};
use crate::hostile::{hasty, raw};

/// Routes that answer anyone.
const OPEN: [&str; 3] = ["/livez", "/readyz", "/v1/openapi.json"];

/// Of these, those that the description does not have.
const NOT_DESCRIBED: [&str; 1] = ["/v1/openapi.json"];

struct Route {
    method: Method,
    /// With `{id}`.
    pattern: String,
    /// Whether the description says that it wants a key.
    wants_key: bool,
}

impl Route {
    fn path(&self, id: &str) -> String {
        self.pattern.replace("{id}", id)
    }

    fn has_id(&self) -> bool {
        self.pattern.contains("{id}")
    }
}

async fn routes(server: &Server) -> Vec<Route> {
    let document = json(server.client.get(format!("{}/v1/openapi.json", server.url)).send().await.unwrap()).await;
    let mut routes = Vec::new();
    for (pattern, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_uppercase().parse().unwrap();
            // `security: [{}]` or `[]` opens an operation that the document closes.
            let wants_key =
                operation["security"].as_array().is_none_or(|ways| ways.iter().any(|way| way["key"].is_array()));
            routes.push(Route { method, pattern: pattern.clone(), wants_key });
        }
    }
    assert!(routes.len() >= 10, "the description has lost its routes");
    routes
}

async fn send(server: &Server, method: &Method, path: &str, key: Option<&str>) -> Response {
    let request = server.client.request(method.clone(), format!("{}{path}", server.url));
    key.map_or(request.try_clone().unwrap(), |key| request.bearer_auth(key)).send().await.unwrap()
}

/// The members of a problem document, which all refusals of one kind share.
async fn refusal(response: Response, what: &str) -> (u16, String, BTreeSet<String>) {
    let status = response.status().as_u16();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    assert_eq!(kind.as_deref(), Some("application/problem+json"), "{what}: {status}");
    assert!(response.headers().contains_key("x-request-id"), "{what}");
    assert_eq!(response.headers().contains_key("www-authenticate"), status == 401, "{what}");
    let body = json(response).await;
    let code = body["code"].as_str().unwrap().to_owned();
    (status, code, body.as_object().unwrap().keys().cloned().collect())
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn every_route_refuses_every_wrong_caller_in_the_same_words(pool: PgPool) {
    let server = Server::start(pool).await;
    let created = json(server.submit(crate::harness::good_form()).send().await.unwrap()).await;
    let [submission, run] = ["submission", "run"].map(|what| created[what]["id"].as_str().unwrap().to_owned());
    let revoked = server.key_with(server.organization, KeyRole::Admin, None).await;
    assert!(server.store.revoke_key(Uuid::parse_str(&revoked["assize_".len()..][..32]).unwrap()).await.unwrap());
    let past = server.store.now().await.unwrap() - chrono::TimeDelta::seconds(1);
    let expired = server.key_with(server.organization, KeyRole::Admin, Some(past)).await;
    let unknown = assize_domain::key::mint().text().to_owned();
    let crossed = format!("{}{}", &server.key[..40], &unknown[40..]);
    let reader = server.key_with(server.organization, KeyRole::Read, None).await;
    let stranger = server.stranger().await;

    let mut open = BTreeSet::from(NOT_DESCRIBED.map(str::to_owned));
    let mut shapes = BTreeSet::new();
    for route in routes(&server).await {
        let id = if route.pattern.starts_with("/v1/submissions") { &submission } else { &run };
        let (method, path) = (&route.method, route.path(id));
        let what = format!("{method} {path}");
        if !route.wants_key {
            open.insert(route.pattern.clone());
            continue;
        }
        let mut refused = async |name: &str, key: Option<&str>, status: u16, code: &str| {
            let what = format!("{what} with {name}");
            let (seen, seen_code, shape) = refusal(send(&server, method, &path, key).await, &what).await;
            assert_eq!((seen, seen_code.as_str()), (status, code), "{what}");
            shapes.insert((code.to_owned(), shape));
        };
        refused("no key", None, 401, "key_missing").await;
        let long = "a".repeat(4000);
        for malformed in ["assize_", "x", "", &server.key[1..], long.as_str()] {
            refused("a malformed key", Some(malformed), 401, "key_invalid").await;
        }
        for (name, key) in [
            ("a revoked key", &revoked),
            ("an expired key", &expired),
            ("an unknown key", &unknown),
            ("a crossed key", &crossed),
        ] {
            refused(name, Some(key), 401, "key_invalid").await;
        }
        if *method != Method::GET {
            refused("a reader's key", Some(&reader), 403, "role_missing").await;
        }
        if route.has_id() {
            refused("another organisation's key", Some(&stranger), 404, "not_found").await;
        }
    }
    assert_eq!(open, BTreeSet::from(OPEN.map(str::to_owned)), "these answer anyone");
    let codes: BTreeSet<_> = shapes.iter().map(|(code, _)| code).collect();
    assert_eq!((codes.len(), shapes.len()), (4, 4), "one shape for each: {shapes:?}");
    // Nothing of it had an effect.
    assert_eq!(json(server.get(&format!("/v1/runs/{run}")).send().await.unwrap()).await["status"], "queued");
    assert_eq!(server.left_behind().await.1, 1);
}

#[test]
fn no_route_is_added_past_the_description() {
    let mut seen = Vec::new();
    let mut folders = vec![std::path::PathBuf::from("src/api")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let text = std::fs::read_to_string(entry.path()).unwrap();
            for call in [".route(", ".route_service(", ".nest(", ".nest_service(", ".merge("] {
                seen.extend(text.match_indices(call).map(|(at, _)| text[at..].lines().next().unwrap().to_owned()));
            }
        }
    }
    let document: serde_json::Value = serde_json::from_str(&assize::api::openapi_document()).unwrap();
    for call in seen {
        let path = call.strip_prefix(".route(\"").and_then(|rest| rest.split('"').next());
        let path = path.unwrap_or_else(|| panic!("{call} names no path: write .route(\"/path\", ..)"));
        // The router marks a parameter that takes the rest of a path with a star, and the document has no sign for it.
        let path = path.replace("{*", "{");
        let path = path.as_str();
        let is_known = document["paths"].get(path).is_some() || NOT_DESCRIBED.contains(&path);
        assert!(is_known, "{path} is not described, so no test tries it: name its handler in `Document`");
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_method_that_a_route_has_not_is_405_and_does_nothing(pool: PgPool) {
    let server = Server::start(pool).await;
    let run = server.queued().await.to_string();
    let routes = routes(&server).await;
    let described = routes.iter().map(|route| route.pattern.as_str()).chain(NOT_DESCRIBED);
    for pattern in described.collect::<BTreeSet<_>>() {
        let known: BTreeSet<Method> =
            routes.iter().filter(|route| route.pattern == pattern).map(|route| route.method.clone()).collect();
        let path = pattern.replace("{id}", &run);
        for method in ["PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "POST", "GET", "HEAD", "PROPFIND", "X"] {
            let method: Method = method.parse().unwrap();
            let answered_as = if method == Method::HEAD { Method::GET } else { method.clone() };
            if known.contains(&answered_as) || (NOT_DESCRIBED.contains(&pattern) && answered_as == Method::GET) {
                continue;
            }
            let response = send(&server, &method, &path, Some(&server.key)).await;
            assert!(response.headers().contains_key("allow"), "{method} {path}");
            if method == Method::HEAD {
                assert_eq!(response.status(), 405);
                continue;
            }
            let (status, code, _) = refusal(response, &format!("{method} {path}")).await;
            assert_eq!((status, code.as_str()), (405, "method_not_allowed"), "{method} {path}");
        }
    }
    assert_eq!(json(server.get(&format!("/v1/runs/{run}")).send().await.unwrap()).await["status"], "queued");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn head_wants_a_key_as_get_does_and_has_no_body(pool: PgPool) {
    let server = Server::start(pool).await;
    let run = server.queued().await.to_string();
    for route in routes(&server).await.iter().filter(|route| route.method == Method::GET) {
        let path = route.path(&run);
        let without = send(&server, &Method::HEAD, &path, None).await;
        assert_eq!(without.status() == 401, route.wants_key, "{path}");
        assert!(without.bytes().await.unwrap().is_empty());
        if route.has_id() {
            let stranger = server.stranger().await;
            assert_eq!(send(&server, &Method::HEAD, &path, Some(&stranger)).await.status(), 404, "{path}");
        }
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_id_that_is_none_leads_nowhere(pool: PgPool) {
    let server = Server::start_with(pool, hasty()).await;
    let run = server.queued().await;
    let odd = [
        "x".to_owned(),
        "0".to_owned(),
        "-1".to_owned(),
        "null".to_owned(),
        run.simple().to_string(),
        run.to_string().to_uppercase(),
        format!("{{{run}}}"),
        format!("%20{run}"),
        format!("{run}%00"),
        format!("{run}%0d%0ax:y"),
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd".to_owned(),
        "..%5c..%5cwindows".to_owned(),
        "%ff%fe".to_owned(),
        "%c0%ae%c0%ae".to_owned(),
        "'%20OR%201=1--".to_owned(),
        "%F0%9F%92%A9".to_owned(),
        "9".repeat(4000),
    ];
    let key = &server.key;
    let get = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\r\n")
    };
    for route in routes(&server).await.iter().filter(|route| route.has_id()) {
        for id in &odd {
            let request = get(&route.path(id)).replacen("GET", route.method.as_str(), 1);
            let answer = raw(&server, request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("\"not_found\""), "{request}: {answer}");
        }
    }
    // Over the raw socket, where no client tidies up.
    for path in [
        "/v1/../../etc/passwd",
        "/v1/runs/../templates",
        "//v1/runs",
        "/v1//runs",
        "/v1/runs/",
        "/V1/runs",
        "/v1/runs/..",
        "/.env",
        "/v1/runs/x/y/z",
    ] {
        let answer = raw(&server, get(path).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
    for path in ["livez", "*", "http://", "\\livez"] {
        let answer = raw(&server, get(path).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
    let runs: Value = json(server.get("/v1/runs").send().await.unwrap()).await;
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1);
}
