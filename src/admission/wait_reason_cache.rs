//! A cache of the answers to "why does this run wait?". In a long queue an answer costs Postgres milliseconds, and
//! a class of students that watches the same run asks a thousand times a second.
//!
//! The API only asks for a row that it has just read as queued, and for the attempt of that row. So no answer
//! outlives the state of its run: nobody asks for a run that was claimed, and a run that is queued again is in
//! another attempt.

use std::sync::Arc;
use std::time::{Duration, Instant};

use assize_config::Config;
use assize_domain::queue::{AdmissionCaps, Waiting};
use assize_host::clock::Clock;
use assize_store::{Store, StoreError};
use uuid::Uuid;

use super::single_flight::SingleFlight;

/// The age at which an answer is no longer returned.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Runs whose answers are cached at one time.
const MAX_ENTRIES: usize = 10_000;

/// The answers of this process.
#[derive(Debug, Clone)]
pub struct WaitReasonCache {
    state: Arc<CacheState>,
}

#[derive(Debug)]
struct CacheState {
    store: Store,
    clock: Clock,
    caps: AdmissionCaps,
    max_age: Duration,
    /// The last answer, by run and attempt.
    answers: SingleFlight<(Uuid, i32), Option<CachedReason>>,
}

#[derive(Debug, Clone)]
struct CachedReason {
    reason: Result<Option<Waiting>, StoreError>,
    /// When the question was asked. For a failure, when it was received: only callers that waited for it share it.
    at: Instant,
}

impl CachedReason {
    /// The answer, if it is at most `max_age` old for a question that is asked at `asked`.
    fn for_question_at(&self, asked: Instant, max_age: Duration) -> Option<Result<Option<Waiting>, StoreError>> {
        let max_age = if self.reason.is_ok() { max_age } else { Duration::ZERO };
        (asked.saturating_duration_since(self.at) <= max_age).then(|| self.reason.clone())
    }
}

impl WaitReasonCache {
    /// A cache of answers under the caps of the settings.
    #[must_use]
    pub fn new(store: Store, clock: Clock, config: &Config) -> Self {
        Self::with_max_age(store, clock, config, MAX_AGE)
    }

    /// The same with another age at which an answer is no longer returned.
    #[must_use]
    pub fn with_max_age(store: Store, clock: Clock, config: &Config, max_age: Duration) -> Self {
        let caps = crate::admission::caps(config);
        Self { state: Arc::new(CacheState { store, clock, caps, max_age, answers: SingleFlight::new(MAX_ENTRIES) }) }
    }

    /// Why this run waits, which was just read as queued in this attempt. `None` if it does not wait any more.
    ///
    /// # Errors
    /// [`StoreError`] if Postgres does not answer.
    pub async fn explain(&self, organization: Uuid, run: Uuid, attempt: i32) -> Result<Option<Waiting>, StoreError> {
        let CacheState { store, clock, caps, max_age, answers } = &*self.state;
        let entry = answers.entry(&(run, attempt));
        let asked = clock.monotonic();
        let renew = async || {
            let begun = clock.monotonic();
            let facts = store.explain_queued(organization, run, caps).await;
            let reason = facts.map(|facts| facts.map(|facts| facts.explain(run, caps)));
            let at = if reason.is_ok() { begun } else { clock.monotonic() };
            *entry.value() = Some(CachedReason { reason: reason.clone(), at });
            reason
        };
        let read = |answer: &Option<CachedReason>| answer.as_ref()?.for_question_at(asked, *max_age);
        entry.read_or_renew(read, renew).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_returned_to_callers_that_waited_for_it_and_to_nobody_else() {
        let (at, a_moment) = (Clock::system().monotonic(), Duration::from_millis(1));
        let failed = StoreError::Unavailable { query: "explain_queued", reason: String::new() };
        let answer = CachedReason { reason: Err(failed), at };
        assert!(answer.for_question_at(at - a_moment, MAX_AGE).is_some());
        assert!(answer.for_question_at(at + a_moment, MAX_AGE).is_none());
        let answer = CachedReason { reason: Ok(None), at };
        assert!(answer.for_question_at(at + MAX_AGE, MAX_AGE).is_some());
        assert!(answer.for_question_at(at + MAX_AGE + a_moment, MAX_AGE).is_none());
    }
}
