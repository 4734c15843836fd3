//! What there is: rows in Postgres, cells in the engine, workers with their beliefs, and ghosts that
//! only the invariants see.

mod belief;
mod fingerprint;

use assize_domain::run::retry::{MAX_CRASHES, MAX_RETRIES};
use assize_domain::run::{Lease, Status};
use uuid::Uuid;

pub use belief::{Drive, DriveId, Life, Look, Step, Worker};
pub use fingerprint::fingerprint;

use crate::rules::Rules;

/// Runs that a world has at most.
pub const RUNS: usize = 3;
/// Workers that a world has at most.
pub const WORKERS: usize = 3;
/// Attempts of a run.
pub const ATTEMPTS: usize = 3;
/// Stages of the subject. The driver's one stage, where there is a driver, is the next.
pub const STAGES: u8 = 3;
/// Drives of one run that a worker has at most: the one that it holds a lease for, and an older one that
/// has not noticed, or not finished.
pub const DRIVES: usize = 2;
/// The cell that runs the project.
pub const SUBJECT: u8 = 0;
/// The cell that decides, where there are two.
pub const DRIVER: u8 = 1;

/// How large a world is, and what may go wrong in it.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub runs: usize,
    pub workers: usize,
    /// Faults in one schedule.
    pub faults: u8,
    /// Cancels in one schedule.
    pub cancels: u8,
    /// The cap over all workers, in half-slots.
    pub half_slots: u8,
    /// What each run weighs, in half-slots.
    pub weights: [u8; RUNS],
    /// Whose each run is.
    pub users: [u8; RUNS],
    /// Active runs of one user.
    pub per_user: u8,
    /// A second cell decides.
    pub driver: bool,
}

impl Size {
    /// Runs of one half-slot, each of another user, and room for all.
    pub const fn with(runs: usize, workers: usize, faults: u8, cancels: u8) -> Self {
        Self {
            runs,
            workers,
            faults,
            cancels,
            half_slots: 4,
            weights: [1; RUNS],
            users: [0, 1, 2],
            per_user: 2,
            driver: false,
        }
    }
}

/// One life of a worker: `generation` grows with every start in the same `slot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Process {
    pub slot: u8,
    pub generation: u8,
}

/// A run's row. What Redis holds is left out: it only shortens waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Row {
    pub status: Status,
    /// Stages entered in this attempt.
    pub phase: u8,
    pub attempt: u8,
    pub epoch: u8,
    pub worker: Option<Process>,
    /// `heartbeat_at` is older than 30 s by the database's clock.
    pub stale: bool,
    /// The lease was in truth not renewed for 30 s; differs from `stale` only where a rule is broken.
    pub silent: bool,
    /// Its worker left it for a successor.
    pub released: bool,
    pub cancel: bool,
    /// `not_before` lies ahead.
    pub waits: bool,
    pub crashes: u8,
}

/// A cell and its journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cell {
    Absent,
    /// Created, not started.
    Created,
    /// Its warden waits for the plan.
    Idle,
    /// It has plan and archive.
    Fed,
    /// This stage has begun.
    Stage(u8),
    /// It exited with results in its journal, after so many stages.
    Results(u8),
    /// It exited without.
    Broken(u8),
}

/// A name in the engine: of run, attempt and role. What has it may change; `serial` is the id of what
/// had it last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name {
    pub serial: u8,
    pub cell: Cell,
}

/// What no part of the system knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Ghost {
    pub verdicts: u8,
    /// One bit for each stage that began, by attempt.
    pub began: [u8; ATTEMPTS],
    /// Processes that were killed, and drives that panicked, while they held the run.
    pub deaths: u8,
    /// The lease that the last of them died with.
    died_with: u8,
    /// Leases that ran out although their holder lived.
    pub silences: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct World {
    pub rows: [Row; RUNS],
    pub cells: [[[Name; 2]; ATTEMPTS]; RUNS],
    pub workers: [Worker; WORKERS],
    pub engine: bool,
    pub faults: u8,
    pub cancels: u8,
    pub ghosts: [Ghost; RUNS],
}

impl Row {
    const QUEUED: Self = Self {
        status: Status::Queued,
        phase: 0,
        attempt: 1,
        epoch: 0,
        worker: None,
        stale: false,
        silent: false,
        released: false,
        cancel: false,
        waits: false,
        crashes: 0,
    };

    /// Whether no cell of this attempt will ever be needed again. Once true, always true.
    pub const fn is_over(&self, attempt: u8) -> bool {
        self.status.is_terminal() || self.attempt > attempt
    }

    /// Back to the queue, with the next attempt and a backoff; or to its end, if someone asked for it.
    pub fn requeue(&mut self, rules: &Rules) {
        if self.cancel && rules.requeue_sees_cancel {
            self.status = Status::Aborted;
            return;
        }
        *self = Self {
            status: Status::Queued,
            phase: 0,
            attempt: self.attempt + u8::from(rules.retry_takes_attempt),
            worker: None,
            stale: false,
            silent: false,
            released: false,
            waits: true,
            ..*self
        };
    }
}

