//! Accepts connections: counts them, limits their times, and closes them in good order when the service stops.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use assize_host as host;
use assize_host::service_manager::LoopTurns;
use assize_observe::{event, metrics};
use axum::http::{HeaderValue, Response, header};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Layer;

use super::bounded_socket::{BoundedSocket, SEND_BUFFER};
use super::client_address::{ClientAddress, PeerAddress, TrustedProxies};
use super::connection_table::{AcceptedConnection, ClosingConnection, Connection, ConnectionTable, TooManyConnections};
use super::open_requests::OpenRequestLimiter;
use super::problem::Problem;
use super::rate_limit::RateLimiter;
use super::request_limits::{MAX_HEAD_BYTES, MAX_HEADER_LINES};
use super::router::{rejecting_router, router};
use super::state::{ApiState, RouterState, Timeouts};

/// The maximum size in bytes of each connection's read buffer and write buffer.
const BUFFER_BYTES: usize = 64 * 1024;

/// The maximum number of rejected connections that receive an answer at the same time, and the time limit for this
/// answer. Further connections are closed without an answer.
const MAX_REJECTIONS: usize = 64;
const REJECTION_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the service waits until a connection that it asked to close has closed.
const CLOSING_TIMEOUT: Duration = Duration::from_millis(100);

/// The pause after a connection could not be accepted.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// How long the first request of a connection may take after the stop.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// The time after which the loop that accepts connections turns although nobody connects.
const IDLE_TURN: Duration = Duration::from_secs(5);

/// Serves until `stop`, and then waits for the requests in progress. The loop that accepts connections counts its
/// `turns`. The caller runs [`crate::redis::Redis::listen`] on the same hints.
///
/// # Errors
/// If the folder for uploads cannot be created, or `trusted_proxies` cannot be read.
pub async fn serve(
    state: ApiState,
    listener: TcpListener,
    turns: LoopTurns,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    serve_within(Timeouts::default(), state, listener, turns, stop).await
}

/// Serves like [`serve`], with other timeouts.
///
/// # Errors
/// If the folder for uploads cannot be created, or `trusted_proxies` cannot be read.
pub async fn serve_within(
    timeouts: Timeouts,
    state: ApiState,
    listener: TcpListener,
    turns: LoopTurns,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let config = &state.config;
    let spool = &config.spool_dir;
    std::fs::create_dir_all(spool)
        .with_context(|| format!("cannot create the folder for uploads {}; set spool_dir", spool.display()))?;
    let proxies = Arc::new(TrustedProxies::read(&config.trusted_proxies)?);
    let open_requests = OpenRequestLimiter::new(config.max_open_requests_per_key as usize);
    let table = ConnectionTable::new(config.max_connections as usize, config.max_connections_per_address as usize);
    let rate_limiter = RateLimiter::new(state.redis.clone(), state.clock.clone(), config);
    let rejections = Arc::new(Semaphore::new(MAX_REJECTIONS));
    let guard = ConnectionGuard { table, proxies: Arc::clone(&proxies), rejections };
    let shutdown = stop.clone();
    let router = router(RouterState { api: state, timeouts, shutdown, proxies, rate_limiter, open_requests });
    let server = server(timeouts.head);
    let (direct, proxied) = (ConnectionGroup::default(), ConnectionGroup::default());
    let mut idle = tokio::time::interval(IDLE_TURN);
    loop {
        turns.count();
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            _ = idle.tick() => continue,
            accepted = listener.accept() => accepted,
        };
        let Some((socket, peer)) = guard.accepted(accepted).await else { continue };
        let is_proxy = guard.proxies.trusts(peer);
        let AcceptedConnection { connection, closing } =
            match guard.table.accept(ClientAddress::from_ip(peer), is_proxy) {
                Ok(accepted) => accepted,
                Err(limit) => {
                    guard.reject(socket, peer, limit);
                    continue;
                }
            };
        if let Some(closing) = closing {
            event::refused("half_heads");
            wait_until_closed(closing).await;
        }
        // A line of live output must not wait for the next one to fill a packet.
        socket.set_nodelay(true).ok();
        host::bound_send_buffer(&socket, SEND_BUFFER);
        let entry = Arc::new(connection);
        let layers = (Extension(PeerAddress(peer)), Extension(Arc::clone(&entry)));
        let service = TrackedService {
            inner: TowerToHyperService::new(layers.layer(router.clone())),
            connection: Arc::clone(&entry),
            stop: stop.clone(),
        };
        let socket = BoundedSocket::new(socket, timeouts.unread);
        let group = if is_proxy { &proxied } else { &direct };
        let connection = group.graceful.watch(server.serve_connection(TokioIo::new(socket), service));
        metrics().connections.increment(1);
        group.tasks.spawn(async move {
            tokio::select! {
                // An error is normal here: clients close connections in many ways. Each request has its log line.
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                },
                () = entry.close_requested() => {}
            }
            // The entry must outlive the socket, which is closed now.
            drop(entry);
            metrics().connections.decrement(1);
        });
    }
    drop(listener);
    tokio::join!(direct.close(FIRST_REQUEST_TIMEOUT, timeouts.stop), proxied.close(timeouts.head, timeouts.stop));
    Ok(())
}

