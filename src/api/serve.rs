//! Connections: accepted, bounded in time, and ended in good order.

use std::time::Duration;

use anyhow::Context;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::socket::Socket;
use super::{ApiState, router};

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
    /// For a client that takes nothing of its answer.
    pub unread: Duration,
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
            stop: Duration::from_secs(30),
        }
    }
}

/// Serves until `stop`, then lets requests in progress end. The caller runs
/// [`crate::redis::Redis::listen`] on the same hints.
///
/// # Errors
/// If the folder for uploads cannot be made.
pub async fn serve(state: ApiState, listener: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
    serve_within(Timeouts::default(), state, listener, stop).await
}

/// [`serve`] with other timeouts.
///
/// # Errors
/// If the folder for uploads cannot be made.
pub async fn serve_within(
    timeouts: Timeouts,
    state: ApiState,
    listener: TcpListener,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let spool = &state.config.spool_dir;
    std::fs::create_dir_all(spool)
        .with_context(|| format!("cannot make the folder for uploads {}; set spool_dir", spool.display()))?;
    let service = TowerToHyperService::new(router(state, timeouts, stop.clone()));
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(timeouts.head);
    let connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                // Out of file descriptors, most likely: accepting at once would fail again at once.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // A line of live output must not wait for the next one to fill a packet.
        socket.set_nodelay(true).ok();
        let connection = server.serve_connection(TokioIo::new(Socket::new(socket, timeouts.unread)), service.clone());
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            // How a connection ends is the client's business; requests log themselves.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(timeouts.stop, connections.shutdown()).await.is_err() {
        tracing::warn!(seconds = timeouts.stop.as_secs(), "requests were still in progress after the time to stop");
    }
    Ok(())
}
