//! What a worker does: claims, drives, heartbeats.

use assize::run::retry::{self, Next};
use assize::run::{FailureCode, Status};

use crate::invariants::{Invariant, Violation, must};
use crate::outside::destroy;
use crate::rules::Rules;
use crate::world::{Cell, Drive, Life, MAX_CRASHES, RUNS, Row, Size, Step, World, lease};

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
    let paused = !world.engine && rules.claims_with_engine;
    row.status == Status::Queued && due && !paused && worker.life == Life::Up && worker.claimed.is_none()
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
    let deaths = world.ghost(r).deaths;
    must(deaths < MAX_CRASHES, Invariant::PoisonStops, || format!("run {r} killed {deaths} workers and is claimed"))?;
    must(!world.row(r).waits, Invariant::CapsHold, || format!("run {r} is claimed before its backoff is over"))?;
    let row = world.row_mut(r);
    *row = Row { status: Status::Preparing, epoch: row.epoch + 1, worker: Some(worker), ..*row };
    let claimed = (r, row.attempt, row.epoch);
    let worker = world.worker_mut(w);
    worker.claimed = Some(claimed);
    worker.counted = None;
    Ok(())
}

/// A worker drives one attempt of a run at a time: a reply waits until the cell of an earlier one,
/// which this worker lost or ended, is gone.
pub fn can_hear(world: &World, rules: &Rules, w: u8, (run, attempt, epoch): (u8, u8, u8)) -> bool {
    world.drive(w, run).is_none_or(|drive| drive.lease(run) == lease(run, attempt, epoch) || !rules.claim_reply_once)
}

pub fn hear_claim(world: &mut World, rules: &Rules, w: u8) {
    let Some((run, attempt, epoch)) = world.worker_mut(w).claimed.take() else { return };
    if world.drive(w, run).is_none() || !rules.claim_reply_once {
        let drive = Drive::new(attempt, epoch, Status::Preparing, 0, Step::Tidy);
        world.set_drive(w, run, Some(drive));
    }
}

/// Whether it can be taken now; steps that must not fail wait for the engine.
pub fn can_step(world: &World, w: u8, r: u8) -> bool {
    let Some(drive) = world.drive(w, r) else { return false };
    match drive.step {
        Step::Inspect | Step::Last | Step::LetGo | Step::Clear(_) => world.engine,
        Step::Listen => {
            let cell = world.cell(r, drive.attempt);
            drive.heard < cell.stages() || matches!(cell, Cell::Results | Cell::Broken(_) | Cell::Absent)
        }
        _ => true,
    }
}

/// Steps whose effect outlives a lost reply.
pub const fn reply_matters(step: Step) -> bool {
    matches!(
        step,
        Step::Create | Step::Confirm | Step::Start | Step::Listen | Step::Verdict | Step::End(_) | Step::Requeue(_)
    )
}

/// What can go wrong in a step, by itself.
pub const fn misfortunes(step: Step) -> &'static [FailureCode] {
    match step {
        Step::Create => &[FailureCode::NetworkError],
        Step::Listen => &[FailureCode::CellLost, FailureCode::StageTimeout],
        Step::Verdict => &[FailureCode::ResultsInvalid],
        _ => &[],
    }
}

/// The attempt has failed: what is written next follows from the service's own rule.
pub fn fail(world: &mut World, rules: &Rules, w: u8, r: u8, code: FailureCode) {
    let Some(drive) = world.drive(w, r) else { return };
    let step = match retry::after(code, i32::from(drive.attempt)) {
        Next::Retry { .. } if rules.worker_writes_first => Step::Requeue(code),
        Next::Retry { .. } => Step::Clear(code),
        Next::End if !rules.counts_attempts && code.is_transient() => Step::Requeue(code),
        Next::End => Step::End(code),
    };
    world.go(w, r, step);
}

