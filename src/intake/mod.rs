//! What comes in: the [`spool`] takes an upload as it arrives, [`archive`] looks through it without
//! unpacking it, [`blob`] keeps it under its SHA-256.

pub mod archive;
pub mod blob;
pub mod spool;
