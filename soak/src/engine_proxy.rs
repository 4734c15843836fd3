//! A proxy in front of the engine's socket, which can stall and can drop replies.
//!
//! It reads only the first line of a request, which decides whether the reply is dropped. It closes the connection only
//! when the reply arrives, because the engine has then carried out the request.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// A call whose reply may be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Create,
    Start,
    Remove,
}

#[derive(Clone)]
pub struct EngineProxy {
    stalled: Arc<watch::Sender<bool>>,
    /// The calls whose next reply is dropped.
    armed: Arc<Mutex<Vec<Call>>>,
    lost: Arc<watch::Sender<usize>>,
}

impl EngineProxy {
    pub fn listen(path: PathBuf, engine: PathBuf) -> Result<Self> {
        let listener = UnixListener::bind(path)?;
        let proxy = Self {
            stalled: Arc::new(watch::Sender::new(false)),
            armed: Arc::default(),
            lost: Arc::new(watch::Sender::new(0)),
        };
        let serving = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (proxy, engine) = (serving.clone(), engine.clone());
                tokio::spawn(async move {
                    if let Ok(engine) = UnixStream::connect(engine).await {
                        proxy.connect(client, engine);
                    }
                });
            }
        });
        Ok(proxy)
    }

    /// Stops all traffic, or lets it pass again.
    pub fn stall(&self, stalled: bool) {
        self.stalled.send_replace(stalled);
    }

    /// Drops the next replies to these calls, waits until that has happened, and returns how many were dropped.
    pub async fn lose(&self, calls: &[Call], timeout: std::time::Duration) -> usize {
        let mut lost = self.lost.subscribe();
        let before = *lost.borrow_and_update();
        if let Ok(mut armed) = self.armed.lock() {
            armed.extend(calls);
        }
        let all = lost.wait_for(|now| *now >= before + calls.len());
        tokio::time::timeout(timeout, all).await.map(|_| ()).ok();
        if let Ok(mut armed) = self.armed.lock() {
            armed.clear();
        }
        *self.lost.borrow() - before
    }

    fn connect(&self, client: UnixStream, engine: UnixStream) {
        let (from_client, to_client) = client.into_split();
        let (from_engine, to_engine) = engine.into_split();
        let doomed = Arc::new(AtomicBool::new(false));
        tokio::spawn(self.clone().pass_requests(from_client, to_engine, Arc::clone(&doomed)));
        tokio::spawn(self.clone().pass_replies(from_engine, to_client, doomed));
    }

    async fn pass_requests(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, doomed: Arc<AtomicBool>) {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            self.flows().await;
            if call_of(&bytes[..count]).is_some_and(|call| self.disarm(call)) {
                doomed.store(true, Ordering::SeqCst);
            }
            if to.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
        to.shutdown().await.ok();
    }

    async fn pass_replies(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, doomed: Arc<AtomicBool>) {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            if doomed.load(Ordering::SeqCst) {
                // Dropping both halves of the client's connection needs its reader to end too.
                to.shutdown().await.ok();
                self.lost.send_modify(|lost| *lost += 1);
                return;
            }
            self.flows().await;
            if to.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
        to.shutdown().await.ok();
    }

    async fn flows(&self) {
        self.stalled.subscribe().wait_for(|stalled| !stalled).await.map(|_| ()).ok();
    }

    fn disarm(&self, call: Call) -> bool {
        let Ok(mut armed) = self.armed.lock() else { return false };
        let found = armed.iter().position(|wanted| *wanted == call);
        found.map(|at| armed.remove(at)).is_some()
    }
}

/// Returns the call that a request makes; `None` if the bytes are not the head of a request, or of another call.
fn call_of(bytes: &[u8]) -> Option<Call> {
    let line = bytes.split(|byte| *byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let path = path.split('?').next()?;
    match method {
        "POST" if path.ends_with("/containers/create") => Some(Call::Create),
        "POST" if path.contains("/containers/") && path.ends_with("/start") => Some(Call::Start),
        "DELETE" if path.contains("/containers/") => Some(Call::Remove),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_recognized_by_its_first_line() {
        assert_eq!(call_of(b"POST /v1.41/containers/create?name=x HTTP/1.1\r\nHost: y\r\n\r\n{}"), Some(Call::Create));
        assert_eq!(call_of(b"POST /v1.41/containers/ab/start HTTP/1.1\r\n\r\n"), Some(Call::Start));
        assert_eq!(call_of(b"DELETE /v1.41/containers/ab?force=true HTTP/1.1\r\n\r\n"), Some(Call::Remove));
        assert_eq!(call_of(b"GET /v1.41/containers/json HTTP/1.1\r\n\r\n"), None);
        assert_eq!(call_of(b"\x01\x02\xff"), None);
    }

    #[tokio::test]
    async fn the_engine_receives_a_call_whose_reply_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let (outside, inside) = (folder.path().join("outside"), folder.path().join("inside"));
        let engine = UnixListener::bind(&inside).unwrap();
        let proxy = EngineProxy::listen(outside.clone(), inside).unwrap();
        let losing = tokio::spawn(async move { proxy.lose(&[Call::Start], std::time::Duration::from_secs(5)).await });
        tokio::task::yield_now().await;
        let mut client = UnixStream::connect(outside).await.unwrap();
        let (mut made, _) = engine.accept().await.unwrap();
        // The list of armed calls is filled by a task that has run by now: it was ready before this one.
        client.write_all(b"POST /containers/ab/start HTTP/1.1\r\n\r\n").await.unwrap();
        let mut request = [0; 64];
        assert!(made.read(&mut request).await.unwrap() > 0);
        made.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        assert_eq!(client.read(&mut request).await.unwrap(), 0, "the reply is lost");
        assert_eq!(losing.await.unwrap(), 1);
    }
}
