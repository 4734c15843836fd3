//! Connections: counted, bounded in time, and ended in good order.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::Layer;

use super::connections::{Connection, Connections, Entered, Leaving};
use super::crowd::{Crowd, Crowded};
use super::gate::{HEAD_BYTES, MOST_HEADERS};
use super::peer::{Peer, Proxies, Source};
use super::rate::Rates;
use super::socket::{SEND_BUFFER, Socket};
use super::{ApiState, Served, refusing_router, router};
use assize_host as host;
use assize_observe::{event, metrics};

/// Bytes of one connection that are read and not handled yet, and that are to be written.
const BUFFER: usize = 64 * 1024;

/// Connections over the limit that are told so at one time, and how long that may take; more are
/// closed without a word.
const MOST_REFUSED: usize = 64;
const REFUSAL: Duration = Duration::from_secs(2);

/// How long the end of a connection that was told to go is waited for.
const CLOSING: Duration = Duration::from_millis(100);

/// The pause after a connection could not be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

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
    let open = Connections::new(config.max_connections as usize, config.max_connections_per_address as usize);
    let rates = Rates::new(state.redis.clone(), config);
    let served = Served { api: state, timeouts, stop: stop.clone(), proxies: Arc::new(proxies), rates, holding };
    let door = Door { open, proxies: Arc::clone(&served.proxies), refused: Arc::new(Semaphore::new(MOST_REFUSED)) };
    let router = router(served);
    let server = server(timeouts.head);
    let connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Some((socket, peer)) = door.accepted(accepted).await else { continue };
        let Entered { connection: entered, leaving } =
            match door.open.enter(Source::of(peer), door.proxies.trusts(peer)) {
                Ok(entered) => entered,
                Err(crowded) => {
                    door.refuse(socket, peer, crowded);
                    continue;
                }
            };
        if let Some(leaving) = leaving {
            event::refused("half_heads");
            closed(leaving).await;
        }
        // A line of live output must not wait for the next one to fill a packet.
        socket.set_nodelay(true).ok();
        host::bound_send_buffer(&socket, SEND_BUFFER);
        let entered = Arc::new(entered);
        let layers = (Extension(Peer(peer)), Extension(Arc::clone(&entered)));
        let service = Attended {
            inner: TowerToHyperService::new(layers.layer(router.clone())),
            connection: Arc::clone(&entered),
        };
        let connection = server.serve_connection(TokioIo::new(Socket::new(socket, timeouts.unread)), service);
        let connection = connections.watch(connection);
        metrics().connections.inc();
        tokio::spawn(async move {
            tokio::select! {
                // How a connection ends is the client's business; requests log themselves.
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                },
                () = entered.told_to_leave() => {}
            }
            // Only now, when the socket is closed.
            drop(entered);
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

/// Waits until the socket is closed of a connection that was told to go, so that there are never more than are
/// let in; but no longer than a runtime that is not overloaded takes for it.
async fn closed(leaving: Leaving) {
    tokio::time::timeout(CLOSING, leaving.gone()).await.ok();
}

/// A router that says of each request when its head has come and when it has its answer.
struct Attended<S> {
    inner: S,
    connection: Arc<Connection>,
}

impl<R, S: Service<R, Future: Send + 'static>> Service<R> for Attended<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn call(&self, request: R) -> Self::Future {
        let connection = Arc::clone(&self.connection);
        connection.begins();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            // Whoever has no key gets answers that are whole by now; who has one stays anyway.
            connection.rests();
            answer
        })
    }
}

/// Who may connect, and what the others are told.
struct Door {
    open: Connections,
    proxies: Arc<Proxies>,
    refused: Arc<Semaphore>,
}

impl Door {
    /// What was accepted. Where that failed for want of a file descriptor, most likely, a connection without
    /// a head is closed; if there is none, time is left to others, because it would fail again at once.
    async fn accepted(&self, accepted: io::Result<(TcpStream, SocketAddr)>) -> Option<(TcpStream, IpAddr)> {
        match accepted {
            Ok((socket, address)) => Some((socket, address.ip())),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                match self.open.close_one() {
                    Some(leaving) => closed(leaving).await,
                    None => tokio::time::sleep(ACCEPT_AGAIN).await,
                }
                None
            }
        }
    }

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
