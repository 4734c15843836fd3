//! One call to the engine: bounded in time, and what its refusal means.

use std::path::PathBuf;
use std::time::Duration;

use assize_domain::run::FailureCode;

/// The longest wait for the engine. Creating and starting take 0.2 s on a busy host of two cores;
/// an engine that needs 30 s is as good as gone.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The advice for an engine that does not answer.
const CHECK_ENGINE: &str = "check that it runs and that docker_host is right";

/// The advice for a user who may not use the engine.
const JOIN_GROUP: &str = "add the user to the group of the socket, usually docker";

/// The advice for an image that the engine does not have.
const MAKE_IMAGES: &str = "run `make images`, or set the template's image";

/// The advice for an image that declares a volume.
const NO_VOLUME: &str = "build it without";

/// The advice for a runtime that the engine does not have.
const ADD_RUNTIME: &str = "add it to the engine's `runtimes`";

/// The advice for a warden binary that cannot be used.
const SET_WARDEN: &str = "set warden_path";

/// Why the engine did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    #[error("the Docker engine did not {what}: {reason}; {CHECK_ENGINE}")]
    Unavailable { what: &'static str, reason: String },
    /// This process may not open the engine's socket.
    #[error("this user may not open the socket of the Docker engine {}; {JOIN_GROUP}", .path.display())]
    Forbidden { path: PathBuf },
    #[error("there is no image {image}; {MAKE_IMAGES}")]
    ImageMissing { image: String },
    #[error(
        "image {image} declares the volume {volume}, which would be a writable folder on the host's disk; {NO_VOLUME}"
    )]
    ImageVolume { image: String, volume: String },
    #[error("{0}")]
    Unfit(String),
    /// A runtime is configured that the engine does not have.
    #[error("{whose} is {name:?}, the engine knows {}; {ADD_RUNTIME}", .known.join(", "))]
    UnknownRuntime { whose: String, name: String, known: Vec<String> },
    #[error("the engine could not {what}: {reason}")]
    Missing { what: &'static str, reason: String },
    #[error("the engine refused to {what}: {reason} ({code})")]
    Refused { what: &'static str, code: u16, reason: String },
    #[error("the cell was not started: another worker has the lease on its run, or Postgres did not answer")]
    Unwanted,
    #[error(
        "a sandbox container did not renew its network namespace: {0}; the engine must let a container that has CAP_SYS_ADMIN and \
         CAP_NET_ADMIN unshare its network (SECURITY.md, What a berth may do)"
    )]
    Unrenewed(String),
    #[error("the warden binary {} {reason}; {SET_WARDEN}", .path.display())]
    Warden { path: PathBuf, reason: String },
}

impl EngineError {
    /// Returns what an operator should do. The message ends with this advice, after a semicolon.
    #[must_use]
    pub const fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Unavailable { .. } => Some(CHECK_ENGINE),
            Self::Forbidden { .. } => Some(JOIN_GROUP),
            Self::ImageMissing { .. } => Some(MAKE_IMAGES),
            Self::ImageVolume { .. } => Some(NO_VOLUME),
            Self::UnknownRuntime { .. } => Some(ADD_RUNTIME),
            Self::Warden { .. } => Some(SET_WARDEN),
            Self::Unfit(_) | Self::Missing { .. } | Self::Refused { .. } | Self::Unwanted | Self::Unrenewed(_) => None,
        }
    }

    /// The code that a run fails with.
    #[must_use]
    pub const fn code(&self) -> FailureCode {
        match self {
            Self::Unavailable { .. }
            | Self::Forbidden { .. }
            | Self::Refused { .. }
            | Self::Unrenewed(_)
            | Self::Warden { .. }
            | Self::Unfit(_)
            | Self::UnknownRuntime { .. } => FailureCode::DockerUnavailable,
            Self::Unwanted => FailureCode::WorkerLost,
            Self::ImageMissing { .. } | Self::ImageVolume { .. } => FailureCode::ImagePullFailed,
            Self::Missing { .. } => FailureCode::CellLost,
        }
    }
}

/// Makes a call, for [`CALL_TIMEOUT`] at most.
///
/// # Errors
/// [`EngineError`]; `what` is what was asked for.
pub(super) async fn bounded<T>(
    what: &'static str,
    call: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer.map_err(|error| sort(what, &error)),
        Err(_) => Err(EngineError::Unavailable { what, reason: format!("no answer in {} s", CALL_TIMEOUT.as_secs()) }),
    }
}

/// The engine says 404 for whatever is not there; callers know what that was.
pub(super) fn sort(what: &'static str, error: &bollard::errors::Error) -> EngineError {
    match error {
        bollard::errors::Error::DockerResponseServerError { status_code: 404, message } => {
            EngineError::Missing { what, reason: message.clone() }
        }
        bollard::errors::Error::DockerResponseServerError { status_code, message } if *status_code < 500 => {
            EngineError::Refused { what, code: *status_code, reason: message.clone() }
        }
        other => EngineError::Unavailable { what, reason: other.to_string() },
    }
}
