//! Conversions from errors of the service to faults of a command.

use assize_client::outcome::Fault;
use assize_store::StoreError;

use crate::embedded::EmbeddedError;
use crate::installation::InstallationError;
use crate::signing_key::SignerError;

/// Returns the fault for an error of the store: a wrong address is wrong usage, and every other error is a fault of the
/// infrastructure.
pub fn store(error: StoreError) -> Fault {
    match error {
        StoreError::Address(_) => Fault::usage(error),
        other => Fault::infrastructure(other),
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
