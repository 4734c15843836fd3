//! Quotas of the queue: how many runs may wait in all, of one organisation, and of one of its users.
//!
//! A submission is accepted on a count that is up to 1 s old, plus everything that this process accepted since:
//! counting a long queue for each submission would cost more than the submission. A submission is only rejected on
//! a count that began after it arrived. Each process counts for itself, so a quota may be exceeded by what the
//! other processes accept within that second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use assize_config::Config;
use assize_domain::queue::AdmissionCaps;
use assize_domain::unicode::fold;
use assize_host::clock::Clock;
use assize_store::queue::Pace;
use assize_store::{Store, StoreError};
use parking_lot::Mutex;
use uuid::Uuid;

use super::single_flight::{CacheEntry, SingleFlight};

/// The age at which a count is no longer good enough to accept a submission.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The age at which a count is renewed in the background, so that no submission has to wait for it.
const RENEWAL_AGE: Duration = Duration::from_millis(500);

/// The age at which the measured pace of runs is read again.
const PACE_MAX_AGE: Duration = Duration::from_secs(10);

/// Queues whose counts are cached at one time.
const MAX_ENTRIES: usize = 10_000;

/// `Retry-After`, in seconds: at least, at most, and when no run has ended yet.
const RETRY_AFTER_S: (f64, f64, f64) = (1.0, 300.0, 30.0);

/// One of the three quotas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueQuota {
    /// Queued runs of one user of an organisation.
    User,
    /// Queued runs of one organisation.
    Organization,
    /// All queued runs.
    All,
}

/// A queue has reached its quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFull {
    pub quota: QueueQuota,
    pub limit: i64,
    /// Queued runs, counted no further than to the limit.
    pub queued: i64,
    /// Estimated seconds until the queue has room for one more run.
    pub retry_after_s: u32,
}

/// Why a submission was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum QueueRefusal {
    #[error("the queue is full")]
    Full(QueueFull),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The queue that a quota applies to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Scope {
    User(Uuid, String),
    Organization(Uuid),
    All,
}

/// The quotas as this process applies them.
#[derive(Debug, Clone)]
pub struct QueueQuotas {
    inner: Arc<QuotaState>,
}

#[derive(Debug)]
struct QuotaState {
    store: Store,
    clock: Clock,
    caps: AdmissionCaps,
    all: i64,
    per_org: i64,
    per_user: i64,
    counters: SingleFlight<Scope, CounterState>,
    pace: Mutex<Option<(Instant, Pace)>>,
}

/// The cached count of one queue.
type QueueCounter = CacheEntry<CounterState>;

#[derive(Debug, Default)]
struct CounterState {
    /// When the last count began, and its result.
    counted: Option<(Instant, i64)>,
    /// Accepted submissions whose row is not written yet.
    reserved: i64,
    /// Rows that were written since the last count began.
    written: i64,
}

impl CounterState {
    fn queued(&self) -> i64 {
        self.counted.map_or(0, |(_, count)| count) + self.reserved + self.written
    }

    /// Whether the last count began at `since` or later.
    fn is_since(&self, since: Option<Instant>) -> bool {
        self.counted.is_some_and(|(begun, _)| since.is_none_or(|since| begun >= since))
    }
}

/// Room for one run in each queue that it enters. The room is free again when the reservation is dropped, unless
/// it was confirmed.
#[derive(Debug)]
pub struct QueueReservation {
    counters: Vec<Arc<QueueCounter>>,
    is_confirmed: bool,
}

impl QueueReservation {
    /// Counts the run as queued: its row is written.
    pub fn confirm(mut self) {
        self.is_confirmed = true;
    }
}

impl Drop for QueueReservation {
    fn drop(&mut self) {
        for counter in &self.counters {
            let mut state = counter.value();
            state.reserved -= 1;
            state.written += i64::from(self.is_confirmed);
        }
    }
}

