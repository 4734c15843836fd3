//! Signals to processes that this program started, and to their children.

use rustix::process::{Pid, Signal, kill_process};

/// Sends a signal. A process that has already ended is not an error.
pub fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        kill_process(pid, signal).ok();
    }
}

/// Returns a process and its children: all of Postgres, for its first process.
pub fn family(pid: u32) -> Vec<u32> {
    let parent_of = |pid: u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let all = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let children = pids.filter(|candidate| parent_of(*candidate) == Some(pid));
    std::iter::once(pid).chain(children.collect::<Vec<_>>()).collect()
}

/// Returns the command line of a process, its words separated by blanks; empty if the process does not exist.
pub fn command_line(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// Returns the processes whose command line begins with a program of this name and contains `word`.
pub fn with_words(program: &str, word: &str) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_it = |line: &str| {
        let first = line.split(' ').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        first.starts_with(program) && line.contains(word)
    };
    pids.filter(|pid| is_it(&command_line(*pid))).collect()
}
