//! What every query costs among 100,000 runs: an index probe, or there is a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sqlx::PgPool;

use crate::crowd::{Crowd, Statistics};
use crate::plan::{Explainer, Mode, Plan};
use crate::rows;
use crate::samples::{Cost, samples};

/// Name and text of every file of `crates/store/sql/queries`.
fn queries() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/store/sql/queries");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// What is wrong with these plans, for all of them at once.
fn faults(plans: &[Plan], cost: Cost) -> Vec<String> {
    let mut faults = Vec::new();
    for Plan { statement, scanned, rows, buffers } in plans {
        let statement: Vec<_> = statement.split_whitespace().take(12).collect();
        let statement = statement.join(" ");
        if !scanned.is_empty() && !cost.may_scan() {
            faults.push(format!("reads all of {scanned:?} in {statement:?}"));
        }
        if *rows > cost.rows() {
            faults.push(format!("fetches {rows} rows, {} are allowed, in {statement:?}", cost.rows()));
        }
        if *buffers > cost.buffers() {
            faults.push(format!("looks at {buffers} pages, {} are allowed, in {statement:?}", cost.buffers()));
        }
    }
    faults
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn every_query_is_an_index_probe(pool: PgPool) {
    let crowd = Crowd::gather(&pool, Statistics::Fresh).await;
    let queries = queries();
    let samples = samples(&crowd);
    let sampled: BTreeSet<_> = samples.iter().map(|sample| sample.query).collect();
    assert_eq!(sampled, queries.keys().map(String::as_str).collect(), "each file needs arguments in samples.rs");

    let mut explainer = Explainer::open(&pool).await;
    let mut found = Vec::new();
    for sample in &samples {
        for mode in [Mode::Custom, Mode::Generic] {
            // The first time fills the session's caches of functions and tables.
            explainer.try_out(mode, &queries[sample.query], &sample.arguments).await;
            let plans = explainer.try_out(mode, &queries[sample.query], &sample.arguments).await;
            let faults = faults(&plans, sample.cost);
            if !faults.is_empty() {
                found.push(format!(
                    "{} ({}), {mode:?}: {} (allowed: {})",
                    sample.query,
                    sample.arguments,
                    faults.join("; "),
                    sample.cost.why()
                ));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_claim_reads_no_submission_but_its_own(pool: PgPool) {
    // The temptation to read them all is greatest where there are few.
    let organization = rows::organization(&pool).await;
    rows::queue(&pool, organization, &[1; 5_000]).await;
    sqlx::raw_sql("ANALYZE").execute(&pool).await.unwrap();
    let mut explainer = Explainer::open(&pool).await;
    for mode in [Mode::Custom, Mode::Generic] {
        let plans = explainer
            .try_out(mode, &queries()["claim_runs"], "'worker-1', 4, 80, 1000, 1000, 1000, 1000, 1000, 60, 4")
            .await;
        let faults: Vec<_> = plans.iter().flat_map(|plan| &plan.scanned).collect();
        assert!(faults.is_empty(), "{mode:?} reads all of {faults:?}");
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_claim_costs_no_more_in_a_long_queue_that_the_planner_knows_nothing_of(pool: PgPool) {
    Crowd::gather(&pool, Statistics::OfAnEmptyQueue).await;
    let claim = &queries()["claim_runs"];
    let mut explainer = Explainer::open(&pool).await;
    for mode in [Mode::Custom, Mode::Generic] {
        explainer.try_out(mode, claim, "'worker-1', 4, 80, 1000, 1000, 1000, 1000, 1000, 60, 4").await;
        let plans = explainer.try_out(mode, claim, "'worker-1', 4, 80, 1000, 1000, 1000, 1000, 1000, 60, 4").await;
        assert!(plans.iter().any(|plan| plan.statement.contains("SKIP LOCKED")), "the statements inside are told too");
        assert!(plans.iter().any(|plan| plan.statement.contains("array_agg")), "{plans:#?}");
        let faults = faults(&plans, Cost::Active);
        assert!(faults.is_empty(), "{mode:?}: {}", faults.join("\n"));
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_claim_costs_no_more_after_a_thousand_others_and_a_vacuum(pool: PgPool) {
    // What was claimed leaves dead entries at the head of the queue's index. Readers clear them away too, but
    // not while any transaction on the server is older; the vacuum makes the test independent of its neighbours.
    Crowd::gather(&pool, Statistics::Fresh).await;
    let claim = &queries()["claim_runs"];
    let mut explainer = Explainer::open(&pool).await;
    for _ in 0..125 {
        explainer.carry_out(Mode::Custom, claim, "'worker-1', 32, 80, 1000, 1000, 1000, 1000, 1000, 60, 8").await;
        sqlx::query(
            "UPDATE project_evaluation_runs SET status = 'failed', finished_at = now(), cause = 'grader',
                 failure_code = 'driver_failed', evidence = '{}' WHERE status = 'preparing' AND worker_id = 'worker-1'",
        )
        .execute(&pool)
        .await
        .unwrap();
    }
    sqlx::query("VACUUM project_evaluation_runs").execute(&pool).await.unwrap();
    explainer.try_out(Mode::Custom, claim, "'worker-1', 4, 80, 1000, 1000, 1000, 1000, 1000, 60, 4").await;
    let plans = explainer.try_out(Mode::Custom, claim, "'worker-1', 4, 80, 1000, 1000, 1000, 1000, 1000, 60, 4").await;
    let faults = faults(&plans, Cost::Active);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
