//! One attempt at one run, step by step: prepare or adopt, execute, parse, finish.

use assize_domain::run::retry::{self, Next};
use assize_domain::run::{FailureCode, Status};

use crate::invariants::{Invariant, Violation, must};
use crate::outside::destroy;
use crate::rules::Rules;
use crate::worker::{confirm, write};
use crate::world::{Cell, DRIVER, Drive, DriveId, Row, STAGES, SUBJECT, Size, Step, World, lease, most_crashes};

/// Whether it can be taken now: without anything in the journal there is nothing to hear.
pub fn can_step(world: &World, size: &Size, id: DriveId) -> bool {
    let Some(drive) = world.drive(id) else { return false };
    if drive.step != Step::Listen {
        return true;
    }
    let name = world.name(id.r, drive.attempt, drive.role);
    let up = size.driver && drive.role == SUBJECT && name.cell == Cell::Stage(STAGES);
    name.id() != drive.own_id()
        || up
        || drive.heard < name.cell.stages()
        || matches!(name.cell, Cell::Results(_) | Cell::Broken(_))
}

/// Steps whose effect outlives a lost reply.
pub const fn reply_matters(step: Step) -> bool {
    matches!(
        step,
        Step::Create
            | Step::Taken
            | Step::Confirm
            | Step::Start
            | Step::Listen
            | Step::Verdict
            | Step::End(_)
            | Step::Requeue(_)
    )
}

/// Writes that are repeated for 25 s while Postgres is away, and then given up.
pub const fn gives_up(step: Step) -> bool {
    matches!(step, Step::Listen | Step::Verdict | Step::End(_) | Step::Requeue(_))
}

/// What can go wrong in a step, by itself.
pub const fn misfortunes(step: Step) -> &'static [FailureCode] {
    match step {
        Step::Listen => &[FailureCode::CellLost, FailureCode::StageTimeout],
        Step::Verdict => &[FailureCode::ResultsInvalid],
        _ => &[],
    }
}

/// The attempt has failed: what is written next follows from the service's own rule.
pub fn fail(world: &mut World, rules: &Rules, id: DriveId, code: FailureCode) {
    let Some(drive) = world.drive(id) else { return };
    let step = match retry::after(code, i32::from(drive.attempt)) {
        _ if drive.poison => Step::End(code),
        Next::Retry { .. } if rules.writes_first => Step::Requeue(code),
        Next::Retry { .. } => Step::Clear(code),
        Next::End if !rules.counts_attempts && code.is_transient() => Step::Requeue(code),
        Next::End => Step::End(code),
    };
    world.go(id, step);
}

/// Takes the next step of a drive. If it is not `heard`, the effect is there and the worker does not
/// know: it repeats a statement, and takes an engine's silence for a failure.
pub fn step(world: &mut World, size: &Size, rules: &Rules, id: DriveId, heard: bool) -> Result<(), Violation> {
    let Some(drive) = world.drive(id) else { return Ok(()) };
    let both = (id, drive);
    match drive.step {
        Step::Adopt | Step::Kill | Step::Tidy | Step::Create | Step::Free | Step::Start | Step::Feed | Step::Judge
            if !world.engine =>
        {
            let doubt = matches!(drive.step, Step::Create | Step::Start);
            world.set_drive(id, Some(Drive { doubt: drive.doubt || doubt, ..drive }));
            fail(world, rules, id, FailureCode::DockerUnavailable);
        }
        Step::Adopt => adopt(world, rules, id, drive)?,
        Step::Kill => kill(world, rules, id, drive)?,
        Step::Tidy => {
            if rules.tidies_before_create {
                for attempt in 1..drive.attempt {
                    for role in [SUBJECT, DRIVER] {
                        destroy(world, (id, drive), attempt, role)?;
                    }
                }
            }
            world.go(id, Step::Create);
        }
        Step::Create => create(world, rules, id, drive, heard),
        Step::Taken => {
            let holds = confirm(world, rules, id, drive) && heard;
            let drive = if holds {
                Drive { step: Step::Free, ..drive }
            } else {
                Drive { step: Step::LetGo, ..drive.with_id(0) }
            };
            world.set_drive(id, Some(drive));
        }
        Step::Free => {
            let found = world.name(id.r, drive.attempt, drive.role).id();
            if found == drive.own_id() || !rules.frees_by_id {
                destroy(world, both, drive.attempt, drive.role)?;
            }
            world.set_drive(id, Some(Drive { step: Step::Create, ..drive.with_id(0) }));
        }
        Step::Confirm => {
            let holds = confirm(world, rules, id, drive) && heard;
            world.go(id, if holds { Step::Start } else { Step::Undo(None) });
        }
        Step::Start => {
            let name = world.name(id.r, drive.attempt, drive.role);
            let starts = name.id() == drive.own_id() && name.cell == Cell::Created;
            if starts {
                world.set_cell(id.r, drive.attempt, drive.role, Cell::Idle);
            }
            let undo = Step::Undo(Some(FailureCode::DockerUnavailable));
            world.go(id, if starts && heard { Step::Feed } else { undo });
        }
        Step::Undo(code) => undo(world, rules, id, drive, code)?,
        Step::Feed => {
            if world.name(id.r, drive.attempt, drive.role).id() == drive.own_id() {
                world.set_cell(id.r, drive.attempt, drive.role, Cell::Fed);
                world.go(id, Step::Listen);
            } else {
                fail(world, rules, id, FailureCode::CellLost);
            }
        }
        Step::Listen => listen(world, size, rules, both, heard)?,
        Step::Judge => parse_results(world, id, drive),
        Step::Verdict => {
            let written = write(world, rules, both, |row| row.status = Status::Completed)?;
            if written {
                world.ghost(id.r).verdicts += 1;
            }
            let effect = written || is_at(world, both, Status::Completed);
            wrote(world, both, effect, heard, Step::Last);
        }
        Step::End(code) => {
            let written = write(world, rules, both, |row| row.status = code.status())?;
            let effect = written || is_at(world, both, code.status());
            wrote(world, both, effect, heard, Step::Last);
        }
        Step::Requeue(_) => {
            let written = write(world, rules, both, |row| row.requeue(rules))?;
            let row = world.row(id.r);
            let effect = written || row.attempt > drive.attempt || is_at(world, both, Status::Aborted);
            wrote(world, both, effect, heard, Step::Last);
        }
        Step::Clear(code) => {
            last(world, both)?;
            world.go(id, Step::Requeue(code));
        }
        Step::Last => {
            last(world, both)?;
            world.set_drive(id, None);
        }
        // While someone goes on with the attempt, its cells are theirs; that may be this very worker, by its
        // watchdog.
        Step::LetGo if !world.row(id.r).is_over(drive.attempt) && rules.loser_looks => world.set_drive(id, None),
        Step::LetGo => world.go(id, Step::Last),
    }
    Ok(())
}

