//! Whose turn it is: no work waits beside free slots, and nobody waits for another's burst.

use std::collections::{BTreeMap, VecDeque};

use assize_domain::queue::AdmissionCaps;
use assize_store::Store;
use assize_store::queue::{Claim, Wanted};
use sqlx::PgPool;
use uuid::Uuid;

use crate::rows::{self, NO_CAPS, WORKER, Waiter, wanted};

/// Claims one run after the other; the oldest ends when `at_once` are active.
async fn take_turns(store: &Store, pool: &PgPool, wanted: Wanted, claims: usize, at_once: usize) -> Vec<Claim> {
    let mut active = VecDeque::new();
    let mut all = Vec::new();
    while all.len() < claims {
        let claim = store.claim_runs(WORKER, wanted).await.unwrap().pop().expect("there is work, and room for it");
        active.push_back(claim.id);
        all.push(claim);
        if active.len() == at_once {
            rows::end(pool, active.pop_front().unwrap()).await;
        }
    }
    all
}

const NO_RUN: [Uuid; 0] = [];

fn one_of(total_half_slots: i32) -> Wanted {
    wanted(1000, total_half_slots, 1)
}

/// 1 if all have the same, 1/n if one has all.
fn jain(shares: impl Iterator<Item = i32> + Clone) -> f64 {
    let sum: f64 = shares.clone().map(f64::from).sum();
    let squares: f64 = shares.clone().map(|share| f64::from(share).powi(2)).sum();
    sum.powi(2) / (f64::from(u32::try_from(shares.count()).unwrap()) * squares)
}

async fn organizations(pool: &PgPool, count: usize) -> Vec<Uuid> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(rows::organization(pool).await);
    }
    all
}

