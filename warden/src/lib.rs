//! The byte stream between the worker and a cell, as both ends see it.
//!
//! [`frame`] is the envelope, [`plan`] is what the worker asks for, [`event`] is what the
//! warden reports, [`egress`] is how a stage reaches what it may. The service links this library; the binary beside it is PID 1 of a cell.

pub mod egress;
pub mod event;
pub mod frame;
pub mod plan;
