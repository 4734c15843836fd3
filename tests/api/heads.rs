//! Malicious heads of requests, over raw TCP (SECURITY.md, Hostile HTTP).

use sqlx::PgPool;

use crate::harness::{Server, problem};
use crate::hostile::{FIELD, hasty, post, raw};

async fn status(server: &Server, head: &str) -> String {
    let answer = raw(server, head.as_bytes()).await;
    answer.split(' ').nth(1).unwrap_or("closed").to_owned()
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_head_is_bounded_in_lines_and_bytes(pool: PgPool) {
    let server = Server::start_with(pool, hasty()).await;
    let lines = |count: usize| "x: y\r\n".repeat(count);
    let get = |rest: &str| format!("GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{rest}\r\n");
    assert_eq!(status(&server, &get(&lines(62))).await, "200");
    assert_eq!(status(&server, &get(&lines(63))).await, "431");
    assert_eq!(status(&server, &get(&format!("x: {}\r\n", "y".repeat(15 << 10)))).await, "200");
    assert_eq!(status(&server, &get(&format!("x: {}\r\n", "y".repeat(17 << 10)))).await, "431");
    let endless = format!("GET /livez HTTP/1.1\r\nx: {}", "y".repeat(1 << 20));
    for head in [get(&lines(100_000)), get(&format!("x: {}\r\n", "y".repeat(4 << 20))), endless, "G".repeat(1 << 20)] {
        // Whoever is still sending may lose the answer.
        let seen = status(&server, &head).await;
        assert!(["431", "400", "closed"].contains(&seen.as_str()), "{seen}");
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_address_is_bounded(pool: PgPool) {
    let server = Server::start_with(pool, hasty()).await;
    let path = |length: usize| format!("/v1/runs?cursor={}", "c".repeat(length - "/v1/runs?cursor=".len()));
    problem(server.get(&path(8192)).send().await.unwrap(), 400, "malformed_cursor").await;
    let body = problem(server.get(&path(8193)).send().await.unwrap(), 414, "uri_too_long").await;
    assert_eq!((body["limit"].as_u64(), body["seen"].as_u64()), (Some(8192), Some(8193)));
    for kib in [17, 70, 1024] {
        let seen = status(&server, &format!("GET {} HTTP/1.1\r\nhost: a\r\n\r\n", path(kib << 10))).await;
        assert!(["414", "431", "closed"].contains(&seen.as_str()), "{seen}");
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_request_that_gives_its_length_twice_is_the_last_of_its_connection(pool: PgPool) {
    let server = Server::start_with(pool, hasty()).await;
    // What follows the last chunk is a request to one of two readers, and must be one to none.
    let body = "0\r\n\r\nGET /v1/openapi.json HTTP/1.1\r\nhost: a\r\n\r\n";
    let length = format!("content-length: {}\r\n", body.len());
    let chunked = "transfer-encoding: chunked\r\n";
    for lines in [format!("{length}{chunked}"), format!("{chunked}{length}"), format!("{chunked}content-length: x\r\n")]
    {
        let answer = raw(&server, format!("POST /livez HTTP/1.1\r\nhost: a\r\n{lines}\r\n{body}").as_bytes()).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(answer.contains("connection: close") && !answer.contains("openapi"), "{answer}");
    }
    for lines in [
        "content-length: 1\r\ncontent-length: 2\r\n",
        "content-length: 1, 2\r\n",
        "content-length: +1\r\n",
        "content-length: -1\r\n",
        "content-length: 0x1\r\n",
        "content-length: 99999999999999999999999\r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: chunked, gzip\r\n",
        "transfer-encoding: xchunked\r\n",
        "content-length : 1\r\n",
        " content-length: 1\r\n",
    ] {
        let head = format!("POST /livez HTTP/1.1\r\nhost: a\r\n{lines}\r\nGET / HTTP/1.1\r\n\r\n");
        let answer = raw(&server, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.matches("HTTP/1.1 ").count() == 1, "{lines}: {answer}");
    }
    let head = "POST /livez HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(status(&server, head).await, "400");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn only_http_1_is_spoken(pool: PgPool) {
    let server = Server::start_with(pool, hasty()).await;
    // An upgrade is a wish that is not granted.
    let upgrade = "GET /livez HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings, close\r\nupgrade: h2c\r\n\
        http2-settings: AAMAAABkAAQAAP__\r\n\r\n";
    assert_eq!(status(&server, upgrade).await, "200");
    for head in [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /livez\r\n\r\n",
        "GET /livez HTTP/9.9\r\n\r\n",
        "GET /liv\0ez HTTP/1.1\r\n\r\n",
        "GET /livez HTTP/1.1\r\nx: a\0b\r\n\r\n",
        "GET /livez HTTP/1.1\r\nx: a\rb\r\n\r\n",
        "GET /livez HTTP/1.1\r\nno colon\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}",
        "CONNECT",
    ] {
        let seen = status(&server, head).await;
        assert!(["400", "closed", "505"].contains(&seen.as_str()), "{head:?}: {seen}");
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_body_that_is_compressed_as_a_whole_is_415_on_every_route(pool: PgPool) {
    let server = Server::start_with(pool, hasty()).await;
    for encoding in ["gzip", "br", "identity, gzip", "x"] {
        for request in [server.post("/v1/submissions"), server.post("/v1/nothing"), server.get("/livez")] {
            let request = request.header("content-encoding", "identity").header("content-encoding", encoding);
            problem(request.body("\u{1f}").send().await.unwrap(), 415, "content_encoding").await;
        }
    }
    assert_eq!(server.get("/livez").header("content-encoding", "Identity").send().await.unwrap().status(), 200);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn who_asks_first_sends_nothing_in_vain(pool: PgPool) {
    let server = Server::start_with(pool, hasty()).await;
    let wrong = post(&server, "expect: 100-continue\r\ncontent-length: 1000", "");
    let wrong = String::from_utf8(wrong).unwrap().replace(&server.key, "wrong");
    assert_eq!(status(&server, &wrong).await, "401", "no 100 before the key is known");
    let long = String::from_utf8(post(&server, "expect: 100-continue\r\ncontent-length: 9000000000", "")).unwrap();
    assert_eq!(status(&server, &long).await, "413");
    let good = String::from_utf8(post(&server, "expect: 100-Continue\r\ncontent-length: 1000", "")).unwrap();
    assert_eq!(status(&server, &good).await, "100");
    problem(server.get("/livez").header("expect", "a-pony").send().await.unwrap(), 417, "expectation").await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn chunks_that_lie_and_chunks_that_are_too_small_are_rejected(pool: PgPool) {
    let server = Server::start_with(pool, hasty()).await;
    let field_chunk = format!("{:x}\r\n{FIELD}\r\n", FIELD.len());
    let flood = format!("{}0\r\n\r\n", "1;abcdefgh=b\r\nx\r\n".repeat(10_000));
    for (body, wanted) in [
        ("zz\r\nx\r\n".to_owned(), "malformed_multipart"),
        ("fffffffffffffffff\r\nx\r\n".to_owned(), "malformed_multipart"),
        ("5\r\nabcdefgh\r\n0\r\n\r\n".to_owned(), "malformed_multipart"),
        (format!("{field_chunk}0\r\n\r\n"), "malformed_multipart"),
        (format!("{field_chunk}1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(64 << 10)), "malformed_multipart"),
        (format!("{field_chunk}0\r\n{}\r\n", "trailer: x\r\n".repeat(10_000)), "malformed_multipart"),
        (flood, "malformed_multipart"),
        (format!("{}0\r\n\r\n", "1\r\n-\r\n".repeat(10_000)), "chunks_too_small"),
    ] {
        let answer = raw(&server, &post(&server, "transfer-encoding: chunked", &body)).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(wanted), "{wanted}: {answer}");
    }
    assert_eq!(server.left_behind().await, (0, 0, 0, 0, 0));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn multipart_that_is_cut_anywhere_is_400_and_leaves_nothing(pool: PgPool) {
    let server = Server::start_with(pool, hasty()).await;
    let whole = format!("{FIELD}\r\n--b\r\ncontent-disposition: form-data; name=\"template\"\r\n\r\nunit\r\n--b--\r\n");
    // Whole but for the archive; every shorter one is not whole.
    for length in (0..=whole.len()).step_by(7).chain([whole.len()]) {
        let answer =
            raw(&server, &post(&server, &format!("connection: close\r\ncontent-length: {length}"), &whole[..length]))
                .await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{length}: {answer}");
    }
    for name in ["user", "template", "metadata", "archive"] {
        let value = if name == "template" { "unit" } else { "{}" };
        let part = format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        let request = server.post("/v1/submissions").header("content-type", "multipart/form-data; boundary=b");
        let request = request.body(format!("{}--b--\r\n", part.repeat(2)));
        problem(request.send().await.unwrap(), 400, "repeated_field").await;
    }
    assert_eq!(server.left_behind().await, (0, 0, 0, 0, 0));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_request_id_is_taken_if_it_is_plain_and_stands_in_every_line_and_answer(pool: PgPool) {
    let server = Server::start(pool).await;
    let id = format!("trace-{}", uuid::Uuid::now_v7());
    let request = server.submit(crate::harness::good_form()).header("x-request-id", &id);
    assert_eq!(request.send().await.unwrap().headers()["x-request-id"], id.as_str());
    let logs = crate::harness::logs::text();
    for message in ["run queued", "request answered"] {
        assert!(logs.lines().any(|line| line.contains(message) && line.contains(&id)), "no line {message:?} with {id}");
    }
    let long = "x".repeat(129);
    for wrong in ["", "a b", "a\"b", "{}", "\u{e9}", long.as_str()] {
        for path in ["/livez", "/v1/runs", "/nowhere", "/v1/runs/x"] {
            let value = reqwest::header::HeaderValue::from_bytes(wrong.as_bytes()).unwrap();
            let response = server.get(path).header("x-request-id", value).send().await.unwrap();
            let given = response.headers()["x-request-id"].to_str().unwrap().to_owned();
            assert!(given.parse::<uuid::Uuid>().is_ok(), "{wrong:?} on {path}: {given}");
        }
    }
}