/// Lists what there is of the attempt, and reads how far the subject came.
fn adopt(world: &mut World, rules: &Rules, id: DriveId, drive: Drive) -> Result<(), Violation> {
    let names = [SUBJECT, DRIVER].map(|role| world.name(id.r, drive.attempt, role));
    let [subject, driver] = names.map(crate::world::Name::id);
    world.set_drive(id, Some(Drive { own: [subject, driver], ..drive }));
    let (had_begun, is_there) = (drive.status != Status::Preparing, subject != 0);
    let resumes = is_there
        && (had_begun || names[0].cell.stages() > 0 || (!rules.resumes_begun_only && names[0].cell.is_alive()));
    if drive.poison && rules.ends_poison {
        fail(world, rules, id, FailureCode::WorkerLost);
        return Ok(());
    }
    let deaths = world.ghost(id.r).deaths;
    let goes_on = resumes || !(had_begun || drive.crashed);
    must(!goes_on || deaths < most_crashes(), Invariant::PoisonStops, || {
        format!("run {} killed {deaths} workers, and another goes on with it", id.r)
    })?;
    match (resumes, is_there) {
        (true, _) => world.go(id, Step::Listen),
        _ if had_begun || drive.crashed => fail(world, rules, id, FailureCode::WorkerLost),
        (_, true) => world.go(id, Step::Kill),
        (_, false) => world.go(id, Step::Tidy),
    }
    Ok(())
}

/// A cell that had not begun is in the way. Confirming and killing are one step here: a worker that
/// stops for 30 s just between the two may end a cell that another goes on with, and costs it the
/// attempt. Nothing that an engine offers could tell it.
fn kill(world: &mut World, rules: &Rules, id: DriveId, drive: Drive) -> Result<(), Violation> {
    if rules.confirms_before_kill && !confirm(world, rules, id, drive) {
        world.go(id, Step::LetGo);
        return Ok(());
    }
    let name = world.name(id.r, drive.attempt, drive.role);
    if name.id() == drive.own_id() {
        let stages = name.cell.stages();
        destroy(world, (id, drive), drive.attempt, drive.role)?;
        if stages > 0 && rules.looks_after_kill {
            world.set_cell(id.r, drive.attempt, drive.role, Cell::Broken(stages));
            fail(world, rules, id, FailureCode::WorkerLost);
            return Ok(());
        }
    }
    let step = if drive.role == SUBJECT { Step::Tidy } else { Step::Create };
    world.set_drive(id, Some(Drive { step, ..drive.with_id(0) }));
    Ok(())
}

