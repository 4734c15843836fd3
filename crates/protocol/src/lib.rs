//! The byte stream between a worker and a cell, as both ends see it.
//!
//! A worker writes a [`plan`] to the standard input of a cell, in [`frame`]s. The warden, PID 1 of the cell, answers
//! with [`event`]s. Connections of a stage to the outside travel in the same stream ([`egress`]). Output of the
//! project travels under a [`mask`]. [`content`] names the kinds of file that both ends recognise, [`cgroup_stats`]
//! reads the same counters on both ends, and [`isolation`] describes what a probe checks inside a cell. [`exec`] is what the
//! two cells of a run say to each other where a driver runs programs of the subject. [`names`] reads the names of an
//! archive, for the scan as for the warden, [`results`] says which files a path of results names, and [`artifacts`] which
//! files a run hands out. [`progress`] is what tests say of themselves while they run.
//!
//! This crate may know serde, JSON, CRC-32 and the standard library. It may not know the engine, the network or the database.

#![warn(missing_docs)]

pub mod artifacts;
pub mod cases;
pub mod cgroup_stats;
pub mod content;
pub mod egress;
pub mod event;
pub mod exec;
pub mod frame;
pub mod isolation;
pub mod mask;
pub mod names;
pub mod plan;
pub mod progress;
pub mod results;
mod wildcard;
