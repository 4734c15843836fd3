//! The only place that kills and reaps processes of the cell.
//!
//! As PID 1 the warden inherits every orphan of its namespace, and `kill(-1)` reaches every process except the warden.
//! Outside a cell (in its tests) the warden must never use `kill(-1)`: there it is a subreaper, and kills its own children
//! until none is left.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};

use assize_protocol::event::StageExit;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, getpid};
use wait4::Wait4;

use crate::clock;

/// Processes collected in one go. A cell that spawns and dies without end must not keep the
/// warden from its deadlines.
const MAX_REAPS: usize = 512;

/// How long the warden waits for killed processes to be gone, in ms. Freeing a large memory takes
/// tens of ms; what takes longer hangs in the kernel and dies with the cell.
const CLEAR_MS: u64 = 5_000;

/// As above while a service lives on, when stray processes of the stage's group are all it is about.
const CLEAR_GROUP_MS: u64 = 1_000;

/// The first real-time signal. `nix` cannot name those, so a leader killed by one in the instant
/// between two looks is reported with this number.
const SIGRTMIN: i32 = 34;

/// Asks for the state of a dead process and leaves it to be collected.
const PEEK: WaitPidFlag = WaitPidFlag::WNOHANG.union(WaitPidFlag::WEXITED).union(WaitPidFlag::WNOWAIT);

/// What is left to collect.
#[derive(Debug, PartialEq, Eq)]
pub enum Left {
    /// No child at all.
    Nobody,
    /// Some, all alive.
    Alive,
    /// More dead ones than one go collects.
    Dead,
}

/// What the processes collected since the last stage end have used.
pub struct Usage {
    /// User and system time in ms.
    pub cpu_ms: u64,
    /// The largest resident set of any process collected so far, in KiB: the kernel keeps only
    /// this maximum, so it never falls from one stage to the next.
    pub max_rss_kib: u64,
}

struct Leader {
    child: Child,
    exit: Option<StageExit>,
    /// The largest resident set of it and of the processes that it has waited for, in KiB; 0 if unknown.
    peak_kib: u64,
}

impl Leader {
    fn pid(&self) -> Pid {
        pid_of(&self.child)
    }
}

pub struct Reaper {
    signals: SignalFd,
    is_init: bool,
    leaders: Vec<Leader>,
    has_more: bool,
    /// CPU time in µs that stage ends have reported already.
    reported_us: u64,
}

