//! What the API reports about a queued run: its position, what it waits for, and its estimated start.

use std::time::Duration;

use assize_config::Config;
use assize_domain::queue::{AdmissionCaps, WaitingFor};
use assize_host::clock::Stopwatch;
use assize_store::queue::Wanted;
use assize_store::submissions::{NewSource, NewSubmission};
use assize_store::workers::WorkerReport;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::harness::{DEADLINE, Server, Setup, json};

struct Queue {
    server: Server,
    caps: AdmissionCaps,
}

impl Queue {
    /// With a worker of 8 slots that claims.
    async fn start(pool: PgPool, config: Config) -> Self {
        Self::start_with(pool, Setup { config, ..Setup::default() }).await
    }

    async fn start_with(pool: PgPool, setup: Setup) -> Self {
        let caps = assize::admission::caps(&setup.config);
        let queue = Self { server: Server::start_with(pool, setup).await, caps };
        queue.worker("claiming", "").await;
        queue
    }

    async fn worker(&self, state: &str, detail: &str) {
        self.server
            .store
            .report_worker(WorkerReport { id: "worker", half_slots: 16, state, detail, unenforced: &[] })
            .await
            .unwrap();
    }

    async fn submit(&self, user: &str, half_slots: i32) -> Uuid {
        let run_id = Uuid::now_v7();
        let new = NewSubmission {
            id: Uuid::now_v7(),
            run_id,
            organization_id: self.server.organization,
            user,
            template: "unit",
            half_slots,
            source: NewSource::Archive {
                sha256: &"0".repeat(64),
                bytes: 1,
                entries: 1,
                contents: &serde_json::json!({}),
            },
            metadata: &serde_json::json!({}),
            idempotency: None,
            receipt: None,
        };
        self.server.store.insert_submission(&new).await.unwrap();
        run_id
    }

    /// A claim as the worker makes it, with nothing active on it.
    async fn claim(&self, most: i32) -> usize {
        let wanted = Wanted { worker_half_slots: 16, worker_capacity: 16, caps: self.caps, most };
        self.server.store.claim_runs("worker", wanted).await.unwrap().len()
    }

    async fn view_of(&self, run: Uuid) -> Value {
        json(self.server.get(&format!("/v1/runs/{run}")).send().await.unwrap()).await["queue"].clone()
    }

