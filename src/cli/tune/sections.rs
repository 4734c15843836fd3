//! The files that are printed, line by line with their reasons.

use std::fmt::Display;

use serde::Serialize;

use super::memory::{Host, Memory};

pub(super) const POSTGRES_FILE: &str = "/etc/postgresql/15/main/conf.d/assize.conf";
pub(super) const REDIS_FILE: &str = "/etc/redis/assize.conf";

/// The mean memory of a slot, in MiB: 20 runs with a browser (2.2 GiB and a driver of 0.5) and 20 without (1.2 and 0.5),
/// with a tenth to spare.
const SLOT_MIB: u64 = 2457;

/// The memory from which huge pages pay. Below it, page tables are small.
const HUGE_PAGES_FROM_MIB: u64 = 1024;

/// A file, with the lines that go into it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Section {
    pub(super) file: String,
    /// What to do after a change.
    then: &'static str,
    #[serde(skip)]
    separator: &'static str,
    /// What stands above the lines: the section of a unit, or nothing.
    #[serde(skip)]
    head: &'static str,
    pub(super) lines: Vec<Line>,
}

/// A setting, its value, and why it has that value.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) reason: &'static str,
}

impl Section {
    /// Returns the file as it is installed: each reason is a comment above its line.
    #[must_use]
    pub(super) fn text(&self) -> String {
        let mut text = format!("# {}\n# {}\n{}", self.file, self.then, self.head);
        for Line { name, value, reason } in &self.lines {
            text.push_str(&format!("# {reason}\n{name}{}{value}\n", self.separator));
        }
        text
    }
}

fn line(name: &'static str, value: impl Display, reason: &'static str) -> Line {
    Line { name, value: value.to_string(), reason }
}

/// Returns every file for this host.
pub(super) fn sections(host: Host, memory: &Memory, instance: &str) -> Vec<Section> {
    let mut sections = vec![
        Section {
            file: POSTGRES_FILE.to_owned(),
            then: "Restart Postgres after a change, at a quiet time.",
            separator: " = ",
            head: "",
            lines: postgres(host, memory),
        },
        Section {
            file: REDIS_FILE.to_owned(),
            then: "Add `include /etc/redis/assize.conf` to the end of /etc/redis/redis.conf, and restart Redis.",
            separator: " ",
            head: "",
            lines: redis(memory),
        },
        Section {
            file: "/etc/assize/assize.toml".to_owned(),
            then: "Restart the worker after a change.",
            separator: " = ",
            head: "",
            lines: assize(host, memory),
        },
    ];
    if memory.shared_buffers >= HUGE_PAGES_FROM_MIB {
        sections.push(Section {
            file: "/etc/sysctl.d/61-assize-host.conf".to_owned(),
            then: "Run `sysctl --system` before Postgres starts; after a long uptime, reboot: memory may be in pieces.",
            separator: " = ",
            head: "",
            lines: vec![line(
                "vm.nr_hugepages",
                huge_pages(memory.shared_buffers),
                "Pages of 2 MiB for the shared memory of Postgres; `postgres -C shared_memory_size_in_huge_pages` prints the exact number.",
            )],
        });
    }
    sections.push(Section {
        file: format!("/etc/systemd/system/assize_{}.slice.d/host.conf", instance.replace('-', "_")),
        then: "Run `systemctl daemon-reload`, then restart the worker.",
        separator: "=",
        head: "[Slice]\n",
        lines: vec![line(
            "MemoryMax",
            format!("{}M", memory.cells),
            "The same number as cells_memory_mib: the worker refuses to start if the slice allows more.",
        )],
    });
    sections.push(Section {
        file: "/etc/systemd/system/assize-data.slice.d/host.conf".to_owned(),
        then: "Run `systemctl daemon-reload`. The same MemoryMin belongs on assize.slice, or it holds nothing.",
        separator: "=",
        head: "[Slice]\n",
        lines: vec![line(
            "MemoryMin",
            format!("{}M", memory.shared_buffers + memory.backends),
            "Cells that take all they may do not push Postgres out of memory.",
        )],
    });
    sections
}

/// Returns the huge pages for this much shared memory: what Postgres adds to its buffers is less than 4 %.
fn huge_pages(shared_buffers_mib: u64) -> u64 {
    (shared_buffers_mib * 103 / 200).div_ceil(100) * 100
}

/// Returns a size as Postgres writes it.
fn size(mib: u64) -> String {
    if mib >= 1024 && mib.is_multiple_of(1024) { format!("{}GB", mib / 1024) } else { format!("{mib}MB") }
}

