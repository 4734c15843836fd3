//! The domain: what a run is and how it may move. Pure: no I/O, no clock.
//!
//! [`state`] holds the states and the legal moves, [`class`] what a run weighs, [`failure`] the
//! closed list of failure codes, [`outcome`] why a run ended.

pub mod class;
pub mod failure;
pub mod outcome;
pub mod retry;
pub mod state;

pub use class::Class;
pub use failure::{Cause, FailureCode};
pub use outcome::{Evidence, Failure, StageName};
pub use state::Status;

use uuid::Uuid;

/// The right to write to a run: every write names all three, and must change exactly one row.
///
/// `epoch` grows at every claim, so a writer whose lease was taken over changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub run_id: Uuid,
    /// From 1; a retry of the same run has the next.
    pub attempt: i32,
    pub epoch: i64,
}

/// A name that is stored, sent and logged, and that no part of assize knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind} {value:?}")]
pub struct UnknownName {
    pub kind: &'static str,
    pub value: String,
}

/// Gives an enum its one spelling, used in SQL, JSON, logs and metrics alike.
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