    /// Checks what it waits for, and that its sentence has these words.
    async fn waits(&self, run: Uuid, waiting_for: WaitingFor, words: &str) -> Value {
        let seen = self.view_of(run).await;
        assert_eq!(seen["waiting_for"], waiting_for.as_str(), "{seen}");
        assert!(seen["detail"].as_str().unwrap().contains(words), "{words:?} is not in {seen}");
        seen
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn workers_that_do_not_claim_are_told_with_their_reason(pool: PgPool) {
    let queue = Queue::start(pool.clone(), Config::default()).await;
    let run = queue.submit("ada", 2).await;
    for (waiting_for, why) in [
        (WaitingFor::HostPressure, "/var has 12 MiB, 2048 are wanted"),
        (WaitingFor::Paused, "five attempts in a row failed"),
        (WaitingFor::Draining, "SIGTERM"),
    ] {
        queue.worker(waiting_for.as_str(), why).await;
        queue.waits(run, waiting_for, why).await;
    }
    let two = WorkerReport { id: "another", half_slots: 2, state: "claiming", detail: "", unenforced: &[] };
    queue.server.store.report_worker(two).await.unwrap();
    queue.waits(run, WaitingFor::Slots, "it is the next").await;
    sqlx::raw_sql("UPDATE workers SET seen_at = seen_at - interval '31 s'").execute(&pool).await.unwrap();
    queue.waits(run, WaitingFor::NoWorker, "no worker").await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn each_cap_is_told_with_its_limit_and_what_was_seen(pool: PgPool) {
    let config = Config {
        max_active_browser_evals: 5,
        max_active_api_evals: 4,
        per_org_max_active: 8,
        per_user_max_active: 3,
        ..Config::default()
    };
    let queue = Queue::start(pool, config).await;
    for user in ["ada", "bob", "eve"] {
        for half_slots in [1, 2, 1, 2] {
            queue.submit(user, half_slots).await;
        }
    }
    assert_eq!(queue.claim(3).await, 3);
    let of_ada = queue.submit("ada", 1).await;
    queue.waits(of_ada, WaitingFor::Slots, "runs come before it").await;
    assert_eq!(
        queue.claim(100).await,
        5,
        "all but one of nine places of users, for there are eight of the organisation"
    );
    let of_joe = queue.submit("joe", 1).await;
    queue.waits(of_joe, WaitingFor::OrgCap, "8 of the organisation's 8 runs").await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_user_or_a_class_at_its_cap_is_told_too(pool: PgPool) {
    let config =
        Config { max_active_browser_evals: 2, max_active_api_evals: 1, per_user_max_active: 2, ..Config::default() };
    let queue = Queue::start(pool, config).await;
    queue.submit("ada", 2).await;
    queue.submit("ada", 4).await;
    queue.submit("bob", 1).await;
    assert_eq!(queue.claim(100).await, 3);
    let (of_ada, heavy, light) =
        (queue.submit("ada", 2).await, queue.submit("eve", 4).await, queue.submit("eve", 1).await);
    queue.waits(of_ada, WaitingFor::UserCap, "2 of the user's 2 runs").await;
    queue.waits(heavy, WaitingFor::BrowserCap, "2 of 2 runs of class B and C").await;
    queue.waits(light, WaitingFor::ApiCap, "1 of 1 runs of class A").await;
    assert_eq!(queue.claim(100).await, 0, "and so it is");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_light_run_is_told_that_slots_are_kept_for_a_heavy_one(pool: PgPool) {
    let config = Config { max_active_evaluations: 2, heavy_reserve_after_s: 0, ..Config::default() };
    let queue = Queue::start(pool.clone(), config).await;
    queue.submit("ada", 1).await;
    assert_eq!(queue.claim(100).await, 1);
    let (heavy, light) = (queue.submit("bob", 4).await, queue.submit("eve", 1).await);
    queue.waits(light, WaitingFor::ReservedForHeavy, "2 slots are kept").await;
    queue.waits(heavy, WaitingFor::Slots, "it takes 2 slots, 1.5 are free").await;
    assert_eq!(queue.claim(100).await, 0, "and so it is");
    sqlx::query(
        "UPDATE project_evaluation_runs SET not_before = clock_timestamp() + interval '1 h', attempt = 2 WHERE id = $1",
    )
    .bind(heavy)
    .execute(&pool)
    .await
    .unwrap();
    let seen = queue.waits(heavy, WaitingFor::RetryBackoff, "attempt 2 may start at").await;
    assert!(seen["estimated_start"].is_null(), "no run has ended yet: {seen}");
    queue.waits(light, WaitingFor::Slots, "it is the next").await;
    assert_eq!(queue.claim(100).await, 1);
    assert_eq!(queue.view_of(light).await, Value::Null, "it is not queued any more");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn places_are_counted_by_turns(pool: PgPool) {
    let queue = Queue::start(pool, Config::default()).await;
    let mut of_ada = Vec::new();
    for _ in 0..5 {
        of_ada.push(queue.submit("ada", 2).await);
    }
    let of_bob = queue.submit("bob", 1).await;
    let place = async |run| queue.view_of(run).await["position"].as_i64().unwrap();
    // Bob's only run takes turns with Ada's: whoever of the two is first, the other's one run comes before.
    assert_eq!((place(of_ada[0]).await, place(of_bob).await), (2, 2));
    assert_eq!((place(of_ada[1]).await, place(of_ada[4]).await), (3, 6));
    let elsewhere = queue.server.store.ensure_organization("elsewhere").await.unwrap();
    sqlx::query("UPDATE project_evaluation_runs SET organization_id = $1 WHERE id = $2")
        .bind(elsewhere)
        .bind(of_bob)
        .execute(&queue.server.pool)
        .await
        .unwrap();
    assert_eq!((place(of_ada[0]).await, place(of_ada[4]).await), (2, 6));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn the_start_is_estimated_once_a_run_has_ended(pool: PgPool) {
    let queue = Queue::start(pool.clone(), Config { per_user_max_active: 1, ..Config::default() }).await;
    queue.submit("ada", 2).await;
    let lease = queue.server.running().await;
    queue.server.complete(lease).await;
    sqlx::raw_sql(
        "ALTER TABLE project_evaluation_runs DISABLE TRIGGER runs_ended;
         UPDATE project_evaluation_runs SET started_at = finished_at - interval '10 s' WHERE status = 'completed'",
    )
    .execute(&pool)
    .await
    .unwrap();
    queue.submit("ada", 2).await;
    let second = queue.submit("ada", 2).await;
    let seen = queue.view_of(second).await;
    let start: DateTime<Utc> = seen["estimated_start"].as_str().unwrap().parse().unwrap();
    let wait = start - queue.server.store.now().await.unwrap();
    // The second of a user who may have one at a time.
    assert!(wait > TimeDelta::seconds(15) && wait < TimeDelta::seconds(21), "{seen}");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn the_etag_does_not_move_with_the_queue(pool: PgPool) {
    let queue = Queue::start(pool, Config::default()).await;
    queue.submit("ada", 2).await;
    let run = queue.submit("ada", 2).await;
    let path = format!("/v1/runs/{run}");
    let before = queue.server.get(&path).send().await.unwrap().headers()["etag"].clone();
    let place = queue.view_of(run).await["position"].clone();
    assert_eq!(queue.claim(1).await, 1);
    assert_ne!(queue.view_of(run).await["position"], place);
    let same = queue.server.get(&path).header("if-none-match", before).send().await.unwrap();
    assert_eq!(same.status(), 304);
}

/// For as long as any test.
const LONG: Duration = Duration::from_secs(600);

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn all_who_watch_one_run_cost_one_look(pool: PgPool) {
    // Every look calls this once, takes its time and is counted.
    sqlx::raw_sql(
        "CREATE SEQUENCE looks;
         CREATE OR REPLACE FUNCTION pace(OUT run_seconds double precision, OUT run_half_slots double precision)
         LANGUAGE sql VOLATILE AS $$ SELECT nextval('looks') * 0 + 7.0::double precision, 1.0::double precision FROM pg_sleep(0.2) $$",
    )
    .execute(&pool)
    .await
    .unwrap();
    let queue = Queue::start_with(pool.clone(), Setup { oldest_answer: LONG, ..Setup::default() }).await;
    let run = queue.submit("ada", 2).await;
    let answers = join_all((0..40).map(async |_| queue.view_of(run).await)).await;
    assert!(answers.iter().all(|one| one == &answers[0] && one["waiting_for"] == "slots"), "{answers:?}");
    assert_eq!(queue.view_of(run).await, answers[0]);
    let looks: i64 = sqlx::query_scalar("SELECT last_value FROM looks").fetch_one(&pool).await.unwrap();
    assert_eq!(looks, 1);
    queue.view_of(queue.submit("ada", 2).await).await;
    let looks: i64 = sqlx::query_scalar("SELECT last_value FROM looks").fetch_one(&pool).await.unwrap();
    assert_eq!(looks, 2, "another run has its own reason");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn no_answer_outlives_the_state_of_its_run(pool: PgPool) {
    let queue = Queue::start_with(pool.clone(), Setup { oldest_answer: LONG, ..Setup::default() }).await;
    let run = queue.submit("ada", 2).await;
    queue.waits(run, WaitingFor::Slots, "it is the next").await;
    assert_eq!(queue.claim(1).await, 1);
    assert_eq!(queue.view_of(run).await, Value::Null, "it is active");
    let query = "UPDATE project_evaluation_runs SET status = 'queued', attempt = attempt + 1, worker_id = NULL,
        heartbeat_at = NULL, started_at = NULL, not_before = clock_timestamp() + interval '1 h' WHERE id = $1";
    sqlx::query(query).bind(run).execute(&pool).await.unwrap();
    queue.waits(run, WaitingFor::RetryBackoff, "attempt 2 may start at").await;
    let cancelled = queue.server.post(&format!("/v1/runs/{run}/cancel")).send().await.unwrap();
    assert_eq!(json(cancelled).await["queue"], Value::Null);
    assert_eq!(queue.view_of(run).await, Value::Null, "it has ended");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_change_is_reported_a_second_later(pool: PgPool) {
    let second = Setup { oldest_answer: Duration::from_secs(1), ..Setup::default() };
    let queue = Queue::start_with(pool, second).await;
    let run = queue.submit("ada", 2).await;
    queue.waits(run, WaitingFor::Slots, "it is the next").await;
    queue.worker("paused", "five attempts in a row failed").await;
    let begun = Stopwatch::start();
    let mut look = tokio::time::interval(Duration::from_millis(20));
    while queue.view_of(run).await["waiting_for"] != "paused" {
        assert!(begun.elapsed() < DEADLINE, "the change is never reported");
        look.tick().await;
    }
}
