//! All connections of one cell. Hearing never waits: each connection has a task of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use assize_protocol::egress::{FromCell, How, MAX_OPEN, ToCell, WINDOW_DOWN, WINDOW_UP};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{ConnectionTask, Idle, Upstream, Used};
use super::guard::{Guard, Refusal};
use super::host::Allow;
use super::lookups::Names;
use super::outage;
use super::record::Log;
use assize_domain::egress::EgressRecord;

/// A connection on which nothing goes either way for this long (to a sixth) is ended, unless its rules say otherwise. npm
/// and pip keep connections open between requests for less.
const IDLE: Duration = Duration::from_secs(60);

/// How long the connections of a stage that is over may take to notice.
const NOTICE: Duration = Duration::from_secs(1);

/// What one stage may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    pub connections: u64,
    /// Both ways together.
    pub bytes: u64,
}

/// What the stages of one plan may reach.
#[derive(Clone)]
pub struct Rules {
    guard: Guard,
    stages: Vec<StageRules>,
    idle: Idle,
}

#[derive(Clone)]
struct StageRules {
    number: u8,
    allowed: Arc<[Allow]>,
    /// A setting that is empty, and that the template needs for this stage.
    missing_setting: Option<&'static str>,
    allowance: Allowance,
    connections: u64,
    used: Arc<Used>,
    /// What it has had looked up.
    names: Arc<Names>,
}

impl Rules {
    #[must_use]
    pub const fn new(guard: Guard) -> Self {
        Self { guard, stages: Vec::new(), idle: Idle { after: IDLE, least_bytes: 1 } }
    }

    /// Ends connections on which fewer than so many bytes a second go either way for this long, and not those on
    /// which nothing goes for a minute.
    pub const fn end_slow_after(&mut self, after: Duration, bytes_per_s: u64) {
        let least = bytes_per_s.saturating_mul(after.as_secs()) / 6;
        self.idle = Idle { after, least_bytes: if least == 0 { 1 } else { least } };
    }

    /// Lets the stage of this number, counted as in the plan, reach what is on the list.
    pub fn allow(
        &mut self,
        number: u8,
        allowed: Vec<Allow>,
        missing_setting: Option<&'static str>,
        allowance: Allowance,
    ) {
        let used = Arc::new(Used { bytes: AtomicU64::new(0), limit: allowance.bytes });
        self.stages.push(StageRules {
            number,
            allowed: allowed.into(),
            missing_setting,
            allowance,
            connections: 0,
            used,
            names: Arc::default(),
        });
    }

    /// Whether any stage may reach anything.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }
}

/// The way to one connection's task.
struct Way {
    up: mpsc::UnboundedSender<Upstream>,
    room: Arc<Semaphore>,
    uncredited: Arc<AtomicU32>,
    gone: CancellationToken,
}

/// The connections of one cell. Dropping it ends them all.
pub struct Tunnels {
    rules: Rules,
    frames: mpsc::Sender<Vec<u8>>,
    /// What was asked for before, in the clock of the wardens, another worker heard.
    since_us: u64,
    open: HashMap<u32, Way>,
    tasks: TaskTracker,
    stop: CancellationToken,
    log: Arc<Mutex<Log>>,
}

impl Tunnels {
    /// `frames` is the way into the cell; requests older than `since_us` are left alone.
    #[must_use]
    pub fn new(rules: Rules, frames: mpsc::Sender<Vec<u8>>, since_us: u64) -> Self {
        Self {
            rules,
            frames,
            since_us,
            open: HashMap::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            log: Arc::default(),
        }
    }

    /// The stream to the cell is another now: what was open is over, and only what is asked for after
    /// `since_us` is dialled.
    pub fn renew(&mut self, frames: mpsc::Sender<Vec<u8>>, since_us: u64) {
        self.stop.cancel();
        self.stop = CancellationToken::new();
        self.open.clear();
        (self.frames, self.since_us) = (frames, since_us);
    }

    /// Takes in what the warden said.
    pub fn hear(&mut self, said: FromCell) {
        match said {
            FromCell::Open { id, stage, at_us, port, host } if at_us >= self.since_us => {
                self.begin(id, stage, host, port);
            }
            FromCell::Open { .. } => {}
            FromCell::Data { id, bytes } => {
                let Some(way) = self.open.get(&id) else { return };
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                let before = way.uncredited.fetch_add(length, Ordering::Relaxed);
                if before.saturating_add(length) > WINDOW_UP {
                    way.gone.cancel();
                } else {
                    way.up.send(Upstream::Data(bytes)).ok();
                }
            }
            FromCell::Credit { id, bytes } => {
                let Some(way) = self.open.get(&id) else { return };
                let (room, more) = (way.room.available_permits(), bytes as usize);
                if room.saturating_add(more) > WINDOW_DOWN as usize {
                    way.gone.cancel();
                } else {
                    way.room.add_permits(more);
                }
            }
            FromCell::End { id, how: How::Eof } => {
                if let Some(way) = self.open.get(&id) {
                    way.up.send(Upstream::Eof).ok();
                }
            }
            FromCell::End { id, how: How::Reset } => {
                if let Some(way) = self.open.remove(&id) {
                    way.gone.cancel();
                }
            }
        }
    }