impl QueueQuotas {
    /// The quotas of the settings.
    #[must_use]
    pub fn new(store: Store, clock: Clock, config: &Config) -> Self {
        let inner = QuotaState {
            store,
            clock,
            caps: crate::admission::caps(config),
            all: config.max_queued.into(),
            per_org: config.per_org_max_queued.into(),
            per_user: config.per_user_max_queued.into(),
            counters: SingleFlight::new(MAX_ENTRIES),
            pace: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Checks whether there is room in the queue of this organisation, and of this user if it is given.
    ///
    /// # Errors
    /// [`QueueRefusal::Full`] with the narrowest quota, [`QueueRefusal::Store`] if the queue cannot be counted.
    pub async fn check(&self, organization: Uuid, user: Option<&str>) -> Result<(), QueueRefusal> {
        for scope in scopes(organization, user) {
            self.inner.accept(&scope, |_| {}).await?;
        }
        Ok(())
    }

    /// Reserves room for a run of this user.
    ///
    /// # Errors
    /// As [`QueueQuotas::check`].
    pub async fn reserve(&self, organization: Uuid, user: &str) -> Result<QueueReservation, QueueRefusal> {
        let mut reservation = QueueReservation { counters: Vec::new(), is_confirmed: false };
        for scope in scopes(organization, Some(user)) {
            reservation.counters.push(self.inner.accept(&scope, |state| state.reserved += 1).await?);
        }
        Ok(reservation)
    }
}

fn scopes(organization: Uuid, user: Option<&str>) -> impl Iterator<Item = Scope> {
    // Users whose names look alike share one quota.
    let user = user.map(|user| Scope::User(organization, fold(user)));
    user.into_iter().chain([Scope::Organization(organization), Scope::All])
}

impl QuotaState {
    /// Applies `accepted` to the state of this queue if there is room in it.
    async fn accept(
        self: &Arc<Self>,
        scope: &Scope,
        accepted: impl Fn(&mut CounterState),
    ) -> Result<Arc<QueueCounter>, QueueRefusal> {
        let (quota, limit) = self.quota(scope);
        let counter = self.counters.entry(scope);
        let asked = self.clock.monotonic();
        // The first look accepts a cached count, the second requires a fresh one.
        for since in [asked.checked_sub(MAX_AGE), Some(asked)] {
            self.count_since(scope, &counter, since).await?;
            let mut state = counter.value();
            if state.queued() < limit {
                accepted(&mut state);
                drop(state);
                self.renew(scope, &counter, asked);
                return Ok(counter);
            }
        }
        let retry_after_s = self.retry_after_s(quota).await?;
        let queued = counter.value().queued();
        Err(QueueRefusal::Full(QueueFull { quota, limit, queued, retry_after_s }))
    }

    fn quota(&self, scope: &Scope) -> (QueueQuota, i64) {
        match scope {
            Scope::User(..) => (QueueQuota::User, self.per_user),
            Scope::Organization(_) => (QueueQuota::Organization, self.per_org),
            Scope::All => (QueueQuota::All, self.all),
        }
    }

    /// Returns once there is a count that began at `since` or later.
    async fn count_since(
        &self,
        scope: &Scope,
        counter: &QueueCounter,
        since: Option<Instant>,
    ) -> Result<(), StoreError> {
        let read = |state: &CounterState| state.is_since(since).then_some(Ok(()));
        counter.read_or_renew(read, || self.count(scope, counter)).await
    }

    /// Counts the queue. The caller has the turn of this counter.
    async fn count(&self, scope: &Scope, counter: &QueueCounter) -> Result<(), StoreError> {
        let begun = self.clock.monotonic();
        let written_before = counter.value().written;
        let (organization, user) = match scope {
            Scope::User(organization, user) => (Some(*organization), Some(user.as_str())),
            Scope::Organization(organization) => (Some(*organization), None),
            Scope::All => (None, None),
        };
        let count = self.store.count_queued(organization, user, self.quota(scope).1).await?;
        let mut state = counter.value();
        state.counted = Some((begun, count));
        state.written -= written_before;
        Ok(())
    }

    /// Counts again in the background if the last count gets old.
    fn renew(self: &Arc<Self>, scope: &Scope, counter: &Arc<QueueCounter>, now: Instant) {
        let last = counter.value().counted;
        let is_old = last.is_some_and(|(begun, _)| now.saturating_duration_since(begun) >= RENEWAL_AGE);
        // A user's queue is short, and is seldom asked for twice in a second.
        if !is_old || matches!(scope, Scope::User(..)) {
            return;
        }
        let (inner, scope, counter) = (Arc::clone(self), scope.clone(), Arc::clone(counter));
        tokio::spawn(async move {
            let count = async || {
                if let Err(error) = inner.count(&scope, &counter).await {
                    tracing::debug!(%error, "the queue was not counted; the next submission counts it");
                }
            };
            counter.renew_if_idle(count).await;
        });
    }

    /// Estimates the time until there is room for one run from how fast runs end.
    async fn retry_after_s(&self, quota: QueueQuota) -> Result<u32, StoreError> {
        let (least, most, unknown) = RETRY_AFTER_S;
        let pace = self.pace().await?;
        let at_once = match quota {
            QueueQuota::User => f64::from(self.caps.per_user),
            QueueQuota::Organization => f64::from(self.caps.per_org),
            QueueQuota::All => f64::from(self.caps.total_half_slots) / pace.run_half_slots.unwrap_or(1.0),
        };
        let wait = pace.run_seconds.map_or(unknown, |seconds| (seconds / at_once).ceil());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number from 1 to 300")]
        Ok(wait.clamp(least, most) as u32)
    }

    async fn pace(&self) -> Result<Pace, StoreError> {
        let now = self.clock.monotonic();
        let cached = *self.pace.lock();
        if let Some((since, pace)) = cached
            && now.saturating_duration_since(since) < PACE_MAX_AGE
        {
            return Ok(pace);
        }
        let pace = self.store.pace().await?;
        *self.pace.lock() = Some((now, pace));
        Ok(pace)
    }
}
