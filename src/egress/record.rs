//! What became of each connection, for the run's events: bounded, whatever a project does.

use assize_domain::egress::{ConnectionRecord, EgressRecord};

use super::outage::{Heard, Hosts};

/// Connections of one cell that are written down one by one; of the rest only the number is.
const MAX_LISTED: usize = 200;

/// Gathers what is to be written down.
#[derive(Debug, Default)]
pub struct Log {
    listed: usize,
    pending: EgressRecord,
    /// What is known of the listed hosts.
    pub hosts: Hosts,
}

impl Log {
    pub fn push(&mut self, connection: ConnectionRecord, heard: Heard) {
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
    pub fn take(&mut self) -> Option<EgressRecord> {
        let taken = std::mem::take(&mut self.pending);
        (taken != EgressRecord::default()).then_some(taken)
    }
}

#[cfg(test)]
mod tests {
    use assize_domain::egress::ConnectionOutcome;

    use super::*;

    fn connection(id: u32, outcome: ConnectionOutcome) -> ConnectionRecord {
        let reason = Some("nobody answered".to_owned());
        ConnectionRecord { id, host: "a".to_owned(), port: 1, address: None, up: 0, down: 0, ms: 0, outcome, reason }
    }

    #[test]
    fn ten_thousand_connections_leave_a_bounded_record() {
        let mut log = Log::default();
        let (mut listed, mut unlisted) = (0, 0);
        for id in 0..10_000 {
            log.push(connection(id, ConnectionOutcome::Refused), Heard::Nothing);
            if id % 3_000 == 0 || id == 9_999 {
                let taken = log.take().unwrap();
                listed += taken.egress.len();
                unlisted += taken.unlisted;
            }
        }
        assert_eq!((listed, unlisted, log.take()), (200, 9_800, None));
    }
}
