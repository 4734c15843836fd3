//! Cells: the sealed containers that projects run in. No other module names bollard.
//!
//! # Theory of operation
//!
//! A *cell* is one container with the warden as PID 1. What connects it to the host is one byte
//! stream each way, through the engine's attach call: the plan and the archives go in, frames come
//! out. Nothing else does: no network, no writable mount, no copy API.
//!
//! A [`berth`] is a paused container that was made with no network. Its empty namespace (a loopback
//! and nothing else) is joined by the cells of one run at a time, subject and driver alike; this
//! saves what the engine spends on making a namespace, and it is how a driver reaches a subject.
//!
//! *The journal is the engine's.* Its `local` log driver keeps a cell's stdout byte for byte. A worker
//! that goes on with a cell of a dead one ([`Engine::resume`]) reads it from the first frame and so
//! knows all that its predecessor knew; its own stdin it attaches again. The label `assize.plan`
//! says whether both would have told the cell the same.
//!
//! Who waits for whom: the worker attaches, then starts, so no frame can be missed. The warden says
//! `Hello` and waits for its plan. While a plan and its archives are being written, frames are read
//! too, so that neither side can block the other. After `End` the warden exits; the container is
//! removed by force without waiting for the exit, because nothing in it matters any more.
//!
//! What must hold:
//! - Every container carries the labels of [`spec`]; whatever has our instance label and belongs to
//!   no live attempt may be destroyed, and nothing else may.
//! - A cell joins only a berth that no other run uses. A berth goes back to the pool only after the
//!   engine confirmed that the run's cells are gone; on any doubt it is destroyed.
//! - Every call to the engine has a timeout (`call.rs`).
//! - The kernel's counters ([`counters`]) are read while the warden still lives: the engine deletes
//!   the cell's cgroup with it.

pub mod apparmor;
pub mod berth;
mod call;
pub mod counters;
pub mod cpuset;
pub mod engine;
mod events;
pub mod images;
mod journal;
pub mod limits;
pub mod probe;
pub mod seccomp;
pub mod slice;
pub mod spec;
pub mod stream;
pub mod unenforced;
pub mod warden_store;

pub use berth::{Berth, Berths};
pub use bollard::models::ContainerSummary;
pub use call::EngineError;
pub use engine::{CellImage, Engine};
pub use journal::Seen;
pub use spec::{CellSpec, Role};
pub use stream::{Cell, CellInput, CellOutput, Event};