async fn user_of(pool: &PgPool, run: Uuid) -> String {
    let query = "SELECT user_ref FROM project_evaluation_runs WHERE id = $1";
    sqlx::query_scalar(query).bind(run).fetch_one(pool).await.unwrap()
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn equal_organizations_have_equal_shares_whatever_their_queues(pool: PgPool) {
    let store = Store::on(pool.clone());
    let organizations = organizations(&pool, 12).await;
    // The first has ten times as much, and it came first.
    let burst = (0..300).map(|_| organizations[0]);
    let others = organizations[1..].iter().copied().cycle().take(11 * 30);
    let waiters: Vec<_> =
        burst.chain(others).map(|organization| Waiter { organization, user: "ada", half_slots: 1 }).collect();
    rows::enqueue(&pool, &waiters).await;
    let mut shares: BTreeMap<Uuid, i32> = organizations.iter().map(|id| (*id, 0)).collect();
    for claim in take_turns(&store, &pool, one_of(8), 240, 8).await {
        *shares.get_mut(&claim.organization_id).unwrap() += 1;
    }
    let index = jain(shares.values().copied());
    assert!(index >= 0.95, "{index}: {shares:?}");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn shares_are_counted_in_half_slots(pool: PgPool) {
    let store = Store::on(pool.clone());
    let two = organizations(&pool, 2).await;
    let waiters: Vec<_> = (0..60)
        .flat_map(|_| [(two[0], 1), (two[1], 4)])
        .map(|(organization, half_slots)| Waiter { organization, user: "ada", half_slots })
        .collect();
    rows::enqueue(&pool, &waiters).await;
    let claims = store.claim_runs(WORKER, wanted(32, 32, 100)).await.unwrap();
    let of = |organization| claims.iter().filter(|claim| claim.organization_id == organization).count();
    assert_eq!((of(two[0]), of(two[1])), (16, 4));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn users_of_an_organization_have_equal_shares_too(pool: PgPool) {
    let store = Store::on(pool.clone());
    let organization = rows::organization(&pool).await;
    let names: Vec<_> = (0..6).map(|number| format!("user-{number}")).collect();
    let burst = (0..100).map(|_| &names[0]);
    let waiters: Vec<_> = burst
        .chain(names[1..].iter().cycle().take(5 * 20))
        .map(|user| Waiter { organization, user, half_slots: 1 })
        .collect();
    rows::enqueue(&pool, &waiters).await;
    let mut shares: BTreeMap<String, i32> = BTreeMap::new();
    for claim in take_turns(&store, &pool, one_of(4), 90, 4).await {
        *shares.entry(user_of(&pool, claim.id).await).or_default() += 1;
    }
    assert_eq!(shares.len(), 6, "{shares:?}");
    let index = jain(shares.values().copied());
    assert!(index >= 0.95, "{index}: {shares:?}");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn turns_go_on_where_nothing_is_ever_active_when_the_next_is_chosen(pool: PgPool) {
    // With one slot every organisation and user has nothing active at every claim: only turns tell them apart.
    let store = Store::on(pool.clone());
    let organizations = organizations(&pool, 3).await;
    let users = ["ada", "bob", "eve"];
    let mut waiters = Vec::new();
    for organization in &organizations {
        for user in users {
            waiters.extend([Waiter { organization: *organization, user, half_slots: 1 }; 4]);
        }
    }
    rows::enqueue(&pool, &waiters).await;
    let mut seen = Vec::new();
    for claim in take_turns(&store, &pool, one_of(1), 18, 1).await {
        seen.push((claim.organization_id, user_of(&pool, claim.id).await));
    }
    let mut sorted = organizations.clone();
    sorted.sort_unstable();
    let round = users.iter().flat_map(|user| sorted.iter().map(|organization| (*organization, (*user).to_owned())));
    let round: Vec<_> = round.collect();
    assert_eq!(seen, [round.clone(), round].concat());
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_lone_run_is_next_whatever_came_before_it(pool: PgPool) {
    let store = Store::on(pool.clone());
    let two = organizations(&pool, 2).await;
    let names: Vec<_> = (0..50).map(|number| format!("user-{number}")).collect();
    let burst = names.iter().cycle().take(3_800);
    let burst: Vec<_> = burst.map(|user| Waiter { organization: two[0], user, half_slots: 2 }).collect();
    rows::enqueue(&pool, &burst).await;
    let patient = Wanted { caps: AdmissionCaps { heavy_reserve_after_s: 0.0, ..NO_CAPS }, ..one_of(16) };
    let first = store.claim_runs(
        WORKER,
        Wanted { most: 8, caps: AdmissionCaps { total_half_slots: 16, ..patient.caps }, ..patient },
    );
    let first = first.await.unwrap();
    assert_eq!(first.len(), 8, "the burst may have all that nobody else wants");
    let lone = rows::enqueue(&pool, &[Waiter { organization: two[1], user: "zoe", half_slots: 2 }]).await[0];
    rows::end(&pool, first[0].id).await;
    let caps = AdmissionCaps { total_half_slots: 16, ..patient.caps };
    let next = store.claim_runs(WORKER, Wanted { caps, ..patient }).await.unwrap();
    assert_eq!(next[0].id, lone);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn capped_heads_block_nobody(pool: PgPool) {
    let store = Store::on(pool.clone());
    let two = organizations(&pool, 2).await;
    let waiter = |organization, user, half_slots| Waiter { organization, user, half_slots };
    let runs = rows::enqueue(
        &pool,
        &[
            waiter(two[0], "ada", 2),
            waiter(two[0], "ada", 2),
            waiter(two[0], "ada", 1),
            waiter(two[0], "bob", 4),
            waiter(two[0], "bob", 1),
            waiter(two[1], "ada", 2),
            waiter(two[1], "ada", 1),
        ],
    )
    .await;
    // One run of class B or C, two of an organisation, one of a user; four half-slots.
    let caps = AdmissionCaps {
        total_half_slots: 4,
        browser: 1,
        per_org: 2,
        per_user: 1,
        heavy_reserve_after_s: 0.0,
        ..NO_CAPS
    };
    let all = Wanted { worker_half_slots: 4, worker_capacity: 4, caps, most: 10 };
    let claims: Vec<_> = store.claim_runs(WORKER, all).await.unwrap().iter().map(|claim| claim.id).collect();
    // ada's first is a browser's, so all other heavy heads are capped and light ones go by.
    let expected = if two[0] < two[1] { [runs[0], runs[6], runs[4]] } else { [runs[5], runs[2], runs[4]] };
    assert_eq!(claims, expected);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn slots_are_kept_for_a_heavy_run_once_it_has_waited_long_enough(pool: PgPool) {
    let store = Store::on(pool.clone());
    let organization = rows::organization(&pool).await;
    let queue = rows::queue(&pool, organization, &[1, 1, 4, 1, 1]).await;
    let caps = |heavy_reserve_after_s| AdmissionCaps { total_half_slots: 5, heavy_reserve_after_s, ..NO_CAPS };
    let ask = async |patience, capacity| {
        let wanted = Wanted { worker_half_slots: 5, worker_capacity: capacity, caps: caps(patience), most: 10 };
        let claims = store.claim_runs(WORKER, wanted).await.unwrap();
        claims.iter().map(|claim| claim.id).collect::<Vec<_>>()
    };
    let two = Wanted { most: 2, ..wanted(5, 5, 2) };
    store.claim_runs(WORKER, two).await.unwrap();
    assert_eq!(ask(60.0, 5).await, NO_RUN, "it has waited for a day; three half-slots are free and are kept");
    assert_eq!(ask(60.0, 3).await, [queue[3], queue[4]], "a worker that could never hold it does not wait");
    for run in [queue[3], queue[4]] {
        rows::end(&pool, run).await;
    }
    let light = rows::enqueue(&pool, &[Waiter { organization, user: "user", half_slots: 1 }]).await;
    rows::end(&pool, queue[0]).await;
    assert_eq!(ask(60.0, 5).await, [queue[2]], "and with the fourth it starts, before the light one");
    rows::end(&pool, queue[1]).await;
    assert_eq!(ask(60.0, 5).await, light);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn light_runs_pass_a_heavy_one_while_it_is_patient_or_capped(pool: PgPool) {
    let store = Store::on(pool.clone());
    let organization = rows::organization(&pool).await;
    let queue = rows::queue(&pool, organization, &[1, 4, 1, 1, 1]).await;
    let ask = async |most, caps| {
        let wanted = Wanted { worker_half_slots: 4, worker_capacity: 4, caps, most };
        let claims = store.claim_runs(WORKER, wanted).await.unwrap();
        claims.iter().map(|claim| claim.id).collect::<Vec<_>>()
    };
    let caps = AdmissionCaps { total_half_slots: 4, heavy_reserve_after_s: 2.0 * 86_400.0, ..NO_CAPS };
    assert_eq!(ask(2, caps).await, [queue[0], queue[2]]);
    let capped = AdmissionCaps { heavy_reserve_after_s: 0.0, browser: 0, ..caps };
    assert_eq!(ask(1, capped).await, [queue[3]]);
    assert_eq!(ask(1, AdmissionCaps { heavy_reserve_after_s: 0.0, ..caps }).await, NO_RUN);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_retry_waits_for_its_time_and_for_nothing_else(pool: PgPool) {
    let store = Store::on(pool.clone());
    let organization = rows::organization(&pool).await;
    let queue = rows::queue(&pool, organization, &[1, 1, 1]).await;
    let put_off = async |run: Uuid, seconds: i32| {
        let query =
            "UPDATE project_evaluation_runs SET not_before = clock_timestamp() + $2 * interval '1 s' WHERE id = $1";
        sqlx::query(query).bind(run).bind(seconds).execute(&pool).await.unwrap();
    };
    put_off(queue[0], 3600).await;
    put_off(queue[1], -1).await;
    let claims = store.claim_runs(WORKER, wanted(8, 8, 8)).await.unwrap();
    assert_eq!(claims.iter().map(|claim| claim.id).collect::<Vec<_>>(), queue[1..]);
    assert!(rows::snapshot(&pool, queue[1]).await["not_before"].is_null());
    put_off(queue[0], 0).await;
    assert_eq!(store.claim_runs(WORKER, wanted(8, 8, 8)).await.unwrap()[0].id, queue[0]);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_claim_does_not_wait_for_a_retry_that_is_being_cancelled(pool: PgPool) {
    let store = Store::on(pool.clone());
    let organization = rows::organization(&pool).await;
    let queue = rows::queue(&pool, organization, &[1, 1]).await;
    let query = "UPDATE project_evaluation_runs SET not_before = clock_timestamp() - interval '1 s' WHERE id = $1";
    sqlx::query(query).bind(queue[0]).execute(&pool).await.unwrap();
    let mut cancelling = pool.begin().await.unwrap();
    sqlx::query("SELECT FROM project_evaluation_runs WHERE id = $1 FOR UPDATE")
        .bind(queue[0])
        .execute(&mut *cancelling)
        .await
        .unwrap();
    assert_eq!(store.claim_runs(WORKER, wanted(8, 8, 8)).await.unwrap()[0].id, queue[1]);
    cancelling.commit().await.unwrap();
    assert_eq!(store.claim_runs(WORKER, wanted(8, 8, 8)).await.unwrap()[0].id, queue[0]);
}
