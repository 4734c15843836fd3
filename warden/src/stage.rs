//! A running stage: its leader, its two pipes, the stored part of its output, and the steps that stop it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use assize_protocol::event::{StageExit, Stream};
use assize_protocol::plan::{Plan, Scratch, Stage};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::Signal;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, Pid, eaccess, mkdtemp, pipe2};

use crate::channel::Channel;
use crate::clock;
use crate::inbox;
use crate::output::{Kept, Piece};
use crate::progress::Progress;
use crate::readiness::Readiness;
use crate::reaper::Reaper;

/// Search path for a program without a `/` if the stage's environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Pause after a short read of the head, in ms, so that a program that prints line by line costs at most 100 frames a
/// second and stream. The first bytes after a quiet time are sent at once. The pipe itself is the buffer.
const HEAD_REST_MS: u64 = 10;

/// The same pause once no more output is sent, in ms: it only saves CPU time of the cell.
const TAIL_REST_MS: u64 = 1;

/// A read of this many bytes or more means that output comes fast: there is no pause after it.
pub const FULL_READ: usize = 16 * 1024;

/// Longest time for reading the rest of the output of a finished stage, in ms. Only a process that escaped the stage's
/// group can hold the pipes open that long.
const DRAIN_MS: u64 = 200;

/// A file system with less free space than one page counts as full.
const PAGE: u64 = 4096;

struct Pipe {
    stream: Stream,
    file: File,
    has_ended: bool,
}

/// A stage whose leader was started and not yet reported as ended.
pub struct Running<'p> {
    pub index: u8,
    pub stage: &'p Stage,
    pub leader: Pid,
    pub started_us: u64,
    pub kept: Kept,
    /// Present on a service until it is ready.
    pub readiness: Option<Readiness>,
    pub ready: bool,
    /// Why it is being stopped; outranks how it then exits.
    pub stopping: Option<StageExit>,
    deadline: Option<u64>,
    kill_at: Option<u64>,
    rest_until: u64,
    pipes: Vec<Pipe>,
    /// Present on a stage that may report the end of each test.
    pub progress: Option<Progress>,
}

impl<'p> Running<'p> {
    /// Starts the stage's program behind `warden launch`, in a process group of its own.
    ///
    /// # Errors
    /// Why there is no process, for [`StageExit::NotStarted`].
    pub fn start(index: u8, plan: &'p Plan, stage: &'p Stage, reaper: &mut Reaper) -> Result<Self, String> {
        if !Path::new(&stage.cwd).is_dir() {
            return Err(format!("its working folder {} does not exist", stage.cwd));
        }
        let (argv0, args) = stage.command.split_first().ok_or("its command names no program")?;
        let program = resolve(argv0, &stage.cwd, &stage.env)?;
        let (stdout, stdout_end) = pipe().map_err(|error| format!("no pipe for its output: {error}"))?;
        let (stderr, stderr_end) = pipe().map_err(|error| format!("no pipe for its output: {error}"))?;
        let (progress, stdin) = if stage.progress {
            let (progress, writer) = Progress::open().map_err(|error| format!("no pipe for its progress: {error}"))?;
            (Some(progress), Stdio::from(writer))
        } else {
            (None, Stdio::null())
        };
        let child = Command::new("/proc/self/exe")
            .arg(if stage.progress { "launch-reporting" } else { "launch" })
            .arg(plan.writable.len().to_string())
            .args(&plan.writable)
            .arg(&program)
            .arg(argv0)
            .args(args)
            .env_clear()
            .envs(&stage.env)
            .envs(stage.scratch.as_ref().map(scratch).unwrap_or_default())
            .current_dir(&stage.cwd)
            .process_group(0)
            .stdin(stdin)
            .stdout(Stdio::from(stdout_end))
            .stderr(Stdio::from(stderr_end))
            .spawn()
            .map_err(|error| format!("no process for {}: {error}", program.display()))?;
        let started_us = clock::now_us();
        Ok(Self {
            index,
            stage,
            leader: reaper.watch(child),
            started_us,
            kept: Kept::new(stage.output),
            readiness: stage.ready.as_ref().map(|ready| Readiness::new(ready, started_us)),
            ready: false,
            stopping: None,
            deadline: Some(clock::after_ms(started_us, stage.timeout_ms)),
            kill_at: None,
            rest_until: 0,
            pipes: vec![
                Pipe { stream: Stream::Stdout, file: stdout, has_ended: false },
                Pipe { stream: Stream::Stderr, file: stderr, has_ended: false },
            ],
            progress,
        })
    }

