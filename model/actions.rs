//! Everything that can happen next.

use assize::run::{FailureCode, Status};

use crate::invariants::{Violation, check_move};
use crate::rules::Rules;
use crate::world::{ATTEMPTS, Cell, DRIVER, Drive, DriveId, Life, SUBJECT, Size, Step, World};
use crate::{drive, outside, watchdog, worker};

/// One atomic step. `w` is a worker, `r` a run, `a` an attempt; all from 0 but `a`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The claim's statement is committed.
    Claim {
        w: u8,
        r: u8,
    },
    /// Only where a rule is broken: the caps are read.
    Count {
        w: u8,
        r: u8,
    },
    HearClaim {
        w: u8,
    },
    /// The claim's reply never comes.
    LoseClaim {
        w: u8,
    },
    /// The next step of a drive.
    Step {
        id: DriveId,
    },
    /// The same, done, but its reply is lost.
    StepUnheard {
        id: DriveId,
    },
    /// The attempt fails with this code.
    Misfortune {
        id: DriveId,
        code: FailureCode,
    },
    /// A write was repeated for 25 s in vain.
    GiveUp {
        id: DriveId,
    },
    /// A drive panics.
    Panic {
        w: u8,
        r: u8,
    },
    /// Renews the leases in the worker's name, and hears of cancels and losses.
    Heartbeat {
        w: u8,
    },
    /// The watchdog's SELECT finds a run.
    Look {
        w: u8,
        r: u8,
    },
    /// The watchdog takes the lease.
    Take {
        w: u8,
    },
    /// The same, done, but its reply is lost.
    TakeUnheard {
        w: u8,
    },
    /// Only where a rule is broken: the janitor asks Postgres before it asks the engine.
    Ask {
        w: u8,
        r: u8,
    },
    /// The janitor removes what there is of an attempt that is over.
    Sweep {
        w: u8,
        r: u8,
        a: u8,
    },
    /// SIGTERM.
    Drain {
        w: u8,
    },
    /// Releases its leases, leaves its cells and stops.
    Leave {
        w: u8,
    },
    /// Only where a rule is broken: a renewal comes after that.
    LateRenewal {
        r: u8,
    },
    /// A paused worker finds that its engine answers.
    Probe {
        w: u8,
    },

    /// The cell begins its next stage, or writes its results and exits.
    Cell {
        r: u8,
        a: u8,
        role: u8,
    },
    /// The cell exits without results.
    Break {
        r: u8,
        a: u8,
        role: u8,
    },
    /// 30 s without a renewal: SIGSTOP, a stall, no way to Postgres.
    Stale {
        r: u8,
    },
    /// The backoff is over.
    Due {
        r: u8,
    },
    Kill {
        w: u8,
    },
    Restart {
        w: u8,
    },
    EngineGoes,
    EngineComes,
    Cancel {
        r: u8,
    },
    /// The worker's clock jumps by more than a lease.
    Skew {
        w: u8,
    },
}

/// What may happen now: by itself, and what costs a fault or a cancel.
#[derive(Debug, Default)]
pub struct Choices {
    pub normal: Vec<Action>,
    pub faults: Vec<Action>,
}

impl Choices {
    /// All of them, in a fixed order.
    pub fn all(&self) -> impl Iterator<Item = Action> {
        self.normal.iter().chain(&self.faults).copied()
    }
}

fn up_to(count: usize) -> impl Iterator<Item = u8> {
    (0..).take(count)
}

/// Fills `choices` with what may happen in `world`. The order of `normal` is a fair schedule: what
/// brings a run to its end comes before what takes it from a worker.
pub fn choices(world: &World, size: &Size, rules: &Rules, choices: &mut Choices) {
    choices.normal.clear();
    choices.faults.clear();
    let normal = &mut choices.normal;
    if !world.engine {
        normal.push(Action::EngineComes);
    }
    for w in up_to(size.workers) {
        // Without an engine a worker does not start.
        if !world.worker(w).runs() && world.engine {
            normal.push(Action::Restart { w });
        }
    }
    for w in up_to(size.workers).filter(|w| world.worker(*w).runs()) {
        of_worker(world, size, rules, w, normal);
    }
    for r in up_to(size.runs) {
        let row = world.row(r);
        if row.waits {
            normal.push(Action::Due { r });
        }
        for a in up_to(ATTEMPTS).map(|a| a + 1) {
            for role in [SUBJECT, DRIVER] {
                if outside::can_go_on(world, size, r, a, role) {
                    normal.push(Action::Cell { r, a, role });
                }
            }
        }
    }
    for w in up_to(size.workers) {
        if outside::can_leave(world, w) {
            normal.push(Action::Leave { w });
        }
    }
    if world.faults > 0 {
        faults(world, size, rules, &mut choices.faults);
    }
    if world.cancels > 0 {
        for r in up_to(size.runs) {
            if !world.row(r).status.is_terminal() && !world.row(r).cancel {
                choices.faults.push(Action::Cancel { r });
            }
        }
    }
}

