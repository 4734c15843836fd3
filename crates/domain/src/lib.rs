//! The domain: runs, their states and failures, the queue, and verdicts.
//!
//! [`run`] has the states, classes, failures and leases of a run. [`queue`] says why a run waits. [`verdict`] reads the
//! reports of test tools. [`output`] numbers the pieces of a run's output, [`artifact`] describes the files
//! that a run hands out. [`limits`] are those of one cell, [`cpu_list`]
//! reads lists of processors, [`egress`]
//! records connections, [`key`] is an API key, and [`unicode`] finds characters that deceive.
//!
//! Everything here is pure: no I/O, no clock, no database, no engine. The model of the protocol needs only this crate.

#![warn(missing_docs)]

pub mod artifact;
pub mod cpu_list;
pub mod egress;
pub mod key;
pub mod limits;
pub mod output;
pub mod queue;
pub mod run;
pub mod unicode;
pub mod verdict;
