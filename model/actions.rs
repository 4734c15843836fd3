//! Everything that can happen next.

mod words;

use assize_domain::run::FailureCode;

pub use words::picture;

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
        Action::EngineGoes => outside::engine_goes(world, rules),
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
}
