//! The report of a cell that ended as it should.

use assize_domain::run::Failure;
use assize_domain::verdict::ReportFile;
use assize_protocol::event::{ResultsStatus, StageExit};

#[cfg(doc)]
use crate::template::OnDriverFailure;

use super::ReportedTests;

/// One of several results files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedFile {
    pub name: String,
    /// Where it begins in the bytes of all; it ends where the next begins.
    pub from: usize,
}

/// The report of a cell.
#[derive(Debug)]
pub struct CellReport {
    /// The bytes of the results, of all files together.
    pub results: Vec<u8>,
    /// The files, if the plan names them by a pattern.
    pub files: Vec<ReceivedFile>,
    pub status: ResultsStatus,
    /// How the tests stage ended.
    pub tests: Option<StageExit>,
    /// What interrupted a driver whose template has [`OnDriverFailure::ScoreZero`].
    pub interrupted: Option<Box<Failure>>,
    /// How the service ended that the driver was to test, if it ended by itself.
    pub went_down: Option<Box<Failure>>,
    /// What the tests reported while they ran.
    pub reported: ReportedTests,
}

impl CellReport {
    /// The files with their bytes.
    pub fn files(&self) -> Vec<ReportFile<'_>> {
        let ends = self.files.iter().skip(1).map(|file| file.from).chain([self.results.len()]);
        let slices = self.files.iter().zip(ends);
        slices
            .map(|(file, end)| ReportFile {
                name: &file.name,
                bytes: self.results.get(file.from..end).unwrap_or_default(),
            })
            .collect()
    }

    /// The report of a driver that was interrupted and can report nothing any more.
    pub fn interrupted_by(failure: Failure) -> Self {
        Self {
            results: Vec::new(),
            files: Vec::new(),
            status: ResultsStatus::Missing { reason: None },
            tests: None,
            interrupted: Some(Box::new(failure)),
            went_down: None,
            reported: ReportedTests::default(),
        }
    }
}
