//! What must hold, and where it is looked at: some at every move, some in every state.

use std::fmt;

use assize_domain::run::Status;

use crate::rules::Rules;
use crate::world::{Cell, DRIVER, RUNS, Row, SUBJECT, Size, World, last_attempt};

/// See the list in `main.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Invariant {
    NoRunIsLost,
    OneVerdict,
    EndsStay,
    LegalMoves,
    OneLiveCell,
    HolderWrites,
    NothingFreshIsTaken,
    NoWorkIsDestroyed,
    CapsHold,
    NoStageTwice,
    AttemptsEnd,
    OnlyFaultsCostAttempts,
    PoisonStops,
    OnlyDeathsCount,
    CancelHolds,
    EveryRunEnds,
    NothingIsLeft,
}

/// An invariant that did not hold, and how.
#[derive(Debug, Clone)]
pub struct Violation {
    pub invariant: Invariant,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.what)
    }
}

/// `Err` unless `holds`.
pub fn must(holds: bool, invariant: Invariant, what: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { invariant, what: what() }) }
}

/// Every move of every row, whoever made it. There is no trigger here that would refuse a wrong
/// one: the statements alone must not make it.
pub fn check_move(run: usize, before: &Row, after: &Row) -> Result<(), Violation> {
    if before == after {
        return Ok(());
    }
    must(!before.status.is_terminal(), Invariant::EndsStay, || format!("run {run} was {} and changed", before.status))?;
    if before.status != after.status {
        must(before.status.may_become(after.status), Invariant::LegalMoves, || {
            format!("run {run} moved from {} to {}", before.status, after.status)
        })?;
        let next = u8::from(after.status == Status::Queued);
        must(after.attempt == before.attempt + next, Invariant::LegalMoves, || {
            format!("run {run} moved to {} with attempt {}", after.status, after.attempt)
        })?;
    }
    let forward = after.attempt > before.attempt || (after.attempt == before.attempt && after.phase >= before.phase);
    must(after.epoch >= before.epoch && forward, Invariant::LegalMoves, || format!("run {run} went backwards"))
}

/// What can be seen in one state.
pub fn check_state(world: &World, size: &Size, rules: &Rules) -> Result<(), Violation> {
    let (mut half_slots, mut of_user) = (0, [0; RUNS]);
    for run in 0..size.runs {
        let (row, ghost) = (&world.rows[run], &world.ghosts[run]);
        let verdicts = u8::from(row.status == Status::Completed);
        must(ghost.verdicts == verdicts, Invariant::OneVerdict, || {
            format!("run {run} is {} and has {} verdicts", row.status, ghost.verdicts)
        })?;
        let live = |role: u8| world.cells[run].iter().filter(|names| names[usize::from(role)].cell.is_alive()).count();
        let attempts = world.cells[run].iter().filter(|names| names.iter().any(|name| name.cell.is_alive())).count();
        must(live(SUBJECT) <= 1 && live(DRIVER) <= 1 && attempts <= 1, Invariant::OneLiveCell, || {
            format!("run {run} has {} live subjects and {} live drivers", live(SUBJECT), live(DRIVER))
        })?;
        let waiting_cancelled = row.status == Status::Queued && row.cancel;
        must(!waiting_cancelled, Invariant::CancelHolds, || format!("run {run} was cancelled and waits for a slot"))?;
        must(row.attempt <= last_attempt(), Invariant::AttemptsEnd, || {
            format!("run {run} is in attempt {}", row.attempt)
        })?;
        let faults = size.faults - world.faults;
        must(row.attempt <= 1 + faults, Invariant::OnlyFaultsCostAttempts, || {
            format!("run {run} is in attempt {} after {faults} faults", row.attempt)
        })?;
        must(row.crashes <= ghost.deaths + ghost.silences, Invariant::OnlyDeathsCount, || {
            format!("run {run}: {} crashes, {} deaths, {} silences", row.crashes, ghost.deaths, ghost.silences)
        })?;
        if row.status.is_active() {
            half_slots += size.weights[run];
            of_user[usize::from(size.users[run])] += 1;
            must(is_noticed(world, run, rules), Invariant::NoRunIsLost, || {
                format!("run {run} is {} under a lease that is renewed, and nobody drives it", row.status)
            })?;
        }
    }
    let capped = half_slots <= size.half_slots && of_user.iter().all(|active| *active <= size.per_user);
    must(capped, Invariant::CapsHold, || format!("{half_slots} half-slots are active, by user {of_user:?}"))
}

/// Whether the holder of an active run's lease drives it, will find that it should, or is seen not to.
fn is_noticed(world: &World, run: usize, rules: &Rules) -> bool {
    let row = &world.rows[run];
    let Some(process) = row.worker else { return false };
    if row.stale || row.released || !world.lives(process) || rules.finds_own {
        return true;
    }
    let worker = world.worker(process.slot);
    let same = |attempt: u8, epoch: u8| (attempt, epoch) == (row.attempt, row.epoch);
    let drives = worker.drives[run].iter().flatten().any(|drive| same(drive.attempt, drive.epoch));
    let hears =
        worker.claimed.is_some_and(|(claimed, attempt, epoch)| usize::from(claimed) == run && same(attempt, epoch));
    drives || hears
}

/// Nothing more will happen by itself: everything has ended, and nothing is left of it.
pub fn check_rest(world: &World, size: &Size) -> Result<(), Violation> {
    for run in 0..size.runs {
        let row = &world.rows[run];
        must(row.status.is_terminal(), Invariant::EveryRunEnds, || {
            format!("nothing more happens, and run {run} is {}", row.status)
        })?;
        let left = world.cells[run].iter().flatten().any(|name| name.cell != Cell::Absent);
        must(!left, Invariant::NothingIsLeft, || format!("run {run} left {:?}", world.cells[run]))?;
    }
    Ok(())
}
