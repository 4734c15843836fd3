//! Upkeep beside the runs: each a loop around one `run_once`, silent when there is nothing to do.
//!
//! What must be soon has a loop of its own ([`watchdog`], [`gauges`], [`pressure`]); what may wait is a job
//! of the [`schedule`].

pub mod gauges;
pub mod janitor;
pub mod leftovers;
pub mod pressure;
pub mod process;
pub mod retention;
pub mod schedule;
pub mod watchdog;
