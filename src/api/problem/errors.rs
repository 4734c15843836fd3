//! The problem that each error of the service's inside becomes.

use std::io::ErrorKind;

use axum::http::{HeaderValue, StatusCode, header};

use super::{DISK_RETRY_AFTER_S, Problem};
use crate::admission::QueueRefusal;
use crate::api::body::Fault;
use crate::intake::blob::BlobError;
use crate::intake::keep::KeepError;
use crate::intake::repository::RepositoryProblem;
use crate::intake::spool::SpoolError;
use assize_archive::ArchiveProblem;
use assize_store::StoreError;

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Unavailable { .. } => {
                Self::unavailable("database_unavailable", "the database does not answer", &error)
            }
            StoreError::Schema(_) => {
                Self::unavailable("database_unavailable", "the database is being upgraded", &error)
            }
            StoreError::Address(_) | StoreError::LeaseLost { .. } | StoreError::Refused { .. } => {
                Self::internal(&error)
            }
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
        match &error {
            BlobError::Unavailable { .. } => {
                Self::unavailable("storage_unavailable", "the store for archives and output does not answer", &error)
            }
            BlobError::Address { .. } | BlobError::Missing(_) => Self::internal(&error),
        }
    }
}

impl From<SpoolError> for Problem {
    fn from(error: SpoolError) -> Self {
        match &error {
            SpoolError::TooLong { limit, seen } => Self::archive_too_large(*limit, *seen),
            SpoolError::Io(full) if matches!(full.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                let detail = "the disk for uploads in progress became full; nothing was stored";
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", detail)
                    .help("Send it again after the time in Retry-After; your administrator can free space there.")
                    .header(header::RETRY_AFTER, DISK_RETRY_AFTER_S)
                    .cause(&error)
            }
            SpoolError::Io(_) => {
                Self::unavailable("spool_unavailable", "the upload could not be kept while it was looked at", &error)
            }
        }
    }
}

impl From<ArchiveProblem> for Problem {
    fn from(problem: ArchiveProblem) -> Self {
        if problem.is_infrastructure() {
            // Our spool could not be read; the archive may be in order.
            return Self::unavailable(
                "spool_unavailable",
                "the upload could not be kept while it was looked at",
                &problem,
            );
        }
        let code = format!("archive_{}", problem.code());
        let status = match problem {
            ArchiveProblem::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let mut answer = Self::new(status, code, problem.to_string());
        (answer.0.limit, answer.0.seen) = (problem.limit(), problem.seen());
        answer.0.entry = problem.entry().map(str::to_owned);
        answer
    }
}

impl From<RepositoryProblem> for Problem {
    fn from(problem: RepositoryProblem) -> Self {
        let code = format!("repository_{}", problem.code());
        let mut answer = Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, problem.to_string());
        if let RepositoryProblem::TooLong { limit, seen, .. } = problem {
            answer = answer.limit(limit as u64, seen as u64);
        }
        answer
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

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let late = |code, detail: String| {
            Self::new(StatusCode::REQUEST_TIMEOUT, code, detail)
                .header(header::CONNECTION, HeaderValue::from_static("close"))
        };
        match fault {
            Fault::TooLong { limit, seen } => Self::body_too_long(limit, seen),
            Fault::Stalled { limit_s } => late("body_stalled", format!("no byte of the body came for {limit_s} s")),
            Fault::TooSlow { limit_s } => late("body_too_slow", format!("the body took longer than {limit_s} s")),
            Fault::NoField { limit } => {
                Self::malformed_multipart(format_args!("{limit} bytes without a field's header or content"))
            }
            Fault::Crumbs { pieces, bytes } => {
                let detail = format!("{bytes} bytes of the body came in {pieces} pieces, too small to be taken");
                Self::bad_request("body_in_crumbs", detail).help("Send chunks of 8 KiB or more, or Content-Length.")
            }
            Fault::BrokenOff => Self::malformed_multipart("the connection broke off"),
        }
    }
}
