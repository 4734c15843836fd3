//! The body of a request, held to its limits while it comes in.
//!
//! Every body passes through here before a handler sees it: at most so many bytes, so long in all,
//! so long without a byte. For multipart there is one more bound: the parser gathers a field's
//! header until it is whole, so what came since it last gave something out is counted too.
//!
//! A body that nobody reads to its end is read to nowhere for a while. If the socket were closed on
//! it, the kernel would answer the rest with a reset, and the client would lose the answer that says
//! what was wrong.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody};
use axum::extract::{Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, Sleep, sleep};

use super::problem::Problem;
use super::{Served, submissions};
use assize_host::clock;

/// Bytes of a body where no archive is expected.
const SMALL_BODY: u64 = 64 * 1024;

/// Bytes of a submission beside its archive: the fields and what separates them.
pub(super) const FORM_ROOM: u64 = 256 * 1024;

/// Bytes that may come without the parser giving out a field or a piece of one.
const GATHERED: u64 = 512 * 1024;

/// Pieces that may come without reason, and bytes for each further one. Chunks of a byte cost their
/// sender six and us a hundred times the work.
const CRUMBS: u64 = 4096;
const CRUMB_BYTES: u64 = 32;

/// How long, and how much, of an unwanted body is read to nowhere.
const LINGER: Duration = Duration::from_secs(10);
const LINGER_BYTES: usize = 64 * 1024 * 1024;

/// Why a body was not taken in to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("longer than {limit} bytes")]
    TooLong { limit: u64, seen: u64 },
    #[error("no byte for {limit_s} s")]
    Stalled { limit_s: u64 },
    #[error("not whole after {limit_s} s")]
    TooSlow { limit_s: u64 },
    #[error("{limit} bytes without a field")]
    NoField { limit: u64 },
    #[error("in {pieces} pieces of {bytes} bytes in all")]
    Crumbs { pieces: u64, bytes: u64 },
    #[error("broken off")]
    BrokenOff,
}

/// What reader and parser of one body know of each other.
#[derive(Debug, Default)]
pub(super) struct Progress {
    gathered: AtomicU64,
    fault: Mutex<Option<Fault>>,
}

impl Progress {
    /// The parser gave out a field or a piece of one.
    pub fn made(&self) {
        self.gathered.store(0, Ordering::Relaxed);
    }

    /// Why the body ended before its end, if it did.
    pub fn fault(&self) -> Option<Fault> {
        self.fault.lock().ok().and_then(|fault| *fault)
    }
}

/// The limits of one body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub bytes: u64,
    /// Of the upload's own timeouts, see [`super::serve::Timeouts`].
    pub whole: Duration,
    pub idle: Duration,
}

/// Puts the limits around every body; a length that is announced and too long is refused unread.
pub(super) async fn guard(State(served): State<Served>, mut request: Request, next: Next) -> Response {
    let archive = served.api.config.max_archive_bytes;
    let is_upload = request.method() == Method::POST && request.uri().path() == submissions::PATH;
    let bytes = if is_upload { archive.saturating_add(FORM_ROOM) } else { SMALL_BODY };
    let limits = Limits { bytes, whole: served.timeouts.upload, idle: served.timeouts.upload_idle };
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let asks_first = request.headers().contains_key(header::EXPECT);
    let progress = Arc::new(Progress::default());
    if !request.body().is_end_stream() {
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = Body::from_stream(Guarded::new(body, limits, asks_first, Arc::clone(&progress)));
    }
    if let Some(seen) = announced.filter(|seen| *seen > limits.bytes) {
        let too_long =
            if is_upload { Problem::archive_too_large(archive, seen) } else { Problem::body_too_long(bytes, seen) };
        return too_long.into_response();
    }
    request.extensions_mut().insert(progress);
    next.run(request).await
}

pub(super) struct Guarded {
    body: BodyDataStream,
    limits: Limits,
    progress: Arc<Progress>,
    seen: u64,
    pieces: u64,
    over: bool,
    /// The client waits for `100 Continue`; it sends nothing that could be lost until we read.
    asks_first: bool,
    whole: Pin<Box<Sleep>>,
    idle: Pin<Box<Sleep>>,
}

impl Guarded {
    pub fn new(body: Body, limits: Limits, asks_first: bool, progress: Arc<Progress>) -> Self {
        let (whole, idle) = (Box::pin(sleep(limits.whole)), Box::pin(sleep(limits.idle)));
        Self {
            body: body.into_data_stream(),
            limits,
            progress,
            seen: 0,
            pieces: 0,
            over: false,
            asks_first,
            whole,
            idle,
        }
    }

    fn fail(&mut self, fault: Fault) -> Poll<Option<Result<Bytes, Fault>>> {
        // Who is too slow is not waited for again.
        self.over = matches!(fault, Fault::Stalled { .. } | Fault::TooSlow { .. } | Fault::BrokenOff);
        if let Ok(mut known) = self.progress.fault.lock() {
            known.get_or_insert(fault);
        }
        Poll::Ready(Some(Err(fault)))
    }
}

impl Stream for Guarded {
    type Item = Result<Bytes, Fault>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Limits { bytes, whole, idle } = this.limits;
        if this.progress.fault().is_some() {
            return Poll::Ready(None);
        }
        if this.whole.as_mut().poll(context).is_ready() {
            return this.fail(Fault::TooSlow { limit_s: whole.as_secs() });
        }
        match this.body.poll_next_unpin(context) {
            Poll::Ready(Some(Ok(piece))) => {
                let length = piece.len() as u64;
                this.seen += length;
                let gathered = this.progress.gathered.fetch_add(length, Ordering::Relaxed) + length;
                if this.seen > bytes {
                    return this.fail(Fault::TooLong { limit: bytes, seen: this.seen });
                }
                this.pieces += 1;
                if this.pieces > CRUMBS + this.seen / CRUMB_BYTES {
                    return this.fail(Fault::Crumbs { pieces: this.pieces, bytes: this.seen });
                }
                if gathered > GATHERED {
                    return this.fail(Fault::NoField { limit: GATHERED });
                }
                this.idle.as_mut().reset(Instant::from_std(clock::monotonic()) + idle);
                Poll::Ready(Some(Ok(piece)))
            }
            Poll::Ready(Some(Err(_))) => this.fail(Fault::BrokenOff),
            Poll::Ready(None) => {
                this.over = true;
                Poll::Ready(None)
            }
            Poll::Pending if this.idle.as_mut().poll(context).is_ready() => {
                this.fail(Fault::Stalled { limit_s: idle.as_secs() })
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if self.over || (self.asks_first && self.seen == 0) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let mut body = std::mem::replace(&mut self.body, Body::empty().into_data_stream());
        runtime.spawn(tokio::time::timeout(LINGER, async move {
            let mut left = LINGER_BYTES;
            while let Some(Ok(piece)) = body.next().await {
                left = left.saturating_sub(piece.len());
                if left == 0 {
                    break;
                }
            }
        }));
    }
}