fn drives(w: u8, r: u8) -> [DriveId; 2] {
    [DriveId { w, r, k: 0 }, DriveId { w, r, k: 1 }]
}

fn of_worker(world: &World, size: &Size, rules: &Rules, w: u8, normal: &mut Vec<Action>) {
    let worker = world.worker(w);
    if worker.paused && world.engine {
        normal.push(Action::Probe { w });
    }
    if worker::heartbeat_matters(world, size, rules, w) {
        normal.push(Action::Heartbeat { w });
    }
    if worker.claimed.is_some_and(|(run, ..)| worker::has_room(world, w, run)) {
        normal.push(Action::HearClaim { w });
    }
    for r in up_to(size.runs) {
        for id in drives(w, r) {
            if drive::can_step(world, size, id) {
                normal.push(Action::Step { id });
            }
        }
        if watchdog::can_look(world, rules, w, r) {
            normal.push(Action::Look { w, r });
        }
        if worker::can_claim(world, size, rules, w, r) {
            normal.push(Action::Claim { w, r });
        } else if worker::can_count(world, size, rules, w, r) {
            normal.push(Action::Count { w, r });
        }
        if !rules.asks_engine_first && worker.asked.is_none() {
            normal.push(Action::Ask { w, r });
        }
        for a in up_to(ATTEMPTS).map(|a| a + 1) {
            if watchdog::can_sweep(world, rules, w, r, a) {
                normal.push(Action::Sweep { w, r, a });
            }
        }
    }
    if watchdog::can_take(world, w) {
        normal.push(Action::Take { w });
    }
}

fn faults(world: &World, size: &Size, rules: &Rules, faults: &mut Vec<Action>) {
    if world.engine {
        faults.push(Action::EngineGoes);
    }
    for w in up_to(size.workers) {
        let worker = world.worker(w);
        if !worker.runs() {
            continue;
        }
        faults.push(Action::Kill { w });
        if worker.life == Life::Up {
            faults.push(Action::Drain { w });
        }
        if worker.claimed.is_some() {
            faults.push(Action::LoseClaim { w });
        }
        if watchdog::can_take(world, w) {
            faults.push(Action::TakeUnheard { w });
        }
        if !rules.database_clock && !worker.skewed {
            faults.push(Action::Skew { w });
        }
        for r in up_to(size.runs) {
            for id in drives(w, r) {
                if let Some(drive) = world.drive(id) {
                    of_drive(world, size, id, drive, faults);
                }
            }
        }
    }
    for r in up_to(size.runs) {
        let row = world.row(r);
        if row.status.is_active() && !row.stale && world.holder_lives(r) {
            faults.push(Action::Stale { r });
        }
        if outside::can_renew_late(world, rules, r) {
            faults.push(Action::LateRenewal { r });
        }
        for a in up_to(ATTEMPTS).map(|a| a + 1) {
            for role in [SUBJECT, DRIVER] {
                if world.cell(r, a, role).is_alive() {
                    faults.push(Action::Break { r, a, role });
                }
            }
        }
    }
}

fn of_drive(world: &World, size: &Size, id: DriveId, drive: Drive, faults: &mut Vec<Action>) {
    if drive::reply_matters(drive.step) && drive::can_step(world, size, id) {
        faults.push(Action::StepUnheard { id });
    }
    if drive::gives_up(drive.step) {
        faults.push(Action::GiveUp { id });
    }
    if id.k == 0 && worker::hears_of_loss(drive.step) {
        faults.push(Action::Panic { w: id.w, r: id.r });
    }
    for code in drive::misfortunes(drive.step) {
        faults.push(Action::Misfortune { id, code: *code });
    }
}

