//! Admission: which run is next, as an apalis backend.
//!
//! `poll_ready` is a free slot, `poll_next` the next claim. Permits come before claims: all free
//! half-slots are held while Postgres is asked, so a claimed run always has its slot. Postgres
//! decides alone; the doorbell only says when to ask, and a poll asks anyway.
//!
//! Runs that the watchdog took over from a dead worker come in by the side ([`Adopted`]), before any
//! claim. While anything holds this worker back ([`Holds`]) nothing is claimed, and what runs goes on.
//!
//! On `stop` the backend runs dry: it claims nothing more, and apalis ends the worker when the
//! runs that it has are done.

mod caps;
mod explained;
mod holds;
mod quotas;
mod slots;

pub use caps::caps;
pub use explained::Explanations;
pub use holds::Holds;
pub use quotas::{Full, Place, Quota, Quotas, Refused};
pub use slots::{Slot, Slots};

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
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tower::layer::util::Identity;
use uuid::Uuid;

use crate::redis::Hints;
use assize_domain::queue::AdmissionCaps;
use assize_domain::run::{StageName, Status};
use assize_observe::event;
use assize_store::queue::{Claim, Wanted};
use assize_store::{Store, StoreError};

/// How long a queued run may stay unseen when its hint was lost.
const POLL: Duration = Duration::from_secs(1);

/// Runs that one statement claims at most: the lock is held for this many index probes.
const MOST: i32 = 16;

/// A run that this worker may work on, and the slot that it takes until it is dropped.
#[derive(Debug)]
pub struct Admitted {
    pub claim: Claim,
    /// Set if another worker began it.
    pub resumed: Option<Resumed>,
    pub slot: Slot,
}

/// Where an adopted run was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumed {
    pub status: Status,
    pub phase: Option<StageName>,
    /// Its worker died with it: what had not begun is not begun again in this attempt.
    pub crashed: bool,
}

/// Hands over adopted runs: they come before all claims, and need no free slot.
pub type Adopted = mpsc::UnboundedReceiver<Admitted>;

/// What tells a worker when to ask, and when not to.
#[derive(Debug, Clone)]
pub struct Cues {
    pub hints: Hints,
    pub holds: Holds,
    /// Claims nothing more.
    pub stop: CancellationToken,
}

/// What Postgres said to a claim.
type Claims = Result<Vec<Claim>, StoreError>;

/// The queue as this worker sees it.
pub struct Admission {
    store: Store,
    worker: String,
    caps: AdmissionCaps,
    /// All half-slots of this worker.
    capacity: i32,
    slots: Slots,
    cues: Cues,
    adopted: Adopted,
    /// Half-slots in hand, for the next claim.
    held: Option<Slot>,
    taking: Option<BoxFuture<'static, Slot>>,
    asking: Option<BoxFuture<'static, Claims>>,
    waiting: Option<BoxFuture<'static, ()>>,
    admitted: VecDeque<Admitted>,
}

impl Admission {
    /// Claims for `worker` into `slots` under the caps of all workers.
    #[must_use]
    pub fn new(store: Store, worker: &str, caps: AdmissionCaps, slots: Slots, adopted: Adopted, cues: Cues) -> Self {
        Self {
            store,
            worker: worker.to_owned(),
            caps,
            capacity: slots.capacity(),
            slots,
            cues,
            adopted,
            held: None,
            taking: None,
            asking: None,
            waiting: None,
            admitted: VecDeque::new(),
        }
    }

    /// Takes in what was adopted meanwhile; `cx` is woken by the next.
    fn poll_adopted(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(adopted)) = self.adopted.poll_recv(cx) {
            self.admitted.push_back(adopted);
        }
    }

    /// At least one half-slot in hand, and all that are free.
    fn poll_slot(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.held.is_none() {
            let slots = self.slots.clone();
            let taking = self.taking.get_or_insert_with(|| Box::pin(async move { slots.take_free().await }));
            self.held = Some(ready!(taking.as_mut().poll(cx)));
            self.taking = None;
        }
        Poll::Ready(())
    }

    fn ask(&self, half_slots: i32) -> BoxFuture<'static, Claims> {
        let (store, worker) = (self.store.clone(), self.worker.clone());
        let wanted =
            Wanted { worker_half_slots: half_slots, worker_capacity: self.capacity, caps: self.caps, most: MOST };
        Box::pin(async move { store.claim_runs(&worker, wanted).await })
    }

    /// Until there may be something to claim: the doorbell, a slot that came free, or the poll.
    fn wait(&self) -> BoxFuture<'static, ()> {
        let (mut doorbell, mut holds) = (self.cues.hints.doorbell(), self.cues.holds.changes());
        let (slots, stop) = (self.slots.clone(), self.cues.stop.clone());
        doorbell.mark_unchanged();
        holds.mark_unchanged();
        Box::pin(async move {
            tokio::select! {
                changed = doorbell.changed() => { changed.ok(); }
                changed = holds.changed() => { changed.ok(); }
                () = slots.came_free() => {}
                () = tokio::time::sleep(POLL) => {}
                () = stop.cancelled() => {}
            }
        })
    }

    fn admit(&mut self, claims: Vec<Claim>) {
        let Some(mut held) = self.held.take() else { return };
        for claim in claims {
            match held.split(claim.half_slots) {
                Some(slot) => self.admitted.push_back(Admitted { claim, resumed: None, slot }),
                None => tracing::error!(run = %claim.id, "claimed more than was asked for; its lease will run out"),
            }
        }
    }
}

impl Backend for Admission {
    type Task = Task<Admitted>;
    type Error = Infallible;

    fn poll_ready(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        self.poll_adopted(cx);
        if self.admitted.is_empty() && !self.cues.stop.is_cancelled() {
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
            if let Some(asking) = &mut self.asking {
                let answer = ready!(asking.as_mut().poll(cx));
                self.asking = None;
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
                        self.waiting = Some(Box::pin(tokio::time::sleep(POLL)));
                    }
                }
                continue;
            }
            if self.cues.stop.is_cancelled() {
                return Poll::Ready(None);
            }
            if let Some(waiting) = &mut self.waiting {
                ready!(waiting.as_mut().poll(cx));
                self.waiting = None;
            }
            if !self.cues.holds.is_clear() {
                self.held = None;
                self.waiting = Some(self.wait());
                continue;
            }
            ready!(self.poll_slot(cx));
            let half_slots = self.held.as_ref().map_or(0, Slot::half_slots);
            self.asking = Some(self.ask(half_slots));
        }
    }

    fn poll_close(&mut self, _: &mut Context<'_>, worker: &WorkerContext) -> Poll<Result<(), Infallible>> {
        self.held = None;
        // apalis waits for someone to stop the worker even when its backend has run dry. The only
        // fault of `stop` is that it never started.
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
