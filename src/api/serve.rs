//! Connections: counted, bounded in time, and ended in good order.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::Layer;

use super::crowd::{Crowd, Crowded};
use super::gate::{HEAD_BYTES, MOST_HEADERS};
use super::peer::{Peer, Proxies, Source};
use super::rate::Rates;
use super::socket::{SEND_BUFFER, Socket};
use super::{ApiState, Served, refusing_router, router};
use crate::host;
use crate::observe::{event, metrics};

/// Bytes of one connection that are read and not handled yet, and that are to be written.
const BUFFER: usize = 64 * 1024;

/// Connections over the limit that are told so at one time, and how long that may take; more are
/// closed without a word.
const MOST_REFUSED: usize = 64;
const REFUSAL: Duration = Duration::from_secs(2);

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the head of a request, and between requests on one connection. Without it half-sent
    /// headers hold a connection for ever (FAILURES 22).
    pub head: Duration,
    /// For a whole body.
    pub upload: Duration,
    /// Between two pieces of a body.
    pub upload_idle: Duration,
    /// For a client that takes nothing of its answer, or nearly nothing.
    pub unread: Duration,
    /// From the head of a request to the head of its answer: an upload, or a wait, and then some.
    pub request: Duration,
    /// For requests in progress when the service stops.
    pub stop: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            upload: Duration::from_secs(300),
            upload_idle: Duration::from_secs(30),
            unread: Duration::from_secs(60),
            request: Duration::from_secs(360),
            stop: Duration::from_secs(30),
        }
    }
}

/// Serves until `stop`, then lets requests in progress end. The caller runs
/// [`crate::redis::Redis::listen`] on the same hints.
///
/// # Errors
/// If the folder for uploads cannot be made, or `trusted_proxies` cannot be read.
pub async fn serve(state: ApiState, listener: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
    serve_within(Timeouts::default(), state, listener, stop).await
}

/// [`serve`] with other timeouts.
///
/// # Errors
/// If the folder for uploads cannot be made, or `trusted_proxies` cannot be read.
pub async fn serve_within(
    timeouts: Timeouts,
    state: ApiState,
    listener: TcpListener,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let config = &state.config;
    let spool = &config.spool_dir;
    std::fs::create_dir_all(spool)
        .with_context(|| format!("cannot make the folder for uploads {}; set spool_dir", spool.display()))?;
    let proxies = Proxies::read(&config.trusted_proxies)?;
    let holding = Crowd::new(usize::MAX, config.max_held_per_key as usize);
    let crowd = Crowd::new(config.max_connections as usize, config.max_connections_per_address as usize);
    let rates = Rates::new(state.redis.clone(), config);
    let served = Served { api: state, timeouts, stop: stop.clone(), proxies: Arc::new(proxies), rates, holding };
    let door = Door { crowd, proxies: Arc::clone(&served.proxies), refused: Arc::new(Semaphore::new(MOST_REFUSED)) };
    let router = router(served);
    let server = server(timeouts.head);
    let connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok((socket, address)) => (socket, address.ip()),
            Err(error) => {
                // Out of file descriptors, most likely: accepting at once would fail again at once.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let presence = match door.crowd.enter(Source::of(peer), door.proxies.trusts(peer)) {
            Ok(presence) => presence,
            Err(crowded) => {
                door.refuse(socket, peer, crowded);
                continue;
            }
        };
        // A line of live output must not wait for the next one to fill a packet.
        socket.set_nodelay(true).ok();
        host::bound_send_buffer(&socket, SEND_BUFFER);
        let service = TowerToHyperService::new(Extension(Peer(peer)).layer(router.clone()));
        let connection = server.serve_connection(TokioIo::new(Socket::new(socket, timeouts.unread)), service);
        let connection = connections.watch(connection);
        metrics().connections.inc();
        tokio::spawn(async move {
            // How a connection ends is the client's business; requests log themselves.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
            drop(presence);
            metrics().connections.dec();
        });
    }
    drop(listener);
    if tokio::time::timeout(timeouts.stop, connections.shutdown()).await.is_err() {
        tracing::warn!(seconds = timeouts.stop.as_secs(), "requests were still in progress after the time to stop");
    }
    Ok(())
}

fn server(head: Duration) -> http1::Builder {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(head);
    server.max_headers(MOST_HEADERS).max_header_size(HEAD_BYTES).max_buf_size(BUFFER);
    server
}

/// Who may connect, and what the others are told.
struct Door {
    crowd: Crowd<Source>,
    proxies: Arc<Proxies>,
    refused: Arc<Semaphore>,
}

impl Door {
    /// Answers one request with 503 and closes.
    fn refuse(&self, socket: TcpStream, peer: IpAddr, crowded: Crowded) {
        event::refused(match crowded {
            Crowded::Each { .. } => "connections_per_address",
            Crowded::All { .. } => "connections",
        });
        let Ok(permit) = Arc::clone(&self.refused).try_acquire_owned() else { return };
        let router: Router = refusing_router(crowded);
        let service = TowerToHyperService::new(Extension(Peer(peer)).layer(router));
        let mut server = server(REFUSAL);
        server.keep_alive(false);
        let connection = server.serve_connection(TokioIo::new(Socket::new(socket, REFUSAL)), service);
        tokio::spawn(async move {
            tokio::time::timeout(REFUSAL, connection).await.ok();
            drop(permit);
        });
    }
}
