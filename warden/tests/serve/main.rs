//! The warden's promises, over pipes.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod archives;
mod artifacts;
mod cases;
mod cell;
mod egress;
mod exec;
mod handover;
mod init;
mod progress;
mod projects;
mod results;
mod services;
mod stages;
mod streams;
