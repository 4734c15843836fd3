//! The limits of a request's body, which apply while it arrives.
//!
//! Every body passes through this module before a handler reads it. Its size, its total time and the time between two
//! chunks are limited. The multipart parser buffers a field's header until the header is complete, so that the bytes
//! since the parser last returned something are limited too.
//!
//! If a handler does not read a body to its end, this module reads and discards the rest for some time. If it closed
//! the socket at once, the kernel would answer the rest with a reset, and the client could lose the answer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use assize_host::clock::Clock;
use axum::body::{Body, BodyDataStream, HttpBody};
use axum::extract::{Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep};

use super::problem::Problem;
use super::state::RouterState;

/// The only route whose body may contain an archive.
pub(super) const UPLOAD_PATH: &str = "/v1/submissions";

/// The maximum size in bytes of a body without an archive.
const MAX_SMALL_BODY: u64 = 64 * 1024;

/// The maximum size in bytes of a submission without its archive: the other fields and the boundaries.
pub(super) const MAX_FORM_OVERHEAD: u64 = 256 * 1024;

/// The maximum number of bytes that the multipart parser may buffer before it returns a field or a part of one.
const MAX_BUFFERED: u64 = 512 * 1024;

/// The number of chunks that may be of any size; after them the mean must be at least `MIN_MEAN_CHUNK` bytes. A chunk of
/// one byte costs the client six bytes, and costs the service a hundred times the work.
const FREE_CHUNKS: u64 = 4096;
const MIN_MEAN_CHUNK: u64 = 32;

/// The maximum time and size for which the rest of an unread body is discarded.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_DISCARDED: usize = 64 * 1024 * 1024;

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("longer than {limit} bytes")]
    TooLong { limit: u64, seen: u64 },
    #[error("no byte arrived for {limit_s} s")]
    Stalled { limit_s: u64 },
    #[error("not complete after {limit_s} s")]
    TooSlow { limit_s: u64 },
    #[error("{limit} bytes without a field's header or content")]
    NoField { limit: u64 },
    #[error("{bytes} bytes in {chunks} chunks")]
    ChunksTooSmall { chunks: u64, bytes: u64 },
    #[error("the connection broke off")]
    BrokenOff,
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLong { limit, seen } => Self::body_too_long(limit, seen),
            BodyError::Stalled { limit_s } => Self::body_stalled(limit_s),
            BodyError::TooSlow { limit_s } => Self::body_too_slow(limit_s),
            BodyError::ChunksTooSmall { chunks, bytes } => Self::chunks_too_small(MIN_MEAN_CHUNK, chunks, bytes),
            BodyError::NoField { .. } | BodyError::BrokenOff => Self::malformed_multipart(error),
        }
    }
}

/// What the reader and the parser of one body share.
#[derive(Debug, Default)]
pub(super) struct BodyProgress {
    buffered: AtomicU64,
    error: Mutex<Option<BodyError>>,
}

impl BodyProgress {
    /// Records that the parser returned a field or a part of one.
    pub fn parsed(&self) {
        self.buffered.store(0, Ordering::Relaxed);
    }

    /// Returns the error that ended the body early, if one did.
    pub fn error(&self) -> Option<BodyError> {
        *self.error.lock()
    }
}

/// The limits of one body.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimits {
    pub bytes: u64,
    /// For the whole body; see [`super::state::Timeouts`].
    pub total: Duration,
    /// Between two chunks.
    pub idle: Duration,
}

/// Applies the limits to a body. A body whose Content-Length exceeds the limit is rejected unread.
pub(super) async fn limit(State(state): State<RouterState>, mut request: Request, next: Next) -> Response {
    let archive = state.api.config.max_archive_bytes;
    let is_upload = request.method() == Method::POST && request.uri().path() == UPLOAD_PATH;
    let bytes = if is_upload { archive.saturating_add(MAX_FORM_OVERHEAD) } else { MAX_SMALL_BODY };
    let limits = BodyLimits { bytes, total: state.timeouts.upload, idle: state.timeouts.upload_idle };
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let expects_continue = request.headers().contains_key(header::EXPECT);
    let progress = Arc::new(BodyProgress::default());
    if !request.body().is_end_stream() {
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = Body::from_stream(LimitedBody::new(
            state.api.clock.clone(),
            body,
            limits,
            expects_continue,
            Arc::clone(&progress),
        ));
    }
    if let Some(seen) = announced.filter(|seen| *seen > limits.bytes) {
        let too_long =
            if is_upload { Problem::archive_too_large(archive, seen) } else { Problem::body_too_long(bytes, seen) };
        return too_long.into_response();
    }
    request.extensions_mut().insert(progress);
    next.run(request).await
}

