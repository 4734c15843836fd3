//! A client's socket with a time limit for unread answers.
//!
//! hyper limits the time for the head of a request, and [`super::request_body`] limits the time for its body. This module
//! limits the time for the answer: if a client reads nothing of its answer for too long, the connection is closed and the
//! memory of the answer is freed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// The size in bytes of the kernel's send buffer for a client. The kernel accepts more when a third of the buffer has been
/// sent, so that this constant also sets the slowest client: about 100 KiB in the time `unread`, whose default is one
/// minute. The buffer is large enough for 2 MiB/s over 100 ms of latency.
pub(super) const SEND_BUFFER: usize = 256 * 1024;

/// A socket whose writes fail when the client has read nothing for the time `unread`.
pub(super) struct BoundedSocket {
    stream: TcpStream,
    unread: Duration,
    /// Runs while the kernel accepts no more bytes.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl BoundedSocket {
    pub fn new(stream: TcpStream, unread: Duration) -> Self {
        Self { stream, unread, stalled: None }
    }

    fn bounded<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.unread)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for BoundedSocket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for BoundedSocket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bounded(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.bounded(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
