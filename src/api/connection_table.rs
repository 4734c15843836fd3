//! The open connections, and which one is closed when a new connection needs its place.
//!
//! Every new connection is accepted. At the limit of its address, or at the limit of all addresses, the table makes
//! room by closing a connection that waits for the head of a request. It closes the oldest of the half-open ones
//! (without a complete head so far) or of the idle ones, of whichever kind the address has more. So a client with
//! many connections of one kind loses its own, and a new connection has the time for its head.
//!
//! At the limit of all addresses, the connection is taken from the address with the most unauthenticated connections,
//! so that one address cannot shut out another. There, an unauthenticated request that is being answered can be closed
//! too, if its address has most of that kind. A trusted proxy has connections of many clients, so that its connections
//! are closed last. A connection that has shown a valid key is never closed for another. If no connection can be
//! closed, the new one is rejected.
//!
//! Cost: a lock and some steps in ordered sets of at most `max_connections` entries, for each connection and each
//! request.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use super::client_address::ClientAddress;

/// The table of all open connections; clones share it.
#[derive(Debug, Clone)]
pub(super) struct ConnectionTable {
    shared: Arc<SharedTable>,
}

#[derive(Debug)]
struct SharedTable {
    max_total: usize,
    max_per_address: usize,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    total: usize,
    /// The last number given to an entry: the entry with the lowest number is the oldest.
    last_number: u64,
    /// An address without a connection has no entry.
    by_address: HashMap<ClientAddress, AddressConnections>,
    /// The addresses with a connection that may be closed; the first is the next to lose one.
    ranks: BTreeSet<ClosingRank>,
}

/// The connections of one address.
#[derive(Debug, Default)]
struct AddressConnections {
    count: usize,
    is_proxy: bool,
    /// The connections that may be closed, by kind, in the order in which they became of that kind.
    half_open: BTreeMap<u64, CloseSignal>,
    idle: BTreeMap<u64, CloseSignal>,
    answering: BTreeMap<u64, CloseSignal>,
}

/// What an unauthenticated connection does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ConnectionKind {
    /// It never had a complete head.
    HalfOpen,
    /// It waits for the head of another request.
    Idle,
    /// Its request is being answered.
    Answering,
}

/// The kind of a connection, and the number that orders the connections of this kind by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Age {
    kind: ConnectionKind,
    number: u64,
}

/// The order in which addresses lose connections; the top of this file explains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ClosingRank {
    is_proxy: bool,
    unauthenticated: Reverse<usize>,
    oldest: Age,
    address: ClientAddress,
}

/// The request to close a connection, and the confirmation that its socket is closed.
#[derive(Debug, Clone, Default)]
struct CloseSignal {
    close: CancellationToken,
    closed: CancellationToken,
}

/// One connection. It stays in the table until it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    address: ClientAddress,
    signal: CloseSignal,
    state: Mutex<ConnectionState>,
    shared: Arc<SharedTable>,
}

#[derive(Debug, Clone, Copy)]
enum ConnectionState {
    Unauthenticated(Age),
    /// Its client has shown a valid key.
    Authenticated,
    /// It was asked to close; it does not count any more.
    Closing,
}

/// A new connection, and the connection that has to close for it.
#[derive(Debug)]
pub(super) struct AcceptedConnection {
    pub connection: Connection,
    pub closing: Option<ClosingConnection>,
}

/// A connection that was asked to close.
#[derive(Debug)]
pub(super) struct ClosingConnection(CancellationToken);

impl ClosingConnection {
    /// Waits until its socket is closed.
    pub async fn closed(self) {
        self.0.cancelled().await;
    }
}

/// Which limit rejects a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TooManyConnections {
    /// `max_connections_per_address`.
    FromAddress,
    /// `max_connections`.
    InTotal,
}

impl ConnectionTable {
    pub fn new(max_total: usize, max_per_address: usize) -> Self {
        Self { shared: Arc::new(SharedTable { max_total, max_per_address, entries: Mutex::default() }) }
    }

    /// Adds a connection. The limit of each address does not apply to a trusted proxy.
    pub fn accept(&self, address: ClientAddress, is_proxy: bool) -> Result<AcceptedConnection, TooManyConnections> {
        let SharedTable { max_total, max_per_address, .. } = *self.shared;
        let mut entries = self.shared.lock();
        let of_address = entries.by_address.get(&address).map_or(0, |of_address| of_address.count);
        let closing = if of_address >= max_per_address && !is_proxy {
            Some(entries.close_one_from(address, AddressConnections::waiting).ok_or(TooManyConnections::FromAddress)?)
        } else if entries.total >= max_total {
            Some(entries.close_one().ok_or(TooManyConnections::InTotal)?)
        } else {
            None
        };
        entries.total += 1;
        let of_address = entries.by_address.entry(address).or_default();
        of_address.count += 1;
        of_address.is_proxy = is_proxy;
        let signal = CloseSignal::default();
        let age = entries.insert(address, ConnectionKind::HalfOpen, signal.clone());
        drop(entries);
        let state = Mutex::new(ConnectionState::Unauthenticated(age));
        let connection = Connection { address, signal, state, shared: Arc::clone(&self.shared) };
        Ok(AcceptedConnection { connection, closing })
    }

