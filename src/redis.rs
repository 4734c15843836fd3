//! Redis: the doorbell, hints that a run moved, live output, and buckets of rate limits. No other
//! module names redis.
//!
//! Nothing here is needed for a run to end well. Every call is bounded by [`CALL_TIMEOUT`]; a
//! caller that gets an error goes on without, and the once-a-second polls of Postgres find what a
//! lost hint would have told.

mod bucket;
mod reload;
mod share;

use bucket::TAKE_FROM_BUCKET;
pub use bucket::{Bucket, Taken};
pub use reload::{ProcessKind, RefusedTemplate, ReloadListener, ReloadReport, ReloadRequest, reload_queue};
pub use share::Share;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use parking_lot::Mutex;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::streams::StreamRangeReply;
use redis::{Client, Cmd, Pipeline, RedisResult};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use assize_domain::output::{Entry, EntryId};
use assize_observe::event;

/// The longest that a call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);

/// Live outputs that are read at one time, in this process: each answer is as large as a run's share, and Redis
/// counts what it has not sent yet as its own memory.
const MAX_READS: usize = 8;

/// Seconds that what is left of a run's live output stays once an attempt is over.
const OVER_SECONDS: i64 = 60;

/// Seconds after its last entry that a run's live output is kept; by then its blob is written.
const LIVE_SECONDS: i64 = 3600;

/// The advice for a Redis that does not answer.
const CHECK_REDIS: &str = "check that it runs and that redis_url is right";

/// Redis is away or did not answer in time.
#[derive(Debug, thiserror::Error)]
#[error("Redis did not answer: {0}; {CHECK_REDIS}")]
pub struct RedisError(String);

impl RedisError {
    /// Returns what an operator should do. The message ends with this advice, after a semicolon.
    #[must_use]
    pub const fn advice(&self) -> Option<&'static str> {
        Some(CHECK_REDIS)
    }

    /// It took longer than the caller has.
    #[must_use]
    pub fn late(patience: Duration) -> Self {
        Self(format!("nothing within {} ms", patience.as_millis()))
    }
}

/// A connection that mends itself, and the names that this installation uses.
#[derive(Clone)]
pub struct Redis {
    client: Client,
    connection: ConnectionManager,
    prefix: String,
    reads: Arc<Semaphore>,
}

