//! The byte stream between the worker and a cell, as both ends see it.
//!
//! [`frame`] is the envelope, [`plan`] is what the worker asks for, [`event`] is what the
//! warden reports. [`refused`] is what both read of a cgroup, [`walls`] is what a probe is told to try, and what it finds. The service links this
//! library; the binary beside it is PID 1 of a cell.

pub mod event;
pub mod frame;
pub mod plan;
pub mod refused;
pub mod walls;
