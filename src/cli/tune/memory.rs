//! How the memory of a host is divided.

use serde::Serialize;

/// The smallest host for which the shares make sense.
pub(super) const MIN_HOST_MIB: u64 = 3584;

/// What is known of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct Host {
    pub(in crate::cli) cpus: u32,
    pub(in crate::cli) memory_mib: u64,
}

impl Host {
    /// Reads the host that this process runs on; `None` if the kernel does not show its memory.
    pub(in crate::cli) fn read() -> Option<Self> {
        let cpus = std::thread::available_parallelism().ok()?;
        let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
        Some(Self { cpus: u32::try_from(cpus.get()).ok()?, memory_mib: kib_of(&meminfo, "MemTotal")? / 1024 })
    }
}

/// Returns the huge pages that the kernel has set aside, in MiB: memory that nothing else can use.
pub(in crate::cli) fn reserved_huge_pages_mib() -> u64 {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let pages = kib_of(&meminfo, "HugePages_Total").unwrap_or(0);
    pages.saturating_mul(kib_of(&meminfo, "Hugepagesize").unwrap_or(0)) / 1024
}

/// Returns the number behind a name in `/proc/meminfo`.
fn kib_of(meminfo: &str, name: &str) -> Option<u64> {
    meminfo.lines().find_map(|line| {
        let value = line.strip_prefix(name)?.strip_prefix(':')?;
        value.split_whitespace().next()?.parse().ok()
    })
}

/// The shares of a host's memory, in MiB. Together they are all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Memory {
    /// All cells together: `cells_memory_mib` and the `MemoryMax` of their slice.
    pub(super) cells: u64,
    /// `shared_buffers` of Postgres, in huge pages where it is large.
    pub(super) shared_buffers: u64,
    /// The backends of Postgres and their sorts, and autovacuum.
    pub(super) backends: u64,
    pub(super) redis: u64,
    /// dockerd, containerd and a shim for each cell.
    pub(super) engine: u64,
    /// `assize api` and `assize worker`.
    pub(super) service: u64,
    /// nginx, PgBouncer, Prometheus and the exporters.
    pub(super) observe: u64,
    /// The kernel, sshd, journald.
    pub(super) system: u64,
    /// What is left: the page cache, mostly of Postgres and of images.
    pub(super) page_cache: u64,
}

impl Memory {
    /// Divides the memory of a host of at least [`MIN_HOST_MIB`].
    pub(in crate::cli) fn divide(host: Host) -> Self {
        let total = host.memory_mib;
        let share = |parts: u64, least: u64, most: u64| (total / parts).clamp(least, most);
        // Half for what the host is there for, in whole GiB where there are any.
        let half = total / 2;
        let cells = if half >= 2048 { half / 1024 * 1024 } else { half };
        let shared_buffers = round_down(share(12, 128, 16_384));
        let backends = shared_buffers / 4;
        let redis = share(96, 32, 2048);
        let engine = share(96, 128, 2048);
        let service = share(192, 128, 1024);
        let observe = share(64, 128, 4096);
        let system = share(48, 384, 4096);
        let used = cells + shared_buffers + backends + redis + engine + service + observe + system;
        let page_cache = total.saturating_sub(used);
        Self { cells, shared_buffers, backends, redis, engine, service, observe, system, page_cache }
    }

    /// Returns each share by its name.
    pub(super) fn shares(&self) -> [(&'static str, u64); 9] {
        [
            ("cells", self.cells),
            ("postgres", self.shared_buffers),
            ("backends", self.backends),
            ("redis", self.redis),
            ("engine", self.engine),
            ("service", self.service),
            ("observe", self.observe),
            ("system", self.system),
            ("page cache", self.page_cache),
        ]
    }

    /// Returns what is neither cells nor Postgres nor page cache.
    pub(in crate::cli) fn others(&self) -> u64 {
        self.redis + self.engine + self.service + self.observe + self.system
    }
}

/// Returns a size that reads well: whole GiB above 4 GiB, else multiples of 128 MiB.
fn round_down(mib: u64) -> u64 {
    let step = if mib >= 4096 { 1024 } else { 128 };
    mib / step * step
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divided(gib: u64) -> Memory {
        Memory::divide(Host { cpus: 2, memory_mib: gib * 1024 })
    }

    #[test]
    fn the_reference_host_is_divided_as_planned() {
        let memory = divided(192);
        assert_eq!((memory.cells, memory.shared_buffers, memory.backends), (96 * 1024, 16 * 1024, 4 * 1024));
        assert_eq!((memory.redis, memory.engine, memory.service), (2048, 2048, 1024));
        assert_eq!((memory.observe, memory.system, memory.page_cache), (3072, 4096, 64 * 1024));
    }

    #[test]
    fn a_host_of_two_processors_and_24_gib() {
        let memory = divided(24);
        assert_eq!((memory.cells, memory.shared_buffers, memory.backends), (12 * 1024, 2048, 512));
        assert_eq!((memory.redis, memory.observe, memory.system), (256, 384, 512));
    }

    #[test]
    fn no_byte_is_given_twice_on_any_host() {
        for mib in (MIN_HOST_MIB..2 << 20).step_by(997) {
            let memory = Memory::divide(Host { cpus: 4, memory_mib: mib });
            let sum: u64 = memory.shares().iter().map(|(_, mib)| mib).sum();
            assert_eq!(sum, mib);
            assert!(memory.page_cache > mib / 20, "{mib}: {memory:?}");
        }
    }

    #[test]
    fn meminfo_is_read_by_whole_names() {
        let meminfo =
            "MemTotal:       24634368 kB\nMemTotalX: 1 kB\nHugePages_Total:    8500\nHugepagesize:       2048 kB\n";
        assert_eq!(kib_of(meminfo, "MemTotal"), Some(24_634_368));
        assert_eq!(kib_of(meminfo, "HugePages_Total"), Some(8500));
        assert_eq!(kib_of(meminfo, "Huge"), None);
    }
}
