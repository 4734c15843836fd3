//! How a command ends: the exit codes, and the errors that carry one.

use std::fmt::Display;
use std::process::ExitCode;

use assize_config::ConfigError;
use assize_domain::run::Cause;
use assize_signing::KeyFileError;

/// The exit codes, as `assize --help` tells them.
pub const EXIT_CODES: &str = "\
EXIT CODES:
  0  done; for an evaluation: every test passed
  1  the evaluation ran to its end and tests failed; `demo`: a sample came out wrong;
     `verify`: the statement is not to be believed
  2  wrong usage or bad input
  3  the project could not be evaluated, by its own fault
  4  the project could not be evaluated, by a fault of the template or its tests
  5  a fault of the infrastructure: a service is away, or `doctor` finds the host unfit
  6  the evaluation was cancelled";

/// What a command came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Success,
    TestsFailed,
    /// A statement that is not to be believed.
    NotVerified,
    Usage,
    Submission,
    Grader,
    Infrastructure,
    Cancelled,
    /// By ctrl-c, as shells have it.
    Interrupted,
    /// The code of another program, passed on.
    Of(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::TestsFailed | Exit::NotVerified => 1,
            Exit::Usage => 2,
            Exit::Submission => 3,
            Exit::Grader => 4,
            Exit::Infrastructure => 5,
            Exit::Cancelled => 6,
            Exit::Interrupted => 130,
            Exit::Of(code) => code,
        })
    }
}

impl From<Cause> for Exit {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Submission => Self::Submission,
            Cause::Grader => Self::Grader,
            Cause::Infrastructure => Self::Infrastructure,
            Cause::Platform => Self::Cancelled,
        }
    }
}

/// Why a command could not do what it was asked, for a person.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// What was asked cannot be done as it was asked.
    #[error("{0}")]
    Usage(String),
    /// A service or the host is at fault.
    #[error("{0}")]
    Infrastructure(String),
}

impl Fault {
    /// Bad input; say what it was and what it must be.
    pub fn usage(what: impl Display) -> Self {
        Self::Usage(what.to_string())
    }

    /// Something that this command needs is away; say what, and what to do.
    pub fn infrastructure(what: impl Display) -> Self {
        Self::Infrastructure(what.to_string())
    }

    /// The code to end with.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Infrastructure(_) => Exit::Infrastructure,
        }
    }
}

impl From<ConfigError> for Fault {
    fn from(error: ConfigError) -> Self {
        Self::usage(error)
    }
}

impl From<KeyFileError> for Fault {
    fn from(error: KeyFileError) -> Self {
        match error {
            KeyFileError::Io { .. } => Self::infrastructure(error),
            other => Self::usage(other),
        }
    }
}

/// What every command returns.
pub type Outcome = Result<Exit, Fault>;
