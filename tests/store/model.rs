//! The rules of admission once more, slow and plain, against those in SQL on random small queues: each
//! claim takes the very run that the rules name.

use std::collections::BTreeMap;

use assize_domain::queue::AdmissionCaps;
use assize_store::Store;
use assize_store::queue::Wanted;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::PgPool;
use uuid::Uuid;

use crate::rows::{self, WORKER, Waiter};

const SEEDS: u64 = 80;
const STEPS: usize = 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Queued,
    /// Queued, and its time has not come.
    PutOff,
    Active,
    Over,
}

#[derive(Debug, Clone)]
struct Run {
    id: Uuid,
    organization: Uuid,
    user: &'static str,
    half_slots: i32,
    state: State,
}

/// Runs in the order in which they came, and whose turn it was.
#[derive(Debug, Default)]
struct Model {
    runs: Vec<Run>,
    last: Option<Uuid>,
    last_users: BTreeMap<Uuid, &'static str>,
}

impl Model {
    fn active(&self) -> impl Iterator<Item = &Run> + Clone {
        self.runs.iter().filter(|run| run.state == State::Active)
    }

    /// The next run of these weights, as its place.
    fn next(&self, caps: &AdmissionCaps, weights: &[i32]) -> Option<usize> {
        let count = |is: &dyn Fn(&Run) -> bool| i32::try_from(self.active().filter(|run| is(run)).count()).unwrap();
        let of_user = |run: &Run| count(&|other| (other.organization, other.user) == (run.organization, run.user));
        let of_organization = |run: &Run| count(&|other| other.organization == run.organization);
        let share = |run: &Run| -> i32 {
            self.active().filter(|other| other.organization == run.organization).map(|other| other.half_slots).sum()
        };
        let may = |run: &&Run| {
            run.state == State::Queued
                && weights.contains(&run.half_slots)
                && of_user(run) < caps.per_user
                && of_organization(run) < caps.per_org
        };
        let is_past = |run: &Run| self.last.is_some_and(|last| run.organization <= last);
        let is_past_user = |run: &Run| self.last_users.get(&run.organization).is_some_and(|last| run.user <= *last);
        let place = |run: &Run| self.runs.iter().position(|other| other.id == run.id).unwrap();
        self.runs
            .iter()
            .filter(may)
            .min_by_key(|run| {
                (share(run), is_past(run), run.organization, of_user(run), is_past_user(run), run.user, place(run))
            })
            .map(place)
    }

    /// What a claim takes, and marks it as taken.
    fn claim(&mut self, wanted: &Wanted, is_overdue: bool) -> Vec<Uuid> {
        let caps = wanted.caps;
        let mut claimed = Vec::new();
        let mut worker_free = wanted.worker_half_slots;
        for _ in 0..wanted.most {
            let total: i32 = self.active().map(|run| run.half_slots).sum();
            let light = self.active().filter(|run| run.half_slots == 1).count();
            let heavy = self.active().count() - light;
            let below = |count: usize, cap: i32| i32::try_from(count).unwrap() < cap;
            let free = worker_free.min(caps.total_half_slots - total);
            let open: Vec<i32> = [1, 2, 4]
                .into_iter()
                .filter(|weight| *weight <= wanted.worker_capacity.min(caps.total_half_slots))
                .filter(|weight| if *weight == 1 { below(light, caps.api) } else { below(heavy, caps.browser) })
                .collect();
            let fitting: Vec<i32> = open.iter().copied().filter(|weight| *weight <= free).collect();
            if fitting.is_empty() {
                break;
            }
            let next = match self.next(&caps, &open) {
                Some(next) if self.runs[next].half_slots > free && is_overdue => None,
                Some(next) if self.runs[next].half_slots > free => self.next(&caps, &fitting),
                next => next,
            };
            let Some(next) = next else { break };
            let run = &mut self.runs[next];
            run.state = State::Active;
            worker_free -= run.half_slots;
            self.last = Some(run.organization);
            self.last_users.insert(run.organization, run.user);
            claimed.push(run.id);
        }
        claimed
    }

    fn pick(&self, random: &mut StdRng, state: State) -> Option<usize> {
        let all: Vec<_> = (0..self.runs.len()).filter(|place| self.runs[*place].state == state).collect();
        (!all.is_empty()).then(|| all[random.random_range(0..all.len())])
    }
}

struct Case<'a> {
    pool: &'a PgPool,
    store: Store,
    organizations: Vec<Uuid>,
    model: Model,
    random: StdRng,
}

