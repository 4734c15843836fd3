//! Backups: the database and the blobs in one folder, a restore of it, and the drill that proves the restore.
//!
//! Order is everything. The database is copied first and the blobs afterwards: each blob exists before the row that
//! names it, is never changed, and is deleted long after its last use; so blobs that are copied later contain all that
//! the rows name. [`create`] writes a set, [`restore`] puts one back, [`drill`] restores one into a scratch cluster and
//! compares. [`set`] says what a set looks like.

mod blobs;
pub mod create;
mod digests;
pub mod drill;
mod error;
mod postgres_tools;
pub mod restore;
pub mod set;
pub mod textfile;

pub use error::BackupError;
pub use set::{BackupSet, Manifest};