impl Redis {
    /// Connects at the first call.
    ///
    /// # Errors
    /// If the address is not one.
    pub fn open(redis_url: &str, instance: &str) -> Result<Self, RedisError> {
        // The error's own text may quote the address, password and all.
        let fault = |_| RedisError("redis_url cannot be read; try redis://user:password@host:6379".to_owned());
        let client = Client::open(redis_url).map_err(fault)?;
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(CALL_TIMEOUT))
            .set_response_timeout(Some(CALL_TIMEOUT));
        let connection = ConnectionManager::new_lazy_with_config(client.clone(), config).map_err(fault)?;
        Ok(Self {
            client,
            connection,
            prefix: format!("assize:{instance}"),
            reads: Arc::new(Semaphore::new(MAX_READS)),
        })
    }

    /// Whether Redis answers.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ping(&self) -> Result<(), RedisError> {
        self.call::<()>(&redis::cmd("PING")).await
    }

    /// Rings the doorbell: there is work in the queue.
    ///
    /// # Errors
    /// If Redis is away; the worker's poll finds the work.
    pub async fn ring(&self) -> Result<(), RedisError> {
        self.call::<()>(redis::cmd("PUBLISH").arg(self.doorbell()).arg("")).await
    }

    /// Says that a run moved, or that someone wants it to stop.
    ///
    /// # Errors
    /// If Redis is away; readers poll.
    pub async fn announce(&self, run: Uuid) -> Result<(), RedisError> {
        self.call::<()>(redis::cmd("PUBLISH").arg(self.moves()).arg(run.to_string())).await
    }

    /// Says that someone wants this active run to stop; its worker asks Postgres which.
    ///
    /// # Errors
    /// If Redis is away; the worker hears of it with its next heartbeat.
    pub async fn request_cancel(&self, run: Uuid) -> Result<(), RedisError> {
        self.call::<()>(redis::cmd("PUBLISH").arg(self.cancels()).arg(run.to_string())).await
    }

    /// Asks every worker for a heartbeat at once, so that it learns of a pause that an operator set or ended.
    ///
    /// # Errors
    /// If Redis is away; each worker learns of it with its next heartbeat.
    pub async fn request_heartbeats(&self) -> Result<(), RedisError> {
        // Whoever hears of a cancel sends a heartbeat, whichever run was named.
        self.call::<()>(redis::cmd("PUBLISH").arg(self.cancels()).arg("")).await
    }

    /// Adds to a run's live output and says so.
    ///
    /// # Errors
    /// If Redis is away; the entries reach readers with the blob, when the run ends.
    pub async fn append_output(&self, run: Uuid, entries: &[Entry]) -> Result<(), RedisError> {
        self.append_within(&mut Share::default(), run, entries).await
    }

    /// Adds to a run's live output within its share, of which the oldest entries go, and says so.
    ///
    /// # Errors
    /// As [`Redis::append_output`]. The share counts what was not added as well.
    pub async fn append_within(&self, share: &mut Share, run: Uuid, entries: &[Entry]) -> Result<(), RedisError> {
        let key = self.output(run);
        let mut pipe = redis::pipe();
        let change = share.add(entries);
        // Room is made before it is taken.
        if let Some(oldest) = change.trim {
            pipe.cmd("XTRIM").arg(&key).arg("MINID").arg(oldest.to_string()).ignore();
        }
        for (id, line) in change.add {
            pipe.cmd("XADD").arg(&key).arg(id.to_string()).arg("e").arg(line).ignore();
        }
        pipe.cmd("EXPIRE").arg(&key).arg(LIVE_SECONDS).ignore();
        pipe.cmd("PUBLISH").arg(self.moves()).arg(run.to_string()).ignore();
        self.pipe(&pipe).await
    }

    /// Drops the live output of an attempt that is over and has its blob; that of a later one stays.
    ///
    /// # Errors
    /// If Redis is away; it goes when its time is over.
    pub async fn drop_output(&self, run: Uuid, attempt: u32) -> Result<(), RedisError> {
        let key = self.output(run);
        let next = EntryId { attempt: attempt.saturating_add(1), number: 0 };
        let mut pipe = redis::pipe();
        pipe.cmd("XTRIM").arg(&key).arg("MINID").arg(next.to_string()).ignore();
        // Where the next attempt has begun, its next entry gives it its time again.
        pipe.cmd("EXPIRE").arg(&key).arg(OVER_SECONDS).ignore();
        self.pipe(&pipe).await
    }

    /// At most `count` entries of a run's live output after `after`.
    ///
    /// # Errors
    /// If Redis is away.
    pub async fn read_output(&self, run: Uuid, after: EntryId, count: usize) -> Result<Vec<Entry>, RedisError> {
        let mut command = redis::cmd("XRANGE");
        command.arg(self.output(run)).arg(format!("({after}")).arg("+").arg("COUNT").arg(count);
        // Whoever waits here waits for others' calls, each of which is bounded.
        let _turn = self.reads.acquire().await.map_err(|closed| RedisError(closed.to_string()))?;
        let reply: StreamRangeReply = self.call(&command).await?;
        let lines = reply.ids.iter().filter_map(|id| id.get::<String>("e"));
        Ok(lines.filter_map(|line| serde_json::from_str(&line).ok()).collect())
    }

    /// Takes up to `wanted` from the bucket of this name, which is full if it was never asked for.
    ///
    /// # Errors
    /// If Redis is away. What was taken by a call that was given up is lost.
    pub async fn take_from_bucket(&self, name: &str, bucket: Bucket, wanted: u32) -> Result<Taken, RedisError> {
        let mut command = redis::cmd("EVAL");
        command.arg(TAKE_FROM_BUCKET).arg(1).arg(format!("{}:rate:{name}", self.prefix));
        command.arg(u64::try_from(bucket.interval.as_micros()).unwrap_or(u64::MAX)).arg(bucket.burst).arg(wanted);
        let (given, left, next_in, full_in) = self.call::<(u32, u32, u64, u64)>(&command).await?;
        let [next_in, full_in] = [next_in, full_in].map(Duration::from_micros);
        Ok(Taken { given, left, next_in, full_in })
    }

    /// Listens for ever, reconnecting, and passes on what is heard; every (re)connection counts as
    /// a doorbell and as a move of every run, because some may have been missed.
    /// Requests to load the templates anew go to `reloads`, if this process has templates.
    pub async fn listen(self, hints: Hints, reloads: Option<ReloadListener>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let heard = tokio::select! {
                () = stop.cancelled() => return,
                heard = self.listen_once(&hints, reloads.as_ref()) => heard,
            };
            if let Err(error) = heard {
                event::dependency("redis", false, &error.to_string());
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
            }
        }
    }

    async fn listen_once(&self, hints: &Hints, reloads: Option<&ReloadListener>) -> RedisResult<()> {
        let (doorbell, moves, cancels) = (self.doorbell(), self.moves(), self.cancels());
        let connect = async {
            let mut listener = self.client.get_async_pubsub().await?;
            listener.subscribe(&[&doorbell, &moves, &cancels]).await?;
            if let Some(reloads) = reloads {
                listener.subscribe(self.reload_requests(reloads.kind)).await?;
            }
            RedisResult::Ok(listener)
        };
        let listener = tokio::time::timeout(CALL_TIMEOUT, connect)
            .await
            .map_err(|_| redis::RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)))??;
        event::dependency("redis", true, "");
        hints.set_connected(true);
        hints.all_moved();
        let mut messages = listener.into_on_message();
        while let Some(message) = messages.next().await {
            if message.get_channel_name() == doorbell {
                hints.rang();
            } else if message.get_channel_name() == cancels {
                hints.cancel_requested();
            } else if let Ok(Ok(id)) = message.get_payload::<String>().map(|text| text.parse()) {
                match reloads {
                    Some(reloads) if message.get_channel_name() != moves => reloads.requested(id),
                    _ => hints.moved(id),
                }
            }
        }
        hints.set_connected(false);
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into())
    }

    async fn call<T: redis::FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let mut connection = self.connection.clone();
        bounded(command.query_async(&mut connection)).await
    }

    async fn pipe(&self, pipe: &Pipeline) -> Result<(), RedisError> {
        let mut connection = self.connection.clone();
        bounded(pipe.query_async(&mut connection)).await
    }

    fn doorbell(&self) -> String {
        format!("{}:doorbell", self.prefix)
    }

    fn moves(&self) -> String {
        format!("{}:moves", self.prefix)
    }

    fn cancels(&self) -> String {
        format!("{}:cancels", self.prefix)
    }

    fn output(&self, run: Uuid) -> String {
        format!("{}:output:{run}", self.prefix)
    }
}

