//! No cap is ever passed, whoever races for what is left under it.

use std::collections::{HashMap, VecDeque};

use assize_domain::queue::AdmissionCaps;
use assize_domain::run::Status;
use assize_store::Store;
use assize_store::queue::{Claim, Wanted};
use futures_util::future::join_all;
use sqlx::PgPool;
use uuid::Uuid;

use crate::rows::{self, NO_CAPS, WORKER, Waiter};

fn all_under(caps: AdmissionCaps) -> Wanted {
    Wanted { worker_half_slots: 1000, worker_capacity: 1000, caps, most: 1000 }
}

/// What is active, in one look.
#[derive(Debug)]
struct Active(Vec<(Uuid, String, i32)>);

impl Active {
    async fn look(pool: &PgPool) -> Self {
        let query = "SELECT organization_id, user_ref, half_slots FROM project_evaluation_runs
            WHERE status IN ('preparing', 'running', 'parsing')";
        Self(sqlx::query_as(query).fetch_all(pool).await.unwrap())
    }

    fn check(&self, caps: &AdmissionCaps) {
        let (mut organizations, mut users) = (HashMap::new(), HashMap::new());
        for (organization, user, _) in &self.0 {
            *organizations.entry(organization).or_insert(0) += 1;
            *users.entry((organization, user)).or_insert(0) += 1;
        }
        let count = |is: fn(i32) -> bool| i32::try_from(self.0.iter().filter(|run| is(run.2)).count()).unwrap();
        assert!(self.0.iter().map(|run| run.2).sum::<i32>() <= caps.total_half_slots, "{self:?}");
        assert!(count(|weight| weight > 1) <= caps.browser, "{self:?}");
        assert!(count(|weight| weight == 1) <= caps.api, "{self:?}");
        assert!(organizations.values().all(|runs| *runs <= caps.per_org), "{self:?}");
        assert!(users.values().all(|runs| *runs <= caps.per_user), "{self:?}");
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn each_cap_alone_holds_and_is_used_up(pool: PgPool) {
    let store = Store::on(pool.clone());
    let (one, two) = (rows::organization(&pool).await, rows::organization(&pool).await);
    let users = ["ada", "bob", "eve"];
    let waiters = |_| {
        [one, two].into_iter().flat_map(move |organization| {
            users
                .into_iter()
                .flat_map(move |user| [1, 2, 4].map(|half_slots| Waiter { organization, user, half_slots }))
        })
    };
    // Five runs of each class, user and organisation: 90 runs, 210 half-slots.
    let waiters: Vec<_> = (0..5).flat_map(waiters).collect();
    rows::enqueue(&pool, &waiters).await;
    let cases = [
        (AdmissionCaps { total_half_slots: 31, ..NO_CAPS }, None),
        (AdmissionCaps { browser: 7, ..NO_CAPS }, Some(30 + 7)),
        (AdmissionCaps { api: 7, ..NO_CAPS }, Some(60 + 7)),
        (AdmissionCaps { per_org: 7, ..NO_CAPS }, Some(2 * 7)),
        (AdmissionCaps { per_user: 4, ..NO_CAPS }, Some(6 * 4)),
        (NO_CAPS, Some(90)),
    ];
    let mut before = 0;
    for (caps, runs) in cases {
        let claims = store.claim_runs(WORKER, all_under(caps)).await.unwrap();
        let active = Active::look(&pool).await;
        active.check(&caps);
        assert_eq!(active.0.len(), claims.len());
        match runs {
            Some(runs) => assert_eq!(claims.len(), runs, "{caps:?}"),
            None => assert_eq!(claims.iter().map(|claim| claim.half_slots).sum::<i32>(), 31),
        }
        // Nothing more fits; when all have gone back, everything does.
        assert!(store.claim_runs(WORKER, all_under(caps)).await.unwrap().is_empty());
        before += claims.len();
        let back = "UPDATE project_evaluation_runs SET status = 'queued', attempt = 1 + attempt, worker_id = NULL,
            heartbeat_at = NULL, started_at = NULL WHERE status = 'preparing'";
        // Attempts are counted to three, and there are more cases than that.
        sqlx::raw_sql(
            "ALTER TABLE project_evaluation_runs DROP CONSTRAINT IF EXISTS project_evaluation_runs_attempt_check",
        )
        .execute(&pool)
        .await
        .unwrap();
        sqlx::raw_sql(back).execute(&pool).await.unwrap();
    }
    assert!(before > 90);
}

/// Claims and ends runs until there is nothing left; looks at all that is active after every claim.
async fn work(store: Store, pool: PgPool, worker: String, caps: AdmissionCaps, capacity: i32) -> usize {
    let mut held: VecDeque<Claim> = VecDeque::new();
    let mut claimed = 0;
    loop {
        let busy: i32 = held.iter().map(|claim| claim.half_slots).sum();
        let wanted = Wanted { worker_half_slots: capacity - busy, worker_capacity: capacity, caps, most: 3 };
        let claims = store.claim_runs(&worker, wanted).await.unwrap();
        Active::look(&pool).await.check(&caps);
        claimed += claims.len();
        let is_idle = claims.is_empty();
        held.extend(claims);
        assert!(held.iter().map(|claim| claim.half_slots).sum::<i32>() <= capacity, "{worker} holds {held:?}");
        let ending = if is_idle { held.len() } else { 1 };
        for claim in held.drain(..ending) {
            rows::end(&pool, claim.id).await;
        }
        let queued = "SELECT EXISTS (SELECT FROM project_evaluation_runs WHERE status = 'queued')";
        if is_idle && held.is_empty() && !sqlx::query_scalar::<_, bool>(queued).fetch_one(&pool).await.unwrap() {
            return claimed;
        }
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn all_caps_hold_at_once_while_eight_workers_race(pool: PgPool) {
    let wide = rows::wider(&pool, 16).await;
    // Each of them is reached at some time.
    let caps = AdmissionCaps {
        total_half_slots: 14,
        browser: 4,
        api: 5,
        per_org: 4,
        per_user: 2,
        heavy_reserve_after_s: 0.05,
    };
    let organizations =
        [rows::organization(&pool).await, rows::organization(&pool).await, rows::organization(&pool).await];
    let users = ["ada", "bob", "eve", "joe"];
    let waiters: Vec<_> = (0..240)
        .map(|place: usize| Waiter {
            organization: organizations[place % 7 % 3],
            user: users[place % 11 % 4],
            half_slots: [1, 2, 1, 4, 1][place % 5],
        })
        .collect();
    rows::enqueue(&pool, &waiters).await;
    let workers = (0..8).map(|number| {
        let (store, pool) = (Store::on(wide.clone()), wide.clone());
        tokio::spawn(work(store, pool, format!("worker-{number}"), caps, 4 + number % 3))
    });
    let claimed: usize = join_all(workers).await.into_iter().map(Result::unwrap).sum();
    wide.close().await;
    assert_eq!(claimed, 240, "each run is claimed once");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn caps_hold_for_what_no_claim_has_seen_before(pool: PgPool) {
    // Rows that were active before the first claim, and all that claims keep for themselves lost.
    let store = Store::on(pool.clone());
    let active = rows::run_in(&pool, Status::Running).await;
    let waiter = Waiter { organization: active.organization, user: "ada", half_slots: 1 };
    let runs = rows::enqueue(&pool, &[waiter, waiter, waiter]).await;
    let caps = AdmissionCaps { per_org: 2, ..NO_CAPS };
    let claims = store.claim_runs(WORKER, all_under(caps)).await.unwrap();
    assert_eq!(claims.iter().map(|claim| claim.id).collect::<Vec<_>>(), runs[..1]);
    sqlx::raw_sql("TRUNCATE admission_turns; TRUNCATE admission_active").execute(&pool).await.unwrap();
    assert!(store.claim_runs(WORKER, all_under(caps)).await.unwrap().is_empty());
    rows::end(&pool, runs[0]).await;
    assert_eq!(store.claim_runs(WORKER, all_under(caps)).await.unwrap().len(), 1);
}
