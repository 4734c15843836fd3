//! Which connections are open, and which one is closed when another needs its place.
//!
//! Whoever connects is let in. At the limit of its address, and at the limit of all, a connection that waits
//! for the head of a request is closed to make room: the oldest of those that never had a whole head, or of the
//! idle ones that did, of whichever its address has more. So whoever holds many of either kind loses them, and
//! one that just came has the time for its head. At the limit of all it is taken from the address that has the
//! most without a key, so that one address cannot keep out another; there a request that is being answered
//! without a key goes as well, if its address has most of that kind. Connections of trusted proxies, which stand
//! for many, are taken from last. Never closed for another is a connection that has shown a valid key. Where
//! there is nothing to close, the new one is refused.
//!
//! What it costs: a lock and some steps in ordered sets of at most `max_connections` entries, at each
//! connection and each request.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::crowd::Crowded;
use super::peer::Source;

/// All connections that are open.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    most: usize,
    most_each: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    /// Counts what waits, so that the lowest number has waited longest.
    turn: u64,
    /// Only addresses with a connection.
    of: HashMap<Source, Place>,
    /// The addresses with a connection that may be closed, the next to be taken from first.
    ranks: BTreeSet<Rank>,
}

/// The connections of one address.
#[derive(Debug, Default)]
struct Place {
    open: usize,
    is_proxy: bool,
    /// Those that may be closed, of each kind, in the order in which they became of it.
    half: BTreeMap<u64, Door>,
    idle: BTreeMap<u64, Door>,
    answering: BTreeMap<u64, Door>,
}

/// What a connection without a key is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// It never had a whole head.
    Half,
    /// It waits for the head of another request.
    Idle,
    /// Its request is being answered.
    Answering,
}

/// Since when a connection is of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    kind: Kind,
    number: u64,
}

/// From whom a connection is taken first: see the top of this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_proxy: bool,
    unproven: Reverse<usize>,
    oldest: Turn,
    source: Source,
}

/// How a connection is told to go, and how it says that it has gone.
#[derive(Debug, Clone, Default)]
struct Door {
    leave: CancellationToken,
    gone: CancellationToken,
}

/// One connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    source: Source,
    door: Door,
    state: Mutex<State>,
    shared: Arc<Shared>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Unproven(Turn),
    /// It has shown a valid key.
    Known,
    /// It was told to go; its place belongs to another.
    Leaving,
}

/// A connection that was let in, and the end of the one that had to go for it.
#[derive(Debug)]
pub(super) struct Entered {
    pub connection: Connection,
    pub leaving: Option<Leaving>,
}

/// A connection that was told to go.
#[derive(Debug)]
pub(super) struct Leaving(CancellationToken);

impl Leaving {
    /// Waits until its socket is closed.
    pub async fn gone(self) {
        self.0.cancelled().await;
    }
}

impl Connections {
    pub fn new(most: usize, most_each: usize) -> Self {
        Self { shared: Arc::new(Shared { most, most_each, open: Mutex::default() }) }
    }

    /// Lets one more connection of `source` in, which is bound by the limit of each unless it is a proxy.
    pub fn enter(&self, source: Source, is_proxy: bool) -> Result<Entered, Crowded> {
        let Shared { most, most_each, .. } = *self.shared;
        let mut open = self.shared.lock();
        let of_source = open.of.get(&source).map_or(0, |place| place.open);
        let leaving = if of_source >= most_each && !is_proxy {
            Some(open.close_one_of(source, Place::waiting).ok_or(Crowded::Each { limit: most_each })?)
        } else if open.all >= most {
            Some(open.close_one().ok_or(Crowded::All { limit: most })?)
        } else {
            None
        };
        open.all += 1;
        let place = open.of.entry(source).or_default();
        place.open += 1;
        place.is_proxy = is_proxy;
        let door = Door::default();
        let turn = open.insert(source, Kind::Half, door.clone());
        drop(open);
        let state = Mutex::new(State::Unproven(turn));
        let connection = Connection { source, door, state, shared: Arc::clone(&self.shared) };
        Ok(Entered { connection, leaving })
    }

    /// Closes one connection for want of something else than a place: file descriptors. `None` if there is
    /// none that may be closed.
    pub fn close_one(&self) -> Option<Leaving> {
        self.shared.lock().close_one()
    }
}

