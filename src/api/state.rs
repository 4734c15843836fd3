//! What the handlers work with.

use std::sync::Arc;
use std::time::Duration;

use assize_config::Config;
use assize_host::clock::Clock;
use assize_signing::Signer;
use assize_store::Store;
use axum::extract::FromRef;
use tokio_util::sync::CancellationToken;

use super::client_address::TrustedProxies;
use super::open_requests::OpenRequestLimiter;
use super::rate_limit::RateLimiter;
use crate::admission::{QueueQuotas, WaitReasonCache};
use crate::intake::blob::Blobs;
use crate::redis::{Hints, Redis};
use crate::template::LiveTemplates;

/// The services that the API depends on, and its settings.
#[derive(Clone)]
pub struct ApiState {
    pub clock: Clock,
    pub store: Store,
    pub redis: Redis,
    /// Receives what [`Redis::listen`] reads.
    pub hints: Hints,
    pub blobs: Blobs,
    pub templates: LiveTemplates,
    pub config: Arc<Config>,
    pub quotas: QueueQuotas,
    pub wait_reasons: WaitReasonCache,
    /// `None` if the installation signs nothing.
    pub signer: Option<Signer>,
}

/// The time limits for clients and for the end of the service.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the head of a request, and between requests on one connection. Without this limit, a client that sends
    /// half a head would occupy a connection for ever (FAILURES 22).
    pub head: Duration,
    /// For a whole body.
    pub upload: Duration,
    /// Between two chunks of a body.
    pub upload_idle: Duration,
    /// For a client that reads nothing of its answer, or almost nothing.
    pub unread: Duration,
    /// From the head of a request to the head of its answer: longer than an upload or a wait may take.
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

/// The state of the router: [`ApiState`], and the limits that all requests share.
#[derive(Clone)]
pub(super) struct RouterState {
    pub api: ApiState,
    pub timeouts: Timeouts,
    pub shutdown: CancellationToken,
    pub proxies: Arc<TrustedProxies>,
    pub rate_limiter: RateLimiter,
    pub open_requests: OpenRequestLimiter,
}

impl FromRef<RouterState> for ApiState {
    fn from_ref(state: &RouterState) -> Self {
        state.api.clone()
    }
}

impl FromRef<RouterState> for OpenRequestLimiter {
    fn from_ref(state: &RouterState) -> Self {
        state.open_requests.clone()
    }
}

impl FromRef<RouterState> for RateLimiter {
    fn from_ref(state: &RouterState) -> Self {
        state.rate_limiter.clone()
    }
}

/// Ends waits and live outputs when the service stops.
#[derive(Clone)]
pub(super) struct Shutdown(pub CancellationToken);

impl FromRef<RouterState> for Shutdown {
    fn from_ref(state: &RouterState) -> Self {
        Self(state.shutdown.clone())
    }
}
