//! How many runs may wait: in all, of one organisation, of one of its users.
//!
//! Who is let in may be let in on a count that is up to a second old, plus all that this process let in
//! since: counting a long queue for each submission would cost more than the submission. Who is refused
//! is refused on a count that began after the question. Each process counts for itself, so a quota may
//! be passed by what the others take in within that second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use assize_config::Config;
use assize_domain::queue::AdmissionCaps;
use assize_domain::unicode::fold;
use assize_host::clock;
use assize_store::queue::Pace;
use assize_store::{Store, StoreError};

/// The oldest count that lets anyone in.
const OLDEST: Duration = Duration::from_secs(1);

/// From this age on a count is renewed in the background, so that nobody has to wait for it.
const RENEW: Duration = Duration::from_millis(500);

/// How long it is believed how fast runs end.
const PACE_KEPT: Duration = Duration::from_secs(10);

/// Users whose counts are kept at one time; past it those are forgotten that nobody asks for.
const MOST_KEPT: usize = 10_000;

/// `Retry-After`, in seconds: at least, at most, and when no run has ended yet.
const RETRY_AFTER_S: (f64, f64, f64) = (1.0, 300.0, 30.0);

/// Which quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    User,
    Organization,
    All,
}

/// A queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    pub quota: Quota,
    pub limit: i64,
    /// Counted no further than to the limit.
    pub seen: i64,
    /// When a place may be free.
    pub retry_after_s: u32,
}

/// Why a submission was not let in.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("the queue is full")]
    Full(Full),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whose queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Scope {
    User(Uuid, String),
    Organization(Uuid),
    All,
}

/// The quotas of this process.
#[derive(Debug, Clone)]
pub struct Quotas {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    caps: AdmissionCaps,
    all: i64,
    per_org: i64,
    per_user: i64,
    gauges: Mutex<HashMap<Scope, Arc<Gauge>>>,
    pace: Mutex<Option<(Instant, Pace)>>,
}

/// What is known of one queue.
#[derive(Debug, Default)]
struct Gauge {
    level: Mutex<Level>,
    /// Held while it is counted: who comes meanwhile shares the next count.
    counting: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Level {
    /// When the last count began, and what it came to.
    counted: Option<(Instant, i64)>,
    /// Let in, and on their way into the queue.
    entering: i64,
    /// In the queue since the last count began.
    entered: i64,
}

impl Level {
    fn seen(&self) -> i64 {
        self.counted.map_or(0, |(_, count)| count) + self.entering + self.entered
    }

