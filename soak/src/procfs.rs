//! Readings of the kernel about processes, the host and the cells. A reading that fails is left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Ticks of a second in `/proc/<pid>/stat` and `/proc/stat`: 100 wherever assize runs.
const TICKS_PER_S: f64 = 100.0;

/// Bytes of a sector in `/proc/diskstats`, whatever the disk has.
const SECTOR: f64 = 512.0;

/// Readings by name.
pub type Values = BTreeMap<String, f64>;

/// Adds the readings of some processes together, as `<name>_rss_bytes`, `_fds`, `_threads` and `_cpu_s`. A process that
/// has just ended adds nothing.
pub fn processes(name: &str, pids: &[u32], values: &mut Values) {
    let mut add = |of: &str, value: f64| *values.entry(format!("{name}_{of}")).or_default() += value;
    for pid in pids {
        let root = PathBuf::from(format!("/proc/{pid}"));
        let Ok(status) = std::fs::read_to_string(root.join("status")) else { continue };
        let field = |key: &str| number(status.lines().find_map(|line| line.strip_prefix(key))?);
        let fds = std::fs::read_dir(root.join("fd")).map(Iterator::count);
        if let (Some(kib), Some(threads), Ok(fds), Some(cpu)) =
            (field("VmRSS:"), field("Threads:"), fds, cpu_s(&root.join("stat")))
        {
            add("rss_bytes", kib * 1024.0);
            add("threads", threads);
            add("fds", f64::from(u32::try_from(fds).unwrap_or(u32::MAX)));
            add("cpu_s", cpu);
        }
    }
}

/// Returns user and system time from a `stat` file of a process.
fn cpu_s(stat: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(stat).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some((fields.next().and_then(number)? + fields.next().and_then(number)?) / TICKS_PER_S)
}

/// Reads the first number of a text.
fn number(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Reads processors, memory, pressure and disks of the host, and the free space of the file system of `folder`.
pub fn host(folder: &Path, values: &mut Values) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    values.extend(processors(&read("/proc/stat")));
    let memory = read("/proc/meminfo");
    let available = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:")).and_then(number);
    values.extend(available.map(|kib| ("host_available_bytes".to_owned(), kib * 1024.0)));
    for resource in ["cpu", "memory", "io"] {
        values.extend(pressure(resource, &read(&format!("/proc/pressure/{resource}"))));
    }
    values.extend(disks(&read("/proc/diskstats")));
    let free = assize_host::free_bytes(folder).ok();
    values.extend(free.map(|bytes| ("disk_free_bytes".to_owned(), super::stats::real(bytes))));
}

fn processors(stat: &str) -> Option<(String, f64)> {
    let fields: Vec<f64> = stat.lines().next()?.split_whitespace().skip(1).filter_map(number).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; the rest is counted in user already.
    let busy = fields.iter().take(8).enumerate().filter(|(at, _)| !matches!(at, 3 | 4)).map(|(_, ticks)| ticks);
    Some(("host_busy_s".to_owned(), busy.sum::<f64>() / TICKS_PER_S))
}

/// Reads the total stall times, in seconds.
fn pressure(resource: &str, text: &str) -> Vec<(String, f64)> {
    let line = |line: &str| {
        let (kind, rest) = line.split_once(' ')?;
        let total = number(rest.rsplit_once("total=")?.1)?;
        Some((format!("psi_{resource}_{kind}_s"), total / 1e6))
    };
    text.lines().filter_map(line).collect()
}

/// Adds all whole disks together: bytes read and written, requests and the time that they waited.
fn disks(text: &str) -> Vec<(String, f64)> {
    let mut sums = [0.0; 4];
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, _, name, rest @ ..] = fields.as_slice() else { continue };
        let is_disk = ["sd", "vd", "xvd"].iter().any(|kind| name.starts_with(kind))
            && !name.ends_with(char::is_numeric)
            || name.starts_with("nvme") && !name.contains('p');
        if !is_disk {
            continue;
        }
        let field = |at: usize| rest.get(at).and_then(|text| number(text)).unwrap_or(0.0);
        // Reads, sectors read, ms of reads; the same of writes stand four fields further.
        let more = [field(2) * SECTOR, field(6) * SECTOR, field(0) + field(4), field(3) + field(7)];
        sums.iter_mut().zip(more).for_each(|(sum, value)| *sum += value);
    }
    let names = ["disk_read_bytes", "disk_written_bytes", "disk_requests", "disk_wait_ms"];
    names.map(str::to_owned).into_iter().zip(sums).collect()
}

