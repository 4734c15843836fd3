//! From names to addresses, asked of the resolver as seldom as can be.
//!
//! A project decides how often it asks for a name, and a resolver drops a burst (FAILURES 32). So a stage has each name
//! looked up once for as long as the answer is valid; who asks for a name that is being looked up waits for that answer, in whatever run; and no more
//! than [`MAX_AT_ONCE`] are under way in this process. Names that the project may make up (those below a listed one)
//! have places of their own, few for each run, so that they keep no listed name waiting.
//!
//! An answer that is used again is no gap: every address is checked for every connection, and what was checked is dialled.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::resolver::{Resolved, Resolver};
use assize_host::clock::Clock;

/// How long a name may take to resolve. Resolvers ask again after 5 s; by then a project waits.
const RESOLVE: Duration = Duration::from_secs(5);

/// Look-ups under way in this process, of listed names and of names below them each.
const MAX_AT_ONCE: usize = 16;

/// Of them, those of one stage for names below a listed one.
const MAX_OF_STAGE: usize = 2;

/// How long a failure is an answer. Clients that try again do so after seconds.
const FAILURE_AGE: Duration = Duration::from_secs(2);

/// How old an answer must be to be asked for anew when none of its addresses could be dialled.
const STALE_AGE: Duration = Duration::from_secs(10);

/// The addresses, at least one; or why there are none.
type Answer = Result<Resolved, String>;

/// Whether a name stands in a list, or is only below one that does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    Listed,
    Below,
}

/// The look-ups of this process.
#[derive(Clone)]
pub struct Lookups {
    clock: Clock,
    resolver: Resolver,
    pub(super) patience: Duration,
    listed: Arc<Semaphore>,
    below: Arc<Semaphore>,
    flights: Arc<Mutex<HashMap<(String, Standing), Flight>>>,
}

type Flight = Shared<BoxFuture<'static, Answer>>;

impl Lookups {
    pub fn new(clock: Clock, resolver: Resolver) -> Self {
        let places = || Arc::new(Semaphore::new(MAX_AT_ONCE));
        Self { clock, resolver, patience: RESOLVE, listed: places(), below: places(), flights: Arc::default() }
    }

    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What the resolver says now, shared with whoever asks for the same meanwhile.
    ///
    /// # Errors
    /// Why there is no address, in words for the run's events.
    pub async fn ask(&self, name: &str, standing: Standing) -> Answer {
        match tokio::time::timeout(self.patience, self.flight(name, standing)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer in {} ms", self.patience.as_millis())),
        }
    }

    /// The look-up of a name that is under way, or a new one. It goes on when nobody waits any more: a resolver
    /// that was asked is not asked less for that.
    fn flight(&self, name: &str, standing: Standing) -> Flight {
        let key = (name.to_owned(), standing);
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(&key) {
            return flight.clone();
        }
        let places = Arc::clone(match standing {
            Standing::Listed => &self.listed,
            Standing::Below => &self.below,
        });
        let (resolver, all, of) = (Arc::clone(&self.resolver), Arc::clone(&self.flights), key.clone());
        let flying = tokio::spawn(async move {
            let _place = places.acquire_owned().await;
            let answer = match resolver(of.0.clone()).await {
                Ok(resolved) if resolved.addresses.is_empty() => Err("it has no address".to_owned()),
                Ok(resolved) => Ok(resolved),
                Err(error) => Err(error.to_string()),
            };
            all.lock().remove(&of);
            answer
        });
        let flight = flying.map(|ended| ended.unwrap_or_else(|error| Err(error.to_string()))).boxed().shared();
        flights.insert(key, flight.clone());
        flight
    }
}

/// The names that one stage has had looked up.
pub struct Names {
    known: Mutex<HashMap<String, KnownName>>,
    turns: Semaphore,
}

struct KnownName {
    answer: Answer,
    at: Instant,
    valid_for: Duration,
}