/// Does it. The action must be among the [`choices`].
pub fn apply(world: &mut World, size: &Size, rules: &Rules, action: Action) -> Result<(), Violation> {
    let before = world.rows;
    match action {
        Action::Claim { w, r } => worker::claim(world, w, r)?,
        Action::Count { w, r } => world.worker_mut(w).counted = Some(r),
        Action::HearClaim { w } => worker::hear_claim(world, w),
        Action::LoseClaim { w } => world.worker_mut(w).claimed = None,
        Action::Step { id } => drive::step(world, size, rules, id, true)?,
        Action::StepUnheard { id } => drive::step(world, size, rules, id, false)?,
        Action::Misfortune { id, code } => drive::fail(world, rules, id, code),
        Action::GiveUp { id } => world.go(id, Step::LetGo),
        Action::Panic { w, r } => outside::panic(world, w, r),
        Action::Heartbeat { w } => worker::heartbeat(world, size, rules, w),
        Action::Look { w, r } => watchdog::look(world, w, r),
        Action::Take { w } => watchdog::take(world, rules, w, true)?,
        Action::TakeUnheard { w } => watchdog::take(world, rules, w, false)?,
        Action::Ask { w, r } => watchdog::ask(world, w, r),
        Action::Sweep { w, r, a } => {
            world.worker_mut(w).asked = None;
            outside::sweep(world, r, a)?;
        }
        Action::Drain { w } => world.worker_mut(w).life = Life::Draining,
        Action::Leave { w } => outside::leave(world, size, rules, w),
        Action::LateRenewal { r } => outside::late_renewal(world, r),
        Action::Probe { w } => world.worker_mut(w).paused = false,
        Action::Cell { r, a, role } => outside::cell_goes_on(world, r, a, role)?,
        Action::Break { r, a, role } => world.set_cell(r, a, role, Cell::Broken(world.cell(r, a, role).stages())),
        Action::Stale { r } => {
            world.row_mut(r).stale = true;
            world.row_mut(r).silent = true;
            world.ghost(r).silences += 1;
        }
        Action::Due { r } => world.row_mut(r).waits = false,
        Action::Kill { w } => outside::kill(world, size, w),
        Action::Restart { w } => outside::restart(world, w),
        Action::EngineGoes => {
            world.engine = false;
            world.outages += 1;
        }
        Action::EngineComes => world.engine = true,
        Action::Cancel { r } => outside::cancel(world, r),
        Action::Skew { w } => world.worker_mut(w).skewed = true,
    }
    match action {
        Action::Cancel { .. } => world.cancels -= 1,
        _ if action.costs() => world.faults -= 1,
        _ => {}
    }
    for (run, (before, after)) in before.iter().zip(&world.rows).enumerate() {
        check_move(run, before, after)?;
    }
    Ok(())
}

impl Action {
    const fn costs(self) -> bool {
        matches!(
            self,
            Self::LoseClaim { .. }
                | Self::StepUnheard { .. }
                | Self::Misfortune { .. }
                | Self::GiveUp { .. }
                | Self::TakeUnheard { .. }
                | Self::Drain { .. }
                | Self::Panic { .. }
                | Self::LateRenewal { .. }
                | Self::Break { .. }
                | Self::Stale { .. }
                | Self::Kill { .. }
                | Self::EngineGoes
                | Self::Skew { .. }
        )
    }

    /// What happens, for a person who reads a schedule.
    pub fn describe(self, world: &World) -> String {
        let name = |w: u8| format!("worker {}", char::from(b'A' + w));
        let step = |id: DriveId| {
            let said = world.drive(id).map_or_else(String::new, |drive| phrase(world, id.r, drive));
            format!("{}{} {said}", name(id.w), if id.k == 0 { "" } else { "'s earlier drive" })
        };
        match self {
            Self::Claim { w, r } => format!("{}'s claim of run {r} is committed", name(w)),
            Self::Count { w, r } => format!("{} reads the caps for run {r}", name(w)),
            Self::HearClaim { w } => format!("{} hears what it claimed", name(w)),
            Self::LoseClaim { w } => format!("the reply to {}'s claim is lost", name(w)),
            Self::Step { id } => step(id),
            Self::StepUnheard { id } => format!("{}; the reply is lost", step(id)),
            Self::Misfortune { id, code } => format!("{} fails run {}: {code}", name(id.w), id.r),
            Self::GiveUp { id } => format!("{} writes to run {} in vain for 25 s and gives up", name(id.w), id.r),
            Self::Panic { w, r } => format!("{} panics with run {r}", name(w)),
            Self::Heartbeat { w } => format!("{}'s heartbeat is committed and heard", name(w)),
            Self::Look { w, r } => format!("{}'s watchdog selects run {r}", name(w)),
            Self::Take { w } => format!("{}'s watchdog takes the lease, if it may", name(w)),
            Self::TakeUnheard { w } => {
                format!("{}'s watchdog takes the lease, if it may; the reply is lost", name(w))
            }
            Self::Ask { w, r } => format!("{}'s janitor asks which attempt of run {r} is active", name(w)),
            Self::Sweep { w, r, a } => format!("{} sweeps what there is of run {r}, attempt {a}", name(w)),
            Self::Drain { w } => format!("{} is told to stop and drains", name(w)),
            Self::Leave { w } => format!("{} releases its leases and stops", name(w)),
            Self::LateRenewal { r } => format!("a renewal of run {r} was on its way and comes now"),
            Self::Probe { w } => format!("{} finds that the engine answers", name(w)),
            Self::Cell { r, a, role } => match world.cell(r, a, role) {
                Cell::Stage(stage) if role == DRIVER || stage >= crate::world::STAGES => {
                    format!("the {} of run {r}, attempt {a}, ends with results", called(role))
                }
                _ => format!("the {} of run {r}, attempt {a}, begins its next stage", called(role)),
            },
            Self::Break { r, a, role } => {
                format!("the {} of run {r}, attempt {a}, exits without results", called(role))
            }
            Self::Stale { r } => format!("run {r}'s lease is not renewed for 30 s"),
            Self::Due { r } => format!("run {r}'s backoff is over"),
            Self::Kill { w } => format!("{} is killed", name(w)),
            Self::Restart { w } => format!("{} starts again", name(w)),
            Self::EngineGoes => "the engine stops answering".to_owned(),
            Self::EngineComes => "the engine answers again".to_owned(),
            Self::Cancel { r } => format!("someone cancels run {r}"),
            Self::Skew { w } => format!("{}'s clock jumps back by a minute", name(w)),
        }
    }
}

