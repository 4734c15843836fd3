//! Requests that no client library sends, written to the socket byte by byte.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{case, record_answer};
use crate::case::Case;
use crate::context::AttackContext;

/// The longest time that an answer to a complete request may take.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(20);

/// Time to wait for a second answer; requests that arrive in one piece are answered at once.
const PAUSE: Duration = Duration::from_millis(700);

/// Bytes of an answer that are read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Name, what is tried, control, allowed answers; the bytes are in [`bytes_of`].
const ALL: &[(&str, &str, &str, &[&str])] = &[
    (
        "length-and-chunks",
        "a length and chunks together, with a request inside (CL.TE)",
        "one answer at most, then the connection ends",
        &["one", "400"],
    ),
    ("two-lengths", "two different lengths", "400", &["400"]),
    ("negative-length", "a negative length", "400", &["400"]),
    ("huge-length", "a length of 10^30", "400", &["400"]),
    ("two-encodings", "transfer encodings of which the last is not chunked", "400", &["400", "501"]),
    ("chunk-overflow", "a chunk of 2^72 bytes", "400", &["400", "closed"]),
    ("chunk-negative", "a chunk of -1 bytes", "400", &["400", "closed"]),
    ("chunk-extension", "a chunk with an extension of 100 kB", "the connection ends", &["400", "413", "closed"]),
    (
        "chunk-bomb",
        "100,000 chunks of one byte that are no form",
        "the form is refused",
        &["400", "404", "413", "closed"],
    ),
    (
        "trailer-bomb",
        "chunks with trailers without end",
        "the connection ends",
        &["400", "404", "413", "431", "closed"],
    ),
    ("headers-many", "10,000 headers", "431", &["431", "400"]),
    ("header-long", "a header of 1 MB", "431", &["431", "400"]),
    ("address-long", "an address of 1 MB", "414", &["414", "431", "400"]),
    ("nonsense", "no request at all", "400", &["400"]),
    ("http-0-9", "a request of HTTP/0.9", "400", &["400"]),
    ("http-2", "the preface of HTTP/2", "400", &["400", "505", "closed"]),
    ("tls", "a TLS handshake", "400", &["400"]),
    ("folded-header", "a header that continues in the next line", "400", &["400"]),
    ("header-nul", "a NUL in a header", "400", &["400"]),
    ("space-before-colon", "a space before a header's colon", "400", &["400"]),
    ("bare-line-feed", "a body smuggled behind bare line feeds", "one answer at most", &["one", "400", "404"]),
    ("connect", "CONNECT to another host", "no tunnel", &["400", "404", "405"]),
    ("absolute", "the address of another host, as to a proxy", "nothing is fetched", &["404", "400", "405"]),
    ("pipeline", "1,000 requests at once, half of them broken off", "answered one by one", &["200"]),
];

pub(super) fn cases() -> Vec<Case> {
    ALL.iter().map(|(name, tried, control, _)| case(name, tried, control)).collect()
}

pub(super) async fn run(context: &AttackContext) {
    for ((name, _, _, allowed), case) in ALL.iter().zip(cases()) {
        if context.wants(&case.id) {
            let answered =
                exchange(context, &bytes_of(name, &context.target.key)).await.map(|answer| status_line(&answer));
            record_answer(context, name, answered, allowed).await;
        }
    }
}

