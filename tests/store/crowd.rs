//! A database of 100,000 runs, and one run of each kind to ask it for.

use sqlx::PgPool;
use uuid::Uuid;

use crate::rows::WORKER;

/// The organisation with the most runs, and rows of it.
pub struct Crowd {
    pub organization: Uuid,
    pub name: String,
    pub key: Uuid,
    pub idempotency_key: String,
    pub submission: Uuid,
    /// Ended, in the middle of the list.
    pub ended: Uuid,
    pub submitted_at: String,
    /// 100 runs.
    pub page: Vec<Uuid>,
    pub queued: Uuid,
    pub preparing: Uuid,
    pub running: Uuid,
    pub parsing: Uuid,
}

/// What the planner knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistics {
    Fresh,
    /// They were taken while nothing was queued or active.
    OfAnEmptyQueue,
}

const QUEUE: &str =
    "INSERT INTO project_evaluation_runs SELECT * FROM crowd_runs WHERE finished_at IS NULL ORDER BY id";

/// Of several states, rounding decides whether the planner expects none or next to none of the others.
const ONLY_COMPLETED: &str = "DELETE FROM run_events USING project_evaluation_runs AS run
        WHERE run.id = run_id AND run.status <> 'completed';
    DELETE FROM project_evaluation_runs WHERE status <> 'completed'";

impl Crowd {
    pub async fn gather(pool: &PgPool, statistics: Statistics) -> Self {
        let mut connection = pool.acquire().await.unwrap();
        let steps: &[&str] = match statistics {
            Statistics::Fresh => &[include_str!("crowd.sql"), QUEUE, "ANALYZE"],
            Statistics::OfAnEmptyQueue => &[include_str!("crowd.sql"), ONLY_COMPLETED, "ANALYZE", QUEUE],
        };
        for step in steps {
            sqlx::raw_sql(*step).execute(&mut *connection).await.unwrap();
        }
        drop(connection);
        let name = "school-0".to_owned();
        let organization = sqlx::query_scalar("SELECT id FROM organizations WHERE name = $1")
            .bind(&name)
            .fetch_one(pool)
            .await
            .unwrap();
        let key = sqlx::query_scalar("SELECT id FROM api_keys WHERE organization_id = $1 LIMIT 1")
            .bind(organization)
            .fetch_one(pool)
            .await
            .unwrap();
        let (submission, idempotency_key) = sqlx::query_as(
            "SELECT project_submission_id, key FROM idempotency_keys WHERE organization_id = $1 ORDER BY key LIMIT 1",
        )
        .bind(organization)
        .fetch_one(pool)
        .await
        .unwrap();
        let (ended, submitted_at) = sqlx::query_as(
            "SELECT id, submitted_at::text FROM project_evaluation_runs
             WHERE organization_id = $1 AND status = 'completed' ORDER BY id OFFSET 4000 LIMIT 1",
        )
        .bind(organization)
        .fetch_one(pool)
        .await
        .unwrap();
        let page = sqlx::query_scalar(
            "SELECT id FROM project_evaluation_runs WHERE organization_id = $1 ORDER BY md5(id::text) LIMIT 100",
        )
        .bind(organization)
        .fetch_all(pool)
        .await
        .unwrap();
        let in_state = async |status: &str| -> Uuid {
            // Active ones are given to one organisation and one worker.
            let id = sqlx::query_scalar("SELECT id FROM project_evaluation_runs WHERE status = $1 LIMIT 1")
                .bind(status)
                .fetch_one(pool)
                .await
                .unwrap();
            sqlx::query("UPDATE project_evaluation_runs SET organization_id = $2 WHERE id = $1")
                .bind(id)
                .bind(organization)
                .execute(pool)
                .await
                .unwrap();
            id
        };
        let (queued, preparing) = (in_state("queued").await, in_state("preparing").await);
        let (running, parsing) = (in_state("running").await, in_state("parsing").await);
        sqlx::query("UPDATE project_evaluation_runs SET worker_id = $1 WHERE id = ANY ($2)")
            .bind(WORKER)
            .bind([preparing, running, parsing])
            .execute(pool)
            .await
            .unwrap();
        Self {
            organization,
            name,
            key,
            idempotency_key,
            submission,
            ended,
            submitted_at,
            page,
            queued,
            preparing,
            running,
            parsing,
        }
    }
}
