//! The byte stream between the worker and a cell, as both ends see it.
//!
//! [`frame`] is the envelope, [`plan`] is what the worker asks for, [`event`] is what the
//! warden reports, [`egress`] is how a stage reaches what it may, [`mask`] is what the project's share of it
//! travels under; [`content`] is what both tell a file by,
//! [`refused`] what both read of a cgroup, [`walls`] what a probe is told to try, and what it finds. The
//! service links this library; the binary beside it is PID 1 of a cell.

pub mod content;
pub mod egress;
pub mod event;
pub mod frame;
pub mod mask;
pub mod plan;
pub mod refused;
pub mod walls;
