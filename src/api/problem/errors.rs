//! The problem for each error of the modules below the API.

use std::fmt::Display;
use std::io::ErrorKind;

use assize_archive::ArchiveProblem;
use assize_store::StoreError;
use axum::extract::multipart::MultipartError;
use uuid::Uuid;

use super::code::{ProblemCode, for_archive, for_repository};
use super::{DISK_RETRY_AFTER_S, Problem, RETRY_AFTER_S, codes};
use crate::admission::QueueRefusal;
use crate::intake::blob::BlobError;
use crate::intake::keep::KeepError;
use crate::intake::repository::RepositoryProblem;
use crate::intake::spool::SpoolError;

impl Problem {
    pub fn internal(cause: &dyn Display) -> Self {
        Self::new(codes::INTERNAL, "internal error").cause(cause)
    }

    /// A row that was just written cannot be read.
    pub fn missing_row(id: Uuid) -> Self {
        Self::internal(&format!("{id} was written and cannot be read"))
    }

    /// A file system did not report its free space.
    pub fn file_system_unavailable(cause: &dyn Display) -> Self {
        Self::unavailable(codes::STORAGE_UNAVAILABLE, "the disk for archives does not answer", cause)
    }

    pub fn multipart(error: &MultipartError) -> Self {
        Self::malformed_multipart(error.body_text())
    }

    fn unavailable(code: ProblemCode, detail: &'static str, cause: &dyn Display) -> Self {
        Self::new(code, detail).retry_after(RETRY_AFTER_S).cause(cause)
    }

    fn spool_unavailable(cause: &dyn Display) -> Self {
        Self::unavailable(codes::SPOOL_UNAVAILABLE, "the upload could not be written to disk or read back", cause)
    }

    /// A problem whose advice is more precise than that of its code.
    fn with_advice(code: ProblemCode, error: &dyn Display, advice: &'static str) -> Self {
        let mut problem = Self::new(code, error.to_string());
        problem.0.help = Some(advice);
        problem
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let unavailable = |detail| Self::unavailable(codes::DATABASE_UNAVAILABLE, detail, &error);
        match &error {
            StoreError::Unavailable { .. } => unavailable("the database does not answer"),
            StoreError::Schema(_) => unavailable("the database is being upgraded"),
            StoreError::Address(_)
            | StoreError::LeaseLost { .. }
            | StoreError::NotAdmitted { .. }
            | StoreError::Refused { .. }
            | StoreError::ServerVersion { .. }
            | StoreError::UnsafePooler { .. } => Self::internal(&error),
        }
    }
}

impl From<QueueRefusal> for Problem {
    fn from(refused: QueueRefusal) -> Self {
        match refused {
            QueueRefusal::Full(full) => Self::queue_full(full),
            QueueRefusal::Store(error) => error.into(),
        }
    }
}

impl From<BlobError> for Problem {
    fn from(error: BlobError) -> Self {
        let detail = "the storage for archives and outputs does not answer";
        match &error {
            BlobError::Unavailable { .. } => Self::unavailable(codes::STORAGE_UNAVAILABLE, detail, &error),
            BlobError::Address { .. } | BlobError::Missing(_) => Self::internal(&error),
        }
    }
}

impl From<SpoolError> for Problem {
    fn from(error: SpoolError) -> Self {
        match &error {
            SpoolError::TooLong { limit, seen } => Self::archive_too_large(*limit, *seen),
            SpoolError::Io(full) if matches!(full.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                Self::new(codes::DISK_FULL, "the disk for uploads in progress is full")
                    .retry_after(DISK_RETRY_AFTER_S)
                    .cause(&error)
            }
            SpoolError::Io(_) => Self::spool_unavailable(&error),
        }
    }
}

impl From<ArchiveProblem> for Problem {
    fn from(problem: ArchiveProblem) -> Self {
        if problem.is_infrastructure() {
            // The service could not read its own copy; the archive may be in order.
            return Self::spool_unavailable(&problem);
        }
        let code = for_archive(&problem);
        debug_assert_eq!(code.name, format!("archive_{}", problem.code()));
        let mut answer = Self::with_advice(code, &problem, problem.advice());
        (answer.0.limit, answer.0.seen) = (problem.limit(), problem.seen());
        answer.0.entry = problem.entry().map(str::to_owned);
        answer
    }
}

impl From<RepositoryProblem> for Problem {
    fn from(problem: RepositoryProblem) -> Self {
        let code = for_repository(&problem);
        debug_assert_eq!(code.name, format!("repository_{}", problem.code()));
        let answer = Self::with_advice(code, &problem, problem.advice());
        match problem {
            RepositoryProblem::TooLong { limit, seen, .. } => answer.limit(limit as u64, seen as u64),
            _ => answer,
        }
    }
}

impl From<KeepError> for Problem {
    fn from(error: KeepError) -> Self {
        match error {
            KeepError::Blob(error) => error.into(),
            KeepError::Store(error) => error.into(),
        }
    }
}
