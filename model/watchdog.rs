//! The watchdog, which runs in every worker, and the sweep of what is over.
//!
//! Its SELECT and its UPDATE are two steps: anything may happen between them.

use assize::run::retry::{self, Next};
use assize::run::{FailureCode, Status};

use crate::invariants::{Invariant, Violation, must};
use crate::outside::destroy;
use crate::rules::Rules;
use crate::worker::is_adoptable;
use crate::world::{Cell, Drive, Look, MAX_CRASHES, Row, Step, World, lease};

/// Whether the SELECT of this worker's watchdog finds the run: stale, released, or of a process that
/// is known to be gone. A worker does not look for its own leases: its heartbeat does.
pub fn can_look(world: &World, w: u8, r: u8) -> bool {
    let row = world.row(r);
    let worker = world.worker(w);
    let nobodys = row.stale || row.released || !world.holder_lives(r);
    row.status.is_active()
        && nobodys
        && row.worker != Some(world.process(w))
        && worker.look.is_none()
        && world.drive(w, r).is_none()
}

pub fn look(world: &mut World, w: u8, r: u8) {
    let row = *world.row(r);
    let gone = row.released || !world.holder_lives(r);
    let Row { attempt, epoch, status, .. } = row;
    world.worker_mut(w).look = Some(Look { run: r, attempt, epoch, status, gone, cleared: false });
}

/// Without the engine nobody knows whether the cell lives. A worker that has meanwhile begun to
/// drive the run itself finishes that first.
pub fn can_take(world: &World, w: u8) -> bool {
    world.engine && world.worker(w).look.is_some_and(|look| world.drive(w, look.run).is_none())
}

/// Adopts the cell or ends the attempt, in one UPDATE fenced by what the SELECT saw, and by
/// staleness again unless the holder is known to be gone.
pub fn take(world: &mut World, rules: &Rules, w: u8, heard: bool) -> Result<(), Violation> {
    let Some(look) = world.worker_mut(w).look.take() else { return Ok(()) };
    let (r, me) = (look.run, world.process(w));
    let adopts = is_adoptable(world, rules, r) && world.row(r).attempt == look.attempt;
    if !adopts && !rules.watchdog_writes_first && !look.cleared {
        destroy(world, w, r, look.attempt)?;
        world.worker_mut(w).look = Some(Look { cleared: true, ..look });
        return Ok(());
    }
    let fresh = !world.row(r).silent && !world.row(r).released && world.holder_lives(r);
    let deaths = world.ghost(r).deaths;
    let row = world.row_mut(r);
    let same_status = row.status == look.status || !rules.status_in_watchdogs_fence;
    let unmoved = lease(r, row.attempt, row.epoch) == lease(r, look.attempt, look.epoch) && same_status;
    let nobodys = row.stale || look.gone || !rules.stale_in_fence;
    if !unmoved || !nobodys {
        return Ok(());
    }
    must(!fresh, Invariant::NothingFreshIsTaken, || format!("run {r} is taken from a worker that renews it"))?;
    let died = !row.released && rules.counts_crashes;
    let crashes = row.crashes + u8::from(died);
    row.crashes = crashes;
    let adopts = adopts && crashes < MAX_CRASHES && !row.cancel;
    let drive = if adopts {
        must(deaths < MAX_CRASHES, Invariant::PoisonStops, || {
            format!("run {r} killed {deaths} workers and is adopted")
        })?;
        let epoch = row.epoch + u8::from(rules.adoption_takes_epoch);
        *row = Row { epoch, worker: Some(me), stale: false, silent: false, released: false, ..*row };
        Drive::new(row.attempt, row.epoch, row.status, row.phase, Step::Listen)
    } else {
        *row = Row { stale: false, silent: false, released: false, ..*row };
        match retry::after(FailureCode::WorkerLost, i32::from(row.attempt)) {
            _ if row.cancel => row.status = Status::Aborted,
            Next::Retry { .. } if crashes < MAX_CRASHES => row.requeue(rules),
            _ => row.status = Status::Failed,
        }
        Drive::new(look.attempt, look.epoch, look.status, 0, Step::Last)
    };
    if heard {
        world.set_drive(w, r, Some(drive));
    }
    Ok(())
}

/// The list of containers comes before the look at the row: an attempt that is over stays over.
pub fn can_sweep(world: &World, rules: &Rules, r: u8, a: u8) -> bool {
    let row = world.row(r);
    let orphan = row.is_over(a) || (!rules.sweeps_over_only && !world.holder_lives(r));
    rules.sweeps && world.engine && world.cell(r, a) != Cell::Absent && orphan
}
