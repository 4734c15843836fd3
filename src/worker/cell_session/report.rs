//! The report of a cell that ended as it should.

use assize_domain::run::Failure;
use assize_protocol::event::{ResultsStatus, StageExit};

#[cfg(doc)]
use crate::template::OnDriverFailure;

/// The report of a cell.
#[derive(Debug)]
pub struct CellReport {
    /// The bytes of the results file.
    pub results: Vec<u8>,
    pub status: ResultsStatus,
    /// How the tests stage ended.
    pub tests: Option<StageExit>,
    /// What interrupted a driver whose template has [`OnDriverFailure::ScoreZero`].
    pub interrupted: Option<Box<Failure>>,
    /// How the service ended that the driver was to test, if it ended by itself.
    pub went_down: Option<Box<Failure>>,
}

impl CellReport {
    /// The report of a driver that was interrupted and can report nothing any more.
    pub fn interrupted_by(failure: Failure) -> Self {
        Self {
            results: Vec::new(),
            status: ResultsStatus::Missing { reason: None },
            tests: None,
            interrupted: Some(Box::new(failure)),
            went_down: None,
        }
    }
}
