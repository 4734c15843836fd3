//! Conversions from errors of the service to faults of a command.

use assize_cell::EngineError;
use assize_client::outcome::Fault;
use assize_store::StoreError;

use crate::backup::BackupError;
use crate::embedded::EmbeddedError;
use crate::installation::InstallationError;
use crate::intake::blob::BlobError;
use crate::redis::RedisError;
use crate::signing_key::SignerError;
use crate::template::TemplateError;

/// Returns the fault for an error of the store. What only a person can change is wrong usage, so that a supervisor does
/// not start the process again for ever; every other error is a fault of the infrastructure.
pub fn store(error: StoreError) -> Fault {
    if is_wrong_store(&error) { Fault::usage(error) } else { Fault::infrastructure(error) }
}

/// Whether waiting does not help: the address, the role, the pooler, or the version of the server or the schema is wrong.
const fn is_wrong_store(error: &StoreError) -> bool {
    match error {
        StoreError::Address(_)
        | StoreError::NotAdmitted { .. }
        | StoreError::UnsafePooler { .. }
        | StoreError::ServerVersion { .. }
        | StoreError::Schema(_) => true,
        StoreError::Unavailable { .. } | StoreError::LeaseLost { .. } | StoreError::Refused { .. } => false,
    }
}

/// Returns the fault for an error of a backup or a restore.
pub fn backup(error: BackupError) -> Fault {
    match error {
        BackupError::Store(error) => store(error),
        BackupError::Embedded(error) => error.into(),
        error if error.is_usage() => Fault::usage(error),
        other => Fault::infrastructure(other),
    }
}

/// Returns the fault for the error that ended a worker. What only an operator can change is wrong usage, so that no
/// service manager starts the worker again and again.
pub fn worker(error: anyhow::Error) -> Fault {
    let error = match error.downcast::<SignerError>() {
        Ok(error) => return error.into(),
        Err(error) => error,
    };
    let is_wrong_store = error.downcast_ref().is_some_and(is_wrong_store);
    let is_wrong_engine = matches!(
        error.downcast_ref(),
        Some(
            EngineError::Forbidden { .. }
                | EngineError::ImageMissing { .. }
                | EngineError::ImageVolume { .. }
                | EngineError::Unfit(_)
                | EngineError::UnknownRuntime { .. }
                | EngineError::Warden { .. }
        )
    );
    // A worker opens Redis and the blob store without asking them; only their addresses can be wrong.
    let is_wrong_address = error.is::<RedisError>() || matches!(error.downcast_ref(), Some(BlobError::Address { .. }));
    if is_wrong_store || is_wrong_engine || is_wrong_address || error.is::<TemplateError>() {
        Fault::usage(format!("{error:#}"))
    } else {
        Fault::infrastructure(format!("{error:#}"))
    }
}

impl From<SignerError> for Fault {
    fn from(error: SignerError) -> Self {
        match error {
            SignerError::File(file) => file.into(),
            SignerError::Store(error) => store(error),
            retired @ SignerError::Retired { .. } => Self::usage(retired),
        }
    }
}

impl From<EmbeddedError> for Fault {
    fn from(error: EmbeddedError) -> Self {
        match error {
            EmbeddedError::InUse { .. } => Self::usage(error),
            other => Self::infrastructure(other),
        }
    }
}

impl From<InstallationError> for Fault {
    fn from(error: InstallationError) -> Self {
        match error {
            InstallationError::Process(error) => error.into(),
            InstallationError::Store(error) => store(error),
            InstallationError::SigningKey(error) => error.into(),
            file @ InstallationError::KeyFile { .. } => Self::infrastructure(file),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_worker_that_an_operator_must_mend_is_not_started_again() {
        let wrong: [anyhow::Error; 4] = [
            StoreError::Schema("version 9 is needed, the database has 3".to_owned()).into(),
            EngineError::Forbidden { path: "/run/docker.sock".into() }.into(),
            TemplateError { path: "/gone".into(), reason: "no such folder".to_owned(), advice: None }.into(),
            SignerError::File(assize_signing::KeyFileError::Missing("/gone".into())).into(),
        ];
        for error in wrong {
            let text = format!("{error:#}");
            assert!(matches!(worker(error), Fault::Usage(_)), "{text}");
        }
        let away = StoreError::Unavailable { query: "ping", reason: "refused".to_owned() };
        let away = Err::<(), _>(away).context("cannot take over what an earlier worker left").unwrap_err();
        assert!(matches!(worker(away), Fault::Infrastructure(_)));
        let kept = Err::<(), _>(EngineError::Unfit("no".to_owned())).context("while it started").unwrap_err();
        assert!(matches!(worker(kept), Fault::Usage(_)), "also with context");
    }
}