/// The service's own lease, so that "the same lease" means here what it means there.
pub fn lease(run: u8, attempt: u8, epoch: u8) -> Lease {
    Lease { run_id: Uuid::from_u128(u128::from(run)), attempt: i32::from(attempt), epoch: i64::from(epoch) }
}

impl Cell {
    /// Its processes run.
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Idle | Self::Fed | Self::Stage(_))
    }

    /// The last stage that its journal shows as begun; 0 if none is.
    pub const fn stages(self) -> u8 {
        match self {
            Self::Stage(stage) | Self::Broken(stage) | Self::Results(stage) => stage,
            Self::Absent | Self::Created | Self::Idle | Self::Fed => 0,
        }
    }
}

impl Name {
    const FREE: Self = Self { serial: 0, cell: Cell::Absent };

    /// The id of what has the name now; 0 if nothing has.
    pub fn id(self) -> u8 {
        if self.cell == Cell::Absent { 0 } else { self.serial }
    }
}

impl Ghost {
    /// Its holder dies; once for each lease.
    pub fn dies(&mut self, epoch: u8) {
        self.deaths += u8::from(self.died_with != epoch);
        self.died_with = epoch;
    }
}

impl World {
    pub fn new(size: &Size) -> Self {
        Self {
            rows: [Row::QUEUED; RUNS],
            cells: [[[Name::FREE; 2]; ATTEMPTS]; RUNS],
            workers: [Worker::new(Life::Up, 1); WORKERS],
            engine: true,
            faults: size.faults,
            cancels: size.cancels,
            ghosts: [Ghost::default(); RUNS],
        }
    }

    pub fn row(&self, run: u8) -> &Row {
        &self.rows[usize::from(run)]
    }

    pub fn row_mut(&mut self, run: u8) -> &mut Row {
        &mut self.rows[usize::from(run)]
    }

    pub fn ghost(&mut self, run: u8) -> &mut Ghost {
        &mut self.ghosts[usize::from(run)]
    }

    pub fn worker(&self, worker: u8) -> &Worker {
        &self.workers[usize::from(worker)]
    }

    pub fn worker_mut(&mut self, worker: u8) -> &mut Worker {
        &mut self.workers[usize::from(worker)]
    }

    pub fn drive(&self, id: DriveId) -> Option<Drive> {
        self.worker(id.w).drives[usize::from(id.r)][usize::from(id.k)]
    }

    pub fn set_drive(&mut self, id: DriveId, drive: Option<Drive>) {
        self.worker_mut(id.w).drives[usize::from(id.r)][usize::from(id.k)] = drive;
    }

    /// The drive goes on to `step`.
    pub fn go(&mut self, id: DriveId, step: Step) {
        if let Some(drive) = &mut self.worker_mut(id.w).drives[usize::from(id.r)][usize::from(id.k)] {
            drive.step = step;
        }
    }

    pub fn name(&self, run: u8, attempt: u8, role: u8) -> Name {
        self.cells[usize::from(run)][usize::from(attempt) - 1][usize::from(role)]
    }

    pub fn cell(&self, run: u8, attempt: u8, role: u8) -> Cell {
        self.name(run, attempt, role).cell
    }

    pub fn set_cell(&mut self, run: u8, attempt: u8, role: u8, cell: Cell) {
        self.cells[usize::from(run)][usize::from(attempt) - 1][usize::from(role)].cell = cell;
    }

    /// A new container under a free name: its id.
    pub fn create(&mut self, run: u8, attempt: u8, role: u8) -> u8 {
        let name = &mut self.cells[usize::from(run)][usize::from(attempt) - 1][usize::from(role)];
        *name = Name { serial: name.serial + 1, cell: Cell::Created };
        name.serial
    }

    pub fn process(&self, worker: u8) -> Process {
        Process { slot: worker, generation: self.worker(worker).generation }
    }

    /// Whether this process runs, as `/proc` tells.
    pub fn lives(&self, process: Process) -> bool {
        let worker = self.worker(process.slot);
        worker.generation == process.generation && worker.runs()
    }

    /// Whether the holder of this run's lease runs.
    pub fn holder_lives(&self, run: u8) -> bool {
        self.row(run).worker.is_some_and(|process| self.lives(process))
    }
}

/// Attempts as the service counts them.
pub fn last_attempt() -> u8 {
    u8::try_from(1 + MAX_RETRIES).unwrap_or(u8::MAX)
}

/// Crashes as the service counts them.
pub fn most_crashes() -> u8 {
    u8::try_from(MAX_CRASHES).unwrap_or(u8::MAX)
}
