//! What a stage may reach, and the connections that it makes there.
//!
//! # Theory of operation
//!
//! ```text
//!  project ──► proxy of the warden ──► frames ──► Tunnels ──► one task for each connection
//!                                                               rules: is this host and port on the list?
//!                                                               guard: resolve, check every address
//!                                                               dial the address that was checked
//! ```
//!
//! [`Tunnels`] is fed by the conversation with a cell and never blocks it: what goes up waits in a
//! queue that the window bounds, what goes down waits in the task until the cell has room. Frames for
//! the cell go through one channel to one writer, so that none is ever cut while the worker lives.
//!
//! What must hold:
//!
//! - Nothing is dialled but an address that was checked for this very request. A stage asks for
//!   a name again when its answer has expired (`lookups.rs`), and never between check and dial.
//! - Hosts are compared in their one form ([`Host`]), in the list, in the record and in what is said of an outage.
//! - Only the failure of a listed host is an outage, and not one that the project's own connections
//!   brought about (`outage.rs`).
//! - A list of names is not enough: whoever owns a name decides what it resolves to. So private
//!   addresses are refused after resolution, unless the operator named them.
//! - When in doubt it is refused: a resolver that fails is a refusal.
//! - Connections, bytes and time of a stage are bounded, and every connection is recorded, up to a
//!   number.
//! - A journal that is replayed dials nothing: what was asked before this worker came is over.

mod address;
mod connection;
mod guard;
mod host;
mod lookups;
mod outage;
mod record;
mod registry;
mod resolver;
mod tunnels;

pub use guard::{Guard, Refusal};
pub use host::{Allow, Host};
pub use lookups::Names;
pub use registry::registry;
#[cfg(test)]
use resolver::{Resolved, Resolver};
pub use tunnels::{Allowance, HeardOf, Rules, Tunnels};
