//! One connection: dialled, carried both ways, and written down.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use assize_protocol::egress::{How, MAX_PIECE, ToCell};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::guard::{DialTarget, Guard, Refusal};
use super::host::{Allow, Host};
use super::lookups::Names;
use super::outage::Heard;
use super::record::Log;
use assize_domain::egress::{ConnectionOutcome, ConnectionRecord};

/// How long all addresses of a host together may take to answer.
const DIAL: Duration = Duration::from_secs(10);

/// What the cell sent up.
pub enum Upstream {
    Data(Vec<u8>),
    Eof,
}

/// The bytes of a stage, over all its connections.
pub struct Used {
    pub bytes: AtomicU64,
    pub limit: u64,
}

impl Used {
    /// False when the limit is passed.
    fn spend(&self, bytes: usize) -> bool {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64 <= self.limit
    }

    pub fn is_spent(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= self.limit
    }
}

/// When nothing goes on a connection any more.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// It is ended when it was quiet for this long, to a sixth.
    pub after: Duration,
    /// Bytes, both ways together, that make a sixth of that time not quiet.
    pub least_bytes: u64,
}

/// What a connection is made of.
pub struct ConnectionTask {
    pub id: u32,
    pub host: String,
    pub port: u16,
    pub guard: Guard,
    /// What its stage has had looked up.
    pub names: Arc<Names>,
    pub allowed: Arc<[Allow]>,
    /// A setting that is empty, and that the template needs for this stage.
    pub missing_setting: Option<&'static str>,
    /// It is refused before anything is looked at.
    pub refused: Option<Refusal>,
    pub idle: Idle,
    pub used: Arc<Used>,
    pub frames: mpsc::Sender<Vec<u8>>,
    pub up: mpsc::UnboundedReceiver<Upstream>,
    /// Bytes that the cell has room for.
    pub room: Arc<Semaphore>,
    /// Bytes from the cell for which it got no credit yet.
    pub uncredited: Arc<AtomicU32>,
    /// The cell has dropped it.
    pub gone: CancellationToken,
    /// Its stage is over.
    pub stop: CancellationToken,
    pub log: Arc<Mutex<Log>>,
}

/// Why a connection that was made ended.
struct Ended(ConnectionOutcome, Option<String>);

impl ConnectionTask {
    /// Carries the connection to its end, and writes it down.
    pub async fn run(mut self) {
        let begun = self.guard.clock().monotonic();
        let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
        // Hosts are told apart by their one form, however they were asked for.
        let host = Host::parse(&self.host).map_or_else(|_| self.host.clone(), |host| host.to_string());
        let (heard, Ended(outcome, reason)) = self.carry(&up, &down).await;
        let address = if let Heard::Reached { address, .. } = heard { Some(address) } else { None };
        let connection = ConnectionRecord {
            id: self.id,
            host,
            port: self.port,
            address,
            up: up.into_inner(),
            down: down.into_inner(),
            ms: u64::try_from(self.guard.clock().since(begun).as_millis()).unwrap_or(u64::MAX),
            outcome,
            reason,
        };
        self.log.lock().push(connection, heard);
    }

