//! Upkeep beside the runs: each a loop around one `run_once`, silent when there is nothing to do.

pub mod gauges;
pub mod janitor;
pub mod process;
pub mod watchdog;