/// Connections that are closed in the same way when the service stops.
#[derive(Default)]
struct ConnectionGroup {
    graceful: GracefulShutdown,
    tasks: TaskTracker,
}

impl ConnectionGroup {
    /// Waits for `linger` until the other ends have closed their connections: from the stop on, each answer asks them
    /// to. Then closes idle connections, and within `timeout` the others after the answer to the request in progress.
    ///
    /// This end does not close at once, because a request that meets a closing connection gets no answer. A new
    /// connection is about to bring its first request. A proxy keeps connections open and sends a request on one of
    /// them at any moment, and it must not send a POST a second time: it closes them after their next answer, or when
    /// its own limit for idle connections is reached.
    async fn close(self, linger: Duration, timeout: Duration) {
        self.tasks.close();
        tokio::time::timeout(linger, self.tasks.wait()).await.ok();
        if tokio::time::timeout(timeout, self.graceful.shutdown()).await.is_err() {
            let seconds = timeout.as_secs();
            tracing::warn!(seconds, "requests were still in progress when the stop timeout elapsed");
        }
    }
}

fn server(head: Duration) -> http1::Builder {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(head);
    server.max_headers(MAX_HEADER_LINES).max_header_size(MAX_HEAD_BYTES).max_buf_size(BUFFER_BYTES);
    server
}

/// Waits until a connection that was asked to close has closed its socket, so that the number of sockets stays within
/// the limit. The wait is as long as a runtime that is not overloaded needs.
async fn wait_until_closed(closing: ClosingConnection) {
    tokio::time::timeout(CLOSING_TIMEOUT, closing.closed()).await.ok();
}

/// A service that records in the connection table when a request starts and when it is answered. Once the service
/// stops, each answer is the last of its connection.
struct TrackedService<S> {
    inner: S,
    connection: Arc<Connection>,
    stop: CancellationToken,
}

impl<R, B, S> Service<R> for TrackedService<S>
where
    S: Service<R, Response = Response<B>, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn call(&self, request: R) -> Self::Future {
        let (connection, stop) = (Arc::clone(&self.connection), self.stop.clone());
        connection.request_started();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut answer = answer.await;
            if let Ok(answer) = &mut answer
                && stop.is_cancelled()
            {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            // Without a key the answer is complete by now. With a key the connection is never closed for another.
            connection.request_answered();
            answer
        })
    }
}

/// Decides which connections are accepted, and answers the others.
struct ConnectionGuard {
    table: ConnectionTable,
    proxies: Arc<TrustedProxies>,
    rejections: Arc<Semaphore>,
}

impl ConnectionGuard {
    /// Returns the accepted connection. An error is most likely a lack of file descriptors: then this closes a
    /// connection without a head. If there is none, it waits, because a retry would fail again at once.
    async fn accepted(&self, accepted: io::Result<(TcpStream, SocketAddr)>) -> Option<(TcpStream, IpAddr)> {
        match accepted {
            Ok((socket, address)) => Some((socket, address.ip())),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                match self.table.close_one() {
                    Some(closing) => wait_until_closed(closing).await,
                    None => tokio::time::sleep(ACCEPT_RETRY_DELAY).await,
                }
                None
            }
        }
    }

    /// Answers one request with 503 and closes.
    fn reject(&self, socket: TcpStream, peer: IpAddr, limit: TooManyConnections) {
        let (limit, problem): (_, fn() -> Problem) = match limit {
            TooManyConnections::FromAddress => ("connections_per_address", Problem::too_many_connections_from_address),
            TooManyConnections::InTotal => ("connections", Problem::too_many_connections_in_total),
        };
        event::refused(limit);
        let Ok(permit) = Arc::clone(&self.rejections).try_acquire_owned() else { return };
        let router: Router = rejecting_router(problem);
        let service = TowerToHyperService::new(Extension(PeerAddress(peer)).layer(router));
        let mut server = server(REJECTION_TIMEOUT);
        server.keep_alive(false);
        let socket = BoundedSocket::new(socket, REJECTION_TIMEOUT);
        let connection = server.serve_connection(TokioIo::new(socket), service);
        tokio::spawn(async move {
            tokio::time::timeout(REJECTION_TIMEOUT, connection).await.ok();
            drop(permit);
        });
    }
}
