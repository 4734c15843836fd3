//! Maintenance beside the runs. Each task is a loop around one `run_once`, which logs nothing when there is
//! nothing to do.
//!
//! Tasks that must run within seconds have a loop of their own ([`watchdog`], [`gauges`], [`pressure`]). All
//! others are jobs of the [`schedule`].

pub mod gauges;
pub mod janitor;
pub mod pressure;
pub mod preview;
pub mod process;
pub mod retention;
pub mod schedule;
pub mod stale_cgroups;
pub mod watchdog;