    /// Closes one connection to free a file descriptor. Returns `None` if no connection may be closed.
    pub fn close_one(&self) -> Option<ClosingConnection> {
        self.shared.lock().close_one()
    }
}

impl Connection {
    /// Resolves when the connection has to close.
    pub async fn close_requested(&self) {
        self.signal.close.cancelled().await;
    }

    /// A complete head arrived.
    pub fn request_started(&self) {
        self.change_kind(Some(ConnectionKind::Answering));
    }

    /// The request was answered.
    pub fn request_answered(&self) {
        self.change_kind(Some(ConnectionKind::Idle));
    }

    /// The client has shown a valid key.
    pub fn mark_authenticated(&self) {
        self.change_kind(None);
    }

    /// Changes the kind; `None` is an authenticated connection.
    fn change_kind(&self, kind: Option<ConnectionKind>) {
        let mut state = self.state.lock();
        let ConnectionState::Unauthenticated(age) = *state else { return };
        let mut entries = self.shared.lock();
        // A connection that is not in the table any more was asked to close in the meantime.
        *state = match (entries.remove(self.address, age), kind) {
            (None, _) => ConnectionState::Closing,
            (Some(_), None) => ConnectionState::Authenticated,
            (Some(signal), Some(kind)) => ConnectionState::Unauthenticated(entries.insert(self.address, kind, signal)),
        };
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let state = *self.state.get_mut();
        let mut entries = self.shared.lock();
        let is_counted = match state {
            ConnectionState::Unauthenticated(age) => entries.remove(self.address, age).is_some(),
            ConnectionState::Authenticated => true,
            ConnectionState::Closing => false,
        };
        if is_counted {
            entries.discount(self.address);
        }
        drop(entries);
        self.signal.closed.cancel();
    }
}

impl SharedTable {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock()
    }
}

impl Entries {
    /// Changes the connections of one address, and its rank with them.
    fn change<T>(&mut self, address: ClientAddress, change: impl FnOnce(&mut AddressConnections) -> T) -> Option<T> {
        let of_address = self.by_address.get_mut(&address)?;
        if let Some(rank) = of_address.rank(address) {
            self.ranks.remove(&rank);
        }
        let changed = change(of_address);
        self.ranks.extend(of_address.rank(address));
        Some(changed)
    }

    fn insert(&mut self, address: ClientAddress, kind: ConnectionKind, signal: CloseSignal) -> Age {
        self.last_number += 1;
        let age = Age { kind, number: self.last_number };
        self.change(address, |of_address| of_address.kind_mut(kind).insert(age.number, signal));
        age
    }

    fn remove(&mut self, address: ClientAddress, age: Age) -> Option<CloseSignal> {
        self.change(address, |of_address| of_address.kind_mut(age.kind).remove(&age.number)).flatten()
    }

    /// Stops counting a connection.
    fn discount(&mut self, address: ClientAddress) {
        self.total -= 1;
        if let Some(of_address) = self.by_address.get_mut(&address) {
            of_address.count -= 1;
            if of_address.count == 0 {
                self.by_address.remove(&address);
            }
        }
    }

    fn close_one(&mut self) -> Option<ClosingConnection> {
        let address = self.ranks.first()?.address;
        self.close_one_from(address, AddressConnections::largest)
    }

    fn close_one_from(
        &mut self,
        address: ClientAddress,
        kind: impl FnOnce(&AddressConnections) -> ConnectionKind,
    ) -> Option<ClosingConnection> {
        let closed = self.change(address, |of_address| {
            let kind = kind(of_address);
            of_address.kind_mut(kind).pop_first()
        });
        let (_, signal) = closed.flatten()?;
        self.discount(address);
        signal.close.cancel();
        Some(ClosingConnection(signal.closed))
    }
}

impl AddressConnections {
    const fn kind_mut(&mut self, kind: ConnectionKind) -> &mut BTreeMap<u64, CloseSignal> {
        match kind {
            ConnectionKind::HalfOpen => &mut self.half_open,
            ConnectionKind::Idle => &mut self.idle,
            ConnectionKind::Answering => &mut self.answering,
        }
    }

    /// Returns the larger of the two kinds that wait for a head.
    fn waiting(&self) -> ConnectionKind {
        if self.idle.len() > self.half_open.len() { ConnectionKind::Idle } else { ConnectionKind::HalfOpen }
    }

    /// Returns the largest of all kinds.
    fn largest(&self) -> ConnectionKind {
        let waiting = self.half_open.len().max(self.idle.len());
        if self.answering.len() > waiting { ConnectionKind::Answering } else { self.waiting() }
    }

    fn rank(&self, address: ClientAddress) -> Option<ClosingRank> {
        let kind = self.largest();
        let largest = match kind {
            ConnectionKind::HalfOpen => &self.half_open,
            ConnectionKind::Idle => &self.idle,
            ConnectionKind::Answering => &self.answering,
        };
        let (number, _) = largest.first_key_value()?;
        let unauthenticated = Reverse(self.half_open.len() + self.idle.len() + self.answering.len());
        Some(ClosingRank { is_proxy: self.is_proxy, unauthenticated, oldest: Age { kind, number: *number }, address })
    }
}

#[cfg(test)]
mod tests;
