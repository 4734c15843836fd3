//! Errors of the service as faults of a command.

use assize_client::outcome::Fault;
use assize_store::StoreError;

use crate::signing_key::SignerError;

/// Returns the fault of a store that cannot be used: a wrong address is wrong usage, all else the infrastructure.
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