fn bytes_of(name: &str, key: &str) -> Vec<u8> {
    let run = "POST /v1/runs/00000000-0000-0000-0000-000000000000/cancel HTTP/1.1\r\nhost: a\r\n";
    let inner = "0\r\n\r\nGET /v1/openapi.json HTTP/1.1\r\nhost: a\r\n\r\n";
    let with = |lines: &str| format!("GET /livez HTTP/1.1\r\nhost: a\r\n{lines}\r\n\r\n");
    // With a key, and to a route that takes a body, so that the service reads it.
    let chunks = |lines: &str| {
        format!(
            "POST /v1/submissions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\n\
             content-type: multipart/form-data; boundary=b\r\ntransfer-encoding: chunked\r\n\r\n{lines}"
        )
    };
    let text = match name {
        "length-and-chunks" => format!(
            "POST /livez HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\ntransfer-encoding: chunked\r\n\r\n{inner}",
            inner.len()
        ),
        "two-lengths" => with("content-length: 1\r\ncontent-length: 2"),
        "negative-length" => with("content-length: -1"),
        "huge-length" => with("content-length: 1000000000000000000000000000000"),
        "two-encodings" => format!("{run}transfer-encoding: chunked, identity\r\n\r\n{inner}"),
        "chunk-overflow" => chunks("ffffffffffffffffff\r\nx"),
        "chunk-negative" => chunks("-1\r\nx"),
        "chunk-extension" => chunks(&format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(100_000))),
        "chunk-bomb" => chunks(&format!("{}0\r\n\r\n", "1\r\nx\r\n".repeat(100_000))),
        "trailer-bomb" => chunks(&format!("1\r\nx\r\n0\r\n{}", "t: t\r\n".repeat(50_000))),
        "headers-many" => with(&"x: y\r\n".repeat(10_000)),
        "header-long" => with(&format!("x: {}", "y".repeat(1 << 20))),
        "address-long" => format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(1 << 20)),
        "nonsense" => "nonsense\r\n\r\n".to_owned(),
        "http-0-9" => "GET /livez\r\n\r\n".to_owned(),
        "http-2" => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "tls" => return [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[7; 500]].concat(),
        "folded-header" => with("x: a\r\n b"),
        "header-nul" => with("x: a\0b"),
        "space-before-colon" => with("content-length : 5"),
        "bare-line-feed" => {
            "GET /livez HTTP/1.1\nhost: a\ncontent-length: 50\n\nGET /v1/openapi.json HTTP/1.1\nhost: a\n\n".to_owned()
        }
        "connect" => "CONNECT 169.254.169.254:80 HTTP/1.1\r\nhost: 169.254.169.254:80\r\n\r\n".to_owned(),
        "absolute" => {
            "GET http://169.254.169.254/latest/meta-data HTTP/1.1\r\nhost: 169.254.169.254\r\n\r\n".to_owned()
        }
        "pipeline" => "GET /livez HTTP/1.1\r\nhost: a\r\n\r\n".repeat(500) + "GET /livez HTTP/1.1\r\nhost",
        _ => String::new(),
    };
    text.into_bytes()
}

/// Sends the bytes and reads until the service closes the connection or pauses. The client does not close its half: a
/// service may drop a half-closed connection without an answer.
pub(super) async fn exchange(context: &AttackContext, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut socket = TcpStream::connect(context.target.address).await.map_err(|error| error.to_string())?;
    let (mut reader, mut writer) = socket.split();
    let mut answer = Vec::new();
    // A service that has read enough closes the connection; then writing fails, which is correct.
    let sending = async {
        writer.write_all(bytes).await.ok();
        std::future::pending::<()>().await;
    };
    let reading = async {
        let mut buffer = [0; 8192];
        loop {
            // A reset is an end too, and so is a pause after an answer: a second answer would have arrived.
            let piece = if answer.is_empty() {
                reader.read(&mut buffer).await
            } else {
                match tokio::time::timeout(PAUSE, reader.read(&mut buffer)).await {
                    Ok(piece) => piece,
                    Err(_) => return,
                }
            };
            match piece {
                Ok(length @ 1..) if answer.len() < MAX_ANSWER_BYTES => answer.extend_from_slice(&buffer[..length]),
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
        }
    };
    let ended = tokio::select! {
        () = reading => true,
        () = sending => false,
        () = tokio::time::sleep(EXCHANGE_TIMEOUT) => false,
    };
    if ended { Ok(answer) } else { Err(format!("neither an answer nor an end after {} s", EXCHANGE_TIMEOUT.as_secs())) }
}

/// The status of the answer, with `one` if there was no second answer; a second answer is quoted.
fn status_line(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    if text.contains("\"openapi\":") {
        return "a smuggled request was answered".to_owned();
    }
    if text.is_empty() {
        return "closed without an answer".to_owned();
    }
    let answers = text.matches("HTTP/1.1 ").count();
    let status = text.split(' ').nth(1).unwrap_or("?");
    if answers == 1 { format!("{status} in one answer") } else { format!("{status} in {answers} answers") }
}

/// Whether the service still reports that it is ready, within a second.
pub(super) async fn ready(context: &AttackContext) -> Result<(), String> {
    let url = format!("http://{}/readyz", context.target.address);
    let asked = context.http.get(url).timeout(Duration::from_secs(5)).send().await;
    match asked {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(format!("/readyz answered {}", answer.status().as_u16())),
        Err(error) => Err(format!("/readyz did not answer: {error}")),
    }
}