async fn bounded<T>(call: impl Future<Output = RedisResult<T>>) -> Result<T, RedisError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(RedisError(error.to_string())),
        Err(_) => Err(RedisError(format!("no answer in {} s", CALL_TIMEOUT.as_secs()))),
    }
}

/// What was heard, for whoever waits in this process. A missed hint costs a poll interval, no more.
#[derive(Debug, Clone)]
pub struct Hints {
    shared: Arc<HintsShared>,
}

#[derive(Debug)]
struct HintsShared {
    doorbell: watch::Sender<u64>,
    cancels: watch::Sender<u64>,
    connected: watch::Sender<bool>,
    runs: Mutex<HashMap<Uuid, watch::Sender<u64>>>,
}

impl Default for Hints {
    fn default() -> Self {
        let shared = HintsShared {
            doorbell: watch::Sender::new(0),
            cancels: watch::Sender::new(0),
            connected: watch::Sender::new(false),
            runs: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }
}

impl Hints {
    /// Changes whenever the doorbell rings.
    #[must_use]
    pub fn doorbell(&self) -> watch::Receiver<u64> {
        self.shared.doorbell.subscribe()
    }

    /// Changes whenever someone wants an active run to stop.
    #[must_use]
    pub fn cancels(&self) -> watch::Receiver<u64> {
        self.shared.cancels.subscribe()
    }

    /// Changes whenever this run moved or wrote output.
    #[must_use]
    pub fn run(&self, run: Uuid) -> watch::Receiver<u64> {
        let mut runs = self.shared.runs.lock();
        if runs.len() > 64 {
            runs.retain(|_, sender| sender.receiver_count() > 0);
        }
        runs.entry(run).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    /// How many wait for this run at the moment.
    #[must_use]
    pub fn waiting(&self, run: Uuid) -> usize {
        self.shared.runs.lock().get(&run).map_or(0, watch::Sender::receiver_count)
    }

    /// Whether hints arrive at all at the moment; if not, poll.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        *self.shared.connected.borrow()
    }

    /// The doorbell rang.
    pub fn rang(&self) {
        self.shared.doorbell.send_modify(|count| *count += 1);
    }

    /// Someone wants an active run to stop.
    pub fn cancel_requested(&self) {
        self.shared.cancels.send_modify(|count| *count += 1);
    }

    /// This run moved.
    pub fn moved(&self, run: Uuid) {
        if let Some(sender) = self.shared.runs.lock().get(&run) {
            sender.send_modify(|count| *count += 1);
        }
    }

    fn set_connected(&self, connected: bool) {
        self.shared.connected.send_replace(connected);
    }

    fn all_moved(&self) {
        self.rang();
        self.cancel_requested();
        self.shared.runs.lock().values().for_each(|sender| sender.send_modify(|count| *count += 1));
    }
}
