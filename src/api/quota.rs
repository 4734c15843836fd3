//! Whether a submission is let into the queue.

use uuid::Uuid;

use super::ApiState;
use super::problem::Problem;
use crate::admission::{QueueRefusal, QueueReservation};

/// What one submission has to pass. What was let in before, under the same `Idempotency-Key`, is let in
/// again however full the queue is.
pub(super) struct Door<'a> {
    pub api: &'a ApiState,
    pub organization: Uuid,
    /// The request's `Idempotency-Key`.
    pub key: Option<&'a str>,
}

impl Door<'_> {
    /// Refuses what could not enter anyway, before it is read.
    pub async fn check(&self, user: Option<&str>) -> Result<(), Problem> {
        match self.api.quotas.check(self.organization, user).await {
            Ok(()) => Ok(()),
            Err(refused) if self.is_open_to(&refused).await? => Ok(()),
            Err(refused) => Err(refused.into()),
        }
    }

    /// A place in the queue; none is needed for what came before.
    pub async fn enter(&self, user: &str) -> Result<Option<QueueReservation>, Problem> {
        match self.api.quotas.reserve(self.organization, user).await {
            Ok(place) => Ok(Some(place)),
            Err(refused) if self.is_open_to(&refused).await? => Ok(None),
            Err(refused) => Err(refused.into()),
        }
    }

    async fn is_open_to(&self, refused: &QueueRefusal) -> Result<bool, Problem> {
        Ok(match (refused, self.key) {
            (QueueRefusal::Full(_), Some(key)) => self.api.store.first_use(self.organization, key).await?.is_some(),
            _ => false,
        })
    }
}
