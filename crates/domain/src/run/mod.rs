//! Runs: their states, classes, failures and leases. Pure: no I/O, no clock.
//!
//! [`state`] holds the states and the legal moves, [`class`] what a run weighs, [`failure`] the
//! closed list of failure codes, [`outcome`] why a run ended.

pub mod class;
pub mod failure;
pub mod outcome;
pub mod retry;
pub mod stage;
pub mod state;

pub use class::Class;
pub use failure::{Cause, FailureCode};
pub use outcome::{Evidence, Failure};
pub use stage::StageName;
pub use state::Status;

use uuid::Uuid;

/// The right to write to a run. Every write names all three fields and must change exactly one row.
///
/// `epoch` grows with every new lease, by a claim or an adoption, so a writer whose lease was taken over changes no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The run.
    pub run_id: Uuid,
    /// Number of the attempt, from 1; each retry of the run has the next number.
    pub attempt: i32,
    /// Number of the claim; grows with every new lease, by a claim or an adoption of the run.
    pub epoch: i64,
}

/// A name that is not in the list of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind} {value:?}")]
pub struct UnknownName {
    /// What the name was expected to name, for example `status`.
    pub kind: &'static str,
    /// The name that was seen, at most 64 characters of it.
    pub value: String,
}

/// Defines the one spelling of each value of an enum, for SQL, JSON, logs and metrics.
#[macro_export]
macro_rules! names {
    ($type:ident, $kind:literal, { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $type {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its one spelling.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::run::UnknownName;

            fn from_str(value: &str) -> Result<Self, Self::Err> {
                match value {
                    $($name => Ok(Self::$variant),)+
                    _ => Err($crate::run::UnknownName { kind: $kind, value: value.chars().take(64).collect() }),
                }
            }
        }
    };
}
