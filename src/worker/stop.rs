//! Why an attempt does not continue, and which error of a dependency means which of these reasons.

use assize_cell::EngineError;
use assize_cell::stream::StreamError;
use assize_domain::run::{Failure, FailureCode};
use assize_store::StoreError;

use crate::intake::blob::BlobError;
use crate::leases::Interruption;

/// The reason why an attempt does not continue.
#[derive(Debug)]
pub enum Stop {
    /// The attempt ends, or is tried again, with this failure.
    Failed(Failure),
    /// Another worker has the lease, or may have it: this worker writes nothing more.
    LeaseLost(String),
    /// This worker stops, and its successor adopts the run: cells and rows stay as they are.
    HandedOver,
}

impl Stop {
    /// A failure that needs no more evidence than a sentence.
    pub fn failed(code: FailureCode, message: impl Into<String>) -> Self {
        Self::Failed(Failure::new(code, message))
    }

    /// Somebody asked for the run to be cancelled.
    pub fn cancelled() -> Self {
        Self::failed(FailureCode::Cancelled, "cancelled while it was running")
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        match error {
            // A fenced write reports when another worker has the lease. While Postgres is unavailable this
            // worker's heartbeats are lost too, so whoever has the lease when Postgres is back decides.
            StoreError::LeaseLost { .. } | StoreError::Unavailable { .. } => Self::LeaseLost(error.to_string()),
            other => Self::failed(FailureCode::WorkerLost, other.to_string()),
        }
    }
}

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Self {
        if matches!(error, EngineError::Unwanted) {
            return Self::LeaseLost(error.to_string());
        }
        Self::failed(error.code(), error.to_string())
    }
}

impl From<BlobError> for Stop {
    fn from(error: BlobError) -> Self {
        Self::failed(FailureCode::NetworkError, error.to_string())
    }
}

impl From<StreamError> for Stop {
    fn from(error: StreamError) -> Self {
        let code = match error {
            StreamError::Archive(_) => FailureCode::NetworkError,
            _ => FailureCode::CellLost,
        };
        Self::failed(code, error.to_string())
    }
}

impl From<Interruption> for Stop {
    fn from(interruption: Interruption) -> Self {
        match interruption {
            Interruption::LeaseLost => Self::LeaseLost("a heartbeat found another holder".to_owned()),
            Interruption::HandedOver => Self::HandedOver,
        }
    }
}