const fn called(role: u8) -> &'static str {
    if role == DRIVER { "driver" } else { "subject" }
}

fn phrase(world: &World, r: u8, drive: Drive) -> String {
    let (a, cell) = (drive.attempt, called(drive.role));
    match drive.step {
        Step::Adopt => format!("lists the cells of run {r}, attempt {a}"),
        Step::Kill => format!("kills a {cell} of run {r}, attempt {a}, that had not begun"),
        Step::Tidy => format!("removes cells of run {r} before attempt {a}"),
        Step::Create => format!("creates the {cell} of run {r}, attempt {a}"),
        Step::Taken => format!("confirms its lease on run {r}, attempt {a}: the name is taken"),
        Step::Free => format!("removes what has the name of the {cell} of run {r}, attempt {a}"),
        Step::Confirm => format!("confirms its lease on run {r}, attempt {a}"),
        Step::Start => format!("starts the {cell} of run {r}, attempt {a}"),
        Step::Undo(_) => format!("removes the {cell} that it created for run {r}, attempt {a}"),
        Step::Feed => format!("sends plan and inputs to the {cell} of run {r}, attempt {a}"),
        Step::Listen if drive.heard < world.cell(r, a, drive.role).stages() => {
            format!("writes that run {r}, attempt {a}, is in stage {}", drive.heard + 1)
        }
        Step::Listen => format!("hears out the {cell} of run {r}, attempt {a}"),
        Step::Judge => format!("looks for the driver of run {r}, attempt {a}"),
        Step::Verdict => format!("writes the verdict of run {r}, attempt {a}"),
        Step::End(code) => format!("ends run {r}, attempt {a}: {}, {code}", code.status()),
        Step::Requeue(code) => format!("sends run {r} back to the queue after attempt {a}: {code}"),
        Step::Last | Step::Clear(_) => format!("destroys the cells of run {r}, attempt {a}"),
        Step::LetGo => format!("looks whether run {r}, attempt {a}, goes on without it"),
    }
}

/// One line for what a person wants to see of a state.
pub fn picture(world: &World, size: &Size) -> String {
    let mut text = String::new();
    for run in 0..size.runs {
        let row = &world.rows[run];
        let holder = row.worker.filter(|_| row.status.is_active()).map_or_else(String::new, |process| {
            let stale = if row.stale { " stale" } else { "" };
            let released = if row.released { " released" } else { "" };
            format!(" {}{}{stale}{released}", char::from(b'A' + process.slot), process.generation)
        });
        let cells: Vec<_> = (1..)
            .zip(world.cells[run])
            .flat_map(|(attempt, names): (u8, _)| [(attempt, SUBJECT, names[0]), (attempt, DRIVER, names[1])])
            .filter(|(.., name)| name.id() != 0)
            .map(|(attempt, role, name)| format!(" {} {attempt} {:?}", called(role), name.cell))
            .collect();
        let crashes = if row.crashes > 0 { format!(" crashes {}", row.crashes) } else { String::new() };
        let cancel = if row.cancel && row.status != Status::Aborted { " cancel" } else { "" };
        let status = row.status;
        text += &format!("[{run} {status} {}.{}{holder}{crashes}{cancel}{}] ", row.attempt, row.epoch, cells.concat());
    }
    text
}
