//! A bounded cache in which only one caller at a time asks for the value of a key; all others share its answer.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

/// The entries of the cache, by key.
#[derive(Debug)]
pub struct SingleFlight<K, V> {
    entries: Mutex<HashMap<K, Arc<CacheEntry<V>>>>,
    max_entries: usize,
}

/// The value of one key, and the turn to renew it.
#[derive(Debug, Default)]
pub struct CacheEntry<V> {
    value: Mutex<V>,
    /// Locked while somebody renews the value.
    turn: tokio::sync::Mutex<()>,
}

impl<K: Eq + Hash + Clone, V: Default> SingleFlight<K, V> {
    /// An empty cache. Beyond `max_entries` it forgets the entries that nobody holds.
    #[must_use]
    pub fn new(max_entries: usize) -> Self {
        Self { entries: Mutex::default(), max_entries }
    }

    /// The entry of this key, with a default value if it is new.
    pub fn entry(&self, key: &K) -> Arc<CacheEntry<V>> {
        let mut entries = self.entries.lock();
        if entries.len() >= self.max_entries && !entries.contains_key(key) {
            entries.retain(|_, entry| Arc::strong_count(entry) > 1);
        }
        Arc::clone(entries.entry(key.clone()).or_default())
    }
}

impl<V> CacheEntry<V> {
    /// The value. The guard must not be held across an await.
    pub fn value(&self) -> MutexGuard<'_, V> {
        self.value.lock()
    }

    /// What `read` finds in the value; if it finds nothing, what `renew` returns. Callers that wait while another
    /// renews the value read it once more before they renew it themselves.
    pub async fn read_or_renew<T, F: Future<Output = T>>(
        &self,
        read: impl Fn(&V) -> Option<T>,
        renew: impl FnOnce() -> F,
    ) -> T {
        let found = read(&self.value());
        if let Some(found) = found {
            return found;
        }
        let _turn = self.turn.lock().await;
        let found = read(&self.value());
        match found {
            Some(found) => found,
            None => renew().await,
        }
    }

    /// Renews the value, unless somebody else is renewing it just now.
    pub async fn renew_if_idle<F: Future<Output = ()>>(&self, renew: impl FnOnce() -> F) {
        if let Ok(_turn) = self.turn.try_lock() {
            renew().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn entries_that_nobody_holds_are_forgotten_before_there_are_too_many() {
        let cache = SingleFlight::<u32, u32>::new(100);
        let held = cache.entry(&0);
        for key in 1..=200 {
            cache.entry(&key);
            assert!(cache.entries.lock().len() <= 100);
        }
        assert!(Arc::ptr_eq(&held, &cache.entry(&0)));
    }

    #[tokio::test]
    async fn callers_that_wait_share_one_answer() {
        let cache = SingleFlight::<(), Option<u32>>::new(1);
        let entry = cache.entry(&());
        let asked = AtomicU32::new(0);
        let ask = || {
            entry.read_or_renew(
                |value| *value,
                async || {
                    tokio::task::yield_now().await;
                    let answer = asked.fetch_add(1, Ordering::Relaxed) + 1;
                    *entry.value() = Some(answer);
                    answer
                },
            )
        };
        assert_eq!(tokio::join!(ask(), ask(), ask()), (1, 1, 1));
    }
}