impl Reaper {
    /// Blocks SIGCHLD and takes it through a descriptor from here on.
    ///
    /// SIGSEGV and SIGBUS are blocked too: they are the two that Rust's runtime has handlers for (to
    /// report a stack overflow), so the kernel would deliver them to PID 1 when the project sends
    /// them. A true fault ends a process whether or not its signal is blocked.
    ///
    /// # Errors
    /// When the kernel refuses; there is no warden without it.
    pub fn new() -> Result<Self, Errno> {
        let is_init = getpid().as_raw() == 1;
        if !is_init {
            nix::sys::prctl::set_child_subreaper(true)?;
        }
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        let mut blocked = mask;
        blocked.add(Signal::SIGSEGV);
        blocked.add(Signal::SIGBUS);
        blocked.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { signals, is_init, leaders: Vec::new(), has_more: false, reported_us: 0 })
    }

    /// Readable when a child has died.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    /// Takes charge of a stage's leader; its process group has the same id.
    pub fn watch(&mut self, child: Child) -> Pid {
        let leader = Leader { child, exit: None, peak_kib: 0 };
        let pid = leader.pid();
        self.leaders.push(leader);
        pid
    }

    /// How a leader ended, `None` while it lives.
    pub fn exit_of(&self, leader: Pid) -> Option<StageExit> {
        self.leaders.iter().find(|known| known.pid() == leader)?.exit.clone()
    }

    /// The largest resident set of a leader that has ended, in KiB.
    pub fn peak_kib(&self, leader: Pid) -> u64 {
        self.leaders.iter().find(|known| known.pid() == leader).map_or(0, |known| known.peak_kib)
    }

    pub fn forget(&mut self, leader: Pid) {
        self.leaders.retain(|known| known.pid() != leader);
    }

    /// Whether the last [`Reaper::reap`] left dead processes, of which the descriptor says nothing more.
    pub fn has_more(&self) -> bool {
        self.has_more
    }

    /// Collects the dead.
    pub fn reap(&mut self) -> Left {
        let left = self.collect();
        self.has_more = left == Left::Dead;
        left
    }

    fn collect(&mut self) -> Left {
        while matches!(self.signals.read_signal(), Ok(Some(_))) {}
        for _ in 0..MAX_REAPS {
            self.look_at_leaders();
            match waitid(Id::All, PEEK) {
                Ok(WaitStatus::StillAlive) => return Left::Alive,
                // A leader that died since it was looked at: only the next look learns what it has used.
                Ok(status) if status.pid().is_some_and(|pid| self.is_leader(pid)) => {}
                Err(Errno::ECHILD) => return Left::Nobody,
                // EINVAL is a process killed by a signal that nix cannot name. Some dead process is collected, and
                // if it was a leader, the next look finds it gone.
                Ok(_) | Err(_) => {
                    if let Ok(Some(pid)) = waitpid(None, Some(WaitPidFlag::WNOHANG)).map(|status| status.pid()) {
                        self.note_lost(pid);
                    }
                }
            }
        }
        Left::Dead
    }

    /// Signals a stage's group, and its leader by itself: a hostile leader can have moved to
    /// another group. A leader is only signalled while it is ours to collect, so its id is its own.
    pub fn signal(&self, leader: Pid, signal: Signal) {
        let _nobody_left = killpg(leader, signal);
        if self.leaders.iter().any(|known| known.pid() == leader && known.exit.is_none()) {
            let _just_died = kill(leader, signal);
        }
    }

    /// Kills and collects what a stage left in its group while others live on. What has moved to
    /// another group stays until [`Reaper::clear_everything`].
    pub fn clear_group(&mut self, leader: Pid) {
        let until = clock::after_ms(clock::now_us(), CLEAR_GROUP_MS);
        loop {
            // Fails when no process of the group is left, dead or alive.
            if killpg(leader, Signal::SIGKILL).is_err() {
                return;
            }
            if self.reap() != Left::Dead {
                if clock::now_us() >= until {
                    return;
                }
                self.wait();
            }
        }
    }

    /// Kills and collects everything. `false` if something is still there after 5 s.
    pub fn clear_everything(&mut self) -> bool {
        let until = clock::after_ms(clock::now_us(), CLEAR_MS);
        loop {
            self.kill_everything();
            match self.reap() {
                Left::Nobody => return true,
                _ if clock::now_us() >= until => return false,
                Left::Dead => {}
                Left::Alive => self.wait(),
            }
        }
    }

    /// What was used since the last call. Each stage reports what was collected up to its own end,
    /// so the sum over all stages is exact while a split between two that overlap is not.
    pub fn take_usage(&mut self) -> Usage {
        let (total_us, max_rss_kib) = used_by_children();
        let since_us = total_us.saturating_sub(self.reported_us);
        self.reported_us = total_us;
        Usage { cpu_ms: since_us / 1_000, max_rss_kib }
    }

    /// User and system time of everything that was collected so far, in µs.
    pub fn total_cpu_us(&self) -> u64 {
        used_by_children().0
    }

    fn kill_everything(&self) {
        if self.is_init {
            let _nobody_left = kill(Pid::from_raw(-1), Signal::SIGKILL);
            return;
        }
        for pid in own_children() {
            let _just_died = kill(pid, Signal::SIGKILL);
        }
    }

    fn look_at_leaders(&mut self) {
        for leader in self.leaders.iter_mut().filter(|leader| leader.exit.is_none()) {
            match waitid(Id::Pid(leader.pid()), PEEK) {
                Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => {}
                Err(Errno::ECHILD) => leader.exit = Some(StageExit::Signalled { signal: SIGRTMIN }),
                // It is dead, so this does not wait.
                Ok(_) | Err(_) => match leader.child.wait4() {
                    Ok(used) => {
                        leader.exit = Some(exit_of(used.status));
                        leader.peak_kib = used.rusage.maxrss / 1024;
                    }
                    Err(_) => leader.exit = Some(StageExit::Signalled { signal: SIGRTMIN }),
                },
            }
        }
    }

    fn is_leader(&self, pid: Pid) -> bool {
        self.leaders.iter().any(|known| known.exit.is_none() && known.pid() == pid)
    }

    /// A leader that was collected before it was looked at.
    fn note_lost(&mut self, pid: Pid) {
        if let Some(leader) = self.leaders.iter_mut().find(|leader| leader.pid() == pid) {
            leader.exit.get_or_insert(StageExit::Signalled { signal: SIGRTMIN });
        }
    }

    /// Until a child dies, or a few ms for what dies without telling (a group member that is some
    /// other process's child).
    fn wait(&self) {
        let mut fds = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        let _woken_or_not = poll(&mut fds, PollTimeout::from(5u8));
    }
}

fn pid_of(child: &Child) -> Pid {
    // Linux ids end at 2^22.
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

/// User and system time in µs, and the largest resident set in KiB, of everything that was collected.
fn used_by_children() -> (u64, u64) {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return (0, 0) };
    let (user, system) = (usage.user_time(), usage.system_time());
    let seconds = u64::try_from(user.tv_sec() + system.tv_sec()).unwrap_or(0);
    let micros = u64::try_from(user.tv_usec() + system.tv_usec()).unwrap_or(0);
    (seconds * 1_000_000 + micros, u64::try_from(usage.max_rss()).unwrap_or(0))
}

fn exit_of(status: ExitStatus) -> StageExit {
    match (status.code(), status.signal()) {
        (Some(code), _) => StageExit::Exited { code },
        (None, signal) => StageExit::Signalled { signal: signal.unwrap_or(SIGRTMIN) },
    }
}

fn own_children() -> Vec<Pid> {
    let listed = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    listed.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}