/// A body with its limits.
pub(super) struct LimitedBody {
    clock: Clock,
    body: BodyDataStream,
    limits: BodyLimits,
    progress: Arc<BodyProgress>,
    seen: u64,
    chunks: u64,
    /// Nothing is left to discard.
    is_over: bool,
    /// The client waits for `100 Continue`, and sends nothing until the service reads.
    expects_continue: bool,
    total: Pin<Box<Sleep>>,
    idle: Pin<Box<Sleep>>,
}

impl LimitedBody {
    pub fn new(
        clock: Clock,
        body: Body,
        limits: BodyLimits,
        expects_continue: bool,
        progress: Arc<BodyProgress>,
    ) -> Self {
        let (total, idle) = (Box::pin(sleep(limits.total)), Box::pin(sleep(limits.idle)));
        Self {
            clock,
            body: body.into_data_stream(),
            limits,
            progress,
            seen: 0,
            chunks: 0,
            is_over: false,
            expects_continue,
            total,
            idle,
        }
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Bytes, BodyError>>> {
        // The rest of a body that is too slow is not waited for again.
        self.is_over = matches!(error, BodyError::Stalled { .. } | BodyError::TooSlow { .. } | BodyError::BrokenOff);
        self.progress.error.lock().get_or_insert(error);
        Poll::Ready(Some(Err(error)))
    }
}

impl Stream for LimitedBody {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let BodyLimits { bytes, total, idle } = this.limits;
        if this.progress.error().is_some() {
            return Poll::Ready(None);
        }
        if this.total.as_mut().poll(context).is_ready() {
            return this.fail(BodyError::TooSlow { limit_s: total.as_secs() });
        }
        match this.body.poll_next_unpin(context) {
            Poll::Ready(Some(Ok(chunk))) => {
                let length = chunk.len() as u64;
                this.seen += length;
                let buffered = this.progress.buffered.fetch_add(length, Ordering::Relaxed) + length;
                if this.seen > bytes {
                    return this.fail(BodyError::TooLong { limit: bytes, seen: this.seen });
                }
                this.chunks += 1;
                if this.chunks > FREE_CHUNKS + this.seen / MIN_MEAN_CHUNK {
                    return this.fail(BodyError::ChunksTooSmall { chunks: this.chunks, bytes: this.seen });
                }
                if buffered > MAX_BUFFERED {
                    return this.fail(BodyError::NoField { limit: MAX_BUFFERED });
                }
                this.idle.as_mut().reset(Instant::from_std(this.clock.monotonic()) + idle);
                Poll::Ready(Some(Ok(chunk)))
            }
            Poll::Ready(Some(Err(_))) => this.fail(BodyError::BrokenOff),
            Poll::Ready(None) => {
                this.is_over = true;
                Poll::Ready(None)
            }
            Poll::Pending if this.idle.as_mut().poll(context).is_ready() => {
                this.fail(BodyError::Stalled { limit_s: idle.as_secs() })
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for LimitedBody {
    fn drop(&mut self) {
        if self.is_over || (self.expects_continue && self.seen == 0) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let mut body = std::mem::replace(&mut self.body, Body::empty().into_data_stream());
        runtime.spawn(tokio::time::timeout(DISCARD_TIMEOUT, async move {
            let mut left = MAX_DISCARDED;
            while let Some(Ok(chunk)) = body.next().await {
                left = left.saturating_sub(chunk.len());
                if left == 0 {
                    break;
                }
            }
        }));
    }
}
