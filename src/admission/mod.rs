//! Admission decides which run this worker drives next. It is the worker's backend for apalis.
//!
//! `poll_ready` waits for a free slot, `poll_next` returns the next claimed run. Permits come before claims: the
//! backend holds all free half-slots while it asks Postgres, so every claimed run has its slot. Postgres alone
//! decides which run is claimed. The doorbell in Redis only says when to ask, and the backend also asks every
//! [`POLL_INTERVAL`].
//!
//! Runs that the watchdog took over from a dead worker arrive through a channel ([`Adopted`]) and come before any
//! claim. While there is a reason to pause ([`ClaimPauses`]) the worker claims nothing, and its runs continue.
//!
//! After `stop` the backend claims nothing more, and apalis ends the worker when its last run has ended.

mod caps;
mod claim_pauses;
mod quotas;
mod single_flight;
mod slots;
mod wait_reason_cache;

pub use caps::caps;
pub use claim_pauses::ClaimPauses;
pub use quotas::{QueueFull, QueueQuota, QueueQuotas, QueueRefusal, QueueReservation};
pub use slots::{Slot, Slots};
pub use wait_reason_cache::WaitReasonCache;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::context::WorkerContext;
use assize_domain::queue::AdmissionCaps;
use assize_domain::run::{StageName, Status};
use assize_observe::event;
use assize_store::queue::{Claim, Wanted};
use assize_store::{Store, StoreError};
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tower::layer::util::Identity;
use uuid::Uuid;

use crate::redis::Hints;

/// How long a queued run may wait unnoticed after its doorbell was lost.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The most runs that one statement claims. The statement holds its lock for this many index probes.
const MAX_CLAIMS: i32 = 16;

/// A run that this worker may drive, with the slot that the run occupies.
#[derive(Debug)]
pub struct Admitted {
    pub claim: Claim,
    /// Set if another worker began the attempt.
    pub resumed: Option<Resumed>,
    pub slot: Slot,
}

/// How far an adopted run had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumed {
    pub status: Status,
    pub phase: Option<StageName>,
    /// Its worker died while it drove the run. If no stage had begun, this attempt begins none.
    pub crashed: bool,
}

/// The channel of adopted runs. They come before all claims and need no free slot.
pub type Adopted = mpsc::UnboundedReceiver<Admitted>;

/// The signals that say when a worker should claim and when not.
#[derive(Debug, Clone)]
pub struct AdmissionSignals {
    pub hints: Hints,
    pub pauses: ClaimPauses,
    /// Once this is cancelled the worker claims nothing more.
    pub stop: CancellationToken,
}

/// The answer to one claim.
type ClaimResult = Result<Vec<Claim>, StoreError>;

/// The queue of runs, as a backend of this worker.
pub struct Admission {
    store: Store,
    worker: String,
    caps: AdmissionCaps,
    /// All half-slots of this worker.
    capacity: i32,
    slots: Slots,
    signals: AdmissionSignals,
    adopted: Adopted,
    /// The half-slots for the next claim.
    held: Option<Slot>,
    acquiring: Option<BoxFuture<'static, Slot>>,
    claiming: Option<BoxFuture<'static, ClaimResult>>,
    waiting: Option<BoxFuture<'static, ()>>,
    admitted: VecDeque<Admitted>,
}

impl Admission {
    /// Claims runs for `worker` into `slots` under the caps of all workers.
    #[must_use]
    pub fn new(
        store: Store,
        worker: &str,
        caps: AdmissionCaps,
        slots: Slots,
        adopted: Adopted,
        signals: AdmissionSignals,
    ) -> Self {
        Self {
            store,
            worker: worker.to_owned(),
            caps,
            capacity: slots.capacity(),
            slots,
            signals,
            adopted,
            held: None,
            acquiring: None,
            claiming: None,
            waiting: None,
            admitted: VecDeque::new(),
        }
    }

