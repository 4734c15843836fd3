//! `/metrics` of a process, and for a worker `/livez` and `/readyz`, on an address of their own.

use std::sync::Arc;

use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::metrics;

/// Says why the process is not ready; an empty list if it is.
pub type Unready = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Serves until `stop`.
///
/// # Errors
/// If the address cannot be listened on.
pub async fn serve(listen: &str, unready: Unready, stop: CancellationToken) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        anyhow::anyhow!(
            "cannot listen on {listen} for metrics: {error}; set api_metrics_listen or worker_metrics_listen"
        )
    })?;
    let router = Router::new()
        .route(
            "/metrics",
            get(async || {
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                ([(header::CONTENT_TYPE, kind)], metrics().text())
            }),
        )
        .route("/livez", get(async || "ok"))
        .route("/readyz", get(move || std::future::ready(readiness(&unready()))));
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await?;
    Ok(())
}

/// 200 with `ready`, or 503 with the reasons.
pub fn readiness(reasons: &[String]) -> impl IntoResponse + use<> {
    let code = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(serde_json::json!({ "ready": reasons.is_empty(), "reasons": reasons })))
}
