//! Refusals of the API through nginx: the problem document arrives although the body is still coming.

use std::io;

use assize_config::Config;
use axum::http::HeaderMap;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use reqwest::{Body, Response};
use sqlx::PgPool;

use crate::front::{self, ClientChange, Front, PROTOCOLS};
use crate::harness::{DEADLINE, Server, Setup, good_form, problem};

const MIB: usize = 1 << 20;

/// A piece of a body.
static PIECE: Bytes = Bytes::from_static(&[b'x'; MIB]);

const MULTIPART: &str = "multipart/form-data; boundary=b";

/// The begin of a form: its template, its user and the head of its archive.
pub fn form_begin(template: &str) -> String {
    format!(
        "--b\r\ncontent-disposition: form-data; name=\"template\"\r\n\r\n{template}\r\n\
         --b\r\ncontent-disposition: form-data; name=\"user\"\r\n\r\nada\r\n\
         --b\r\ncontent-disposition: form-data; name=\"archive\"; filename=\"a.zip\"\r\n\r\n"
    )
}

/// A body that begins and then never ends.
fn endless(begin: String) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let pieces = [Bytes::from(begin), PIECE.clone(), PIECE.clone(), PIECE.clone()];
    let pieces = futures_util::stream::iter(pieces.map(Ok));
    pieces.chain(futures_util::stream::pending())
}

/// A request whose body never ends.
struct Upload<'a> {
    key: &'a str,
    content_type: &'a str,
    begin: String,
    /// The announced length, if any.
    length: Option<usize>,
}

impl Upload<'_> {
    fn new(key: &str) -> Upload<'_> {
        Upload { key, content_type: MULTIPART, begin: form_begin("unit"), length: None }
    }

    /// Returns the answer, which must arrive while the body is coming.
    async fn send(&self, front: &Front, change: ClientChange) -> Response {
        let mut request = front.client(change).post(format!("{}/v1/submissions", front.url()));
        request = request.bearer_auth(self.key).header("content-type", self.content_type);
        if let Some(length) = self.length {
            request = request.header("content-length", length);
        }
        let sent = request.body(Body::wrap_stream(endless(self.begin.clone()))).send();
        tokio::time::timeout(DEADLINE, sent).await.expect("no answer while the body is coming").unwrap()
    }

    /// Sends it over both protocols, and checks the problem. Returns the header lines of the answers.
    async fn is_refused(&self, front: &Front, status: u16, code: &str) -> Vec<HeaderMap> {
        let mut headers = Vec::new();
        for (change, _) in PROTOCOLS {
            let answer = self.send(front, change).await;
            headers.push(answer.headers().clone());
            problem(answer, status, code).await;
        }
        headers
    }
}

fn limited(change: impl FnOnce(&mut Config)) -> Setup {
    let mut setup = Setup::default();
    change(&mut setup.config);
    setup
}

async fn assert_nothing_is_left(server: &Server) {
    assert_eq!(server.left_behind().await, (0, 0, 0, 0, 0));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn what_is_wrong_with_an_upload_is_answered_while_it_is_coming(pool: PgPool) {
    let (server, front) = front::start(pool, Setup::default()).await;
    let upload = || Upload::new(&server.key);
    Upload { length: Some(150 * MIB), ..upload() }.is_refused(&front, 413, "archive_too_large").await;
    upload().is_refused(&front, 413, "archive_too_large").await;
    Upload { content_type: "text/plain", ..upload() }.is_refused(&front, 415, "not_multipart").await;
    Upload { begin: form_begin("none"), ..upload() }.is_refused(&front, 422, "unknown_template").await;
    Upload { key: "assize_x", ..upload() }.is_refused(&front, 401, "key_invalid").await;
    assert_nothing_is_left(&server).await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_rate_limit_of_the_api_is_answered_while_the_upload_is_coming_with_its_headers(pool: PgPool) {
    // Without Redis the count does not depend on how fast Redis answers.
    let setup = limited(|config| config.wrong_keys_per_minute = 1);
    let (server, front) = front::start(pool, Setup { redis_url: "redis://127.0.0.1:1".to_owned(), ..setup }).await;
    let wrong = assize_domain::key::mint();
    let first = server.client.get(format!("{}/v1/templates", server.url)).bearer_auth(wrong.text());
    problem(first.send().await.unwrap(), 401, "key_invalid").await;
    for headers in Upload::new(wrong.text()).is_refused(&front, 429, "too_many_wrong_keys").await {
        assert_eq!(headers["ratelimit-policy"], "\"wrong_keys\";q=1;w=60");
        assert!(headers.contains_key("ratelimit") && headers.contains_key("retry-after"), "{headers:?}");
    }
    assert_nothing_is_left(&server).await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_full_queue_is_answered_while_the_upload_is_coming(pool: PgPool) {
    let (server, front) = front::start(pool, limited(|config| config.per_user_max_queued = 1)).await;
    assert_eq!(server.submit(good_form()).send().await.unwrap().status(), 202);
    Upload::new(&server.key).is_refused(&front, 429, "user_queue_full").await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_full_disk_is_answered_while_the_upload_is_coming(pool: PgPool) {
    // No disk has so much free space.
    let (server, front) = front::start(pool, limited(|config| config.min_free_disk_mib = 1 << 40)).await;
    let headers = Upload::new(&server.key).is_refused(&front, 507, "disk_full").await;
    assert!(headers.iter().all(|headers| headers["retry-after"] == "60"), "{headers:?}");
    assert_nothing_is_left(&server).await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_upload_that_stalls_gets_the_apis_408_and_not_a_closed_connection(pool: PgPool) {
    let mut setup = Setup::default();
    setup.timeouts.upload_idle = std::time::Duration::from_millis(300);
    setup.config.max_archive_bytes = 64 << 20;
    let (server, front) = front::start(pool, setup).await;
    Upload::new(&server.key).is_refused(&front, 408, "body_stalled").await;
    assert_nothing_is_left(&server).await;
}
