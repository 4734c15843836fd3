//! Limits the open requests of each API key: live outputs, and waits for a run to change.
//!
//! An open request costs memory and a file descriptor for as long as it lasts.

use std::collections::HashMap;
use std::sync::Arc;

use assize_observe::{event, metrics};
use parking_lot::Mutex;
use uuid::Uuid;

use super::problem::Problem;

/// Counts the open requests of each key; clones share the counts.
#[derive(Debug, Clone)]
pub(super) struct OpenRequestLimiter {
    max_per_key: usize,
    /// A key without an open request has no entry.
    open: Arc<Mutex<HashMap<Uuid, usize>>>,
}

/// One open request of a key. The request counts until the permit is dropped.
#[derive(Debug)]
pub(super) struct OpenRequestPermit {
    key: Uuid,
    open: Arc<Mutex<HashMap<Uuid, usize>>>,
}

impl OpenRequestLimiter {
    pub fn new(max_per_key: usize) -> Self {
        Self { max_per_key, open: Arc::default() }
    }

    /// Counts one more open request of this key.
    ///
    /// # Errors
    /// `too_many_open_requests` if the key has the maximum already.
    pub fn acquire(&self, key: Uuid) -> Result<OpenRequestPermit, Problem> {
        let mut open = self.open.lock();
        let of_key = open.get(&key).copied().unwrap_or(0);
        if of_key >= self.max_per_key {
            event::refused("open_requests_per_key");
            return Err(Problem::too_many_open_requests(self.max_per_key));
        }
        open.insert(key, of_key + 1);
        metrics().open_requests.increment(1);
        Ok(OpenRequestPermit { key, open: Arc::clone(&self.open) })
    }
}

impl Drop for OpenRequestPermit {
    fn drop(&mut self) {
        metrics().open_requests.decrement(1);
        let mut open = self.open.lock();
        if let Some(of_key) = open.get_mut(&self.key) {
            *of_key -= 1;
            if *of_key == 0 {
                open.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_bounded_and_a_dropped_permit_makes_room() {
        let limiter = OpenRequestLimiter::new(2);
        let [key, other] = [Uuid::now_v7(), Uuid::now_v7()];
        let first = limiter.acquire(key).unwrap();
        let second = limiter.acquire(key).unwrap();
        assert!(limiter.acquire(key).is_err());
        drop(limiter.acquire(other).unwrap());
        drop(first);
        drop(limiter.acquire(key).unwrap());
        drop(second);
        let open = limiter.open.lock();
        assert!(open.is_empty(), "a key without an open request has no entry: {open:?}");
    }
}
