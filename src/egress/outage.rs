//! Whether a host that could not be reached is the network's doing, or the project's own.
//!
//! A project that fails and has an outage blamed is tried again for nothing. So what it can bring about is none:
//! a name that it made up, a quota, a connection that it left idle; and above all a host that has no room left because
//! the project holds its connections. A host that this stage had reached before is therefore dialled once more by
//! ourselves, when every connection of the project is gone: only if that fails too was it an outage. One that was
//! never reached at all the project cannot have filled, and the first word on it counts.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::connection::connect;
use super::guard::Guard;
use super::host::Allow;
use super::lookups::Names;
use assize_domain::egress::{ConnectionOutcome, ConnectionRecord};

/// How long a host that the project had reached has to answer once the project's connections are gone: it may
/// take a moment to notice.
const LAST_DIAL: Duration = Duration::from_secs(5);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// Hosts and ports that are kept; a list that is longer is no template's.
const MAX_HOSTS: usize = 256;

/// What a connection showed of its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It was dialled.
    Reached { address: SocketAddr, is_listed: bool },
    /// A listed host could not be dialled, or its name not be resolved.
    Outage,
    /// A listed host has an address that only the operator can let through: a setting that is missing, and nothing
    /// that a project decides (FAILURES 31).
    Forbidden,
    /// Nothing of it: the rules were against it, or nobody waited.
    Nothing,
}

/// What is known of the listed hosts that a stage asked for.
#[derive(Debug, Default)]
pub struct Hosts(HashMap<(String, u16), KnownHost>);

#[derive(Debug, Default)]
struct KnownHost {
    was_reached: bool,
    /// Why it could not be reached, if that is the last word on it.
    outage: Option<String>,
    /// How it broke off or stalled, if that is the last word on it.
    stall: Option<String>,
    /// Why it may not be dialled, although it is listed.
    forbidden: Option<String>,
}

/// A listed host that could not be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    pub host: String,
    pub port: u16,
    pub reason: String,
    /// Before that, it had been reached.
    pub was_reached: bool,
}

impl Hosts {
    /// A connection to this host was made just now; how it ends is heard later.
    pub fn reach(&mut self, host: &str, port: u16) {
        if self.0.len() < MAX_HOSTS || self.0.contains_key(&(host.to_owned(), port)) {
            let known = self.0.entry((host.to_owned(), port)).or_default();
            (known.was_reached, known.outage) = (true, None);
        }
    }

    /// A connection ended, or was not made.
    pub fn hear(&mut self, connection: &ConnectionRecord, heard: Heard) {
        let at = (connection.host.clone(), connection.port);
        if matches!(heard, Heard::Nothing) || (self.0.len() >= MAX_HOSTS && !self.0.contains_key(&at)) {
            return;
        }
        let known = self.0.entry(at).or_default();
        match heard {
            Heard::Forbidden => known.forbidden.clone_from(&connection.reason),
            Heard::Outage => known.outage = Some(connection.reason.clone().unwrap_or_default()),
            Heard::Reached { .. } | Heard::Nothing => {
                known.was_reached = true;
                known.stall = match (connection.outcome, &connection.reason) {
                    (ConnectionOutcome::Idle, _) => Some("it sent too little for too long".to_owned()),
                    // Without a reason it is the cell's end that broke off.
                    (ConnectionOutcome::Reset, Some(reason)) => Some(reason.clone()),
                    _ => None,
                };
            }
        }
    }

    /// The hosts whose last word was that they could not be reached.
    #[must_use]
    pub fn suspects(&self) -> Vec<Suspect> {
        let found = self.0.iter().filter_map(|((host, port), known)| {
            let (host, reason) = (host.clone(), known.outage.clone()?);
            Some(Suspect { host, port: *port, reason, was_reached: known.was_reached })
        });
        found.collect()
    }

    /// How a host that was reached broke off or stalled, if that was the last of it.
    #[must_use]
    pub fn stall(&self) -> Option<String> {
        self.0.values().find_map(|known| known.stall.clone())
    }

    /// Why a listed host may not be dialled, if there is one.
    #[must_use]
    pub fn forbidden(&self) -> Option<String> {
        self.0.values().find_map(|known| known.forbidden.clone())
    }

    /// The next stage begins with nothing.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

/// Why a host could not be reached, if that is none of the project's doing. Every connection of its must be gone.
pub async fn confirm(suspects: Vec<Suspect>, guard: &Guard, allowed: &[Allow]) -> Option<String> {
    let asked = suspects.into_iter().map(async |suspect| {
        if suspect.was_reached && answers(&suspect, guard, allowed).await {
            return None;
        }
        Some(suspect.reason)
    });
    futures_util::future::join_all(asked).await.into_iter().flatten().next()
}

/// Whether the host answers us.
async fn answers(suspect: &Suspect, guard: &Guard, allowed: &[Allow]) -> bool {
    let (clock, begun) = (guard.clock(), guard.clock().monotonic());
    loop {
        // Anew: the answer that the project's connections used may be what was wrong.
        let names = Names::default();
        if let Ok(admitted) = guard.admit(&names, allowed, &suspect.host, suspect.port).await
            && connect(&admitted.addresses, LAST_DIAL).await.is_ok()
        {
            return true;
        }
        if clock.since(begun) >= LAST_DIAL {
            return false;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(host: &str, outcome: ConnectionOutcome, reason: Option<&str>) -> ConnectionRecord {
        let (host, reason) = (host.to_owned(), reason.map(str::to_owned));
        ConnectionRecord { id: 0, host, port: 1, address: None, up: 0, down: 0, ms: 0, outcome, reason }
    }

    fn reached() -> Heard {
        Heard::Reached { address: ([127, 0, 0, 1], 1).into(), is_listed: true }
    }

    #[test]
    fn an_outage_is_over_when_that_host_is_reached_and_no_other() {
        let mut hosts = Hosts::default();
        hosts.hear(&connection("a", ConnectionOutcome::Unreachable, Some("nobody answered")), Heard::Outage);
        hosts.hear(&connection("a", ConnectionOutcome::Quota, None), Heard::Nothing);
        hosts.reach("b", 1);
        hosts.hear(&connection("b", ConnectionOutcome::Closed, None), reached());
        let suspect =
            |was_reached| Suspect { host: "a".to_owned(), port: 1, reason: "nobody answered".to_owned(), was_reached };
        assert_eq!(hosts.suspects(), [suspect(false)]);
        hosts.reach("a", 1);
        assert_eq!(hosts.suspects(), []);
        hosts.hear(&connection("a", ConnectionOutcome::Unreachable, Some("nobody answered")), Heard::Outage);
        // Made before that, and over only now.
        hosts.hear(&connection("a", ConnectionOutcome::StageEnded, None), reached());
        assert_eq!(hosts.suspects(), [suspect(true)]);
        hosts.forget();
        assert_eq!(hosts.suspects(), [], "another stage");
    }

    #[test]
    fn a_host_that_broke_off_or_stalled_is_told_from_a_cell_that_hung_up() {
        for (outcome, reason, stalled) in [
            (ConnectionOutcome::Idle, None, true),
            (ConnectionOutcome::Reset, Some("connection reset by peer"), true),
            (ConnectionOutcome::Reset, None, false),
            (ConnectionOutcome::Closed, None, false),
            (ConnectionOutcome::StageEnded, None, false),
        ] {
            let mut hosts = Hosts::default();
            hosts.hear(&connection("a", outcome, reason), reached());
            assert_eq!(hosts.stall().is_some(), stalled, "{outcome:?}");
        }
    }
}