/// One fenced statement of the worker: whether it changed its row.
fn write(
    world: &mut World,
    rules: &Rules,
    (w, r): (u8, u8),
    drive: Drive,
    change: impl FnOnce(&mut Row),
) -> Result<bool, Violation> {
    let process = world.process(w);
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

/// Takes the next step of a drive. If it is not `heard`, the effect is there and the worker does not
/// know: it repeats a statement, and takes an engine's silence for a failure.
pub fn step(world: &mut World, rules: &Rules, w: u8, r: u8, heard: bool) -> Result<(), Violation> {
    let Some(drive) = world.drive(w, r) else { return Ok(()) };
    let cell = world.cell(r, drive.attempt);
    match drive.step {
        Step::Inspect => inspect(world, rules, w, r, drive),
        Step::Tidy => {
            if rules.tidies_before_create && (1..drive.attempt).any(|a| world.cell(r, a) != Cell::Absent) {
                if !world.engine {
                    fail(world, rules, w, r, FailureCode::DockerUnavailable);
                    return Ok(());
                }
                for a in 1..drive.attempt {
                    destroy(world, w, r, a)?;
                }
            }
            world.go(w, r, Step::Create);
        }
        Step::Create | Step::Start | Step::Feed => engine(world, rules, (w, r), drive, heard),
        Step::Confirm => {
            let renewed = write(world, rules, (w, r), drive, |row| *row = Row { stale: false, silent: false, ..*row })?;
            wrote(world, (w, r), renewed, heard, drive, Step::Start);
        }
        Step::Listen => listen(world, rules, (w, r), drive, cell, heard)?,
        Step::Verdict => {
            let written = write(world, rules, (w, r), drive, |row| row.status = Status::Completed)?;
            if written {
                world.ghost(r).verdicts += 1;
            }
            let effect = written || is_at(world, r, drive, Status::Completed);
            wrote(world, (w, r), effect, heard, drive, Step::Last);
        }
        Step::End(code) => {
            let written = write(world, rules, (w, r), drive, |row| row.status = code.status())?;
            let effect = written || is_at(world, r, drive, code.status());
            wrote(world, (w, r), effect, heard, drive, Step::Last);
        }
        Step::Requeue(_) => {
            if rules.requeue_sees_cancel && is_at(world, r, drive, drive.status) && world.row(r).cancel {
                world.go(w, r, Step::End(FailureCode::Cancelled));
                return Ok(());
            }
            let written = write(world, rules, (w, r), drive, |row| row.requeue(rules))?;
            let effect = written || world.row(r).is_over(drive.attempt);
            wrote(world, (w, r), effect, heard, drive, Step::Last);
        }
        Step::Clear(code) => {
            destroy(world, w, r, drive.attempt)?;
            world.go(w, r, Step::Requeue(code));
        }
        Step::Last => {
            destroy(world, w, r, drive.attempt)?;
            world.set_drive(w, r, None);
        }
        Step::LetGo => let_go(world, rules, w, r, drive)?,
    }
    Ok(())
}

/// After a fenced statement. No row is no failure if the row shows the statement's own effect: it
/// was repeated.
fn wrote(world: &mut World, (w, r): (u8, u8), effect: bool, heard: bool, drive: Drive, next: Step) {
    match (effect, heard) {
        (_, false) => world.set_drive(w, r, Some(drive)),
        (true, true) => world.go(w, r, next),
        (false, true) => world.go(w, r, Step::LetGo),
    }
}

fn is_at(world: &World, r: u8, drive: Drive, status: Status) -> bool {
    let row = world.row(r);
    lease(r, row.attempt, row.epoch) == drive.lease(r) && row.status == status
}

/// Create, start and feed: calls to the engine, whose failures are transient.
fn engine(world: &mut World, rules: &Rules, (w, r): (u8, u8), drive: Drive, heard: bool) {
    let a = drive.attempt;
    if !world.engine {
        return fail(world, rules, w, r, FailureCode::DockerUnavailable);
    }
    let next = match (drive.step, world.cell(r, a)) {
        (Step::Create, Cell::Absent | Cell::Created) => {
            world.set_cell(r, a, Cell::Created);
            if rules.confirms_before_start { Step::Confirm } else { Step::Start }
        }
        (Step::Start, Cell::Created) => {
            world.set_cell(r, a, Cell::Idle);
            world.ghost(r).starts += 1;
            Step::Feed
        }
        (Step::Feed, Cell::Idle) => {
            world.set_cell(r, a, Cell::Fed);
            Step::Listen
        }
        _ => return fail(world, rules, w, r, FailureCode::CellLost),
    };
    if heard {
        world.go(w, r, next);
    } else {
        fail(world, rules, w, r, FailureCode::DockerUnavailable);
    }
}

/// The next thing in the journal that is not written down yet.
fn listen(
    world: &mut World,
    rules: &Rules,
    (w, r): (u8, u8),
    drive: Drive,
    cell: Cell,
    heard: bool,
) -> Result<(), Violation> {
    if drive.heard < cell.stages() {
        let phase = drive.heard + 1;
        let written = write(world, rules, (w, r), drive, |row| {
            row.status = Status::Running;
            row.phase = phase;
        })?;
        let effect = written || (is_at(world, r, drive, Status::Running) && world.row(r).phase == phase);
        wrote(world, (w, r), effect, heard, drive, Step::Listen);
        if effect && heard {
            world.set_drive(w, r, Some(Drive { status: Status::Running, heard: phase, ..drive }));
        }
        return Ok(());
    }
    match cell {
        Cell::Results if drive.status == Status::Parsing => world.go(w, r, Step::Verdict),
        Cell::Results => {
            let written = write(world, rules, (w, r), drive, |row| row.status = Status::Parsing)?;
            let effect = written || is_at(world, r, drive, Status::Parsing);
            wrote(world, (w, r), effect, heard, drive, Step::Verdict);
            if effect && heard {
                world.set_drive(w, r, Some(Drive { status: Status::Parsing, step: Step::Verdict, ..drive }));
            }
        }
        _ => fail(world, rules, w, r, FailureCode::CellLost),
    }
    Ok(())
}

/// Whether a run's cell can be gone on with by someone who did not start it.
pub fn is_adoptable(world: &World, rules: &Rules, r: u8) -> bool {
    let row = world.row(r);
    let cell = world.cell(r, row.attempt);
    let begun = cell.stages() > 0 && row.status != Status::Preparing;
    begun || (!rules.adopts_begun_only && cell.is_alive())
}

/// A lease in this worker's name that it does not know: its claim's or its watchdog's reply was lost,
/// or it gave up. Names are unique and no cell goes before its attempt is over, so an attempt whose
/// cell was started shows it.
fn inspect(world: &mut World, rules: &Rules, w: u8, r: u8, drive: Drive) {
    let (row, cell) = (*world.row(r), world.cell(r, drive.attempt));
    if lease(r, row.attempt, row.epoch) != drive.lease(r)
        || row.worker != Some(world.process(w))
        || !row.status.is_active()
    {
        return world.go(w, r, Step::LetGo);
    }
    let known = Drive { status: row.status, heard: row.phase, ..drive };
    world.set_drive(w, r, Some(known));
    if row.cancel {
        world.go(w, r, Step::End(FailureCode::Cancelled));
    } else if is_adoptable(world, rules, r) {
        world.go(w, r, Step::Listen);
    } else if row.status == Status::Preparing && cell <= Cell::Created {
        world.go(w, r, Step::Tidy);
    } else {
        fail(world, rules, w, r, FailureCode::WorkerLost);
    }
}

/// A lost lease, it seems: the row says what to do with the cell. While someone else goes on with
/// the attempt, the cell is theirs.
fn let_go(world: &mut World, rules: &Rules, w: u8, r: u8, drive: Drive) -> Result<(), Violation> {
    let row = world.row(r);
    let mine = lease(r, row.attempt, row.epoch) == drive.lease(r) && row.worker == Some(world.process(w));
    if row.is_over(drive.attempt) || !(rules.loser_looks || mine) {
        destroy(world, w, r, drive.attempt)?;
    } else if mine {
        world.go(w, r, Step::Inspect);
        return Ok(());
    }
    world.set_drive(w, r, None);
    Ok(())
}

/// What a heartbeat would tell about one run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    None,
    Renewed,
    Cancelled,
    Lost,
    Unknown,
}