fn postgres(host: Host, memory: &Memory) -> Vec<Line> {
    let huge = memory.shared_buffers >= HUGE_PAGES_FROM_MIB;
    let maintenance = (host.memory_mib / 192).clamp(64, 1024);
    let wal = memory.shared_buffers.clamp(1024, 16_384);
    let connections = if host.cpus >= 16 { 200 } else { 100 };
    let reserve = "Backups and people get in when the processes hold every other connection.";
    vec![
        line("listen_addresses", "''", "Only the Unix socket: no password exists that could be stolen."),
        line(
            "shared_buffers",
            size(memory.shared_buffers),
            "A twelfth of the memory, and 16 GB at most: the working set is the queue and what ended lately.",
        ),
        line(
            "huge_pages",
            if huge { "on" } else { "off" },
            if huge {
                "Not `try`, which falls back without a word and pays for page tables in every backend."
            } else {
                "The page tables of this little memory are small, and huge pages would be memory that cells cannot have."
            },
        ),
        line(
            "effective_cache_size",
            size(round_gib(memory.page_cache)),
            "The page cache that is left by the division above; it only informs the planner.",
        ),
        line(
            "work_mem",
            size((host.memory_mib / 12_288).clamp(4, 16)),
            "For each sort; no query of assize sorts more than a page of runs.",
        ),
        line("maintenance_work_mem", size(maintenance), "Index builds and restores."),
        line("autovacuum_work_mem", size((maintenance / 4).max(32)), "For each of the workers of autovacuum."),
        line(
            "max_connections",
            connections,
            "Each process of assize opens 8; the rest is for a second instance during an upgrade, exporters and people.",
        ),
        line("superuser_reserved_connections", 5, reserve),
        line("synchronous_commit", "on", "A 202 is a promise: what was confirmed survives a crash of the host."),
        line("wal_level", "replica", "For a replica and for the archive of pgBackRest."),
        line("wal_compression", "zstd", "Full pages after a checkpoint are most of the WAL, and they compress well."),
        line(
            "wal_buffers",
            size((memory.shared_buffers / 256).clamp(4, 64)),
            "Bursts of submissions do not wait for a WAL write of another.",
        ),
        line(
            "max_wal_size",
            size(wal),
            "Checkpoints come by the clock and not by volume. This much disk is used twice over at most.",
        ),
        line("min_wal_size", size(wal / 8), "Segments are reused instead of made anew after each quiet hour."),
        line("checkpoint_timeout", "15min", "Fewer full pages; recovery after a crash still takes less than a minute."),
        line("checkpoint_completion_target", 0.9, "The writes of a checkpoint are spread over its whole period."),
        line(
            "max_slot_wal_keep_size",
            size(2 * wal),
            "A replica that is dead loses its slot instead of filling the disk.",
        ),
        line(
            "hot_standby_feedback",
            "off",
            "On a replica: its long queries must not keep dead rows of the queue alive on the primary.",
        ),
        line(
            "max_standby_streaming_delay",
            "5min",
            "On a replica: a list or a statistic may finish before changes are applied.",
        ),
        line("random_page_cost", 1.1, "NVMe and gp3 read anywhere at the same cost."),
        line("effective_io_concurrency", 200, "The same disks serve many reads at one time."),
        line("jit", "off", "Every query is an index probe; compiling it takes longer than running it."),
        line(
            "autovacuum_naptime",
            "10s",
            "The tables of the queue turn over within seconds; the default looks once a minute.",
        ),
        line(
            "autovacuum_max_workers",
            if host.cpus >= 8 { 5 } else { 3 },
            "Large tables do not keep the small, hot ones waiting.",
        ),
        line("autovacuum_vacuum_cost_limit", 2000, "Vacuum keeps up with the queue; the default is for disks of 2005."),
        line("autovacuum_vacuum_cost_delay", "2ms", "The pause that belongs to that limit."),
        line(
            "deadlock_timeout",
            "500ms",
            "Claims hold their lock for milliseconds: half a second is long, and then it is logged.",
        ),
        line("log_lock_waits", "on", "Who waits for a lock longer than deadlock_timeout is in the log."),
        line(
            "log_min_duration_statement",
            "250ms",
            "Everything slower is worth a line: the p95 of every query is below 5 ms.",
        ),
        line(
            "log_autovacuum_min_duration",
            "1s",
            "A vacuum that cannot remove rows says why: the age of the oldest snapshot.",
        ),
        line("log_temp_files", 0, "No query of assize writes one."),
        line("shared_preload_libraries", "'pg_stat_statements'", "The alerts on slow queries name the query."),
        line("compute_query_id", "on", "The id of a query in the log and in pg_stat_statements is the same."),
        line("track_io_timing", "on", "Tells a slow disk from a slow plan; the clock of these hosts is cheap to read."),
        line("password_encryption", "scram-sha-256", "For the case that somebody sets a password all the same."),
    ]
}

/// Returns whole GiB above one, so that the value reads well.
fn round_gib(mib: u64) -> u64 {
    if mib >= 1024 { mib / 1024 * 1024 } else { mib }
}

