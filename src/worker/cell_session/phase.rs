//! The phases of a session.
//!
//! A new cell is `Delivering` until it has its plan and inputs, then `Running`. An adopted cell is `Running` from
//! the start. A deadline that passes makes it `Resyncing`, and any event with a later deadline makes it `Running`
//! again. A cancel makes it `Stopping`, which is final.

use assize_cell::CellInput;
use assize_cell::stream::StreamError;
use assize_domain::run::FailureCode;
use assize_protocol::plan::Plan;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::intake::blob::BlobError;

/// The input of a cell with the result of the delivery into it.
type Delivered = (CellInput, Result<(), StreamError>);

/// What a session is doing.
pub enum Phase {
    /// The plan and its inputs are on their way into the cell.
    Delivering(BoxFuture<'static, Delivered>),
    /// The cell ended during the delivery, or has no input; its last events may show why.
    Undelivered,
    /// The cell has its plan and inputs, and reports events.
    Running,
    /// A deadline passed, and the session reads the journal from the start before it blames anybody.
    Resyncing {
        /// The failure if the journal shows nothing new.
        expired: FailureCode,
    },
    /// The cell was asked to stop, and the session receives the rest of its events.
    Stopping,
}

impl Phase {
    /// Starts to deliver a plan and its inputs.
    pub fn deliver(
        mut input: CellInput,
        plan: Plan,
        inputs: Vec<BoxStream<'static, Result<Bytes, BlobError>>>,
    ) -> Self {
        Self::Delivering(Box::pin(async move {
            let delivered = input.deliver(&plan, inputs).await;
            (input, delivered)
        }))
    }

    /// Waits for the end of the delivery; for ever in every other phase. The caller must then set
    /// another phase.
    pub async fn delivered(&mut self) -> Delivered {
        match self {
            Self::Delivering(delivery) => delivery.await,
            _ => std::future::pending().await,
        }
    }

    /// Whether the cell has its plan and inputs.
    pub fn has_plan(&self) -> bool {
        matches!(self, Self::Running | Self::Resyncing { .. } | Self::Stopping)
    }
}