    /// A service that answers has no time limit of its own any more.
    pub fn set_ready(&mut self) {
        self.ready = true;
        self.readiness = None;
        self.deadline = None;
    }

    /// TERM now and KILL after `grace_ms`, unless it is being stopped already.
    pub fn stop(&mut self, why: StageExit, now: u64, grace_ms: u64, reaper: &Reaper) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(why);
        self.readiness = None;
        self.deadline = None;
        self.kill_at = Some(clock::after_ms(now, grace_ms));
        reaper.signal(self.leader, Signal::SIGTERM);
    }

    /// KILL at once.
    pub fn kill(&mut self, why: StageExit, reaper: &Reaper) {
        self.stopping.get_or_insert(why);
        self.readiness = None;
        self.deadline = None;
        self.kill_at = None;
        reaper.signal(self.leader, Signal::SIGKILL);
    }

    /// Acts on the stage's own clock: its time limit and the end of its grace.
    pub fn keep_time(&mut self, now: u64, grace_ms: u64, reaper: &Reaper) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.stop(StageExit::TimedOut, now, grace_ms, reaper);
        }
        if self.kill_at.is_some_and(|kill_at| kill_at <= now) {
            self.kill(StageExit::Stopped, reaper);
        }
    }

    /// The next moment at which this stage needs the loop, in µs.
    pub fn wakes_at(&self, now: u64) -> Option<u64> {
        let rest = (self.rest_until > now && !self.pipes.is_empty()).then_some(self.rest_until);
        let readiness = self.readiness.as_ref().map(Readiness::until);
        let progress = self.progress.as_ref().and_then(|progress| progress.wakes_at(now));
        [self.deadline, self.kill_at, rest, readiness, progress].into_iter().flatten().min()
    }

    /// The pipes to poll now, by position.
    pub fn open_pipes(&self, now: u64) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let pipes = if now < self.rest_until { &[] } else { self.pipes.as_slice() };
        pipes.iter().map(|pipe| pipe.file.as_fd()).enumerate()
    }

    /// Reads a pipe that poll has reported once; its end is kept in mind for [`Running::close_ended`].
    ///
    /// # Errors
    /// Stdout is gone.
    pub fn read_pipe(&mut self, position: usize, buffer: &mut [u8], channel: &mut Channel) -> io::Result<()> {
        let Some(pipe) = self.pipes.get_mut(position) else { return Ok(()) };
        let length = read_once(pipe, self.index, &mut self.kept, buffer, channel)?;
        if length < FULL_READ {
            let rest_ms = if self.kept.in_head() { HEAD_REST_MS } else { TAIL_REST_MS };
            self.rest_until = clock::after_ms(clock::now_us(), rest_ms);
        }
        Ok(())
    }

    /// Reads what the stage reports of its tests.
    ///
    /// # Errors
    /// Stdout is gone.
    pub fn read_progress(&mut self, buffer: &mut [u8], channel: &mut Channel) -> io::Result<()> {
        self.progress.as_mut().map_or(Ok(()), |progress| progress.read(self.index, buffer, channel))
    }

    /// Whether it wrote more than it may and is not dying for it yet.
    pub fn must_die_of_output(&self) -> bool {
        self.kept.is_over_limit() && self.stopping.as_ref() != Some(&StageExit::OutputLimit)
    }

    /// Drops the pipes whose writers are gone: poll would report them for ever.
    pub fn close_ended(&mut self) {
        self.pipes.retain(|pipe| !pipe.has_ended);
    }

    /// Reads what is left after the stage's processes were killed, then sends the tail.
    ///
    /// # Errors
    /// Stdout is gone.
    pub fn drain(&mut self, buffer: &mut [u8], channel: &mut Channel) -> io::Result<()> {
        if let Some(progress) = &mut self.progress {
            progress.drain(self.index, buffer, channel)?;
        }
        let until = clock::after_ms(clock::now_us(), DRAIN_MS);
        loop {
            let mut length = 0;
            for pipe in &mut self.pipes {
                length += read_once(pipe, self.index, &mut self.kept, buffer, channel)?;
            }
            self.close_ended();
            let now = clock::now_us();
            if self.pipes.is_empty() || now >= until {
                break;
            }
            if length == 0 {
                let mut fds: Vec<PollFd<'_>> =
                    self.pipes.iter().map(|pipe| PollFd::new(pipe.file.as_fd(), PollFlags::POLLIN)).collect();
                let _woken_or_not = poll(&mut fds, inbox::timeout(now, Some(until)));
            }
        }
        let index = self.index;
        self.kept.send_tail(|piece| send(index, piece, channel))
    }
}