impl KnownName {
    fn is_good(&self, clock: &Clock) -> bool {
        clock.since(self.at) < self.valid_for
    }
}

impl Default for Names {
    fn default() -> Self {
        Self { known: Mutex::default(), turns: Semaphore::new(MAX_OF_STAGE) }
    }
}

impl Names {
    /// The addresses of a name, asked for at most once while the answer is valid; a failure is asked about again.
    ///
    /// # Errors
    /// Why there is no address.
    pub async fn resolve(&self, lookups: &Lookups, name: &str, standing: Standing) -> Answer {
        if let Some(answer) = self.known(&lookups.clock, name) {
            return answer;
        }
        let _turn = match standing {
            Standing::Listed => None,
            Standing::Below => self.turns.acquire().await.ok(),
        };
        // Whoever had the turn before may have asked for it.
        if let Some(answer) = self.known(&lookups.clock, name) {
            return answer;
        }
        let mut answer = lookups.ask(name, standing).await;
        let mut valid_for = answer.as_ref().map_or(FAILURE_AGE, |resolved| resolved.valid_for);
        // A name that was found does not go away because the resolver is busy now.
        if answer.is_err()
            && let Some(before) = self.lock().get(name).filter(|known| known.answer.is_ok())
        {
            (answer, valid_for) = (before.answer.clone(), FAILURE_AGE);
        }
        let known = KnownName { answer: answer.clone(), at: lookups.clock.monotonic(), valid_for };
        self.lock().insert(name.to_owned(), known);
        answer
    }

    /// None of the addresses could be dialled: if they are not new, they are asked for again.
    pub fn doubt(&self, clock: &Clock, name: &str) {
        let mut known = self.lock();
        if known.get(name).is_some_and(|known| clock.since(known.at) >= STALE_AGE) {
            known.remove(name);
        }
    }

