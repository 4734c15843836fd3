//! What happens to the system: cells go on, people cancel, processes die.

use assize_domain::run::Status;

use crate::invariants::{Invariant, Violation, must};
use crate::rules::Rules;
use crate::world::{Cell, DRIVER, Drive, DriveId, Life, STAGES, SUBJECT, Size, Step, Worker, World, lease};

/// A drive removes whatever has this name. While the attempt is not over, only its holder may, if a stage
/// has begun there or the holder works with it.
pub fn destroy(world: &mut World, (id, drive): (DriveId, Drive), attempt: u8, role: u8) -> Result<(), Violation> {
    let row = world.row(id.r);
    let holds = row.worker == Some(world.process(id.w)) && lease(id.r, row.attempt, row.epoch) == drive.lease(id.r);
    let needed = is_needed(world, id.r, attempt, role) && !holds;
    must(!needed, Invariant::NoWorkIsDestroyed, || {
        format!("a cell of run {}, attempt {attempt}, is destroyed by who does not hold the run", id.r)
    })?;
    world.set_cell(id.r, attempt, role, Cell::Absent);
    Ok(())
}

/// The janitor removes what there is of an attempt.
pub fn sweep(world: &mut World, r: u8, attempt: u8) -> Result<(), Violation> {
    for role in [SUBJECT, DRIVER] {
        must(!is_needed(world, r, attempt, role), Invariant::NoWorkIsDestroyed, || {
            format!("a cell of run {r}, attempt {attempt}, is swept away")
        })?;
        world.set_cell(r, attempt, role, Cell::Absent);
    }
    Ok(())
}

/// Whether someone goes on with this cell, or would.
fn is_needed(world: &World, r: u8, attempt: u8, role: u8) -> bool {
    let (row, name) = (world.row(r), world.name(r, attempt, role));
    if row.is_over(attempt) || name.id() == 0 {
        return false;
    }
    let driven = row.worker.filter(|process| world.lives(*process)).and_then(|process| {
        world.worker(process.slot).drives[usize::from(r)].iter().flatten().find(|drive| {
            drive.lease(r) == lease(r, row.attempt, row.epoch) && drive.own[usize::from(role)] == name.id()
        })
    });
    let at_work = |drive: &Drive| {
        drive.role >= role
            && matches!(drive.step, Step::Confirm | Step::Start | Step::Feed | Step::Listen | Step::Judge)
    };
    name.cell.stages() > 0 || driven.is_some_and(at_work)
}

/// Whether it goes on by itself: a subject that is up beside a driver does not.
pub fn can_go_on(world: &World, size: &Size, r: u8, attempt: u8, role: u8) -> bool {
    match world.cell(r, attempt, role) {
        Cell::Fed => true,
        Cell::Stage(STAGES) => !size.driver,
        Cell::Stage(_) => true,
        _ => false,
    }
}

/// Begins the next stage, or ends with results.
pub fn cell_goes_on(world: &mut World, r: u8, a: u8, role: u8) -> Result<(), Violation> {
    let stage = match world.cell(r, a, role) {
        Cell::Fed if role == DRIVER => STAGES + 1,
        Cell::Fed => 1,
        Cell::Stage(stage) if stage < STAGES => stage + 1,
        cell => {
            world.set_cell(r, a, role, Cell::Results(cell.stages()));
            return Ok(());
        }
    };
    let began = &mut world.ghost(r).began[usize::from(a) - 1];
    let bit = 1 << stage;
    must(*began & bit == 0, Invariant::NoStageTwice, || {
        format!("stage {stage} of run {r}, attempt {a}, begins again")
    })?;
    *began |= bit;
    world.set_cell(r, a, role, Cell::Stage(stage));
    Ok(())
}

/// SIGKILL: all beliefs are gone.
pub fn kill(world: &mut World, size: &Size, w: u8) {
    let process = world.process(w);
    for r in (0..).take(size.runs) {
        let row = *world.row(r);
        if row.status.is_active() && row.worker == Some(process) && !row.released {
            world.ghost(r).dies(row.epoch);
        }
    }
    forget(world.worker_mut(w), Life::Dead);
}

/// A drive panics: what it did stays as it is, and the process lives.
pub fn panic(world: &mut World, w: u8, r: u8) {
    let id = DriveId { w, r, k: 0 };
    let (row, me) = (*world.row(r), world.process(w));
    let held = world.drive(id).is_some_and(|drive| drive.lease(r) == lease(r, row.attempt, row.epoch));
    if held && row.status.is_active() && row.worker == Some(me) {
        world.ghost(r).dies(row.epoch);
        world.worker_mut(w).panicked[usize::from(r)] = row.epoch;
    }
    world.set_drive(id, None);
}

/// Drives end where they are; one that launches, or writes an end, is waited for.
pub fn can_leave(world: &World, w: u8) -> bool {
    let waits = |drive: &Drive| !crate::worker::hears_of_loss(drive.step);
    world.worker(w).life == Life::Draining && !world.worker(w).drives.iter().flatten().flatten().any(waits)
}

/// The end of a drain: one statement releases every lease in the worker's name, then it stops.
pub fn leave(world: &mut World, size: &Size, rules: &Rules, w: u8) {
    let process = world.process(w);
    let leaves_some = world.worker(w).drives.iter().flatten().any(Option::is_some);
    let panicked = world.worker(w).panicked;
    for r in (0..).take(size.runs) {
        let row = *world.row(r);
        if row.status.is_active() && row.worker == Some(process) && panicked[usize::from(r)] == row.epoch {
            // A panic just before the end of a drain is not counted.
            world.ghost(r).deaths -= 1;
        }
        let row = world.row_mut(r);
        if row.status.is_active() && row.worker == Some(process) && (leaves_some || rules.releases_at_end) {
            row.released = true;
        }
    }
    forget(world.worker_mut(w), Life::Left);
}

fn forget(worker: &mut Worker, life: Life) {
    *worker = Worker::new(life, worker.generation);
}

/// A renewal that was on its way when the worker let go of its leases.
pub fn late_renewal(world: &mut World, r: u8) {
    let row = world.row_mut(r);
    (row.released, row.stale, row.silent) = (false, false, false);
}

/// Whether there can be one that does anything.
pub fn can_renew_late(world: &World, rules: &Rules, r: u8) -> bool {
    let row = world.row(r);
    row.released && row.status.is_active() && !rules.renewal_spares_released
}

/// The engine stops answering, and every worker notices: the stream of its events ends.
pub fn engine_goes(world: &mut World, rules: &Rules) {
    world.engine = false;
    for worker in world.workers.iter_mut().filter(|worker| worker.runs()) {
        worker.paused = rules.watches_engine;
    }
}

/// Another process in its place.
pub fn restart(world: &mut World, w: u8) {
    let worker = world.worker_mut(w);
    worker.generation += 1;
    worker.life = Life::Up;
}

/// A queued run ends at once; an active one is asked to stop.
pub fn cancel(world: &mut World, r: u8) {
    let row = world.row_mut(r);
    row.cancel = true;
    if row.status == Status::Queued {
        row.status = Status::Aborted;
        row.waits = false;
    }
}
