//! The story of a run, in the order in which its modules tell it.
//!
//! A platform posts a project to the [`api`]; [`intake`] spools, scans and keeps it; [`store`]
//! writes submission and run in one statement; [`redis`] rings the doorbell. In the worker process
//! [`admission`] claims the run and [`worker`] drives it: it makes [`cell`]s, streams the archive
//! in, reads events out, lets its stages reach what they may ([`egress`]), turns the results into a
//! [`verdict`] and writes the end, [`signing`] it. [`maintenance`]
//! looks after what a dead worker left, by the [`leases`]. [`run`] is the domain that all of them speak.

pub mod admission;
pub mod api;
pub mod cli;
pub mod egress;
pub mod embedded;
pub mod installation;
pub mod intake;
pub mod leases;
pub mod maintenance;
pub mod metrics_listener;
pub mod redis;
pub mod signing_key;
pub mod template;
pub mod worker;
