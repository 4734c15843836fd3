//! What a worker does besides driving: claims, heartbeats, fenced writes.

use assize_domain::run::{FailureCode, Status};

use crate::invariants::{Invariant, Violation, must};
use crate::rules::Rules;
use crate::world::{Drive, DriveId, Life, RUNS, Row, Size, Step, World, lease};

/// The caps, as the claim's statement sees them.
fn caps_allow(world: &World, size: &Size, r: u8) -> bool {
    let r = usize::from(r);
    let active = || (0..size.runs).filter(|run| world.rows[*run].status.is_active());
    let half_slots: u8 = active().map(|run| size.weights[run]).sum();
    let of_user = active().filter(|run| size.users[*run] == size.users[r]).count();
    half_slots + size.weights[r] <= size.half_slots && of_user < usize::from(size.per_user)
}

fn is_claimable(world: &World, rules: &Rules, w: u8, r: u8) -> bool {
    let (row, worker) = (world.row(r), world.worker(w));
    let due = !row.waits || !rules.waits_for_backoff;
    row.status == Status::Queued && due && !worker.paused && worker.life == Life::Up && worker.claimed.is_none()
}

pub fn can_claim(world: &World, size: &Size, rules: &Rules, w: u8, r: u8) -> bool {
    let allowed = if rules.caps_in_claim { caps_allow(world, size, r) } else { world.worker(w).counted == Some(r) };
    is_claimable(world, rules, w, r) && allowed
}

pub fn can_count(world: &World, size: &Size, rules: &Rules, w: u8, r: u8) -> bool {
    !rules.caps_in_claim && is_claimable(world, rules, w, r) && caps_allow(world, size, r)
}

/// queued -> preparing, under a new lease.
pub fn claim(world: &mut World, w: u8, r: u8) -> Result<(), Violation> {
    let worker = world.process(w);
    must(!world.row(r).waits, Invariant::CapsHold, || format!("run {r} is claimed before its backoff is over"))?;
    let row = world.row_mut(r);
    *row = Row { status: Status::Preparing, epoch: row.epoch + 1, worker: Some(worker), ..*row };
    let claimed = (r, row.attempt, row.epoch);
    let worker = world.worker_mut(w);
    worker.claimed = Some(claimed);
    worker.counted = None;
    Ok(())
}

/// Whether another drive of this run can begin: the model has room for two.
pub fn has_room(world: &World, w: u8, r: u8) -> bool {
    world.worker(w).drives[usize::from(r)].iter().any(Option::is_none)
}

pub fn hear_claim(world: &mut World, w: u8) {
    let Some((run, attempt, epoch)) = world.worker_mut(w).claimed.take() else { return };
    begin(world, w, run, Drive::claimed(attempt, epoch));
}

/// Begins a drive, and holds its lease. Of two drives of one run, the one with the earlier lease is notified
/// that it lost it: sooner than its own writes would tell it; no invariant needs that.
pub fn begin(world: &mut World, w: u8, r: u8, drive: Drive) {
    let (held, before) = (DriveId { w, r, k: 0 }, DriveId { w, r, k: 1 });
    match world.drive(held) {
        Some(later) if later.epoch > drive.epoch => {
            world.set_drive(before, Some(Drive { step: Step::LetGo, ..drive }));
        }
        other => {
            if other.is_some() {
                world.set_drive(before, other);
                if other.is_some_and(|other| hears_of_loss(other.step)) {
                    world.go(before, Step::LetGo);
                }
            }
            world.set_drive(held, Some(drive));
        }
    }
}

/// Steps in which a drive stops at once when it hears that its lease is lost. A launch goes on to its
/// end in a task of its own; an end that is being written is not interrupted.
pub const fn hears_of_loss(step: Step) -> bool {
    matches!(step, Step::Adopt | Step::Kill | Step::Tidy | Step::Feed | Step::Listen | Step::Judge)
}

/// The same for a cancel. What was taken over is first looked at; the second cell is first launched.
const fn hears_of_cancel(step: Step) -> bool {
    matches!(step, Step::Tidy | Step::Create | Step::Feed | Step::Listen)
}

