//! Everything that can happen next.

use assize::run::{FailureCode, Status};

use crate::invariants::{Violation, check_move};
use crate::rules::Rules;
use crate::world::{ATTEMPTS, Cell, Life, STAGES, Size, Step, World};
use crate::{outside, watchdog, worker};

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
        w: u8,
        r: u8,
    },
    /// The same, done, but its reply is lost.
    StepUnheard {
        w: u8,
        r: u8,
    },
    /// The attempt fails with this code.
    Misfortune {
        w: u8,
        r: u8,
        code: FailureCode,
    },
    /// A write was repeated for 25 s in vain.
    GiveUp {
        w: u8,
        r: u8,
    },
    /// Renews all leases in the worker's name, and hears of cancels, losses and strangers.
    Heartbeat {
        w: u8,
    },
    /// The watchdog's SELECT finds a run.
    Look {
        w: u8,
        r: u8,
    },
    /// The watchdog looks at the cell, then adopts or ends the attempt.
    Take {
        w: u8,
    },
    /// The same, done, but its reply is lost.
    TakeUnheard {
        w: u8,
    },
    /// Removes the cell of an attempt that is over.
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

    /// The cell begins its next stage, or writes its results and exits.
    Cell {
        r: u8,
        a: u8,
    },
    /// The cell exits without results.
    Break {
        r: u8,
        a: u8,
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
        if !world.worker(w).runs() {
            normal.push(Action::Restart { w });
        }
    }
    for w in up_to(size.workers).filter(|w| world.worker(*w).runs()) {
        if worker::heartbeat_matters(world, size, rules, w) {
            normal.push(Action::Heartbeat { w });
        }
        if world.worker(w).claimed.is_some_and(|claimed| worker::can_hear(world, rules, w, claimed)) {
            normal.push(Action::HearClaim { w });
        }
        for r in up_to(size.runs) {
            if worker::can_step(world, w, r) {
                normal.push(Action::Step { w, r });
            }
            if watchdog::can_look(world, w, r) {
                normal.push(Action::Look { w, r });
            }
            if worker::can_claim(world, size, rules, w, r) {
                normal.push(Action::Claim { w, r });
            } else if worker::can_count(world, size, rules, w, r) {
                normal.push(Action::Count { w, r });
            }
            for a in up_to(ATTEMPTS).map(|a| a + 1) {
                if watchdog::can_sweep(world, rules, r, a) {
                    normal.push(Action::Sweep { w, r, a });
                }
            }
        }
        if watchdog::can_take(world, w) {
            normal.push(Action::Take { w });
        }
    }
    for r in up_to(size.runs) {
        let row = world.row(r);
        if row.waits {
            normal.push(Action::Due { r });
        }
        for (a, cell) in (1..).zip(world.cells[usize::from(r)]) {
            if matches!(cell, Cell::Fed | Cell::Stage(_)) {
                normal.push(Action::Cell { r, a });
            }
        }
    }
    for w in up_to(size.workers) {
        if world.worker(w).life == Life::Draining {
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
            let Some(drive) = world.drive(w, r) else { continue };
            if worker::reply_matters(drive.step) && worker::can_step(world, w, r) {
                faults.push(Action::StepUnheard { w, r });
            }
            if matches!(drive.step, Step::Confirm | Step::Listen | Step::Verdict | Step::End(_) | Step::Requeue(_)) {
                faults.push(Action::GiveUp { w, r });
            }
            for code in worker::misfortunes(drive.step) {
                faults.push(Action::Misfortune { w, r, code: *code });
            }
        }
    }
    for r in up_to(size.runs) {
        let row = world.row(r);
        if row.status.is_active() && !row.stale && world.holder_lives(r) {
            faults.push(Action::Stale { r });
        }
        for (a, cell) in (1..).zip(world.cells[usize::from(r)]) {
            if cell.is_alive() {
                faults.push(Action::Break { r, a });
            }
        }
    }
}