fn redis(memory: &Memory) -> Vec<Line> {
    vec![
        line("port", 0, "Only the Unix socket."),
        line(
            "unixsocket",
            "/run/redis/redis-server.sock",
            "The address for redis_url: redis+unix:///run/redis/redis-server.sock.",
        ),
        line("unixsocketperm", 770, "Only the group of Redis comes in: add assize-api and assize-worker to it."),
        line("save", "\"\"", "Nothing here must survive: Postgres is the only truth."),
        line("appendonly", "no", "The same reason: no write waits for a disk."),
        line(
            "maxmemory",
            format!("{}mb", memory.redis),
            "Live output of the last hour; up to 20,000 pieces of each run. What is evicted is read from the blob later.",
        ),
        line("maxmemory-policy", "allkeys-lru", "Never refuse a write: the oldest output goes."),
        line(
            "client-output-buffer-limit",
            "pubsub 64mb 16mb 60",
            "A process that stops reading its hints is cut off and connects again.",
        ),
        line("activedefrag", "yes", "Streams come and go all day; without it memory in pieces is never given back."),
    ]
}

fn assize(host: Host, memory: &Memory) -> Vec<Line> {
    // A twelfth of the processors for everything else, and eight at most.
    let reserved = (host.cpus / 12).clamp(u32::from(host.cpus >= 4), 8);
    let by_processors = (host.cpus * 5 / 6).max(2);
    let slots = u32::try_from(memory.cells / SLOT_MIB).unwrap_or(u32::MAX).clamp(1, by_processors);
    let cpuset = if reserved == 0 { "\"\"".to_owned() } else { format!("\"{reserved}-{}\"", host.cpus - 1) };
    vec![
        line(
            "cells_memory_mib",
            memory.cells,
            "All cells together. The default would leave Postgres 4 GiB of this host.",
        ),
        line(
            "cells_cpuset",
            cpuset,
            if reserved == 0 {
                "Too few processors to set one aside; the weight of the cells is lower than that of everything else."
            } else {
                "The first processors are left to Postgres, the engine and the API."
            },
        ),
        line(
            "worker_slots",
            slots,
            "By memory 2.4 GiB for each slot, by processors five slots for six of them; the smaller counts.",
        ),
        line("max_active_evaluations", slots, "The same, as long as this host has the only worker."),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(cpus: u32, gib: u64, name: &str) -> Option<String> {
        let host = Host { cpus, memory_mib: gib * 1024 };
        let memory = Memory::divide(host);
        let mut lines = sections(host, &memory, "my-school").into_iter().flat_map(|section| section.lines);
        lines.find(|line| line.name == name).map(|line| line.value)
    }

    #[test]
    fn the_reference_host_has_the_planned_values() {
        let of = |name| value(48, 192, name).unwrap();
        assert_eq!((of("shared_buffers"), of("effective_cache_size")), ("16GB".to_owned(), "64GB".to_owned()));
        assert_eq!((of("work_mem"), of("maintenance_work_mem")), ("16MB".to_owned(), "1GB".to_owned()));
        assert_eq!((of("vm.nr_hugepages"), of("huge_pages")), ("8500".to_owned(), "on".to_owned()));
        assert_eq!(
            (of("max_wal_size"), of("min_wal_size"), of("wal_buffers")),
            ("16GB".into(), "2GB".into(), "64MB".into())
        );
        assert_eq!((of("cells_memory_mib"), of("cells_cpuset")), ("98304".to_owned(), "\"4-47\"".to_owned()));
        assert_eq!((of("worker_slots"), of("max_connections")), ("40".to_owned(), "200".to_owned()));
        assert_eq!((of("maxmemory"), of("max_slot_wal_keep_size")), ("2048mb".to_owned(), "32GB".to_owned()));
        assert_eq!((of("MemoryMax"), of("MemoryMin")), ("98304M".to_owned(), "20480M".to_owned()));
    }

    #[test]
    fn a_host_of_two_processors_and_24_gib_gets_what_fits() {
        let of = |name| value(2, 24, name).unwrap();
        assert_eq!(
            (of("shared_buffers"), of("huge_pages"), of("vm.nr_hugepages")),
            ("2GB".into(), "on".into(), "1100".into())
        );
        assert_eq!((of("cells_memory_mib"), of("cells_cpuset")), ("12288".to_owned(), "\"\"".to_owned()));
        assert_eq!((of("worker_slots"), of("max_connections")), ("2".to_owned(), "100".to_owned()));
        assert_eq!((of("work_mem"), of("autovacuum_max_workers")), ("4MB".to_owned(), "3".to_owned()));
    }

    #[test]
    fn a_small_host_has_no_huge_pages() {
        assert_eq!(value(2, 8, "vm.nr_hugepages"), None);
        assert_eq!(value(2, 8, "huge_pages").unwrap(), "off");
    }

    #[test]
    fn the_slice_of_the_cells_has_the_name_that_the_worker_uses() {
        let host = Host { cpus: 2, memory_mib: 24 * 1024 };
        let sections = sections(host, &Memory::divide(host), "my-school");
        assert!(sections.iter().any(|section| section.file.contains("/assize_my_school.slice.d/")));
    }
}
