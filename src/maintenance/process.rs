//! Names of worker processes, and whether the process of a name is alive.
//!
//! A worker's name contains its host, pid and start time. So `/proc` shows whether the worker is alive, and no
//! later process with the same pid is mistaken for it.

/// Whether a worker process is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    Alive,
    Dead,
    /// The worker runs, or ran, on another host or in another pid namespace, where this process cannot look.
    Unknown,
}

/// A unique name for this process: host and pid namespace, pid, start time.
#[must_use]
pub fn process_id() -> String {
    let pid = std::process::id();
    format!("{}-{pid}-{}", namespace(), start_time(&pid.to_string()).unwrap_or_default())
}

/// Whether the worker of this name is alive.
#[must_use]
pub fn liveness(worker: &str) -> Liveness {
    let mut parts = worker.rsplitn(3, '-');
    let (Some(started), Some(pid), Some(at)) = (parts.next(), parts.next(), parts.next()) else {
        return Liveness::Unknown;
    };
    if at != namespace() {
        Liveness::Unknown
    } else if start_time(pid).is_some_and(|seen| seen == started) {
        Liveness::Alive
    } else {
        Liveness::Dead
    }
}

/// The host and the pid namespace of this process: within one namespace a pid names one process.
fn namespace() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let pids = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let number: String = pids.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    format!("{}.{number}", host.trim())
}

/// The start time of a process in clock ticks since boot: the 22nd field of `stat`, the 20th after the name in
/// parentheses. `None` for a zombie too: it has ended, although its parent has not waited for it yet.
fn start_time(pid: &str) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    fields.nth(18).filter(|_| !matches!(state, "Z" | "X")).map(str::to_owned)
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
    fn what_cannot_be_looked_at_is_unknown() {
        assert_eq!(liveness("nonsense"), Liveness::Unknown);
        assert_eq!(liveness("elsewhere.1-1-1"), Liveness::Unknown);
    }

    #[test]
    fn a_process_that_nobody_has_waited_for_is_dead() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id().to_string();
        let started = start_time(&pid);
        // Its end is seen when it no longer has a start time; waiting for it would bury it.
        while start_time(&pid).is_some() {
            std::thread::yield_now();
        }
        let name = format!("{}-{pid}-{}", namespace(), started.unwrap_or_else(|| "1".to_owned()));
        assert_eq!(liveness(&name), Liveness::Dead);
        child.wait().unwrap();
    }
}
