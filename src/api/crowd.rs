//! How many there are at one time, in all and of each: connections of an address, requests that a
//! key holds open. Bounded, because each costs memory and a file descriptor for as long as it lasts.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Those that are here at the moment.
#[derive(Debug)]
pub(super) struct Crowd<W> {
    shared: Arc<Shared<W>>,
}

#[derive(Debug)]
struct Shared<W> {
    most: usize,
    most_each: usize,
    here: Mutex<Here<W>>,
}

#[derive(Debug)]
struct Here<W> {
    all: usize,
    /// Only those who are here at all.
    of: HashMap<W, usize>,
}

/// One of the crowd, until it is dropped.
#[derive(Debug)]
pub(super) struct Presence<W: Eq + Hash + Copy> {
    who: W,
    shared: Arc<Shared<W>>,
}

/// No more are let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crowded {
    /// `limit` of one are here.
    Each { limit: usize },
    /// `limit` are here in all.
    All { limit: usize },
}

impl<W> Clone for Crowd<W> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<W: Eq + Hash + Copy> Crowd<W> {
    pub fn new(most: usize, most_each: usize) -> Self {
        let here = Mutex::new(Here { all: 0, of: HashMap::new() });
        Self { shared: Arc::new(Shared { most, most_each, here }) }
    }

    /// Lets one more of `who` in, who is bound by the limit of each unless `exempt`.
    pub fn enter(&self, who: W, exempt: bool) -> Result<Presence<W>, Crowded> {
        let shared = &self.shared;
        let mut here = shared.here.lock().unwrap_or_else(PoisonError::into_inner);
        if here.all >= shared.most {
            return Err(Crowded::All { limit: shared.most });
        }
        let of = here.of.get(&who).copied().unwrap_or(0);
        if of >= shared.most_each && !exempt {
            return Err(Crowded::Each { limit: shared.most_each });
        }
        here.of.insert(who, of + 1);
        here.all += 1;
        Ok(Presence { who, shared: Arc::clone(shared) })
    }
}

impl<W: Eq + Hash + Copy> Drop for Presence<W> {
    fn drop(&mut self) {
        let mut here = self.shared.here.lock().unwrap_or_else(PoisonError::into_inner);
        here.all -= 1;
        if let Some(of) = here.of.get_mut(&self.who) {
            *of -= 1;
            if *of == 0 {
                here.of.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_and_all_are_bounded_and_who_leaves_makes_room() {
        let crowd = Crowd::new(3, 2);
        let first = crowd.enter('a', false).unwrap();
        let second = crowd.enter('a', false).unwrap();
        assert_eq!(crowd.enter('a', false).unwrap_err(), Crowded::Each { limit: 2 });
        let exempt = crowd.enter('a', true).unwrap();
        assert_eq!(crowd.enter('b', false).unwrap_err(), Crowded::All { limit: 3 });
        assert_eq!(crowd.enter('a', true).unwrap_err(), Crowded::All { limit: 3 });
        drop((first, exempt));
        drop(crowd.enter('b', false).unwrap());
        drop(crowd.enter('a', false).unwrap());
        drop(second);
        let here = crowd.shared.here.lock().unwrap();
        assert!(here.all == 0 && here.of.is_empty(), "who has left is forgotten: {here:?}");
    }
}
