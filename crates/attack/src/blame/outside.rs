//! The servers that stages and fetches may reach during the attack: a registry that accepts few connections, and a Git
//! server with hostile answers. Both listen on the loopback of this host, which the installation's settings permit.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Number of connections that the registry accepts at one time; it refuses further ones.
pub const ROOM: usize = 24;

/// A port of the loopback without a listener.
pub const NOBODY: u16 = 1;

/// Both servers. Dropping the value stops them.
pub struct Outside {
    pub registry_port: u16,
    pub forge_port: u16,
    serving: Vec<JoinHandle<()>>,
}

impl Outside {
    /// Starts both servers.
    ///
    /// # Errors
    /// No port is available.
    pub async fn begin() -> std::io::Result<Self> {
        let registry = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let forge = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (registry_port, forge_port) = (registry.local_addr()?.port(), forge.local_addr()?.port());
        let serving = vec![
            tokio::spawn(serve_few(registry)),
            tokio::spawn(serve_words(forge, Arc::new(super::forge::answers(forge_port)))),
        ];
        Ok(Self { registry_port, forge_port, serving })
    }

    /// The value of the setting `egress_private_hosts`.
    #[must_use]
    pub fn private_hosts(&self) -> String {
        let Self { registry_port, forge_port, .. } = self;
        format!("localhost:{registry_port},127.0.0.1:{registry_port},127.0.0.1:{forge_port},127.0.0.1:{NOBODY}")
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.serving.iter().for_each(JoinHandle::abort);
    }
}

/// Accepts up to [`ROOM`] connections and holds each until its client closes it. While the registry is full it does not
/// listen.
async fn serve_few(listener: TcpListener) {
    let Ok(address) = listener.local_addr() else { return };
    let (held, left) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let mut listening = Some(listener);
    loop {
        let listener = match listening.take() {
            Some(listener) => listener,
            None => match bind(address).await {
                Some(listener) => listener,
                None => return,
            },
        };
        while held.load(Ordering::SeqCst) < ROOM {
            let Ok((stream, _)) = listener.accept().await else { continue };
            held.fetch_add(1, Ordering::SeqCst);
            let (held, left) = (Arc::clone(&held), Arc::clone(&left));
            tokio::spawn(async move {
                hold(stream).await;
                held.fetch_sub(1, Ordering::SeqCst);
                left.notify_one();
            });
        }
        drop(listener);
        while held.load(Ordering::SeqCst) >= ROOM {
            left.notified().await;
        }
    }
}

/// Binds the same port again; the kernel gives it to nobody else while its connections are open.
async fn bind(address: SocketAddr) -> Option<TcpListener> {
    for _ in 0..100 {
        if let Ok(listener) = TcpListener::bind(address).await {
            return Some(listener);
        }
        tokio::task::yield_now().await;
    }
    None
}

async fn hold(mut stream: TcpStream) {
    let mut buffer = vec![0; 16 * 1024];
    while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
}

/// Answers each request by its path, and closes.
async fn serve_words(listener: TcpListener, answers: Arc<HashMap<String, Vec<u8>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let answers = Arc::clone(&answers);
        tokio::spawn(async move { answer(stream, &answers).await });
    }
}

async fn answer(mut stream: TcpStream, answers: &HashMap<String, Vec<u8>>) -> Option<()> {
    const MAX_REQUEST_BYTES: usize = 64 * 1024;
    let mut head = Vec::new();
    let mut buffer = vec![0; 4096];
    while !head.windows(4).any(|four| four == b"\r\n\r\n") && head.len() < MAX_REQUEST_BYTES {
        let length = stream.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
        head.extend_from_slice(buffer.get(..length)?);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let path = text.split(' ').nth(1)?.split('?').next()?.to_owned();
    let end = head.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let announced =
        text.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let whole = end.saturating_add(announced.unwrap_or(0)).min(MAX_REQUEST_BYTES);
    while head.len() < whole {
        let length = stream.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
        head.extend_from_slice(buffer.get(..length)?);
    }
    // Git sends two requests to the same address: one for the list of refs, one for the pack.
    let is_last = head.get(end..)?.windows(8).any(|eight| eight == b"0009done");
    let found = answers.get(&if is_last { format!("{path}#done") } else { path.clone() }).cloned();
    let found = found.unwrap_or_else(|| b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec());
    let must_reset = super::forge::resets(&path);
    stream.write_all(&found).await.ok()?;
    if must_reset {
        // With a linger time of 0, dropping the socket resets the connection.
        stream.set_zero_linger().ok()?;
        // The client has its answer by then: it closes the connection or sends nothing more.
        return stream.read(&mut buffer).await.ok().map(|_| ());
    }
    stream.shutdown().await.ok()?;
    // The rest of the request is read, so that the client receives the answer before a reset.
    while stream.read(&mut buffer).await.ok()? > 0 {}
    Some(())
}
