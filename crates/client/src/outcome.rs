//! The exit codes of commands, and the errors that carry one.

use std::fmt::Display;
use std::process::ExitCode;

use assize_config::ConfigError;
use assize_domain::run::Cause;
use assize_signing::KeyFileError;

/// The exit codes, as `assize --help` prints them.
pub const EXIT_CODES: &str = "\
EXIT CODES:
  0  the command succeeded; for an evaluation: every test passed
  1  the evaluation finished and tests failed; for `demo`: a sample ended otherwise than declared;
     for `verify`: the statement is not valid; for `inspect`: the service would refuse the file;
     for `template`: it has an error; for `templates reload`: a process refused a template
  2  the command line or its input is wrong
  3  the evaluation failed because of the project
  4  the evaluation failed because of the template or its tests
  5  the infrastructure failed: a service does not answer, or `doctor` found the host unfit
  6  the evaluation was cancelled";

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Success,
    TestsFailed,
    /// The signed statement is not valid.
    NotVerified,
    /// The service would refuse what was inspected, a template has an error, or a process refused one.
    Refused,
    Usage,
    Submission,
    Grader,
    Infrastructure,
    Cancelled,
    /// The user pressed ctrl-c. The code is 130, as in a shell.
    Interrupted,
    /// The exit code of another program, passed through.
    Of(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::TestsFailed | Exit::NotVerified | Exit::Refused => 1,
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

/// Why a command failed, as a message for the user.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The command line or its input is wrong.
    #[error("{0}")]
    Usage(String),
    /// A service or the host failed.
    #[error("{0}")]
    Infrastructure(String),
}

impl Fault {
    /// Creates a fault of wrong input. The message states the input and what it must be.
    pub fn usage(what: impl Display) -> Self {
        Self::Usage(what.to_string())
    }

    /// Creates a fault of the infrastructure. The message names what failed and what to do.
    pub fn infrastructure(what: impl Display) -> Self {
        Self::Infrastructure(what.to_string())
    }

    /// Returns the exit code for this fault.
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

/// The result of every command.
pub type Outcome = Result<Exit, Fault>;