/// One fenced statement of the worker: whether it changed its row.
pub fn write(
    world: &mut World,
    rules: &Rules,
    (id, drive): (DriveId, Drive),
    change: impl FnOnce(&mut Row),
) -> Result<bool, Violation> {
    let (process, r) = (world.process(id.w), id.r);
    let row = world.row_mut(r);
    let epoch = if rules.epoch_in_fence { drive.epoch } else { row.epoch };
    let status = if rules.status_in_fence {
        row.status == drive.status
    } else {
        row.status.is_active() || drive.status.is_active()
    };
    if lease(r, row.attempt, row.epoch) != lease(r, drive.attempt, epoch) || !status {
        return Ok(false);
    }
    let holder = row.worker == Some(process) && row.epoch == drive.epoch;
    must(holder, Invariant::HolderWrites, || {
        format!("a worker writes to run {r} under epoch {}, the lease is another's with {}", drive.epoch, row.epoch)
    })?;
    change(row);
    Ok(true)
}

/// A heartbeat of one run, fenced: whether its lease still holds.
pub fn confirm(world: &mut World, rules: &Rules, id: DriveId, drive: Drive) -> bool {
    let row = world.row_mut(id.r);
    let epoch = if rules.epoch_in_fence { drive.epoch } else { row.epoch };
    let holds = row.status.is_active()
        && !row.released
        && lease(id.r, row.attempt, row.epoch) == lease(id.r, drive.attempt, epoch);
    if holds {
        *row = Row { stale: false, silent: false, ..*row };
    }
    holds
}

/// What a heartbeat would tell about one run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    None,
    Renewed,
    Cancelled,
    Lost,
}

fn news(world: &World, rules: &Rules, w: u8, r: u8) -> News {
    let row = world.row(r);
    let Some(drive) = world.drive(DriveId { w, r, k: 0 }) else { return News::None };
    let mine = row.status.is_active() && row.worker == Some(world.process(w)) && !row.released;
    let renews = mine && row.stale && (rules.database_clock || !world.worker(w).skewed);
    let same = mine && lease(r, row.attempt, row.epoch) == drive.lease(r);
    if !same && hears_of_loss(drive.step) {
        News::Lost
    } else if same && row.cancel && hears_of_cancel(drive.step) {
        News::Cancelled
    } else if renews {
        News::Renewed
    } else {
        News::None
    }
}

/// Whether a heartbeat would change anything; it is sent all the same.
pub fn heartbeat_matters(world: &World, size: &Size, rules: &Rules, w: u8) -> bool {
    let by_a_wrong_clock = |row: &Row| {
        !rules.database_clock && world.worker(w).skewed && row.worker == Some(world.process(w)) && !row.stale
    };
    let asks = |r: u8| world.drive(DriveId { w, r, k: 0 }).is_some();
    (0..).take(size.runs).any(|r| news(world, rules, w, r) != News::None || (asks(r) && by_a_wrong_clock(world.row(r))))
}

/// One statement renews the leases in the worker's name of the runs that it works on; the answer says
/// which it has.
pub fn heartbeat(world: &mut World, size: &Size, rules: &Rules, w: u8) {
    let notices: [News; RUNS] =
        std::array::from_fn(|run| u8::try_from(run).map_or(News::None, |r| news(world, rules, w, r)));
    let process = world.process(w);
    let skewed = world.worker(w).skewed && !rules.database_clock;
    for (r, notice) in (0..).zip(notices).take(size.runs) {
        let id = DriveId { w, r, k: 0 };
        let asks = world.drive(id).is_some();
        let row = world.row_mut(r);
        if asks && row.status.is_active() && row.worker == Some(process) && !row.released {
            row.stale = skewed;
            row.silent = false;
        }
        match notice {
            News::None | News::Renewed => {}
            News::Lost => world.go(id, Step::LetGo),
            News::Cancelled => world.go(id, Step::End(FailureCode::Cancelled)),
        }
    }
}
