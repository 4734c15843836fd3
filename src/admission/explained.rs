//! Answers to "why does it wait?", kept for a moment: in a long queue one costs Postgres milliseconds, and
//! a class that watches the same run asks for it a thousand times a second.
//!
//! Only for rows that were just read as queued, in the attempt that they were read in. So no answer
//! outlives the state of its run: what is claimed is not asked for, and what is queued again is another
//! attempt.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use assize_config::Config;
use assize_domain::queue::{AdmissionCaps, Waiting};
use assize_host::clock;
use assize_store::{Store, StoreError};

/// The oldest answer that is given.
const OLDEST: Duration = Duration::from_secs(1);

/// Runs whose answers are kept at one time; past it those are forgotten that nobody asks for just then.
const MOST_KEPT: usize = 10_000;

/// The answers of this process.
#[derive(Debug, Clone)]
pub struct Explanations {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    caps: AdmissionCaps,
    oldest: Duration,
    /// By run and attempt.
    questions: Mutex<HashMap<(Uuid, i32), Arc<Question>>>,
}

/// What is known of one run.
#[derive(Debug, Default)]
struct Question {
    known: Mutex<Option<Known>>,
    /// Held while Postgres is asked: who comes meanwhile shares the answer.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct Known {
    answer: Result<Option<Waiting>, StoreError>,
    /// When the question was put; of a failure, when it was told, for it is only for those who waited.
    at: Instant,
}

impl Explanations {
    /// Under the caps of the settings.
    #[must_use]
    pub fn new(store: Store, config: &Config) -> Self {
        Self::within(store, config, OLDEST)
    }

    /// The same with answers that are no older than `oldest`.
    #[must_use]
    pub fn within(store: Store, config: &Config, oldest: Duration) -> Self {
        let shared = Shared { store, caps: crate::admission::caps(config), oldest, questions: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Why this run waits, which was just read as queued in this attempt; `None` if it does not any more.
    ///
    /// # Errors
    /// [`StoreError`] without an answer.
    pub async fn of(&self, organization: Uuid, run: Uuid, attempt: i32) -> Result<Option<Waiting>, StoreError> {
        let Shared { store, caps, oldest, .. } = &*self.shared;
        let question = self.shared.question((run, attempt));
        let asked = clock::monotonic();
        if let Some(known) = question.since(asked, *oldest) {
            return known;
        }
        let _turn = question.asking.lock().await;
        if let Some(known) = question.since(asked, *oldest) {
            return known;
        }
        let begun = clock::monotonic();
        let facts = store.explain_queued(organization, run, caps).await;
        let answer = facts.map(|facts| facts.map(|facts| facts.explain(run, caps)));
        let at = if answer.is_ok() { begun } else { clock::monotonic() };
        question.learn(Known { answer: answer.clone(), at });
        answer
    }
}

impl Shared {
    fn question(&self, of: (Uuid, i32)) -> Arc<Question> {
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        if questions.len() >= MOST_KEPT && !questions.contains_key(&of) {
            questions.retain(|_, question| Arc::strong_count(question) > 1);
        }
        Arc::clone(questions.entry(of).or_default())
    }
}

impl Question {
    /// What was said to a question that was put less than `oldest` before `asked`, or later.
    fn since(&self, asked: Instant, oldest: Duration) -> Option<Result<Option<Waiting>, StoreError>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let oldest = if known.answer.is_ok() { oldest } else { Duration::ZERO };
        (asked.saturating_duration_since(known.at) <= oldest).then_some(known.answer)
    }

    fn learn(&self, known: Known) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_nobody_asks_for_is_forgotten_before_there_is_too_much() {
        let store = Store::open("postgres://nobody@localhost/nothing", 1).unwrap();
        let Explanations { shared } = Explanations::new(store, &Config::default());
        let asked_for = shared.question((Uuid::nil(), 1));
        for number in 1..=2 * MOST_KEPT as u128 {
            shared.question((Uuid::from_u128(number), 1));
            assert!(shared.questions.lock().unwrap().len() <= MOST_KEPT);
        }
        assert!(Arc::ptr_eq(&asked_for, &shared.question((Uuid::nil(), 1))));
    }

    #[test]
    fn a_failure_is_told_to_those_who_waited_for_it_and_to_nobody_else() {
        let (question, at) = (Question::default(), clock::monotonic());
        let failed = StoreError::Unavailable { query: "explain_queued", reason: String::new() };
        question.learn(Known { answer: Err(failed), at });
        let a_moment = Duration::from_millis(1);
        assert!(question.since(at - a_moment, OLDEST).is_some());
        assert!(question.since(at + a_moment, OLDEST).is_none());
        question.learn(Known { answer: Ok(None), at });
        assert!(question.since(at + OLDEST, OLDEST).is_some());
        assert!(question.since(at + OLDEST + a_moment, OLDEST).is_none());
    }
}
