//! Signed statements: receipts of submissions, and the outcomes of runs.
//!
//! # Theory of operation
//!
//! A statement is an in-toto Statement v1 about the archive that was handed in, inside a DSSE [`Envelope`]
//! that is signed with Ed25519. Two are the service's: the [`Receipt`] that the API gives for a submission, and
//! the [`RunStatement`] that a worker makes of how a run ended. Both are signed before the write that makes them true and
//! are stored by that very write, so whoever later changes the tables cannot make a statement that
//! [`mod@verify`] believes, and a worker that lost its run stores none.
//!
//! The third, the [`ReadinessStatement`], is about the program itself: whether it met the conditions for production.
//!
//! Private keys lie in files that only their owner reads ([`key_file`]), one for each process or host that
//! signs, and nowhere else. A [`Signer`] notices when its file is replaced. Public keys are collected in
//! Postgres (`signing_keys`) and are never deleted, so that old statements stay verifiable; who verifies takes
//! them from a file that he trusts, not from the envelope.
//!
//! What must hold:
//! - The payload's bytes are signed, kept and checked as they are: nothing is parsed and written again.
//! - Times are the database's: asked for early, and counted on from by the monotonic clock.
//! - No signature by a key before its public half is in the table.
//! - A private key reaches no log, no error, no table and no `Debug`.

#![warn(missing_docs)]

pub mod envelope;
pub mod key;
pub mod key_file;
pub mod keys;
pub mod readiness;
pub mod receipt;
pub mod signer;
pub mod statement;
pub mod verify;

#[cfg(test)]
mod verify_tests;

pub use envelope::Envelope;
pub use key::{PrivateKey, PublicKey};
pub use key_file::KeyFileError;
pub use keys::{PublishedKey, TrustedKeys};
pub use readiness::ReadinessStatement;
pub use signer::Signer;
pub use statement::{Receipt, RunStatement};
pub use verify::{Refused, Statement, Verified, verify};
