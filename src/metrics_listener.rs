//! `/metrics` of a process, and for a worker `/livez` and `/readyz`, on an address of their own.
//!
//! Few ask, and each gets one answer on a connection: who opens many, or is slow, is closed.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use assize_observe::metrics;
use assize_observe::metrics::{CONTENT_TYPE, UPKEEP_INTERVAL};

/// Connections at one time; more are closed at once.
const MAX_CONNECTIONS: usize = 64;

/// From a connection to the end of its answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// Fills `assize_build_info` and the time of the start. The commit is that of the variable `ASSIZE_COMMIT` at the time of
/// the build.
pub fn describe_build() {
    let commit = option_env!("ASSIZE_COMMIT").unwrap_or("unknown");
    metrics().process_started(env!("CARGO_PKG_VERSION"), commit, assize_store::newest_migration());
}

/// Says why the process is not ready; an empty list if it is.
pub type Unready = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, unready: Unready, stop: CancellationToken) {
    serve_within(CONNECTION_TIMEOUT, listener, unready, stop).await;
}

/// Serves like [`serve`], with another time for each connection.
pub async fn serve_within(timeout: Duration, listener: TcpListener, unready: Unready, stop: CancellationToken) {
    let router = Router::new()
        .route("/metrics", get(async || ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics().text())))
        .route("/livez", get(async || "ok"))
        .route("/readyz", get(move || std::future::ready(readiness(&unready()))));
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).keep_alive(false);
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut upkeep = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            _ = upkeep.tick() => {
                metrics().run_upkeep();
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let Ok((socket, _)) = accepted else {
            // Out of file descriptors, most likely.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else { continue };
        let connection = server.serve_connection(TokioIo::new(socket), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            tokio::time::timeout(timeout, connection).await.ok();
            drop(permit);
        });
    }
}

/// 200 with `ready`, or 503 with the reasons.
pub fn readiness(reasons: &[String]) -> impl IntoResponse + use<> {
    let code = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(serde_json::json!({ "ready": reasons.is_empty(), "reasons": reasons })))
}
