//! The slots of one worker, counted in half-slots.

use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

/// All of them.
#[derive(Debug, Clone)]
pub struct Slots {
    free: Arc<Semaphore>,
    freed: Arc<Notify>,
    all: u32,
}

/// Some half-slots, free again when dropped.
#[derive(Debug)]
pub struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    freed: Arc<Notify>,
    /// Waits for what was not free at once; ends, and gives back what it has, with the slot.
    owing: Option<AbortOnDropHandle<Option<OwnedSemaphorePermit>>>,
}

impl Slots {
    /// So many half-slots, all free.
    #[must_use]
    pub fn new(half_slots: u32) -> Self {
        Self { free: Arc::new(Semaphore::new(half_slots as usize)), freed: Arc::default(), all: half_slots }
    }

    /// How many half-slots there are, free or not.
    #[must_use]
    pub fn capacity(&self) -> i32 {
        i32::try_from(self.all).unwrap_or(i32::MAX)
    }

    /// Waits until one is free and takes all that are.
    pub(super) async fn take_free(&self) -> Slot {
        // The semaphore is never closed; if it were, nothing would be claimed.
        let mut permit = Arc::clone(&self.free).acquire_owned().await.ok();
        let more = u32::try_from(self.free.available_permits()).unwrap_or(u32::MAX);
        if let (Some(permit), Ok(more)) = (&mut permit, Arc::clone(&self.free).try_acquire_many_owned(more)) {
            permit.merge(more);
        }
        Slot { permit, freed: Arc::clone(&self.freed), owing: None }
    }

    /// A slot for a run that must go on whether or not there is room: one that was adopted. What is not
    /// free now is taken as soon as it is, before anything else is claimed.
    #[must_use]
    pub fn owe(&self, half_slots: i32) -> Slot {
        let wanted = u32::try_from(half_slots).unwrap_or(0);
        let freed = Arc::clone(&self.freed);
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_many_owned(wanted) {
            return Slot { permit: Some(permit), freed, owing: None };
        }
        let free = Arc::clone(&self.free);
        let owing = tokio::spawn(async move { free.acquire_many_owned(wanted).await.ok() });
        Slot { permit: None, freed, owing: Some(AbortOnDropHandle::new(owing)) }
    }

    /// Waits until a run gives its slot back.
    pub(super) async fn came_free(&self) {
        self.freed.notified().await;
    }
}

impl Slot {
    /// How many half-slots it holds.
    #[must_use]
    pub fn half_slots(&self) -> i32 {
        self.permit.as_ref().map_or(0, |permit| i32::try_from(permit.num_permits()).unwrap_or(i32::MAX))
    }

    /// Takes `half_slots` out of it; `None` if it has not so many.
    pub(super) fn split(&mut self, half_slots: i32) -> Option<Self> {
        let permit = self.permit.as_mut()?.split(usize::try_from(half_slots).ok()?)?;
        Some(Self { permit: Some(permit), freed: Arc::clone(&self.freed), owing: None })
    }

    /// Gives it back and says so; a slot that was only held for asking is dropped without a word.
    pub fn free(mut self) {
        self.permit = None;
        self.owing = None;
        self.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_half_slot_is_free_or_held() {
        let slots = Slots::new(4);
        let mut all = slots.take_free().await;
        assert_eq!((all.half_slots(), slots.capacity()), (4, 4));
        let two = all.split(2).unwrap();
        assert!(all.split(3).is_none());
        assert_eq!((all.half_slots(), two.half_slots()), (2, 2));
        drop(all);
        assert_eq!(slots.take_free().await.half_slots(), 2);
        let freed = slots.came_free();
        two.free();
        freed.await;
        assert_eq!(slots.take_free().await.half_slots(), 4);
    }

    #[tokio::test]
    async fn what_is_owed_comes_before_the_next_claim() {
        let slots = Slots::new(2);
        let running = slots.take_free().await;
        let adopted = slots.owe(2);
        tokio::task::yield_now().await;
        let mut claim = Box::pin(slots.take_free());
        assert!(futures_util::poll!(&mut claim).is_pending());
        running.free();
        tokio::task::yield_now().await;
        assert!(futures_util::poll!(&mut claim).is_pending(), "the adopted run has them");
        adopted.free();
        assert_eq!(claim.await.half_slots(), 2);
    }
}