    fn known(&self, clock: &Clock, name: &str) -> Option<Answer> {
        self.lock().get(name).filter(|known| known.is_good(clock)).map(|known| known.answer.clone())
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, HashMap<String, KnownName>> {
        self.known.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::sync::watch;

    use super::*;
    use crate::egress::resolver::{MAX_VALIDITY, MIN_VALIDITY};
    use crate::test_clock::runtime_clock;
    use std::io;

    /// A resolver that holds every answer until it is let go, and counts.
    struct Held {
        lookups: Lookups,
        asked: Arc<AtomicUsize>,
        most: Arc<AtomicUsize>,
        go: watch::Sender<bool>,
    }

    fn held() -> Held {
        let (go, gate) = watch::channel(false);
        let (asked, now, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default(), Arc::default());
        let resolver: Resolver = Arc::new({
            let (asked, most) = (Arc::clone(&asked), Arc::clone(&most));
            move |_| {
                let (asked, now, most, mut gate) =
                    (Arc::clone(&asked), Arc::clone(&now), Arc::<AtomicUsize>::clone(&most), gate.clone());
                Box::pin(async move {
                    asked.fetch_add(1, Ordering::SeqCst);
                    most.fetch_max(1 + now.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
                    gate.wait_for(|open| *open).await.ok();
                    now.fetch_sub(1, Ordering::SeqCst);
                    Ok(Resolved { addresses: vec![[1, 1, 1, 1].into()], valid_for: MAX_VALIDITY })
                })
            }
        });
        Held { lookups: Lookups::new(runtime_clock(), resolver), asked, most, go }
    }

    /// FAILURES 32.
    #[tokio::test]
    async fn a_name_is_looked_up_once_in_a_stage_and_shared_between_runs() {
        let held = held();
        let (one, other) = (Names::default(), Names::default());
        let all = join_all((0..230).map(|number| {
            let names = if number % 2 == 0 { &one } else { &other };
            names.resolve(&held.lookups, "packages.example", Standing::Listed)
        }));
        let answers = tokio::join!(all, async { held.go.send(true).unwrap() }).0;
        assert!(answers.iter().all(Result::is_ok) && answers.len() == 230);
        assert_eq!(held.asked.load(Ordering::SeqCst), 1);
        one.resolve(&held.lookups, "packages.example", Standing::Listed).await.unwrap();
        assert_eq!(held.asked.load(Ordering::SeqCst), 1, "asked again in the same stage");
    }

    #[tokio::test]
    async fn names_that_a_run_makes_up_are_looked_up_a_few_at_a_time_and_keep_no_listed_one_waiting() {
        let held = held();
        let runs: Vec<Names> = (0..20).map(|_| Names::default()).collect();
        let made_up = join_all(runs.iter().enumerate().flat_map(|(run, names)| {
            let lookups = &held.lookups;
            (0..50).map(move |number| async move {
                names.resolve(lookups, &format!("n{number}.r{run}.packages.example"), Standing::Below).await
            })
        }));
        let listed = async {
            // After all the others began.
            tokio::task::yield_now().await;
            let names = Names::default();
            let (asked, _) = tokio::join!(names.resolve(&held.lookups, "packages.example", Standing::Listed), async {
                while held.asked.load(Ordering::SeqCst) < MAX_AT_ONCE + 1 {
                    tokio::task::yield_now().await;
                }
                assert_eq!(held.most.load(Ordering::SeqCst), MAX_AT_ONCE + 1, "sixteen made up, and the listed one");
                held.go.send(true).unwrap();
            });
            asked
        };
        let (answers, listed) = tokio::join!(made_up, listed);
        assert!(listed.is_ok() && answers.iter().all(Result::is_ok));
        let of_one = Names::default();
        let _turns = (of_one.turns.try_acquire().unwrap(), of_one.turns.try_acquire().unwrap());
        assert!(of_one.turns.try_acquire().is_err(), "two for each run");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_an_answer_for_a_moment_only() {
        let asked = Arc::<AtomicUsize>::default();
        let resolver: Resolver = Arc::new({
            let asked = Arc::clone(&asked);
            move |_| {
                asked.fetch_add(1, Ordering::SeqCst);
                Box::pin(async { Err(io::Error::other("SERVFAIL")) })
            }
        });
        let (lookups, names) = (Lookups::new(runtime_clock(), resolver), Names::default());
        for _ in 0..100 {
            assert_eq!(names.resolve(&lookups, "a.example", Standing::Listed).await, Err("SERVFAIL".to_owned()));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        tokio::time::advance(FAILURE_AGE).await;
        names.resolve(&lookups, "a.example", Standing::Listed).await.unwrap_err();
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_used_for_as_long_as_it_is_valid_and_outlives_a_failure() {
        let asked = Arc::<AtomicUsize>::default();
        let resolver: Resolver = Arc::new({
            let asked = Arc::clone(&asked);
            move |_| {
                let number = u8::try_from(asked.fetch_add(1, Ordering::SeqCst)).unwrap();
                let resolved = Resolved { addresses: vec![[1, 1, 1, number].into()], valid_for: MIN_VALIDITY };
                Box::pin(async move { if number == 1 { Err(io::Error::other("SERVFAIL")) } else { Ok(resolved) } })
            }
        });
        let (lookups, names) = (Lookups::new(runtime_clock(), resolver), Names::default());
        let last_octet = async || {
            let resolved = names.resolve(&lookups, "a.example", Standing::Listed).await.unwrap();
            (resolved.addresses[0].to_string().pop().unwrap(), asked.load(Ordering::SeqCst))
        };
        assert_eq!(last_octet().await, ('0', 1));
        tokio::time::advance(MIN_VALIDITY - Duration::from_millis(1)).await;
        assert_eq!(last_octet().await, ('0', 1), "still valid");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(last_octet().await, ('0', 2), "the resolver failed");
        tokio::time::advance(FAILURE_AGE).await;
        assert_eq!(last_octet().await, ('2', 3));
    }
}