impl Connection {
    /// Resolves when the connection has to go.
    pub async fn told_to_leave(&self) {
        self.door.leave.cancelled().await;
    }

    /// A whole head came.
    pub fn begins(&self) {
        self.becomes(Some(Kind::Answering));
    }

    /// The request has its answer.
    pub fn rests(&self) {
        self.becomes(Some(Kind::Idle));
    }

    /// It has shown a valid key.
    pub fn is_known(&self) {
        self.becomes(None);
    }

    /// From one kind to another, or to a connection that has shown its key.
    fn becomes(&self, kind: Option<Kind>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State::Unproven(turn) = *state else { return };
        let mut open = self.shared.lock();
        // If it is not there any more, it was told to go between two looks.
        *state = match (open.remove(self.source, turn), kind) {
            (None, _) => State::Leaving,
            (Some(_), None) => State::Known,
            (Some(door), Some(kind)) => State::Unproven(open.insert(self.source, kind, door)),
        };
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let state = *self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut open = self.shared.lock();
        let has_place = match state {
            State::Unproven(turn) => open.remove(self.source, turn).is_some(),
            State::Known => true,
            State::Leaving => false,
        };
        if has_place {
            open.leave(self.source);
        }
        drop(open);
        self.door.gone.cancel();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Changes what may be closed of one address, and where that puts it.
    fn change<T>(&mut self, source: Source, change: impl FnOnce(&mut Place) -> T) -> Option<T> {
        let place = self.of.get_mut(&source)?;
        if let Some(rank) = place.rank(source) {
            self.ranks.remove(&rank);
        }
        let changed = change(place);
        self.ranks.extend(place.rank(source));
        Some(changed)
    }

    fn insert(&mut self, source: Source, kind: Kind, door: Door) -> Turn {
        self.turn += 1;
        let turn = Turn { kind, number: self.turn };
        self.change(source, |place| place.of_kind(kind).insert(turn.number, door));
        turn
    }

    fn remove(&mut self, source: Source, turn: Turn) -> Option<Door> {
        self.change(source, |place| place.of_kind(turn.kind).remove(&turn.number)).flatten()
    }

    /// Gives up the place of a connection that may not be closed any more.
    fn leave(&mut self, source: Source) {
        self.all -= 1;
        if let Some(place) = self.of.get_mut(&source) {
            place.open -= 1;
            if place.open == 0 {
                self.of.remove(&source);
            }
        }
    }

    fn close_one(&mut self) -> Option<Leaving> {
        let source = self.ranks.first()?.source;
        self.close_one_of(source, Place::largest)
    }

    fn close_one_of(&mut self, source: Source, kind: impl FnOnce(&Place) -> Kind) -> Option<Leaving> {
        let closed = self.change(source, |place| {
            let kind = kind(place);
            place.of_kind(kind).pop_first()
        });
        let (_, door) = closed.flatten()?;
        self.leave(source);
        door.leave.cancel();
        Some(Leaving(door.gone))
    }
}

impl Place {
    const fn of_kind(&mut self, kind: Kind) -> &mut BTreeMap<u64, Door> {
        match kind {
            Kind::Half => &mut self.half,
            Kind::Idle => &mut self.idle,
            Kind::Answering => &mut self.answering,
        }
    }

    /// The larger kind of those that wait for a head.
    fn waiting(&self) -> Kind {
        if self.idle.len() > self.half.len() { Kind::Idle } else { Kind::Half }
    }

    /// The largest kind of all.
    fn largest(&self) -> Kind {
        let waiting = self.half.len().max(self.idle.len());
        if self.answering.len() > waiting { Kind::Answering } else { self.waiting() }
    }

    fn rank(&self, source: Source) -> Option<Rank> {
        let kind = self.largest();
        let largest = match kind {
            Kind::Half => &self.half,
            Kind::Idle => &self.idle,
            Kind::Answering => &self.answering,
        };
        let (number, _) = largest.first_key_value()?;
        let unproven = Reverse(self.half.len() + self.idle.len() + self.answering.len());
        Some(Rank { is_proxy: self.is_proxy, unproven, oldest: Turn { kind, number: *number }, source })
    }
}

#[cfg(test)]
mod tests;
