//! The program of a call: its leader, its two pipes and its time.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use assize_protocol::event::StageExit;
use assize_protocol::exec::{Call, CallEnded, CallExit};
use assize_protocol::frame::Kind;
use assize_protocol::plan::{Plan, Stage};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::wire::Wire;
use crate::clock;
use crate::reaper::Reaper;
use crate::stage::{pipe, resolve};

/// One of the two streams of a program.
struct OutputPipe {
    kind: Kind,
    file: File,
    total: u64,
    has_ended: bool,
}

/// A program that runs for a call.
pub struct Program {
    pub leader: Pid,
    pipes: [OutputPipe; 2],
    max_output: u64,
    files: Vec<String>,
    started_us: u64,
    deadline: u64,
    cpu_before_us: u64,
    /// Why it was killed; outranks how it then exits.
    killed_for: Option<CallExit>,
}

impl Program {
    /// Starts the program behind `warden launch-call`, in a process group of its own.
    ///
    /// # Errors
    /// Why there is no process, for [`CallExit::NotStarted`].
    pub fn start(
        call: &Call,
        input: File,
        plan: &Plan,
        stage: &Stage,
        is_fresh: bool,
        reaper: &mut Reaper,
    ) -> Result<Self, String> {
        if !Path::new(&stage.cwd).is_dir() {
            return Err(format!("the working folder {} does not exist", stage.cwd));
        }
        let (argv0, args) = call.command.split_first().ok_or("the call names no program")?;
        let path = resolve(argv0, &stage.cwd, &stage.env)?;
        let (stdout, stdout_end) = pipe().map_err(|error| format!("no pipe for its output: {error}"))?;
        let (stderr, stderr_end) = pipe().map_err(|error| format!("no pipe for its output: {error}"))?;
        let cpu_before_us = reaper.total_cpu_us();
        let child = Command::new("/proc/self/exe")
            .arg("launch-call")
            .arg(call.memory_bytes.unwrap_or(0).to_string())
            .arg(if is_fresh { "fresh" } else { "kept" })
            .arg(plan.writable.len().to_string())
            .args(&plan.writable)
            .arg(&path)
            .arg(argv0)
            .args(args)
            .env_clear()
            .envs(&stage.env)
            .current_dir(&stage.cwd)
            .process_group(0)
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(stdout_end))
            .stderr(Stdio::from(stderr_end))
            .spawn()
            .map_err(|error| format!("no process for {}: {error}", path.display()))?;
        let started_us = clock::now_us();
        let output = |kind, file| OutputPipe { kind, file, total: 0, has_ended: false };
        Ok(Self {
            leader: reaper.watch(child),
            pipes: [output(Kind::CallStdout, stdout), output(Kind::CallStderr, stderr)],
            max_output: call.max_output,
            files: call.files.clone(),
            started_us,
            deadline: clock::after_ms(started_us, call.timeout_ms),
            cpu_before_us,
            killed_for: None,
        })
    }

    /// The files that are wanted of it, and how many bytes they may have together.
    pub fn files(&self) -> (&[String], u64) {
        (&self.files, self.max_output)
    }

    /// KILL at once.
    pub fn kill(&mut self, why: CallExit, reaper: &Reaper) {
        self.killed_for.get_or_insert(why);
        reaper.signal(self.leader, Signal::SIGKILL);
    }

    pub fn keep_time(&mut self, now: u64, reaper: &Reaper) {
        if self.killed_for.is_none() && now >= self.deadline {
            self.kill(CallExit::TimedOut, reaper);
        }
    }

    pub fn wakes_at(&self) -> Option<u64> {
        self.killed_for.is_none().then_some(self.deadline)
    }

    /// The pipes to poll, by position.
    pub fn open_pipes(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let open = self.pipes.iter().enumerate().filter(|(_, pipe)| !pipe.has_ended);
        open.map(|(position, pipe)| (position, pipe.file.as_fd()))
    }

    /// Reads a pipe once and passes on what is kept; `false` when there is nothing now.
    pub fn read_pipe<S>(&mut self, position: usize, buffer: &mut [u8], wire: &mut Wire<S>, reaper: &Reaper) -> bool
    where
        S: std::io::Read + std::io::Write + AsFd,
    {
        let Some(pipe) = self.pipes.get_mut(position).filter(|pipe| !pipe.has_ended) else { return false };
        let length = match pipe.file.read(buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => return true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => 0,
        };
        pipe.has_ended = length == 0;
        let room = usize::try_from(self.max_output.saturating_sub(pipe.total)).unwrap_or(usize::MAX);
        let kept = buffer.get(..length.min(room)).unwrap_or_default();
        if !kept.is_empty() {
            wire.queue(pipe.kind, kept);
        }
        pipe.total = pipe.total.saturating_add(length as u64);
        if pipe.total > self.max_output {
            self.kill(CallExit::OutputLimit, reaper);
        }
        length > 0
    }

    /// What is left in the pipes once every process is gone. A pipe holds at most 1 MiB.
    pub fn drain<S>(&mut self, buffer: &mut [u8], wire: &mut Wire<S>, reaper: &Reaper)
    where
        S: std::io::Read + std::io::Write + AsFd,
    {
        for position in 0..self.pipes.len() {
            while self.read_pipe(position, buffer, wire, reaper) {}
        }
    }

    /// The report about a program whose processes are gone.
    pub fn ended(self, exit: StageExit, ended_us: u64, reaper: &Reaper) -> CallEnded {
        let exit = self.killed_for.unwrap_or(match exit {
            StageExit::Exited { code } => CallExit::Exited { code },
            StageExit::Signalled { signal } => CallExit::Signalled { signal },
            _ => CallExit::Cancelled,
        });
        let [stdout, stderr] = self.pipes;
        CallEnded {
            exit,
            wall_us: ended_us.saturating_sub(self.started_us),
            cpu_us: reaper.total_cpu_us().saturating_sub(self.cpu_before_us),
            peak_kib: reaper.peak_kib(self.leader),
            stdout_bytes: stdout.total,
            stderr_bytes: stderr.total,
        }
    }
}
