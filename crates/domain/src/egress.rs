//! Records of outgoing connections in the events of a run.

use std::net::SocketAddr;

use serde::Serialize;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionOutcome {
    /// Both ends were done.
    Closed,
    /// One end broke off.
    Reset,
    /// Nothing went either way for too long.
    Idle,
    /// The connection was never made, because the rules of the template do not permit it.
    Refused,
    /// The connection was never made, because the name did not resolve or the host did not answer.
    Unreachable,
    /// The stage's quota was used up.
    Quota,
    /// Its stage ended, or its worker stopped.
    StageEnded,
}

/// One connection, as the events of a run record it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionRecord {
    /// Its number in its cell.
    pub id: u32,
    /// The host that the project asked for.
    pub host: String,
    /// The port that the project asked for.
    pub port: u16,
    /// The address that was dialled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// Bytes from the project.
    pub up: u64,
    /// Bytes to the project.
    pub down: u64,
    /// How long it was open, in ms.
    pub ms: u64,
    /// How it ended.
    pub outcome: ConnectionOutcome,
    /// Why it was refused or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The connections that one event of a run records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EgressRecord {
    /// The connections that are listed one by one.
    pub egress: Vec<ConnectionRecord>,
    /// Connections beyond those that are listed.
    pub unlisted: u64,
}