    /// Receives the runs that were adopted meanwhile; the next one wakes `cx`.
    fn poll_adopted(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(adopted)) = self.adopted.poll_recv(cx) {
            self.admitted.push_back(adopted);
        }
    }

    /// Ready once this backend holds all free half-slots, at least one.
    fn poll_slot(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.held.is_none() {
            let slots = self.slots.clone();
            let acquiring = self.acquiring.get_or_insert_with(|| Box::pin(async move { slots.acquire_free().await }));
            self.held = Some(ready!(acquiring.as_mut().poll(cx)));
            self.acquiring = None;
        }
        Poll::Ready(())
    }

    fn claim(&self, half_slots: i32) -> BoxFuture<'static, ClaimResult> {
        let (store, worker) = (self.store.clone(), self.worker.clone());
        let wanted =
            Wanted { worker_half_slots: half_slots, worker_capacity: self.capacity, caps: self.caps, most: MAX_CLAIMS };
        Box::pin(async move { store.claim_runs(&worker, wanted).await })
    }

    /// Waits until there may be something to claim: the doorbell rang, a pause changed, a slot was released, or
    /// [`POLL_INTERVAL`] has passed.
    fn wait(&self) -> BoxFuture<'static, ()> {
        let (mut doorbell, mut pauses) = (self.signals.hints.doorbell(), self.signals.pauses.subscribe());
        let (slots, stop) = (self.slots.clone(), self.signals.stop.clone());
        doorbell.mark_unchanged();
        pauses.mark_unchanged();
        Box::pin(async move {
            tokio::select! {
                changed = doorbell.changed() => { changed.ok(); }
                changed = pauses.changed() => { changed.ok(); }
                () = slots.released() => {}
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = stop.cancelled() => {}
            }
        })
    }

    fn admit(&mut self, claims: Vec<Claim>) {
        let Some(mut held) = self.held.take() else { return };
        for claim in claims {
            match held.split(claim.half_slots) {
                Some(slot) => self.admitted.push_back(Admitted { claim, resumed: None, slot }),
                None => {
                    tracing::error!(run = %claim.id, "claimed more half-slots than are free; the lease of this run will expire")
                }
            }
        }
    }
}

impl Backend for Admission {
    type Task = Task<Admitted>;
    type Error = Infallible;

    fn poll_ready(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        self.poll_adopted(cx);
        if self.admitted.is_empty() && !self.signals.stop.is_cancelled() {
            ready!(self.poll_slot(cx));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Option<Result<Self::Task, Infallible>>> {
        self.poll_adopted(cx);
        loop {
            if let Some(admitted) = self.admitted.pop_front() {
                let id = TaskId::from(admitted.claim.id.to_string());
                let attempt = usize::try_from(admitted.claim.attempt).unwrap_or(1);
                return Poll::Ready(Some(Ok(TaskBuilder::new(admitted).task_id(id).attempt(attempt).build())));
            }
            if let Some(claiming) = &mut self.claiming {
                let answer = ready!(claiming.as_mut().poll(cx));
                self.claiming = None;
                match answer {
                    Ok(claims) => {
                        event::dependency("postgres", true, "");
                        if claims.is_empty() {
                            self.held = None;
                            self.waiting = Some(self.wait());
                        }
                        self.admit(claims);
                    }
                    Err(error) => {
                        event::dependency("postgres", false, &error.to_string());
                        self.held = None;
                        self.waiting = Some(Box::pin(tokio::time::sleep(POLL_INTERVAL)));
                    }
                }
                continue;
            }
            if self.signals.stop.is_cancelled() {
                return Poll::Ready(None);
            }
            if let Some(waiting) = &mut self.waiting {
                ready!(waiting.as_mut().poll(cx));
                self.waiting = None;
            }
            if !self.signals.pauses.is_empty() {
                self.held = None;
                self.waiting = Some(self.wait());
                continue;
            }
            ready!(self.poll_slot(cx));
            let half_slots = self.held.as_ref().map_or(0, Slot::half_slots);
            self.claiming = Some(self.claim(half_slots));
        }
    }

    fn poll_close(&mut self, _: &mut Context<'_>, worker: &WorkerContext) -> Poll<Result<(), Infallible>> {
        self.held = None;
        // apalis waits for a call of `stop` even after its backend has returned `None`. The only error of `stop` is
        // that the worker never started.
        worker.stop().ok();
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for Admission {
    type Args = Admitted;
    type Id = Uuid;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}