/// Reads CPU time and memory of all cells together, and counts their cgroups. Both versions of cgroups are known.
pub fn cells(instance: &str, values: &mut Values) {
    let root = Path::new("/sys/fs/cgroup");
    let parent = format!("assize-{instance}");
    let read = |path: PathBuf| std::fs::read_to_string(path).ok().as_deref().and_then(number);
    let folders = [root.join("cpuacct").join(&parent), root.join("memory").join(&parent), root.join(&parent)];
    let [cpu, memory, unified] = &folders;
    let usage = std::fs::read_to_string(unified.join("cpu.stat")).ok();
    let v2 = usage.as_deref().and_then(|text| text.lines().find_map(|line| number(line.strip_prefix("usage_usec ")?)));
    let cpu_s = read(cpu.join("cpuacct.usage")).map(|ns| ns / 1e9).or(v2.map(|us| us / 1e6));
    values.extend(cpu_s.map(|cpu_s| ("cells_cpu_s".to_owned(), cpu_s)));
    let bytes = read(memory.join("memory.usage_in_bytes")).or_else(|| read(unified.join("memory.current")));
    values.extend(bytes.map(|bytes| ("cells_memory_bytes".to_owned(), bytes)));
    let count = |folder: &PathBuf| {
        let entries = std::fs::read_dir(folder).ok()?.filter_map(Result::ok);
        Some(super::stats::length(entries.filter(|entry| entry.path().is_dir()).count()))
    };
    values.extend(count(memory).or_else(|| count(unified)).map(|count| ("cgroups".to_owned(), count)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_read() {
        let mut values = Values::new();
        processes("own", &[std::process::id()], &mut values);
        assert!(
            values["own_rss_bytes"] > 1e6 && values["own_threads"] >= 1.0 && values["own_fds"] >= 3.0,
            "{values:?}"
        );
        processes("gone", &[u32::MAX], &mut values);
        assert!(!values.contains_key("gone_rss_bytes"));
    }

    #[test]
    fn a_name_with_blanks_and_parentheses_does_not_move_the_fields() {
        let folder = tempfile::tempdir().unwrap();
        let stat = folder.path().join("stat");
        std::fs::write(&stat, "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 3 0\n").unwrap();
        assert_eq!(cpu_s(&stat), Some(3.0));
    }

    #[test]
    fn waiting_is_not_busy() {
        let (_, busy) = processors("cpu  100 0 50 9999 777 0 50 0 30 0\ncpu0 1 2 3\n").unwrap();
        assert_eq!(busy, 2.0);
    }

    #[test]
    fn pressure_is_a_total_in_seconds() {
        let text =
            "some avg10=3.46 avg60=3.11 avg300=8.33 total=2500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        let seen = pressure("cpu", text);
        assert_eq!(seen, [("psi_cpu_some_s".to_owned(), 2.5), ("psi_cpu_full_s".to_owned(), 0.0)]);
    }

    #[test]
    fn partitions_and_loops_are_not_counted_beside_their_disks() {
        let line = |name: &str| format!(" 254 0 {name} 10 0 8 20 5 0 4 30 0 40 50\n");
        let names = ["vda", "vda1", "loop0", "nvme0n1", "nvme0n1p1"];
        let seen: BTreeMap<_, _> = disks(&names.map(line).concat()).into_iter().collect();
        assert_eq!(seen["disk_read_bytes"], 2.0 * 8.0 * 512.0);
        assert_eq!((seen["disk_requests"], seen["disk_wait_ms"]), (30.0, 100.0));
    }
}
