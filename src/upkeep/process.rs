//! Worker processes of this host: their names, and whether they live.
//!
//! A worker's name holds its host, pid and start time, so that whether it still lives can be read off
//! `/proc`, and no later process is taken for it.

/// What became of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Lives,
    Dead,
    /// It runs, or ran, where this process cannot look: on another host or among other pids.
    Unknown,
}

/// A name for this process that no other process has had: host and pid namespace, pid, start time.
#[must_use]
pub fn worker_id() -> String {
    let pid = std::process::id();
    format!("{}-{pid}-{}", place(), start_time(&pid.to_string()).unwrap_or_default())
}

/// What became of the worker of this name.
#[must_use]
pub fn fate(worker: &str) -> Fate {
    let mut parts = worker.rsplitn(3, '-');
    let (Some(started), Some(pid), Some(at)) = (parts.next(), parts.next(), parts.next()) else {
        return Fate::Unknown;
    };
    if at != place() {
        Fate::Unknown
    } else if start_time(pid).is_some_and(|seen| seen == started) {
        Fate::Lives
    } else {
        Fate::Dead
    }
}

/// Where pids mean the same as here: the host, and the pid namespace on it.
fn place() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let pids = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let number: String = pids.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    format!("{}.{number}", host.trim())
}

/// In clock ticks since boot: the 22nd field of `stat`, the 20th after the name in parentheses. A
/// zombie has ended; only its parent does not know yet.
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
        let me = worker_id();
        assert_eq!(fate(&me), Fate::Lives);
        let (name, started) = me.rsplit_once('-').unwrap();
        assert_eq!(fate(&format!("{name}-{}", started.parse::<u64>().unwrap() + 1)), Fate::Dead);
    }

    #[test]
    fn what_cannot_be_looked_at_is_unknown() {
        assert_eq!(fate("nonsense"), Fate::Unknown);
        assert_eq!(fate("elsewhere.1-1-1"), Fate::Unknown);
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
        let name = format!("{}-{pid}-{}", place(), started.unwrap_or_else(|| "1".to_owned()));
        assert_eq!(fate(&name), Fate::Dead);
        child.wait().unwrap();
    }
}
