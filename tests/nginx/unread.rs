//! Clients that send their whole body before they read: a refusal must still reach them.

use std::sync::Arc;

use assize_config::Config;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::front::{self, Front, NAME};
use crate::harness::{Server, Setup, contract};
use crate::refusals::form_begin;

const MIB: usize = 1 << 20;

/// The size of the body that is sent: as large as an archive may be by default.
const BODY: usize = 100 * MIB;

async fn connect(front: &Front) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(front.certificate.der().clone()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let socket = TcpStream::connect(front.address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(NAME).unwrap(), socket).await.unwrap()
}

/// Sends a whole upload over HTTP/1.1 and only then reads. Returns the answer.
async fn answer_after(front: &Front, key: &str, content_type: &str, begin: &str, length: usize) -> String {
    let mut socket = connect(front).await;
    let head = format!(
        "POST /v1/submissions HTTP/1.1\r\nhost: {NAME}\r\nauthorization: Bearer {key}\r\n\
         content-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{begin}"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b'x'; MIB];
    let mut left = length - begin.len();
    while left > 0 {
        let next = left.min(piece.len());
        socket.write_all(&piece[..next]).await.expect("the connection was closed while the body was sent");
        left -= next;
    }
    socket.flush().await.unwrap();
    let mut answer = Vec::new();
    // A close without the end of TLS is an end, too.
    socket.read_to_end(&mut answer).await.ok();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    contract::check_raw(head.as_bytes(), &answer);
    answer
}

/// Starts both, and checks the answer to a whole upload.
async fn is_refused(pool: PgPool, change: impl FnOnce(&mut Config), form: (&str, &str), status: u16, code: &str) {
    let mut setup = Setup::default();
    change(&mut setup.config);
    let (server, front) = front::start(pool, setup).await;
    let Server { key, .. } = &server;
    let answer = answer_after(&front, key, form.0, form.1, BODY).await;
    let begin = format!("HTTP/1.1 {status} ");
    assert!(answer.starts_with(&begin) && answer.contains(&format!("\"code\":\"{code}\"")), "{answer:?}");
    assert_eq!(server.left_behind().await, (0, 0, 0, 0, 0));
}

const MULTIPART: &str = "multipart/form-data; boundary=b";

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn who_sends_too_much_reads_413_in_the_end(pool: PgPool) {
    is_refused(pool, |_| {}, (MULTIPART, &form_begin("unit")), 413, "archive_too_large").await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn who_sends_the_wrong_type_reads_415_in_the_end(pool: PgPool) {
    let large = |config: &mut Config| config.max_archive_bytes = 128 << 20;
    is_refused(pool, large, ("text/plain", &form_begin("unit")), 415, "not_multipart").await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn who_names_no_template_reads_422_in_the_end(pool: PgPool) {
    let large = |config: &mut Config| config.max_archive_bytes = 128 << 20;
    is_refused(pool, large, (MULTIPART, &form_begin("none")), 422, "unknown_template").await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn who_sends_to_a_full_disk_reads_507_in_the_end(pool: PgPool) {
    let full = |config: &mut Config| (config.max_archive_bytes, config.min_free_disk_mib) = (128 << 20, 1 << 40);
    is_refused(pool, full, (MULTIPART, &form_begin("unit")), 507, "disk_full").await;
}
