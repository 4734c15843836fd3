//! Names of worker processes, and whether the process of a name is alive.
//!
//! A worker's name contains its host, pid and start time. So `/proc` shows whether the worker is alive, and no
//! later process with the same pid is mistaken for it.
//!
//! A `/proc` can hide the processes of other users (systemd's `ProtectProc=`, the mount option `hidepid`). So a
//! process that `/proc` does not show is only dead if the kernel has no process of that pid either.

use std::path::Path;

use assize_host as host;

const PROC: &str = "/proc";

/// Whether a worker process is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    Alive,
    Dead,
    /// This process cannot look at it: the worker runs, or ran, on another host or in another pid namespace, or
    /// `/proc` hides the process that has its pid.
    Unknown,
}

/// A unique name for this process: host and pid namespace, pid, start time.
#[must_use]
pub fn process_id() -> String {
    let pid = std::process::id();
    let started = match start_time(Path::new(PROC), pid) {
        Some(StartTime::Running(started)) => started,
        Some(StartTime::Zombie) | None => String::new(),
    };
    // Without a namespace, nobody takes this process for one of its own namespace.
    let namespace = namespace().unwrap_or_else(host::host_name);
    format!("{namespace}-{pid}-{started}")
}

/// Returns the host of the worker of this name, or the whole name if it has no such form.
#[must_use]
pub fn host_of(worker: &str) -> &str {
    let namespace = worker.rsplitn(3, '-').nth(2);
    namespace.and_then(|namespace| namespace.rsplit_once('.')).map_or(worker, |(host, _)| host)
}

/// Whether the worker of this name is alive.
#[must_use]
pub fn liveness(worker: &str) -> Liveness {
    liveness_by(Path::new(PROC), worker)
}

/// [`liveness`], as a folder like `/proc` shows it.
fn liveness_by(proc: &Path, worker: &str) -> Liveness {
    let mut parts = worker.rsplitn(3, '-');
    let (Some(started), Some(pid), Some(at)) = (parts.next(), parts.next(), parts.next()) else {
        return Liveness::Unknown;
    };
    let Ok(pid) = pid.parse() else { return Liveness::Unknown };
    if namespace().is_none_or(|here| here != at) {
        return Liveness::Unknown;
    }
    match start_time(proc, pid) {
        Some(StartTime::Running(seen)) if seen == started => Liveness::Alive,
        Some(StartTime::Running(_) | StartTime::Zombie) => Liveness::Dead,
        None if host::is_alive(pid) => Liveness::Unknown,
        None => Liveness::Dead,
    }
}

/// The host and the pid namespace of this process: within one namespace a pid names one process. `None` if `/proc` does
/// not show the namespace.
fn namespace() -> Option<String> {
    let pids = std::fs::read_link("/proc/self/ns/pid").ok()?;
    let number: String = pids.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    (!number.is_empty()).then(|| format!("{}.{number}", host::host_name()))
}

/// What `/proc` shows of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
enum StartTime {
    /// It started at this time, in clock ticks since boot.
    Running(String),
    /// It has ended, and its parent has not waited for it yet.
    Zombie,
}

/// Reads the start time of a process: the 22nd field of `stat`, the 20th after the name in parentheses. `None` if
/// `proc` does not show the process.
fn start_time(proc: &Path, pid: u32) -> Option<StartTime> {
    let stat = std::fs::read_to_string(proc.join(format!("{pid}/stat"))).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return Some(StartTime::Zombie);
    }
    fields.nth(18).map(|started| StartTime::Running(started.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_one_that_started_at_another_time_does_not() {
        let me = process_id();
        assert_eq!(liveness(&me), Liveness::Alive);
        let (name, started) = me.rsplit_once('-').unwrap();
        assert_eq!(liveness(&format!("{name}-{}", started.parse::<u64>().unwrap() + 1)), Liveness::Dead);
    }

    #[test]
    fn the_host_of_a_worker_is_in_its_name() {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(host_of(&process_id()), host.trim());
        assert_eq!(host_of("node-1.example.org.4026531836-12-34"), "node-1.example.org");
        assert_eq!(host_of("nonsense"), "nonsense");
    }

    #[test]
    fn what_cannot_be_looked_at_is_unknown() {
        assert_eq!(liveness("nonsense"), Liveness::Unknown);
        assert_eq!(liveness("elsewhere.1-1-1"), Liveness::Unknown);
    }

    #[test]
    fn a_process_that_nobody_has_waited_for_is_dead() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        while start_time(Path::new(PROC), pid) != Some(StartTime::Zombie) {
            std::thread::yield_now();
        }
        assert_eq!(liveness(&format!("{}-{pid}-1", namespace().unwrap())), Liveness::Dead);
        child.wait().unwrap();
        assert_eq!(start_time(Path::new(PROC), pid), None, "it is gone");
        assert_eq!(liveness(&format!("{}-{pid}-1", namespace().unwrap())), Liveness::Dead);
    }

    #[test]
    fn a_process_that_proc_hides_is_not_dead() {
        let hidden = tempfile::tempdir().unwrap();
        assert_eq!(liveness_by(hidden.path(), &process_id()), Liveness::Unknown);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let name = format!("{}-{}-1", namespace().unwrap(), child.id());
        child.wait().unwrap();
        assert_eq!(liveness_by(hidden.path(), &name), Liveness::Dead, "the kernel has no such process");
    }
}
