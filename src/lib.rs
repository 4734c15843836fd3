//! The service, as the story of a run in the order in which its modules tell it.
//!
//! A platform posts a project to the [`api`]. [`intake`] spools and stores the archive after
//! [`assize_archive`] has scanned it, [`assize_store`] writes submission and run in one statement, and [`redis`] rings
//! the doorbell. In the worker process [`admission`] claims the run, [`leases`] renews its lease, and [`worker`] drives
//! it: it launches cells ([`assize_cell`]), sends the archive in and receives events, connects stages to the hosts that
//! they may reach ([`egress`]), and turns the results into a verdict ([`assize_domain::verdict`]). Then it signs the end
//! of the run ([`assize_signing`]) and writes it. [`maintenance`] takes over what a dead worker left.

pub mod admission;
pub mod api;
pub mod backup;
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
#[cfg(test)]
mod test_clock;
pub mod worker;
