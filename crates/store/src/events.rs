//! What happened to a run, in order.

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{Store, StoreError};
use crate::types::{OptionalText, Text};
use assize_domain::run::{FailureCode, StageName, Status};

/// One move of a run. `from_status` equals `to_status` where only the phase changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunEvent {
    pub id: i64,
    pub attempt: i32,
    pub at: DateTime<Utc>,
    pub from_status: Option<Status>,
    pub to_status: Status,
    pub phase: Option<StageName>,
    pub failure_code: Option<FailureCode>,
}

impl Store {
    /// At most 200 events of a run after the event `after`, oldest first.
    pub async fn events_of_run(&self, run: Uuid, after: i64) -> Result<Vec<RunEvent>, StoreError> {
        self.timed(
            "events_of_run",
            sqlx::query_file_as!(RunEvent, "sql/queries/events_of_run.sql", run, after).fetch_all(&self.pool),
        )
        .await
    }
}
