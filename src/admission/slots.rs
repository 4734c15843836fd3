//! The slots of one worker, counted in half-slots.

use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

/// All half-slots of a worker.
#[derive(Debug, Clone)]
pub struct Slots {
    free: Arc<Semaphore>,
    freed: Arc<Notify>,
    all: u32,
}

/// A number of half-slots, which are free again when this value is dropped.
#[derive(Debug)]
pub struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    freed: Arc<Notify>,
    /// Acquires the half-slots that were not free at once. Dropping the slot ends this task and frees what it has.
    deficit: Option<AbortOnDropHandle<Option<OwnedSemaphorePermit>>>,
}

impl Slots {
    /// That many half-slots, all free.
    #[must_use]
    pub fn new(half_slots: u32) -> Self {
        Self { free: Arc::new(Semaphore::new(half_slots as usize)), freed: Arc::default(), all: half_slots }
    }

    /// The number of half-slots, free or not.
    #[must_use]
    pub fn capacity(&self) -> i32 {
        i32::try_from(self.all).unwrap_or(i32::MAX)
    }

    /// Waits until a half-slot is free, then acquires all free ones.
    pub(super) async fn acquire_free(&self) -> Slot {
        // The semaphore is never closed. If it were, the worker would claim nothing.
        let mut permit = Arc::clone(&self.free).acquire_owned().await.ok();
        let more = u32::try_from(self.free.available_permits()).unwrap_or(u32::MAX);
        if let (Some(permit), Ok(more)) = (&mut permit, Arc::clone(&self.free).try_acquire_many_owned(more)) {
            permit.merge(more);
        }
        Slot { permit, freed: Arc::clone(&self.freed), deficit: None }
    }

    /// Reserves a slot for a run that must continue whether or not there is room: an adopted run. If the half-slots
    /// are not free now, they are acquired as soon as they are, before anything else is claimed.
    #[must_use]
    pub fn reserve_overcommitted(&self, half_slots: i32) -> Slot {
        let wanted = u32::try_from(half_slots).unwrap_or(0);
        let freed = Arc::clone(&self.freed);
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_many_owned(wanted) {
            return Slot { permit: Some(permit), freed, deficit: None };
        }
        let free = Arc::clone(&self.free);
        let deficit = tokio::spawn(async move { free.acquire_many_owned(wanted).await.ok() });
        Slot { permit: None, freed, deficit: Some(AbortOnDropHandle::new(deficit)) }
    }

    /// Waits until a run releases its slot.
    pub(super) async fn released(&self) {
        self.freed.notified().await;
    }
}

impl Slot {
    /// The number of half-slots that are acquired.
    #[must_use]
    pub fn half_slots(&self) -> i32 {
        self.permit.as_ref().map_or(0, |permit| i32::try_from(permit.num_permits()).unwrap_or(i32::MAX))
    }

    /// Splits `half_slots` off this slot. `None` if it has fewer.
    pub(super) fn split(&mut self, half_slots: i32) -> Option<Self> {
        let permit = self.permit.as_mut()?.split(usize::try_from(half_slots).ok()?)?;
        Some(Self { permit: Some(permit), freed: Arc::clone(&self.freed), deficit: None })
    }

    /// Frees the half-slots and wakes whoever waits for [`Slots::released`]. A slot that was only held during a
    /// claim is dropped instead.
    pub fn release(mut self) {
        self.permit = None;
        self.deficit = None;
        self.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_half_slot_is_free_or_held() {
        let slots = Slots::new(4);
        let mut all = slots.acquire_free().await;
        assert_eq!((all.half_slots(), slots.capacity()), (4, 4));
        let two = all.split(2).unwrap();
        assert!(all.split(3).is_none());
        assert_eq!((all.half_slots(), two.half_slots()), (2, 2));
        drop(all);
        assert_eq!(slots.acquire_free().await.half_slots(), 2);
        let released = slots.released();
        two.release();
        released.await;
        assert_eq!(slots.acquire_free().await.half_slots(), 4);
    }

    #[tokio::test]
    async fn a_deficit_is_settled_before_the_next_claim() {
        let slots = Slots::new(2);
        let running = slots.acquire_free().await;
        let adopted = slots.reserve_overcommitted(2);
        tokio::task::yield_now().await;
        let mut claim = Box::pin(slots.acquire_free());
        assert!(futures_util::poll!(&mut claim).is_pending());
        running.release();
        tokio::task::yield_now().await;
        assert!(futures_util::poll!(&mut claim).is_pending(), "the adopted run has them");
        adopted.release();
        assert_eq!(claim.await.half_slots(), 2);
    }
}