    async fn carry(&mut self, up: &AtomicU64, down: &AtomicU64) -> (Heard, Ended) {
        let (stop, gone) = (self.stop.clone(), self.gone.clone());
        let dialled = tokio::select! {
            biased;
            () = stop.cancelled() => return (Heard::Nothing, Ended(ConnectionOutcome::StageEnded, None)),
            () = gone.cancelled() => return (Heard::Nothing, Ended(ConnectionOutcome::Reset, None)),
            dialled = self.dial() => dialled,
        };
        let (admitted, address, stream) = match dialled {
            Ok(dialled) => dialled,
            Err(refusal) => {
                let outcome = match &refusal {
                    Refusal::Quota { .. } => ConnectionOutcome::Quota,
                    Refusal::Unresolved { .. }
                    | Refusal::NoSuchName { .. }
                    | Refusal::Unreachable { .. }
                    | Refusal::NobodyThere { .. } => ConnectionOutcome::Unreachable,
                    _ => ConnectionOutcome::Refused,
                };
                let heard = match &refusal {
                    refusal if refusal.is_outage() => Heard::Outage,
                    Refusal::Address { is_listed: true, .. } | Refusal::SettingMissing { .. } => Heard::Forbidden,
                    _ => Heard::Nothing,
                };
                let reason = refusal.to_string();
                self.say(ToCell::Refused { id: self.id, status: refusal.status(), reason: reason.clone() }).await;
                return (heard, Ended(outcome, Some(reason)));
            }
        };
        self.say(ToCell::Opened { id: self.id }).await;
        self.log.lock().hosts.reach(&admitted.host.to_string(), self.port);
        let reached = Heard::Reached { address, is_listed: admitted.is_listed };
        let (id, idle) = (self.id, self.idle);
        let (read, write) = stream.into_split();
        let ended = {
            let carrying = async {
                let (downwards, upwards) = (
                    carry_down(id, read, &self.room, &self.frames, &self.used, down),
                    carry_up(id, write, &mut self.up, &self.uncredited, &self.frames, &self.used, up),
                );
                match tokio::try_join!(downwards, upwards) {
                    Ok(_) => Ended(ConnectionOutcome::Closed, None),
                    Err(ended) => ended,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return (reached, Ended(ConnectionOutcome::StageEnded, None)),
                () = gone.cancelled() => return (reached, Ended(ConnectionOutcome::Reset, None)),
                ended = carrying => ended,
                () = idleness(idle, up, down) => Ended(ConnectionOutcome::Idle, None),
            }
        };
        if ended.0 != ConnectionOutcome::Closed {
            self.say(ToCell::End { id, how: How::Reset }).await;
        }
        (reached, ended)
    }

    async fn dial(&self) -> Result<(DialTarget, SocketAddr, TcpStream), Refusal> {
        if let Some(refusal) = &self.refused {
            return Err(refusal.clone());
        }
        let admitted = self.guard.admit(&self.names, &self.allowed, &self.host, self.port).await;
        let admitted = admitted.map_err(|refusal| match (refusal, self.missing_setting) {
            (Refusal::NotListed { host, port }, Some(setting)) => Refusal::SettingMissing { host, port, setting },
            (refusal, _) => refusal,
        })?;
        match connect(&admitted.addresses, DIAL).await {
            Ok((address, stream)) => Ok((admitted, address, stream)),
            Err(reason) => {
                let (host, port) = (admitted.host.to_string(), self.port);
                self.names.doubt(self.guard.clock(), &host);
                Err(if admitted.is_listed {
                    Refusal::Unreachable { host, port, reason }
                } else {
                    Refusal::NobodyThere { host, port, reason }
                })
            }
        }
    }

    /// Waits for a place in the channel, but not longer than anybody listens.
    async fn say(&self, said: ToCell) {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            sent = self.frames.send(said.frame()) => drop(sent),
        }
    }
}

/// The first of these that answers in time.
///
/// # Errors
/// Why none did.
pub async fn connect(addresses: &[SocketAddr], patience: Duration) -> Result<(SocketAddr, TcpStream), String> {
    let dialling = async {
        let mut last = String::new();
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true).ok();
                    return Ok((*address, stream));
                }
                Err(error) => last = error.to_string(),
            }
        }
        Err(last)
    };
    let late = |_| format!("no answer in {} s", patience.as_secs());
    tokio::time::timeout(patience, dialling).await.map_err(late)?
}

fn broken(error: &io::Error) -> Ended {
    Ended(ConnectionOutcome::Reset, Some(error.to_string()))
}

fn spent() -> Ended {
    Ended(ConnectionOutcome::Quota, Some("the bytes of this stage are used up".to_owned()))
}

