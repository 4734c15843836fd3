//! A proxy in front of the socket of Postgres, which cuts a connection after a write was committed and before its reply
//! has arrived.
//!
//! The proxy parses the messages of both sides to see which statement is bound and what its result is. It holds the reply
//! to a write back until the server reports that it is idle, because the write is then committed. Then it closes both
//! connections.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// The largest message that is read at once, in bytes.
const MAX_MESSAGE: usize = 64 << 20;

/// Texts that only a write contains. The proxy recognizes the queries of the service by their text.
const WRITES: [&str; 4] = ["INSERT INTO", "UPDATE ", "DELETE FROM", "FROM claim_runs"];

#[derive(Clone)]
pub struct PostgresProxy {
    /// A text in the statement whose next reply is cut; empty for any write.
    armed: Arc<Mutex<Option<&'static str>>>,
    cut: Arc<watch::Sender<Vec<String>>>,
}

/// The prepared statements of a client.
#[derive(Default)]
struct Statements {
    by_name: HashMap<String, String>,
    current: String,
}

impl PostgresProxy {
    pub fn listen(path: PathBuf, server: PathBuf) -> Result<Self> {
        let listener = UnixListener::bind(&path).with_context(|| format!("cannot listen at {}", path.display()))?;
        let proxy = Self { armed: Arc::default(), cut: Arc::new(watch::Sender::new(Vec::new())) };
        let serving = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (proxy, server) = (serving.clone(), server.clone());
                tokio::spawn(async move {
                    if let Ok(server) = UnixStream::connect(server).await {
                        proxy.connect(client, server);
                    }
                });
            }
        });
        Ok(proxy)
    }

    /// Cuts the next committed write whose text contains `within`, and returns its text.
    pub async fn cut(&self, within: &'static str, timeout: Duration) -> Option<String> {
        let mut cut = self.cut.subscribe();
        let before = cut.borrow_and_update().len();
        self.arm(Some(within));
        tokio::time::timeout(timeout, cut.wait_for(|cut| cut.len() > before)).await.map(|_| ()).ok();
        self.arm(None);
        self.cut.borrow().get(before).cloned()
    }

    fn arm(&self, within: Option<&'static str>) {
        if let Ok(mut armed) = self.armed.lock() {
            *armed = within;
        }
    }

    fn connect(&self, client: UnixStream, server: UnixStream) {
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let statements = Arc::<Mutex<Statements>>::default();
        let listening = tokio::spawn(pass_requests(from_client, to_server, Arc::clone(&statements)));
        let proxy = self.clone();
        tokio::spawn(async move {
            proxy.pass_replies(from_server, to_client, &statements).await.ok();
            // This closes the other half of the client's connection, and the connection to the server.
            listening.abort();
        });
    }

    async fn pass_replies(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        statements: &Mutex<Statements>,
    ) -> std::io::Result<()> {
        let mut held: Option<Vec<u8>> = None;
        loop {
            let message = read_message(&mut from).await?;
            match (message[0], &mut held) {
                (b'C', None) if self.is_wanted(&message, statements) => held = Some(message),
                (b'Z', Some(_)) if message.get(5) == Some(&b'I') => {
                    let statement = statements.lock().map(|statements| statements.current.clone()).unwrap_or_default();
                    self.cut.send_modify(|cut| cut.push(statement));
                    return Ok(());
                }
                (kind, Some(bytes)) => {
                    bytes.extend_from_slice(&message);
                    // The write was not committed, or is part of a longer transaction.
                    if matches!(kind, b'Z' | b'E') {
                        to.write_all(bytes).await?;
                        held = None;
                    }
                }
                (_, None) => to.write_all(&message).await?,
            }
        }
    }

    /// Returns whether this reply must be cut. The order to cut is then used up.
    fn is_wanted(&self, complete: &[u8], statements: &Mutex<Statements>) -> bool {
        let tag = String::from_utf8_lossy(complete.get(5..).unwrap_or_default());
        let did_nothing = tag.trim_end_matches('\0').ends_with(" 0");
        let (Ok(mut armed), Ok(statements)) = (self.armed.lock(), statements.lock()) else { return false };
        let Some(within) = *armed else { return false };
        let is_write = statements.current == "COMMIT" || WRITES.iter().any(|word| statements.current.contains(word));
        let wanted = is_write && !did_nothing && statements.current.contains(within);
        if wanted {
            *armed = None;
        }
        wanted
    }
}