fn news(world: &World, rules: &Rules, w: u8, r: u8) -> News {
    let row = world.row(r);
    let mine = row.status.is_active() && row.worker == Some(world.process(w)) && !row.released;
    let renews = mine && row.stale && (rules.database_clock || !world.worker(w).skewed);
    // What a claim under way brings is no stranger.
    let awaits_claim = rules.claim_reply_once && world.worker(w).claimed.is_some();
    match world.drive(w, r) {
        None if mine && rules.finds_own && !awaits_claim => News::Unknown,
        Some(drive) if !matches!(drive.step, Step::Last | Step::LetGo | Step::Inspect) => {
            let same = lease(r, row.attempt, row.epoch) == drive.lease(r);
            let ending = matches!(drive.step, Step::Verdict | Step::End(_));
            match (mine && same, row.cancel && !ending) {
                (false, _) => News::Lost,
                (true, true) => News::Cancelled,
                (true, false) if renews => News::Renewed,
                (true, false) => News::None,
            }
        }
        _ if renews => News::Renewed,
        _ => News::None,
    }
}

/// Whether a heartbeat would change anything; it is sent all the same.
pub fn heartbeat_matters(world: &World, size: &Size, rules: &Rules, w: u8) -> bool {
    let by_a_wrong_clock = |row: &Row| {
        !rules.database_clock && world.worker(w).skewed && row.worker == Some(world.process(w)) && !row.stale
    };
    (0..).take(size.runs).any(|r| news(world, rules, w, r) != News::None || by_a_wrong_clock(world.row(r)))
}

/// One statement renews every lease in the worker's name; the answer says which it has.
pub fn heartbeat(world: &mut World, size: &Size, rules: &Rules, w: u8) {
    let told: [News; RUNS] =
        std::array::from_fn(|run| u8::try_from(run).map_or(News::None, |r| news(world, rules, w, r)));
    let process = world.process(w);
    let skewed = world.worker(w).skewed && !rules.database_clock;
    for (r, told) in (0..).zip(told).take(size.runs) {
        let row = world.row_mut(r);
        if row.status.is_active() && row.worker == Some(process) && !row.released {
            row.stale = skewed;
            row.silent = false;
        }
        match told {
            News::None | News::Renewed => {}
            News::Lost => world.go(w, r, Step::LetGo),
            News::Cancelled => world.go(w, r, Step::End(FailureCode::Cancelled)),
            News::Unknown => {
                let drive = Drive::new(row.attempt, row.epoch, row.status, 0, Step::Inspect);
                world.set_drive(w, r, Some(drive));
            }
        }
    }
}
