//! What this program asks directly of the kernel and of the service manager that started it: signals, ids, free space,
//! the clock that all processes share, the size of the terminal, inherited sockets. No other module names rustix.

#![warn(missing_docs)]

pub mod clock;
pub mod inherited_sockets;
pub mod service_manager;

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::process::Pid;

/// The signals that are sent to processes that this program started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// For Postgres: a fast shutdown, which rolls back and closes cleanly.
    Interrupt,
    /// SIGTERM: the process may end in order.
    Terminate,
    /// For Postgres: an immediate shutdown, which recovers at the next start.
    Quit,
}

/// Sends a signal; a process that is gone already is fine.
pub fn signal(pid: u32, signal: Signal) {
    let signal = match signal {
        Signal::Interrupt => rustix::process::Signal::INT,
        Signal::Terminate => rustix::process::Signal::TERM,
        Signal::Quit => rustix::process::Signal::QUIT,
    };
    if let Some(pid) = as_pid(pid)
        && let Err(error) = rustix::process::kill_process(pid, signal)
    {
        tracing::debug!(?pid, %error, "no process to signal");
    }
}

/// The kernel's monotonic clock, in microseconds: the same for every process of this host.
#[must_use]
pub fn monotonic_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let [seconds, nanoseconds] = [now.tv_sec, now.tv_nsec].map(|part| u64::try_from(part).unwrap_or(0));
    seconds.saturating_mul(1_000_000).saturating_add(nanoseconds / 1_000)
}

/// Whether there is a process of this id, ours or not.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    as_pid(pid).is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

fn as_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// The name of this host. The kernel gives it also where `/proc/sys` cannot be read.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Whether this program runs as root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The user that this program acts as.
#[must_use]
pub fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Bytes that may still be written to the file system of `path`.
///
/// # Errors
/// If `path` cannot be looked up.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let seen = rustix::fs::statvfs(path)?;
    Ok(seen.f_bavail.saturating_mul(seen.f_frsize))
}

/// Makes a file as young as one that was just written.
///
/// # Errors
/// If the file does not exist, or belongs to another user.
pub fn touch(path: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    Ok(utimensat(CWD, path, &times, AtFlags::empty())?)
}

/// Waits until everything that was written to the file system of `file` is on its disk.
///
/// # Errors
/// If the disk reports that a write failed.
pub fn sync_file_system(file: impl AsFd) -> io::Result<()> {
    rustix::fs::syncfs(file).map_err(io::Error::from)
}

/// Lets the kernel keep about so many bytes for the other end of a connection; best effort.
pub fn bound_send_buffer(socket: impl AsFd, bytes: usize) {
    if let Err(error) = rustix::net::sockopt::set_socket_send_buffer_size(socket, bytes) {
        tracing::debug!(%error, "the send buffer keeps its size");
    }
}

/// Raises this process's limit of open files to at least `wanted`, as far as it may; the limit then.
#[must_use]
pub fn raise_open_files(wanted: u64) -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // `None` is no limit.
    let Some(current) = limit.current.filter(|current| *current < wanted) else { return u64::MAX };
    let raised = limit.maximum.map_or(wanted, |most| most.min(wanted));
    match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }) {
        Ok(()) => raised,
        Err(_) => current,
    }
}

/// Columns and rows of the terminal behind `stream`; `None` if it is not one.
#[must_use]
pub fn terminal_size(stream: impl AsFd) -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}