    /// Whether a count is there that began at `since` or later.
    fn is_since(&self, since: Option<Instant>) -> bool {
        self.counted.is_some_and(|(begun, _)| since.is_none_or(|since| begun >= since))
    }
}

impl Gauge {
    fn level(&self) -> MutexGuard<'_, Level> {
        self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in every queue that a run enters; given back when it is dropped, unless it was taken.
#[derive(Debug)]
pub struct Place {
    gauges: Vec<Arc<Gauge>>,
    is_taken: bool,
}

impl Place {
    /// The run is in the queue.
    pub fn taken(mut self) {
        self.is_taken = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for gauge in &self.gauges {
            let mut level = gauge.level();
            level.entering -= 1;
            level.entered += i64::from(self.is_taken);
        }
    }
}

impl Quotas {
    /// As the settings have them.
    #[must_use]
    pub fn new(store: Store, config: &Config) -> Self {
        let shared = Shared {
            store,
            caps: crate::admission::caps(config),
            all: config.max_queued.into(),
            per_org: config.per_org_max_queued.into(),
            per_user: config.per_user_max_queued.into(),
            gauges: Mutex::default(),
            pace: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Whether there would be a place: in the queue of this organisation, and of this user if it is known.
    ///
    /// # Errors
    /// [`Refused::Full`] with the narrowest quota, [`Refused::Store`] if it cannot be counted.
    pub async fn check(&self, organization: Uuid, user: Option<&str>) -> Result<(), Refused> {
        for scope in scopes(organization, user) {
            self.shared.admit(&scope, |_| {}).await?;
        }
        Ok(())
    }

    /// A place for a run of this user.
    ///
    /// # Errors
    /// As [`Quotas::check`].
    pub async fn enter(&self, organization: Uuid, user: &str) -> Result<Place, Refused> {
        let mut place = Place { gauges: Vec::new(), is_taken: false };
        for scope in scopes(organization, Some(user)) {
            place.gauges.push(self.shared.admit(&scope, |level| level.entering += 1).await?);
        }
        Ok(place)
    }
}

fn scopes(organization: Uuid, user: Option<&str>) -> impl Iterator<Item = Scope> {
    // Names that look alike share their places.
    let user = user.map(|user| Scope::User(organization, fold(user)));
    user.into_iter().chain([Scope::Organization(organization), Scope::All])
}

impl Shared {
    /// Does `admitted` if there is a place in this queue.
    async fn admit(self: &Arc<Self>, scope: &Scope, admitted: impl Fn(&mut Level)) -> Result<Arc<Gauge>, Refused> {
        let (quota, limit) = self.quota(scope);
        let gauge = self.gauge(scope);
        let asked = clock::monotonic();
        // First on a count that need not be new, then on one that is.
        for since in [asked.checked_sub(OLDEST), Some(asked)] {
            self.count_since(scope, &gauge, since).await?;
            let mut level = gauge.level();
            if level.seen() < limit {
                admitted(&mut level);
                drop(level);
                self.renew(scope, &gauge, asked);
                return Ok(gauge);
            }
        }
        let retry_after_s = self.retry_after_s(quota).await?;
        Err(Refused::Full(Full { quota, limit, seen: gauge.level().seen(), retry_after_s }))
    }

    fn quota(&self, scope: &Scope) -> (Quota, i64) {
        match scope {
            Scope::User(..) => (Quota::User, self.per_user),
            Scope::Organization(_) => (Quota::Organization, self.per_org),
            Scope::All => (Quota::All, self.all),
        }
    }

    fn gauge(&self, scope: &Scope) -> Arc<Gauge> {
        let mut gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        if gauges.len() >= MOST_KEPT && !gauges.contains_key(scope) {
            // Nobody holds a place in them or counts them.
            gauges.retain(|_, gauge| Arc::strong_count(gauge) > 1);
        }
        Arc::clone(gauges.entry(scope.clone()).or_default())
    }

    /// Returns with a count that began at `since` or later.
    async fn count_since(&self, scope: &Scope, gauge: &Gauge, since: Option<Instant>) -> Result<(), StoreError> {
        if gauge.level().is_since(since) {
            return Ok(());
        }
        let _turn = gauge.counting.lock().await;
        if gauge.level().is_since(since) {
            return Ok(());
        }
        self.count(scope, gauge).await
    }

    /// Counts; only one at a time for each queue.
    async fn count(&self, scope: &Scope, gauge: &Gauge) -> Result<(), StoreError> {
        let begun = clock::monotonic();
        let entered_before = gauge.level().entered;
        let (organization, user) = match scope {
            Scope::User(organization, user) => (Some(*organization), Some(user.as_str())),
            Scope::Organization(organization) => (Some(*organization), None),
            Scope::All => (None, None),
        };
        let count = self.store.count_queued(organization, user, self.quota(scope).1).await?;
        let mut level = gauge.level();
        level.counted = Some((begun, count));
        level.entered -= entered_before;
        Ok(())
    }

    /// Counts again behind everyone's back, if the last count gets old.
    fn renew(self: &Arc<Self>, scope: &Scope, gauge: &Arc<Gauge>, now: Instant) {
        let is_old = gauge.level().counted.is_some_and(|(begun, _)| now.saturating_duration_since(begun) >= RENEW);
        // A user's is short, and seldom asked for twice in a second.
        if !is_old || matches!(scope, Scope::User(..)) {
            return;
        }
        let (shared, scope, gauge) = (Arc::clone(self), scope.clone(), Arc::clone(gauge));
        tokio::spawn(async move {
            if let Ok(_turn) = gauge.counting.try_lock()
                && let Err(error) = shared.count(&scope, &gauge).await
            {
                tracing::debug!(%error, "the queue was not counted; the next submission does it");
            }
        });
    }

    /// From how fast runs end, the time until one place is free.
    async fn retry_after_s(&self, quota: Quota) -> Result<u32, StoreError> {
        let (least, most, unknown) = RETRY_AFTER_S;
        let pace = self.pace().await?;
        let at_once = match quota {
            Quota::User => f64::from(self.caps.per_user),
            Quota::Organization => f64::from(self.caps.per_org),
            Quota::All => f64::from(self.caps.total_half_slots) / pace.run_half_slots.unwrap_or(1.0),
        };
        let wait = pace.run_seconds.map_or(unknown, |seconds| (seconds / at_once).ceil());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number from 1 to 300")]
        Ok(wait.clamp(least, most) as u32)
    }

    async fn pace(&self) -> Result<Pace, StoreError> {
        let now = clock::monotonic();
        let known = *self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, pace)) = known
            && now.saturating_duration_since(since) < PACE_KEPT
        {
            return Ok(pace);
        }
        let pace = self.store.pace().await?;
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, pace));
        Ok(pace)
    }
}