/// From the network to the cell, as the cell has room.
async fn carry_down(
    id: u32,
    mut read: OwnedReadHalf,
    room: &Semaphore,
    frames: &mpsc::Sender<Vec<u8>>,
    used: &Used,
    count: &AtomicU64,
) -> Result<(), Ended> {
    let nobody = || Ended(ConnectionOutcome::StageEnded, None);
    let mut buffer = vec![0; MAX_PIECE];
    loop {
        room.acquire().await.map_err(|_| nobody())?.forget();
        // Nobody else takes from it.
        let more = room.available_permits().min(MAX_PIECE - 1);
        if let Ok(permits) = room.try_acquire_many(u32::try_from(more).unwrap_or(0)) {
            permits.forget();
        }
        let length = read.read(buffer.get_mut(..=more).unwrap_or_default()).await.map_err(|error| broken(&error))?;
        room.add_permits(more + 1 - length);
        if length == 0 {
            let end = ToCell::End { id, how: How::Eof };
            return frames.send(end.frame()).await.map_err(|_| nobody());
        }
        if !used.spend(length) {
            return Err(spent());
        }
        count.fetch_add(length as u64, Ordering::Relaxed);
        let bytes = buffer.get(..length).unwrap_or_default().to_vec();
        frames.send(ToCell::Data { id, bytes }.frame()).await.map_err(|_| nobody())?;
    }
}

/// From the cell to the network; what the network took is credited.
async fn carry_up(
    id: u32,
    mut write: OwnedWriteHalf,
    up: &mut mpsc::UnboundedReceiver<Upstream>,
    uncredited: &AtomicU32,
    frames: &mpsc::Sender<Vec<u8>>,
    used: &Used,
    count: &AtomicU64,
) -> Result<(), Ended> {
    while let Some(Upstream::Data(bytes)) = up.recv().await {
        if !used.spend(bytes.len()) {
            return Err(spent());
        }
        write.write_all(&bytes).await.map_err(|error| broken(&error))?;
        count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        uncredited.fetch_sub(length, Ordering::Relaxed);
        let credit = ToCell::Credit { id, bytes: length };
        frames.send(credit.frame()).await.map_err(|_| Ended(ConnectionOutcome::StageEnded, None))?;
    }
    // Some servers are gone by then.
    write.shutdown().await.ok();
    Ok(())
}

/// Ends when too little went either way for so long, to a sixth of it.
async fn idleness(idle: Idle, up: &AtomicU64, down: &AtomicU64) {
    const LOOKS: u32 = 6;
    let seen = || up.load(Ordering::Relaxed).saturating_add(down.load(Ordering::Relaxed));
    let (mut before, mut quiet) = (seen(), 0);
    while quiet < LOOKS {
        tokio::time::sleep(idle.after / LOOKS).await;
        let now = seen();
        quiet = if now.saturating_sub(before) < idle.least_bytes { quiet + 1 } else { 0 };
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::runtime_clock;

    /// What goes starts the time anew, and what went at first does not double it.
    #[tokio::test(start_paused = true)]
    async fn idle_time_counts_from_the_last_byte() {
        let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
        let idle = Duration::from_millis(900);
        let mut waited = std::pin::pin!(idleness(Idle { after: idle, least_bytes: 1 }, &up, &down));
        for (after, count) in [(idle * 5 / 6, &down), (idle / 4, &up)] {
            let going = tokio::time::timeout(after, &mut waited).await;
            assert!(going.is_err(), "ended while bytes went");
            count.fetch_add(1, Ordering::Relaxed);
        }
        let (clock, last) = (runtime_clock(), runtime_clock().monotonic());
        waited.await;
        let quiet = clock.since(last);
        assert!(quiet >= idle * 5 / 6 && quiet < idle * 8 / 5, "{quiet:?}");
    }
}
