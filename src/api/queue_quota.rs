//! Whether the queue has room for a submission.

use uuid::Uuid;

use super::problem::Problem;
use super::state::ApiState;
use crate::admission::{QueueRefusal, QueueReservation};

/// The check of one submission against the limits of the queue. A repetition of an accepted submission, under the same
/// `Idempotency-Key`, passes however full the queue is.
pub(super) struct QueueQuotaCheck<'a> {
    pub api: &'a ApiState,
    pub organization: Uuid,
    /// The request's `Idempotency-Key`.
    pub idempotency_key: Option<&'a str>,
}

impl QueueQuotaCheck<'_> {
    /// Rejects a submission that would not fit into the queue, before its body is read.
    pub async fn check(&self, user: Option<&str>) -> Result<(), Problem> {
        match self.api.quotas.check(self.organization, user).await {
            Ok(()) => Ok(()),
            Err(refused) if self.is_repetition(&refused).await? => Ok(()),
            Err(refused) => Err(refused.into()),
        }
    }

    /// Reserves a place in the queue. A repetition needs none.
    pub async fn reserve(&self, user: &str) -> Result<Option<QueueReservation>, Problem> {
        match self.api.quotas.reserve(self.organization, user).await {
            Ok(reservation) => Ok(Some(reservation)),
            Err(refused) if self.is_repetition(&refused).await? => Ok(None),
            Err(refused) => Err(refused.into()),
        }
    }

    /// Whether the queue is full but the submission was accepted before.
    async fn is_repetition(&self, refused: &QueueRefusal) -> Result<bool, Problem> {
        match (refused, self.idempotency_key) {
            (QueueRefusal::Full(_), Some(key)) => Ok(self.api.store.first_use(self.organization, key).await?.is_some()),
            _ => Ok(false),
        }
    }
}
