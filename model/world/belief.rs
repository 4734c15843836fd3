//! What a worker believes: of the runs that it drives, and of itself.

use assize_domain::run::{FailureCode, Lease, Status};

use super::{DRIVES, RUNS, SUBJECT, lease};

/// Where a worker is in driving one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Taken over: lists the cells of the attempt, and reads the subject's journal.
    Adopt,
    /// Ends a cell that had not begun when it was looked at, looks once more, and removes it.
    Kill,
    /// Removes cells of earlier attempts.
    Tidy,
    Create,
    /// The name is taken: renews this one lease, fenced, before it removes what has it.
    Taken,
    /// Removes what has the name, whatever that is.
    Free,
    /// Renews this one lease, fenced, between create and start.
    Confirm,
    Start,
    /// The launch failed: removes what it created. Then the attempt fails, or the run is let go.
    Undo(Option<FailureCode>),
    /// Sends plan and archive.
    Feed,
    Listen,
    /// The service answers: the cell that decides is next, or found.
    Judge,
    /// Writes the verdict.
    Verdict,
    /// Writes the end that a code has.
    End(FailureCode),
    /// Sends the run back to the queue, or to its end if someone cancelled it.
    Requeue(FailureCode),
    /// The attempt is over; its cells go.
    Last,
    /// The lease is not ours, or a write was given up: looks whether the attempt goes on.
    LetGo,
    /// Only where a rule is broken: destroys the cells before the attempt is over.
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
    /// The cell that it is busy with: [`SUBJECT`] or [`DRIVER`].
    pub role: u8,
    /// The ids of its cells, made or found; 0 if there is none.
    pub own: [u8; 2],
    /// A launch failed: the engine may have made what it never told of.
    pub doubt: bool,
    /// Its last holder died with it, or was silent.
    pub crashed: bool,
    /// Too many have.
    pub poison: bool,
    pub step: Step,
}

/// A drive: worker, run, and whether it is the one that holds the lease (0) or one from before (1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DriveId {
    pub w: u8,
    pub r: u8,
    pub k: u8,
}

/// What a watchdog's SELECT found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Look {
    pub run: u8,
    pub attempt: u8,
    pub epoch: u8,
    pub status: Status,
    pub phase: u8,
    /// The holder is dead, or let go, or is this worker: certain. If not, it must still be silent.
    pub gone: bool,
    /// It died with the run.
    pub crashed: bool,
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
    /// Only where a rule is broken: a run, and its active attempt (0 if none) a while ago.
    pub asked: Option<(u8, u8)>,
    /// Its breaker is open.
    pub paused: bool,
    /// Of each run the lease that a drive of its own panicked with.
    pub panicked: [u8; RUNS],
    /// Of each run the drive whose lease it holds, and one that was before.
    pub drives: [[Option<Drive>; DRIVES]; RUNS],
}

impl Drive {
    /// Of a claim.
    pub const fn claimed(attempt: u8, epoch: u8) -> Self {
        Self {
            attempt,
            epoch,
            status: Status::Preparing,
            heard: 0,
            role: SUBJECT,
            own: [0; 2],
            doubt: false,
            crashed: false,
            poison: false,
            // Before the first attempt there is nothing to tidy away.
            step: if attempt > 1 { Step::Tidy } else { Step::Create },
        }
    }

    pub fn lease(&self, run: u8) -> Lease {
        lease(run, self.attempt, self.epoch)
    }

    /// The id of the cell that it is busy with.
    pub fn own_id(&self) -> u8 {
        self.own[usize::from(self.role)]
    }

    #[must_use]
    pub fn with_id(mut self, id: u8) -> Self {
        self.own[usize::from(self.role)] = id;
        self
    }
}

impl Worker {
    /// One that knows nothing yet, or any more.
    pub const fn new(life: Life, generation: u8) -> Self {
        Self {
            life,
            generation,
            skewed: false,
            claimed: None,
            counted: None,
            look: None,
            asked: None,
            paused: false,
            panicked: [0; RUNS],
            drives: [[None; DRIVES]; RUNS],
        }
    }

    pub const fn runs(&self) -> bool {
        matches!(self.life, Life::Up | Life::Draining)
    }
}
