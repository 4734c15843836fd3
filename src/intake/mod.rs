//! What comes in: the [`spool`] takes an upload as it arrives, [`assize_archive`] looks through it without
//! unpacking it, [`blob`] keeps it under its SHA-256 and [`keep`] sees that it stays there. [`repository`]
//! says which addresses an archive may be fetched from instead.

pub mod blob;
pub mod keep;
pub mod repository;
pub mod spool;