fn create(world: &mut World, rules: &Rules, id: DriveId, drive: Drive, heard: bool) {
    let taken = world.name(id.r, drive.attempt, drive.role).id();
    if taken != 0 {
        // What has the name is looked up before the lease is confirmed: so it is none of a later holder's.
        let doubt = drive.doubt || !heard;
        let step = if rules.confirms_before_free { Step::Taken } else { Step::Free };
        world.set_drive(id, Some(Drive { doubt, step, ..drive.with_id(taken) }));
        return;
    }
    let made = world.create(id.r, drive.attempt, drive.role);
    if heard {
        let step = if rules.confirms_before_start { Step::Confirm } else { Step::Start };
        world.set_drive(id, Some(Drive { step, ..drive.with_id(made) }));
    } else {
        // The subject is tried once more, in another berth.
        world.set_drive(id, Some(Drive { doubt: true, ..drive }));
        if drive.role == DRIVER {
            fail(world, rules, id, FailureCode::DockerUnavailable);
        }
    }
}

/// By its id: whatever else has the name now stays. If the engine does not answer, so does this.
fn undo(
    world: &mut World,
    rules: &Rules,
    id: DriveId,
    drive: Drive,
    code: Option<FailureCode>,
) -> Result<(), Violation> {
    let is_own = world.name(id.r, drive.attempt, drive.role).id() == drive.own_id();
    if is_own && world.engine {
        destroy(world, (id, drive), drive.attempt, drive.role)?;
    }
    world.set_drive(id, Some(Drive { doubt: true, ..drive.with_id(0) }));
    match code {
        Some(code) => fail(world, rules, id, code),
        None => world.go(id, Step::LetGo),
    }
    Ok(())
}

/// The next thing in the journal that is not written down yet.
fn listen(world: &mut World, size: &Size, rules: &Rules, both: (DriveId, Drive), heard: bool) -> Result<(), Violation> {
    let (id, drive) = both;
    let name = world.name(id.r, drive.attempt, drive.role);
    if name.id() != drive.own_id() {
        fail(world, rules, id, FailureCode::CellLost);
        return Ok(());
    }
    if drive.heard < name.cell.stages() {
        // A subject that is read again names its own stages only.
        let phase = drive.heard + 1;
        let written = write(world, rules, both, |row| {
            row.status = Status::Running;
            row.phase = phase;
        })?;
        let effect = written || (is_at(world, both, Status::Running) && world.row(id.r).phase == phase);
        wrote(world, both, effect, heard, Step::Listen);
        if effect && heard {
            world.set_drive(id, Some(Drive { status: Status::Running, heard: phase, ..drive }));
        }
        return Ok(());
    }
    match name.cell {
        Cell::Results(_) if drive.status == Status::Parsing => world.go(id, Step::Verdict),
        Cell::Results(_) => {
            let written = write(world, rules, both, |row| row.status = Status::Parsing)?;
            let effect = written || is_at(world, both, Status::Parsing);
            wrote(world, both, effect, heard, Step::Verdict);
            if effect && heard {
                world.set_drive(id, Some(Drive { status: Status::Parsing, step: Step::Verdict, ..drive }));
            }
        }
        Cell::Stage(STAGES) if size.driver && drive.role == SUBJECT => world.go(id, Step::Judge),
        _ => fail(world, rules, id, FailureCode::CellLost),
    }
    Ok(())
}

/// The cell that decides: the one that was found, if its tests have begun, else a new one.
fn parse_results(world: &mut World, id: DriveId, drive: Drive) {
    let drive = Drive { role: DRIVER, ..drive };
    let found = world.name(id.r, drive.attempt, DRIVER);
    let step = match drive.own_id() {
        0 => Step::Create,
        own if own == found.id() && found.cell.stages() > 0 => Step::Listen,
        _ => Step::Kill,
    };
    world.set_drive(id, Some(Drive { step, ..drive }));
}

/// After a fenced statement. No row is no failure if the row shows the statement's own effect: it
/// was repeated.
fn wrote(world: &mut World, (id, drive): (DriveId, Drive), effect: bool, heard: bool, next: Step) {
    match (effect, heard) {
        (_, false) => world.set_drive(id, Some(drive)),
        (true, true) => world.go(id, next),
        (false, true) => world.go(id, Step::LetGo),
    }
}

fn is_at(world: &World, (id, drive): (DriveId, Drive), status: Status) -> bool {
    let row: &Row = world.row(id.r);
    lease(id.r, row.attempt, row.epoch) == drive.lease(id.r) && row.status == status
}

/// Removes its cells; all of the attempt, if it may have made one that it does not know. What an engine
/// that is away keeps is swept.
fn last(world: &mut World, both: (DriveId, Drive)) -> Result<(), Violation> {
    let (id, drive) = both;
    for role in [SUBJECT, DRIVER] {
        let found = world.name(id.r, drive.attempt, role).id();
        if world.engine && (drive.doubt || found == drive.own[usize::from(role)]) {
            destroy(world, both, drive.attempt, role)?;
        }
    }
    Ok(())
}
