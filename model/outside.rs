//! What happens to the system: cells go on, people cancel, processes die.

use assize::run::Status;

use crate::invariants::{Invariant, Violation, must};
use crate::world::{Cell, Life, STAGES, Size, Worker, World};

/// Destroys the cell of an attempt, whoever made it. Before the attempt is over only its holder may,
/// as long as someone drives it or could adopt it.
pub fn destroy(world: &mut World, w: u8, r: u8, a: u8) -> Result<(), Violation> {
    let row = world.row(r);
    let driven = !row.silent && world.holder_lives(r);
    let adoptable = row.status != Status::Preparing && world.cell(r, a).stages() > 0;
    let needed = !row.is_over(a) && world.cell(r, a) != Cell::Absent && (driven || adoptable);
    must(!needed || row.worker == Some(world.process(w)), Invariant::NoWorkIsDestroyed, || {
        format!("the cell of run {r}, attempt {a}, is destroyed by a worker that does not hold the run")
    })?;
    world.set_cell(r, a, Cell::Absent);
    Ok(())
}

/// Begins the next stage, or ends with results.
pub fn cell_goes_on(world: &mut World, r: u8, a: u8) -> Result<(), Violation> {
    let stage = match world.cell(r, a) {
        Cell::Fed => 1,
        Cell::Stage(stage) if stage < STAGES => stage + 1,
        _ => {
            world.set_cell(r, a, Cell::Results);
            return Ok(());
        }
    };
    let began = &mut world.ghost(r).began[usize::from(a) - 1];
    let bit = 1 << stage;
    must(*began & bit == 0, Invariant::NoStageTwice, || {
        format!("stage {stage} of run {r}, attempt {a}, begins again")
    })?;
    *began |= bit;
    world.set_cell(r, a, Cell::Stage(stage));
    Ok(())
}

/// SIGKILL: all beliefs are gone.
pub fn kill(world: &mut World, size: &Size, w: u8) {
    let process = world.process(w);
    for r in (0..).take(size.runs) {
        let row = *world.row(r);
        if row.status.is_active() && row.worker == Some(process) && !row.released {
            world.ghost(r).deaths += 1;
        }
    }
    forget(world.worker_mut(w), Life::Dead);
}

/// The end of a drain: one statement releases every lease in the worker's name, then it stops.
pub fn leave(world: &mut World, size: &Size, w: u8) {
    let process = world.process(w);
    for r in (0..).take(size.runs) {
        let row = world.row_mut(r);
        if row.status.is_active() && row.worker == Some(process) {
            row.released = true;
        }
    }
    forget(world.worker_mut(w), Life::Left);
}

fn forget(worker: &mut Worker, life: Life) {
    let generation = worker.generation;
    *worker = Worker {
        life,
        generation,
        skewed: false,
        claimed: None,
        counted: None,
        look: None,
        drives: Default::default(),
    };
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
