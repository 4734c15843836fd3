//! What became of each connection, for the run's events: bounded, whatever a project does.

use std::net::SocketAddr;

use serde::Serialize;

use super::outage::{Heard, Hosts};

/// Connections of one cell that are written down one by one; of the rest only the number is.
const MAX_LISTED: usize = 200;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Both ends were done.
    Closed,
    /// One end broke off.
    Reset,
    /// Nothing went either way for too long.
    Idle,
    /// It was never made: the rules are against it.
    Refused,
    /// It was never made: the name did not resolve, or nobody answered.
    Unreachable,
    /// The stage's quota was used up.
    Quota,
    /// Its stage ended, or its worker stopped.
    StageEnded,
}

/// One connection, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Connection {
    /// In its cell.
    pub id: u32,
    pub host: String,
    pub port: u16,
    /// What was dialled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// Bytes from the project, and to it.
    pub up: u64,
    pub down: u64,
    pub ms: u64,
    pub outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What goes into one event of the run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Recorded {
    pub egress: Vec<Connection>,
    /// Connections beyond those that are listed.
    pub unlisted: u64,
}

/// Gathers what is to be written down.
#[derive(Debug, Default)]
pub struct Log {
    listed: usize,
    pending: Recorded,
    /// What is known of the listed hosts.
    pub hosts: Hosts,
}

impl Log {
    pub fn push(&mut self, connection: Connection, heard: Heard) {
        self.hosts.hear(&connection, heard);
        if self.listed < MAX_LISTED {
            self.listed += 1;
            self.pending.egress.push(connection);
        } else {
            self.pending.unlisted += 1;
        }
    }

    /// Connections that are not written down yet.
    pub fn pending(&self) -> usize {
        self.pending.egress.len()
    }

    /// All that is not written down yet, if there is any.
    pub fn take(&mut self) -> Option<Recorded> {
        let taken = std::mem::take(&mut self.pending);
        (taken != Recorded::default()).then_some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(id: u32, outcome: Outcome) -> Connection {
        let reason = Some("nobody answered".to_owned());
        Connection { id, host: "a".to_owned(), port: 1, address: None, up: 0, down: 0, ms: 0, outcome, reason }
    }

    #[test]
    fn ten_thousand_connections_leave_a_bounded_record() {
        let mut log = Log::default();
        let (mut listed, mut unlisted) = (0, 0);
        for id in 0..10_000 {
            log.push(connection(id, Outcome::Refused), Heard::Nothing);
            if id % 3_000 == 0 || id == 9_999 {
                let taken = log.take().unwrap();
                listed += taken.egress.len();
                unlisted += taken.unlisted;
            }
        }
        assert_eq!((listed, unlisted, log.take()), (200, 9_800, None));
    }
}