impl Case<'_> {
    async fn step(&mut self) {
        match self.random.random_range(0..20) {
            0..7 => self.queue().await,
            7..13 => self.claim().await,
            13..17 => self.end().await,
            17 => self.set(State::Queued, State::PutOff, "not_before = clock_timestamp() + interval '1 hour'").await,
            18 => self.set(State::PutOff, State::Queued, "not_before = clock_timestamp()").await,
            _ => {
                let (ended, cause) =
                    ("finished_at = now(), evidence = '{}'", "cause = 'platform', failure_code = 'cancelled'");
                self.set(State::Queued, State::Over, &format!("status = 'aborted', {ended}, {cause}")).await;
                // Now and then all that is kept for the order is lost.
                if self.random.random_range(0..3) == 0 {
                    sqlx::raw_sql("TRUNCATE admission_turns; TRUNCATE admission_active")
                        .execute(self.pool)
                        .await
                        .unwrap();
                    (self.model.last, self.model.last_users) = (None, BTreeMap::new());
                }
            }
        }
    }

    async fn queue(&mut self) {
        for _ in 0..self.random.random_range(1..6) {
            let organization = self.organizations[self.random.random_range(0..self.organizations.len())];
            let user = ["ada", "Bob", "eve", "élise"][self.random.random_range(0..4)];
            let half_slots = [1, 1, 2, 4][self.random.random_range(0..4)];
            let id = rows::enqueue(self.pool, &[Waiter { organization, user, half_slots }]).await[0];
            self.model.runs.push(Run { id, organization, user, half_slots, state: State::Queued });
        }
    }

    async fn claim(&mut self) {
        let is_overdue = self.random.random();
        let caps = AdmissionCaps {
            total_half_slots: self.random.random_range(1..13),
            browser: self.random.random_range(0..5),
            api: self.random.random_range(0..6),
            per_org: self.random.random_range(1..6),
            per_user: self.random.random_range(1..4),
            heavy_reserve_after_s: if is_overdue { 0.0 } else { 3600.0 },
        };
        let (free, more) = (self.random.random_range(0..9), self.random.random_range(0..5));
        let most = self.random.random_range(1..5);
        let wanted = Wanted { worker_half_slots: free, worker_capacity: free + more, caps, most };
        let before = format!("{:?}", self.model);
        let expected = self.model.claim(&wanted, is_overdue);
        let claims = self.store.claim_runs(WORKER, wanted).await.unwrap();
        let claimed: Vec<_> = claims.iter().map(|claim| claim.id).collect();
        assert_eq!(claimed, expected, "{wanted:?}, overdue: {is_overdue}, before: {before}");
    }

    async fn end(&mut self) {
        let Some(place) = self.model.pick(&mut self.random, State::Active) else { return };
        rows::end(self.pool, self.model.runs[place].id).await;
        self.model.runs[place].state = State::Over;
    }

    async fn set(&mut self, from: State, to: State, columns: &str) {
        let Some(place) = self.model.pick(&mut self.random, from) else { return };
        let statement = format!("UPDATE project_evaluation_runs SET {columns} WHERE id = $1");
        let run = &mut self.model.runs[place];
        sqlx::query(sqlx::AssertSqlSafe(statement)).bind(run.id).execute(self.pool).await.unwrap();
        run.state = to;
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn every_claim_takes_the_run_that_the_rules_name(pool: PgPool) {
    let mut claimed = 0;
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        sqlx::raw_sql("TRUNCATE run_artifacts, project_evaluation_runs, run_events, admission_turns, admission_active")
            .execute(&pool)
            .await
            .unwrap();
        let mut organizations = Vec::new();
        for _ in 0..random.random_range(1..5) {
            organizations.push(rows::organization(&pool).await);
        }
        let store = Store::on(pool.clone());
        let mut case = Case { pool: &pool, store, organizations, model: Model::default(), random };
        for _ in 0..STEPS {
            case.step().await;
        }
        let mut known: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM unnest((SELECT active FROM active_runs()))")
            .fetch_all(&pool)
            .await
            .unwrap();
        let mut active: Vec<_> = case.model.active().map(|run| run.id).collect();
        known.sort_unstable();
        active.sort_unstable();
        assert_eq!(known, active, "what claims take to be active is active");
        claimed += case.model.runs.iter().filter(|run| matches!(run.state, State::Active | State::Over)).count();
    }
    assert!(claimed > 1_000, "{claimed} claims show little");
}