    fn begin(&mut self, id: u32, number: u8, host: String, port: u16) {
        self.open.retain(|_, way| !way.up.is_closed());
        let not_listed = Refusal::NotListed { host: host.clone(), port };
        let Some(stage) = self.rules.stages.iter_mut().find(|stage| stage.number == number) else {
            // A warden asks only for stages that may; it gets an answer all the same.
            self.frames.try_send(ToCell::Refused { id, status: 403, reason: not_listed.to_string() }.frame()).ok();
            return;
        };
        stage.connections += 1;
        let Allowance { connections, bytes } = stage.allowance;
        let refused = if stage.connections > connections {
            Some(Refusal::Quota { limit: connections, of: "connections" })
        } else if stage.used.is_spent() {
            Some(Refusal::Quota { limit: bytes, of: "bytes" })
        } else if self.open.len() >= MAX_OPEN {
            Some(Refusal::Quota { limit: MAX_OPEN as u64, of: "connections at one time" })
        } else {
            None
        };
        let (up, from_cell) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(WINDOW_DOWN as usize));
        let (uncredited, gone) = (Arc::new(AtomicU32::new(0)), CancellationToken::new());
        let task = ConnectionTask {
            id,
            host,
            port,
            guard: self.rules.guard.clone(),
            names: Arc::clone(&stage.names),
            allowed: Arc::clone(&stage.allowed),
            missing_setting: stage.missing_setting,
            refused,
            idle: self.rules.idle,
            used: Arc::clone(&stage.used),
            frames: self.frames.clone(),
            up: from_cell,
            room: Arc::clone(&room),
            uncredited: Arc::clone(&uncredited),
            gone: gone.clone(),
            stop: self.stop.clone(),
            log: Arc::clone(&self.log),
        };
        self.tasks.spawn(task.run());
        self.open.insert(id, Way { up, room, uncredited, gone });
    }

    /// The stage is over, and every connection with it.
    pub async fn end_stage(&mut self) {
        self.stop.cancel();
        self.open.clear();
        self.tasks.close();
        if tokio::time::timeout(NOTICE, self.tasks.wait()).await.is_err() {
            tracing::debug!("some connections of a stage that is over have not noticed");
        }
        self.tasks.reopen();
        self.stop = CancellationToken::new();
    }

    /// Connections that ended and are not written down yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.log.lock().pending()
    }

    /// What is to be written down, if there is anything.
    #[must_use]
    pub fn take_recorded(&self) -> Option<EgressRecord> {
        self.log.lock().take()
    }

    /// The bytes that a stage may use, if one has used them up.
    #[must_use]
    pub fn spent(&self) -> Option<u64> {
        self.rules.stages.iter().find(|stage| stage.used.is_spent()).map(|stage| stage.allowance.bytes)
    }

    /// What became of the hosts that the stage of this number asked for. To be asked when the stage has ended
    /// ([`Self::end_stage`]), and once: the next begins with nothing.
    pub async fn take_heard(&self, number: u8) -> HeardOf {
        let (suspects, stall, forbidden) = {
            let mut log = self.log.lock();
            let heard = (log.hosts.suspects(), log.hosts.stall(), log.hosts.forbidden());
            log.hosts.forget();
            heard
        };
        let Some(stage) = self.rules.stages.iter().find(|stage| stage.number == number) else {
            return HeardOf::default();
        };
        HeardOf { outage: outage::confirm(suspects, &self.rules.guard, &stage.allowed).await, stall, forbidden }
    }
}

/// What became of the hosts of a stage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeardOf {
    /// Why something that it may reach could not be reached, if it stayed so and the project did not bring it about.
    pub outage: Option<String>,
    /// How a host that was reached broke off or stalled, if that was the last of it.
    pub stall: Option<String>,
    /// Why a host that it may reach may not be dialled: a setting of the operator's that is missing.
    pub forbidden: Option<String>,
}

impl Drop for Tunnels {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[cfg(test)]
#[path = "tunnels_tests.rs"]
mod tests;
