//! What there is: rows in Postgres, cells in the engine, workers with their beliefs, and ghosts that
//! only the invariants see.

use std::hash::{Hash, Hasher};

use assize::run::retry::MAX_RETRIES;
use assize::run::{FailureCode, Lease, Status};
use uuid::Uuid;

use crate::rules::Rules;

/// Runs that a world has at most.
pub const RUNS: usize = 3;
/// Workers that a world has at most.
pub const WORKERS: usize = 3;
/// Attempts of a run.
pub const ATTEMPTS: usize = 3;
/// Stages of a run; from the second on they are alike.
pub const STAGES: u8 = 2;
/// Deaths of workers after which a run is taken to be what kills them. Source: `crashes` in
/// `sql/migrations/0004_lives.sql`.
pub const MAX_CRASHES: u8 = 3;

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
}

impl Size {
    /// Runs of one half-slot, each of another user, and room for all.
    pub const fn of(runs: usize, workers: usize, faults: u8, cancels: u8) -> Self {
        Self { runs, workers, faults, cancels, half_slots: 4, weights: [1; RUNS], users: [0, 1, 2], per_user: 2 }
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

/// The cell of one attempt and its journal. The engine keeps names unique, so there is no second.
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
    /// It exited with results in its journal.
    Results,
    /// It exited without, after so many stages.
    Broken(u8),
}

/// Where a worker is in driving one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Found in its own name: looks at row and cell before it does anything.
    Inspect,
    /// Removes cells of earlier attempts.
    Tidy,
    Create,
    /// Renews this one lease, fenced, between create and start.
    Confirm,
    Start,
    /// Sends plan and archive.
    Feed,
    Listen,
    /// Writes the verdict.
    Verdict,
    /// Writes the end that a code has.
    End(FailureCode),
    /// Sends the run back to the queue.
    Requeue(FailureCode),
    /// The attempt is over; its cell goes.
    Last,
    /// The lease is not ours, it seems.
    LetGo,
    /// Only where a rule is broken: destroys the cell before the attempt is over.
    Clear(FailureCode),
}

/// What a worker believes of a run that it drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Drive {
    pub attempt: u8,
    pub epoch: u8,
    pub status: Status,
    /// Stages that it has written down.
    pub heard: u8,
    pub step: Step,
}

/// What a watchdog's SELECT found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Look {
    pub run: u8,
    pub attempt: u8,
    pub epoch: u8,
    pub status: Status,
    /// The holder's process was gone, or had released the lease.
    pub gone: bool,
    /// Only where a rule is broken: the cell was destroyed already.
    pub cleared: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Life {
    Up,
    /// Claims nothing more.
    Draining,
    /// Killed.
    Dead,
    /// Stopped in order, its leases released.
    Left,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Worker {
    pub life: Life,
    pub generation: u8,
    /// Its clock is wrong by more than a lease.
    pub skewed: bool,
    /// A claim that was committed and whose reply was not read yet: run, attempt, epoch.
    pub claimed: Option<(u8, u8, u8)>,
    /// Only where a rule is broken: a run that every cap allowed a while ago.
    pub counted: Option<u8>,
    pub look: Option<Look>,
    pub drives: [Option<Drive>; RUNS],
}

/// What no part of the system knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Ghost {
    pub verdicts: u8,
    /// One bit for each stage that began, by attempt.
    pub began: [u8; ATTEMPTS],
    /// Cells that were started.
    pub starts: u8,
    /// Processes that were killed while they held the run.
    pub deaths: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct World {
    pub rows: [Row; RUNS],
    pub cells: [[Cell; ATTEMPTS]; RUNS],
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

    /// Back to the queue, with the next attempt and a backoff.
    pub fn requeue(&mut self, rules: &Rules) {
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

impl Drive {
    pub const fn new(attempt: u8, epoch: u8, status: Status, heard: u8, step: Step) -> Self {
        Self { attempt, epoch, status, heard, step }
    }

    pub fn lease(&self, run: u8) -> Lease {
        lease(run, self.attempt, self.epoch)
    }
}

impl Cell {
    /// Its processes run.
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Idle | Self::Fed | Self::Stage(_))
    }

    /// Stages that its journal shows as begun.
    pub const fn stages(self) -> u8 {
        match self {
            Self::Stage(stage) | Self::Broken(stage) => stage,
            Self::Results => STAGES,
            Self::Absent | Self::Created | Self::Idle | Self::Fed => 0,
        }
    }
}

impl Worker {
    pub const fn runs(&self) -> bool {
        matches!(self.life, Life::Up | Life::Draining)
    }
}

impl World {
    pub fn new(size: &Size) -> Self {
        let worker = Worker {
            life: Life::Up,
            generation: 1,
            skewed: false,
            claimed: None,
            counted: None,
            look: None,
            drives: [None; RUNS],
        };
        Self {
            rows: [Row::QUEUED; RUNS],
            cells: [[Cell::Absent; ATTEMPTS]; RUNS],
            workers: [worker; WORKERS],
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

    pub fn drive(&self, worker: u8, run: u8) -> Option<Drive> {
        self.worker(worker).drives[usize::from(run)]
    }

    pub fn set_drive(&mut self, worker: u8, run: u8, drive: Option<Drive>) {
        self.worker_mut(worker).drives[usize::from(run)] = drive;
    }

    /// The worker goes on to `step`.
    pub fn go(&mut self, worker: u8, run: u8, step: Step) {
        if let Some(drive) = &mut self.worker_mut(worker).drives[usize::from(run)] {
            drive.step = step;
        }
    }

    pub fn cell(&self, run: u8, attempt: u8) -> Cell {
        self.cells[usize::from(run)][usize::from(attempt) - 1]
    }

    pub fn set_cell(&mut self, run: u8, attempt: u8, cell: Cell) {
        self.cells[usize::from(run)][usize::from(attempt) - 1] = cell;
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

    /// The same for a state and for the one with its first two workers exchanged: they are alike.
    pub fn fingerprint_of_both(&self) -> u64 {
        let mut other = *self;
        other.workers.swap(0, 1);
        for process in other.rows.iter_mut().filter_map(|row| row.worker.as_mut()) {
            process.slot = [1, 0, 2][usize::from(process.slot)];
        }
        self.fingerprint().min(other.fingerprint())
    }

    /// 64 bits for the whole state.
    pub fn fingerprint(&self) -> u64 {
        fingerprint(self)
    }
}

/// 64 bits for anything made of small integers.
pub fn fingerprint(of: &impl Hash) -> u64 {
    let mut hasher = Mixer::default();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Attempts as the service counts them.
pub fn last_attempt() -> u8 {
    u8::try_from(1 + MAX_RETRIES).unwrap_or(u8::MAX)
}

/// A fast hash of what fits in bytes, discriminants too: states are hashed some 10^8 times.
#[derive(Default)]
struct Mixer {
    mixed: u64,
    word: u64,
    /// Bytes in `word`.
    filled: u8,
}

impl Mixer {
    fn mix(mixed: u64, word: u64) -> u64 {
        let mixed = (mixed ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^ (mixed >> 32)
    }
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u8(*byte);
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.word = (self.word << 8) | u64::from(value);
        self.filled += 1;
        if self.filled == 8 {
            self.mixed = Self::mix(self.mixed, self.word);
            self.filled = 0;
        }
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u8(u8::try_from(value).unwrap_or(u8::MAX));
    }

    fn finish(&self) -> u64 {
        let mixed = Self::mix(Self::mix(self.mixed, self.word), 0xc4ce_b9fe_1a85_ec53);
        Self::mix(mixed, mixed >> 29)
    }
}