/// Does it. The action must be among the [`choices`].
pub fn apply(world: &mut World, size: &Size, rules: &Rules, action: Action) -> Result<(), Violation> {
    let before = world.rows;
    match action {
        Action::Claim { w, r } => worker::claim(world, w, r)?,
        Action::Count { w, r } => world.worker_mut(w).counted = Some(r),
        Action::HearClaim { w } => worker::hear_claim(world, rules, w),
        Action::LoseClaim { w } => world.worker_mut(w).claimed = None,
        Action::Step { w, r } => worker::step(world, rules, w, r, true)?,
        Action::StepUnheard { w, r } => worker::step(world, rules, w, r, false)?,
        Action::Misfortune { w, r, code } => worker::fail(world, rules, w, r, code),
        Action::GiveUp { w, r } => world.go(w, r, Step::LetGo),
        Action::Heartbeat { w } => worker::heartbeat(world, size, rules, w),
        Action::Look { w, r } => watchdog::look(world, w, r),
        Action::Take { w } => watchdog::take(world, rules, w, true)?,
        Action::TakeUnheard { w } => watchdog::take(world, rules, w, false)?,
        Action::Sweep { w, r, a } => outside::destroy(world, w, r, a)?,
        Action::Drain { w } => world.worker_mut(w).life = Life::Draining,
        Action::Leave { w } => outside::leave(world, size, w),
        Action::Cell { r, a } => outside::cell_goes_on(world, r, a)?,
        Action::Break { r, a } => world.set_cell(r, a, Cell::Broken(world.cell(r, a).stages())),
        Action::Stale { r } => {
            world.row_mut(r).stale = true;
            world.row_mut(r).silent = true;
        }
        Action::Due { r } => world.row_mut(r).waits = false,
        Action::Kill { w } => outside::kill(world, size, w),
        Action::Restart { w } => outside::restart(world, w),
        Action::EngineGoes => world.engine = false,
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
        let step =
            |w: u8, r: u8| world.drive(w, r).map_or_else(String::new, |drive| phrase(world, drive.step, r, drive));
        match self {
            Self::Claim { w, r } => format!("{}'s claim of run {r} is committed", name(w)),
            Self::Count { w, r } => format!("{} reads the caps for run {r}", name(w)),
            Self::HearClaim { w } => format!("{} hears what it claimed", name(w)),
            Self::LoseClaim { w } => format!("the reply to {}'s claim is lost", name(w)),
            Self::Step { w, r } => format!("{} {}", name(w), step(w, r)),
            Self::StepUnheard { w, r } => format!("{} {}; the reply is lost", name(w), step(w, r)),
            Self::Misfortune { w, r, code } => format!("{} fails run {r}: {code}", name(w)),
            Self::GiveUp { w, r } => format!("{} writes to run {r} in vain for 25 s and gives up", name(w)),
            Self::Heartbeat { w } => format!("{}'s heartbeat is committed and heard", name(w)),
            Self::Look { w, r } => format!("{}'s watchdog selects run {r}", name(w)),
            Self::Take { w } => format!("{}'s watchdog adopts, or ends the attempt", name(w)),
            Self::TakeUnheard { w } => format!("{}'s watchdog adopts, or ends the attempt; the reply is lost", name(w)),
            Self::Sweep { w, r, a } => format!("{} sweeps the cell of run {r}, attempt {a}", name(w)),
            Self::Drain { w } => format!("{} is told to stop and drains", name(w)),
            Self::Leave { w } => format!("{} releases its leases and stops", name(w)),
            Self::Cell { r, a } if world.cell(r, a) == Cell::Stage(STAGES) => {
                format!("the cell of run {r}, attempt {a}, ends with results")
            }
            Self::Cell { r, a } => format!("the cell of run {r}, attempt {a}, begins its next stage"),
            Self::Break { r, a } => format!("the cell of run {r}, attempt {a}, exits without results"),
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

fn phrase(world: &World, step: Step, r: u8, drive: crate::world::Drive) -> String {
    let a = drive.attempt;
    match step {
        Step::Inspect => format!("looks at run {r}, which it found in its own name"),
        Step::Tidy => format!("removes cells of run {r} before attempt {a}"),
        Step::Create => format!("creates the cell of run {r}, attempt {a}"),
        Step::Confirm => format!("confirms its lease on run {r}, attempt {a}"),
        Step::Start => format!("starts the cell of run {r}, attempt {a}"),
        Step::Feed => format!("sends plan and archive to the cell of run {r}, attempt {a}"),
        Step::Listen if drive.heard < world.cell(r, a).stages() => {
            format!("writes that run {r}, attempt {a}, is in stage {}", drive.heard + 1)
        }
        Step::Listen => format!("hears how the cell of run {r}, attempt {a}, ended"),
        Step::Verdict => format!("writes the verdict of run {r}, attempt {a}"),
        Step::End(code) => format!("ends run {r}, attempt {a}: {}, {code}", code.status()),
        Step::Requeue(code) => format!("sends run {r} back to the queue after attempt {a}: {code}"),
        Step::Last | Step::Clear(_) => format!("destroys the cell of run {r}, attempt {a}"),
        Step::LetGo => format!("reads run {r}, whose attempt {a} it seems to have lost"),
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
            .filter(|(_, cell)| *cell != Cell::Absent)
            .map(|(attempt, cell): (u8, _)| format!(" cell {attempt} {cell:?}"))
            .collect();
        let crashes = if row.crashes > 0 { format!(" crashes {}", row.crashes) } else { String::new() };
        let cancel = if row.cancel && row.status != Status::Aborted { " cancel" } else { "" };
        let status = row.status;
        text += &format!("[{run} {status} {}.{}{holder}{crashes}{cancel}{}] ", row.attempt, row.epoch, cells.concat());
    }
    text
}
