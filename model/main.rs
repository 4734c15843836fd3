//! The protocol of runs, leases and cells as a pure state machine, and its exploration.
//!
//! [`world`] is what there is, [`actions`] what can happen next, [`worker`], [`drive`], [`watchdog`] and
//! [`outside`] do it, [`invariants`] say what must hold, [`explore`] and [`walks`] look for a schedule
//! in which it does not. The moves of a status, the lease and what follows a failure are the service's
//! own: `Status::may_become`, `Lease`, `retry::after`, `MAX_CRASHES`.
//!
//! # What is modelled
//!
//! Each step is atomic, and between any two anything else may happen.
//!
//! - **Rows.** Every write is one fenced statement that changes one row or none. Its reply can be lost
//!   after the commit; the writer then repeats it, and a statement that finds its own effect is done.
//!   There is no trigger: the statements alone must not make an illegal move.
//! - **Takeover.** A watchdog's SELECT and its UPDATE are two steps. The UPDATE takes the lease, and no
//!   more; whether the attempt goes on is decided under it, in [`drive`], as in the service.
//! - **Workers** claim, drive, heartbeat, watch and sweep; each is killed and started again, drained, panics,
//!   or takes no step for so long that its lease is stale, and goes on with what it believed (SIGSTOP, a
//!   stall, no way to Postgres). All share a host: whether a process lives can be read off `/proc`. A worker
//!   may have two drives of one run: a new one, and one that has not noticed or finished yet.
//! - **Cells** begin their stages by themselves and keep a journal; a run may have two, subject and driver.
//!   Names are unique for run, attempt and role; ids are never used again. The engine may be away for a while.
//! - **Time.** Every lease goes stale and every backoff ends for itself, at any moment: more than any clock
//!   of the database could do. Workers' clocks appear only where a rule is broken.
//!
//! Left out: Redis, which only shortens waits; the order of the queue, which is no matter of safety;
//! berths, which have a small model of their own ([`berths`]);
//! the janitor's 30 s for young cells; other hosts; the 3 s in which an engine that hangs may go unnoticed (a
//! call waits for 30 s, so what is claimed in them is not lost before). `UNKNOWN` is taken at its word: a worker does not look
//! for runs in its own name while the reply to a claim may come. Two steps are one: confirm a lease and kill
//! a cell that had not begun (see `drive::kill`).
//!
//! # Invariants
//!
//! | name | what holds |
//! |---|---|
//! | `NoRunIsLost` | an active run has a lease that somebody drives or will notice |
//! | `OneVerdict` | a completed run has one verdict, any other none |
//! | `EndsStay` | a terminal row never changes |
//! | `LegalMoves` | `may_become`; the attempt grows exactly with a retry; epoch and phase never fall |
//! | `OneLiveCell` | a run has at most one live cell of each role, over all its attempts |
//! | `HolderWrites` | no write gets through but the holder's |
//! | `NothingFreshIsTaken` | a lease whose holder works on it and renews it is not taken |
//! | `NoWorkIsDestroyed` | a cell that is driven, or has begun, dies by its holder's hand or with its attempt |
//! | `CapsHold` | half-slots in total, runs of one user; no claim before its backoff is over |
//! | `NoStageTwice` | no stage of an attempt begins twice |
//! | `AttemptsEnd` | at most 3 attempts |
//! | `OnlyFaultsCostAttempts` | no more attempts than faults, plus one: an outage costs only who is at it |
//! | `PoisonStops` | what killed 3 workers is gone on with by no fourth |
//! | `OnlyDeathsCount` | no more crashes than deaths, panics and silences |
//! | `CancelHolds` | a cancelled run does not wait in the queue |
//! | `EveryRunEnds` | when faults stop, every run becomes terminal |
//! | `NothingIsLeft` | and no container is left |
//!
//! The last two are checked from every state that is reached: a fair schedule without faults must end.
//! [`broken`] breaks each of the [`rules`] and expects a violation. A random schedule goes partly by whims (an
//! order of all actions that lasts for a while): what needs that someone is left behind is seldom found by
//! uniform choices.
//!
//! # What it taught
//!
//! 1. Write first, destroy after. Then the next attempt has to make sure itself: it removes the run's earlier
//!    cells before it creates its own, and between create and start every launch confirms its lease.
//! 2. What is destroyed before the attempt is over is looked up first, then the lease confirmed, then
//!    destroyed by its id: by its name it may be the next holder's by then.
//! 3. A cell that had not begun may begin while it is killed: the journal is read once more.
//! 4. A worker looks for runs in its own name, but not while a claim of its own is unanswered.
//! 5. Who takes over names all that it goes on from, the stage too; and the worker that is to end a run that
//!    kills workers may be killed as well.
//! 6. A lease that was let go stays so, whatever renewal was on its way; and is let go by every worker that
//!    stops, whether or not it knows of any.
//!
//! # Why not stateright
//!
//! stateright 0.31 brings 44 crates (an explorer on HTTP among them) for what are 250 lines here, has no
//! random walk that shortens what it finds, and checks liveness only along acyclic paths; "from every
//! state a fair schedule ends" would be ours to write anyway.
//!
//! # Longer
//!
//! `MODEL_SCHEDULES=100000000 MODEL_SEED=7 cargo test --test model random -- --nocapture`, and
//! `cargo test --test model -- --ignored --nocapture` for larger sizes (minutes, gigabytes).

mod actions;
mod berths;
mod broken;
mod drive;
mod explore;
mod invariants;
mod outside;
mod rules;
mod walks;
mod watchdog;
mod worker;
mod world;

use explore::{describe, exhaust, shorten};
use rules::Rules;
use world::Size;

/// No schedule of this size breaks anything.
fn holds(size: Size) {
    match exhaust(&size, &Rules::KEPT, 40_000_000) {
        Ok(seen) => println!(
            "{} runs, {} workers, {} faults, {} cancels: {} states, {} moves, the farthest after {}",
            size.runs, size.workers, size.faults, size.cancels, seen.states, seen.moves, seen.deepest
        ),
        Err(failure) => panic!("{}", describe(&shorten(&failure, &Rules::KEPT), &Rules::KEPT)),
    }
}

#[test]
fn one_run_with_two_faults() {
    holds(Size::with(1, 2, 2, 0));
}

#[test]
fn one_run_with_a_fault_and_a_cancel() {
    holds(Size::with(1, 2, 1, 1));
}

#[test]
fn one_run_with_a_driver() {
    holds(Size { driver: true, ..Size::with(1, 2, 1, 1) });
}

#[test]
fn one_worker_that_dies_again_and_again() {
    holds(Size::with(1, 1, 3, 0));
}

#[test]
fn two_runs_without_a_fault() {
    holds(Size::with(2, 2, 0, 2));
}

#[test]
fn two_runs_under_tight_caps() {
    holds(Size { half_slots: 1, users: [0; 3], per_user: 1, ..Size::with(2, 2, 1, 0) });
}

#[test]
#[ignore = "takes minutes and 4 GB"]
fn one_run_with_three_faults() {
    holds(Size::with(1, 2, 3, 0));
}

#[test]
#[ignore = "takes minutes and 4 GB"]
fn one_run_and_three_workers() {
    holds(Size::with(1, 3, 2, 1));
}

#[test]
#[ignore = "takes minutes and 4 GB"]
fn one_run_with_a_driver_and_two_faults() {
    holds(Size { driver: true, ..Size::with(1, 2, 2, 1) });
}

#[test]
#[ignore = "takes minutes and 4 GB"]
fn two_runs_with_a_fault_and_a_cancel() {
    holds(Size::with(2, 2, 1, 1));
}