/// Reads once and returns the length: 0 when nothing is there now, or nothing will ever be.
fn read_once(
    pipe: &mut Pipe,
    stage: u8,
    kept: &mut Kept,
    buffer: &mut [u8],
    channel: &mut Channel,
) -> io::Result<usize> {
    let length = match pipe.file.read(buffer) {
        Ok(length) => length,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(0),
        // A pipe that cannot be read has no more to say.
        Err(_) => 0,
    };
    pipe.has_ended = length == 0;
    if let Some(head) = kept.take(pipe.stream, clock::now_us(), buffer.get(..length).unwrap_or_default()) {
        send(stage, head, channel)?;
    }
    Ok(length)
}

fn send(stage: u8, piece: Piece<'_>, channel: &mut Channel) -> io::Result<()> {
    channel.output(stage, piece.stream, piece.at_us, piece.offset, piece.bytes)
}

/// Makes a stage's own folder and names it. Where the stages before have left no room for it, the variables name
/// a folder that does not exist: nothing of theirs is found there either.
fn scratch(scratch: &Scratch) -> Vec<(&str, PathBuf)> {
    const NOWHERE: &str = "/nonexistent";
    let made = mkdtemp(&Path::new(&scratch.into).join("stage-XXXXXX")).unwrap_or_else(|_| PathBuf::from(NOWHERE));
    scratch.variables.iter().map(|variable| (variable.as_str(), made.clone())).collect()
}

/// A pipe whose reading end never blocks and whose writing end does, as programs expect.
pub fn pipe() -> nix::Result<(File, OwnedFd)> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((File::from(reader), writer))
}

/// Finds the program before a process is created for it, so that a missing program differs from a program that exits
/// with 127.
pub fn resolve(program: &str, cwd: &str, env: &BTreeMap<String, String>) -> Result<PathBuf, String> {
    if program.contains('/') {
        let path = Path::new(cwd).join(program);
        return match executable(&path) {
            Ok(()) => Ok(path),
            Err(error) => Err(format!("{} cannot be executed: {error}", path.display())),
        };
    }
    let search = env.get("PATH").map_or(DEFAULT_PATH, String::as_str);
    search
        .split(':')
        .filter(|folder| !folder.is_empty())
        .map(|folder| Path::new(cwd).join(folder).join(program))
        .find(|path| executable(path).is_ok())
        .ok_or_else(|| format!("the program {program} was not found in {search}"))
}

fn executable(path: &Path) -> Result<(), String> {
    let metadata = path.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a file".into());
    }
    eaccess(path, AccessFlags::X_OK).map_err(|errno| errno.to_string())
}

/// The first of `disks` without a usable byte or inode.
pub fn full_disk(disks: &[String]) -> Option<String> {
    disks.iter().find(|disk| is_full(disk)).cloned()
}

/// A file system that reports no size at all has no limit.
fn is_full(disk: &str) -> bool {
    let Ok(seen) = statvfs(disk) else { return false };
    let free = seen.blocks_available().saturating_mul(seen.fragment_size());
    (seen.blocks() > 0 && free < PAGE) || (seen.files() > 0 && seen.files_available() == 0)
}
