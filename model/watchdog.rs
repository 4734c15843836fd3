//! The watchdog, which runs in every worker, and the sweep of what is over.
//!
//! Its SELECT and its UPDATE are two steps: anything may happen between them. It takes the lease, and no
//! more; what becomes of the attempt is decided under it, in [`crate::drive`].

use crate::invariants::{Invariant, Violation, must};
use crate::rules::Rules;
use crate::worker::{begin, has_room};
use crate::world::{Drive, DriveId, Life, Look, Row, Step, World, lease, most_crashes};

/// Whether this worker's watchdog, at its SELECT, judges that the run is to be taken over: its holder let
/// go, is dead or silent, or is this worker, which does not work on it and cannot be told of it any more.
pub fn can_look(world: &World, rules: &Rules, w: u8, r: u8) -> bool {
    let (row, worker) = (world.row(r), world.worker(w));
    if !row.status.is_active() || worker.life != Life::Up || worker.look.is_some() {
        return false;
    }
    if row.worker == Some(world.process(w)) {
        let awaits = worker.claimed.is_some() && rules.own_waits;
        return rules.finds_own && !awaits && !is_held(world, w, r);
    }
    row.stale || row.released || !world.holder_lives(r)
}

/// Whether this worker holds the lease that the row shows.
fn is_held(world: &World, w: u8, r: u8) -> bool {
    let row = world.row(r);
    world.drive(DriveId { w, r, k: 0 }).is_some_and(|drive| drive.lease(r) == lease(r, row.attempt, row.epoch))
}

pub fn look(world: &mut World, w: u8, r: u8) {
    let Row { attempt, epoch, status, phase, worker, released, .. } = *world.row(r);
    let own = worker == Some(world.process(w));
    let panicked = world.worker(w).panicked[usize::from(r)] == epoch;
    let gone = own || released || !world.holder_lives(r);
    let crashed = if own { panicked } else { !released };
    world.worker_mut(w).look = Some(Look { run: r, attempt, epoch, status, phase, gone, crashed });
}

pub fn can_take(world: &World, w: u8) -> bool {
    world.worker(w).life == Life::Up && world.worker(w).look.is_some_and(|look| has_room(world, w, look.run))
}

/// Takes the lease in one UPDATE, fenced by what the SELECT saw, and by staleness again unless the holder
/// is known to be gone.
pub fn take(world: &mut World, rules: &Rules, w: u8, heard: bool) -> Result<(), Violation> {
    let Some(look) = world.worker_mut(w).look.take() else { return Ok(()) };
    let (r, me) = (look.run, world.process(w));
    let row = *world.row(r);
    let works = if row.worker == Some(me) { is_held(world, w, r) } else { world.holder_lives(r) };
    let fresh = !row.silent && !row.released && works;
    let epoch = if rules.epoch_in_adoption { look.epoch } else { row.epoch };
    let unmoved = lease(r, row.attempt, row.epoch) == lease(r, look.attempt, epoch)
        && (row.status == look.status || !rules.status_in_adoption)
        && (row.phase == look.phase || !rules.phase_in_adoption);
    let nobodys = row.stale || look.gone || !rules.stale_in_adoption;
    let crashes = row.crashes + u8::from(look.crashed && rules.counts_crashes);
    // The table's own CHECK.
    if !unmoved || !nobodys || (crashes > most_crashes() && !rules.caps_crashes) {
        return Ok(());
    }
    must(!fresh, Invariant::NothingFreshIsTaken, || format!("run {r} is taken from a worker that works on it"))?;
    let crashes = crashes.min(most_crashes());
    let epoch = row.epoch + u8::from(rules.adoption_takes_epoch);
    *world.row_mut(r) = Row { epoch, worker: Some(me), stale: false, silent: false, released: false, crashes, ..row };
    world.worker_mut(w).panicked[usize::from(r)] = 0;
    if heard {
        let claimed = Drive::claimed(row.attempt, epoch);
        let (crashed, poison) = (look.crashed, crashes >= most_crashes());
        let drive = Drive { status: look.status, heard: look.phase, crashed, poison, step: Step::Adopt, ..claimed };
        begin(world, w, r, drive);
    }
    Ok(())
}

/// Whether the janitor finds a container of this attempt that is over. It lists containers first and
/// asks Postgres afterwards; an attempt that is over stays so, and one that is not begun has no container:
/// so the two are as good as one step. Where the rule is broken, Postgres was asked a while ago.
pub fn can_sweep(world: &World, rules: &Rules, w: u8, r: u8, a: u8) -> bool {
    let unwanted = if rules.asks_engine_first {
        world.row(r).is_over(a)
    } else {
        world.worker(w).asked.is_some_and(|(run, active)| run == r && active != a)
    };
    let is_there = world.cells[usize::from(r)][usize::from(a) - 1].iter().any(|name| name.id() != 0);
    rules.sweeps && world.engine && is_there && unwanted
}

/// The attempt that is active now.
pub fn ask(world: &mut World, w: u8, r: u8) {
    let row = world.row(r);
    let active = if row.status.is_active() { row.attempt } else { 0 };
    world.worker_mut(w).asked = Some((r, active));
}
