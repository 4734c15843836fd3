//! What every cell has alike, whatever its template: limits of each process, paths that are hidden.

use bollard::models::ResourcesUlimits;

use assize_domain::limits::CellLimits;

/// Open files per process.
pub const OPEN_FILES: u64 = 4096;

/// Bytes that a process may lock in memory: what kernels gave by default before 5.16.
pub const LOCKED_BYTES: u64 = 64 * 1024;

/// Bytes in POSIX message queues. They are counted for each user over all cells, so whatever one cell may
/// have, it could take from the others.
pub const QUEUE_BYTES: u64 = 0;

/// Bytes of `/dev/shm`.
pub const SHM_BYTES: u64 = 16 << 20;

/// The longest file in a cell whose largest tmpfs has so many bytes: somewhat longer, so that a file which
/// fills it finds it full, and only one with holes finds this.
#[must_use]
pub const fn longest_file(largest_tmpfs: u64) -> u64 {
    largest_tmpfs.saturating_add(1 << 20)
}

/// The longest file in a cell with these limits, and that many bytes for the tests of a grader: also the longest archive
/// that its warden can take in, which holds it in a file.
#[must_use]
pub fn longest_file_in(limits: &CellLimits, grader_bytes: u64) -> u64 {
    let bytes = |mib: u64| mib.saturating_mul(1 << 20);
    longest_file(bytes(limits.workspace_mib).max(bytes(limits.tmp_mib)).max(grader_bytes).max(SHM_BYTES))
}

/// Of each process. The number of processes is not among them: the kernel counts that for each user over
/// all cells, so the cgroup has it.
#[must_use]
pub fn of_each_process(longest_file: u64) -> Vec<ResourcesUlimits> {
    let limit = |name: &str, value: u64| {
        let value = i64::try_from(value).ok();
        ResourcesUlimits { name: Some(name.to_owned()), soft: value, hard: value }
    };
    vec![
        limit("core", 0),
        limit("fsize", longest_file),
        limit("memlock", LOCKED_BYTES),
        limit("msgqueue", QUEUE_BYTES),
        limit("nofile", OPEN_FILES),
    ]
}

/// Hidden: files say nothing, folders are empty. Set, this replaces the engine's own list, so that is in it.
/// What programs read to find out how much they may use stays: `stat`, `meminfo`, `cpuinfo`, `loadavg`.
pub const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/buddyinfo",
    "/proc/bus",
    "/proc/cmdline",
    "/proc/config.gz",
    "/proc/diskstats",
    "/proc/driver",
    "/proc/fs",
    "/proc/interrupts",
    "/proc/iomem",
    "/proc/ioports",
    "/proc/irq",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/modules",
    "/proc/pagetypeinfo",
    "/proc/partitions",
    "/proc/pressure",
    "/proc/sched_debug",
    "/proc/schedstat",
    "/proc/scsi",
    "/proc/slabinfo",
    "/proc/softirqs",
    "/proc/swaps",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/vmallocinfo",
    "/proc/zoneinfo",
    "/sys/block",
    "/sys/devices/virtual/dmi",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/hypervisor",
    "/sys/kernel",
    "/sys/module",
    "/sys/power",
];

/// Never written to; the rest of `/sys` is mounted so by the engine.
pub const READ_ONLY: &[&str] = &["/proc/sys"];

/// As the engine wants them.
#[must_use]
pub fn paths(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_hides_by_itself_stays_hidden() {
        // The lists of Docker 20.10 to 28: setting one replaces it.
        let theirs = [
            "/proc/acpi",
            "/proc/asound",
            "/proc/interrupts",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/sched_debug",
            "/proc/scsi",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/sys/devices/virtual/powercap",
            "/sys/firmware",
        ];
        for path in theirs {
            assert!(MASKED.contains(&path), "{path}");
        }
        for path in ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"] {
            assert!(MASKED.contains(&path) || READ_ONLY.contains(&path), "{path}");
        }
    }

    #[test]
    fn a_full_disk_is_met_before_the_longest_file() {
        assert!(longest_file(64 << 20) > 64 << 20);
        assert_eq!(longest_file(u64::MAX), u64::MAX);
    }
}
