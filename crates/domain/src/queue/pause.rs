//! Why a worker claims no runs although it has free slots.

use crate::names;

/// A reason to claim no runs. Where a worker has several, the last of this list is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClaimPause {
    /// The host is short of memory, disk space or disk time.
    HostPressure,
    /// Several attempts in a row failed because of the infrastructure.
    Paused,
    /// The worker is stopping.
    Draining,
}

names!(ClaimPause, "worker state", { HostPressure => "host_pressure", Paused => "paused", Draining => "draining" });