async fn pass_requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    statements: Arc<Mutex<Statements>>,
) -> std::io::Result<()> {
    // The first message has no type. Over a local socket nobody asks for TLS first.
    let length = from.read_u32().await?;
    let mut rest = vec![0; usize::try_from(length).unwrap_or(4).saturating_sub(4).min(MAX_MESSAGE)];
    from.read_exact(&mut rest).await?;
    to.write_u32(length).await?;
    to.write_all(&rest).await?;
    loop {
        let Ok(message) = read_message(&mut from).await else { return to.shutdown().await };
        if let Ok(mut statements) = statements.lock() {
            statements.record(&message);
        }
        to.write_all(&message).await?;
    }
}

impl Statements {
    fn record(&mut self, message: &[u8]) {
        let mut words = message.get(5..).unwrap_or_default().split(|byte| *byte == 0);
        let mut word = || String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
        match message.first() {
            Some(b'P') => {
                let name = word();
                self.by_name.insert(name, word());
            }
            Some(b'B') => {
                word();
                self.current = self.by_name.get(&word()).cloned().unwrap_or_default();
            }
            Some(b'Q') => self.current = word(),
            _ => {}
        }
    }
}

/// One message with its type and length.
async fn read_message(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; 5];
    from.read_exact(&mut message).await?;
    let length = u32::from_be_bytes([message[1], message[2], message[3], message[4]]);
    let rest = usize::try_from(length).unwrap_or(4).saturating_sub(4);
    if rest > MAX_MESSAGE {
        return Err(std::io::Error::other(format!("a message of {rest} bytes")));
    }
    message.resize(5 + rest, 0);
    from.read_exact(&mut message[5..]).await?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind], &length.to_be_bytes()[..], body].concat()
    }

    #[test]
    fn a_bound_statement_is_known_by_the_text_that_was_parsed() {
        let mut statements = Statements::default();
        statements.record(&message(b'P', b"s1\0UPDATE runs SET x = 1\0\0\0"));
        statements.record(&message(b'P', b"s2\0SELECT 1\0\0\0"));
        statements.record(&message(b'B', b"\0s1\0\0\0"));
        assert_eq!(statements.current, "UPDATE runs SET x = 1");
        statements.record(&message(b'B', b"\0s2\0\0\0"));
        assert_eq!(statements.current, "SELECT 1");
    }

    #[tokio::test]
    async fn only_a_committed_write_that_did_something_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let (outside, inside) = (folder.path().join("outside"), folder.path().join("inside"));
        let server = UnixListener::bind(&inside).unwrap();
        let proxy = PostgresProxy::listen(outside.clone(), inside).unwrap();
        proxy.arm(Some(""));
        let mut client = UnixStream::connect(outside).await.unwrap();
        client.write_all(&[0, 0, 0, 8, 0, 3, 0, 0]).await.unwrap();
        let (mut serving, _) = server.accept().await.unwrap();
        serving.read_exact(&mut [0; 8]).await.unwrap();

        let idle = message(b'Z', b"I");
        let mut exchange = async |tag: &[u8]| {
            let asked = message(b'Q', b"UPDATE t SET x = 1\0");
            client.write_all(&asked).await.unwrap();
            serving.read_exact(&mut vec![0; asked.len()]).await.unwrap();
            serving.write_all(&[message(b'C', tag), idle.clone()].concat()).await.unwrap();
            let mut reply = vec![0; 256];
            client.read(&mut reply).await.unwrap()
        };
        assert!(exchange(b"UPDATE 0\0").await > 0, "nothing was written");
        assert_eq!(exchange(b"UPDATE 1\0").await, 0, "the reply is lost");
        assert_eq!(proxy.cut.borrow().len(), 1);
    }
}
