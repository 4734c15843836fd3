//! Whether a cgroup met its own memory limit.

use std::fs;
use std::path::Path;

/// How far below its limit the peak of a cgroup may stay although it met the limit, in bytes: the kernel
/// charges huge pages whole.
const SLACK: u64 = 2 << 20;

/// How often the limit of the cgroup in `folder` itself refused memory, and not that of one above it; `None`
/// if that cannot be seen.
///
/// Version 2 counts it. Version 1 has a count too, and another for memory with swap, but kernels from about
/// 6.13 on leave both at 0; there, whether the peak came up to the limit has to do, which is 0 or 1.
#[must_use]
pub fn memory_limit_hits(folder: &Path) -> Option<u64> {
    let text = |file: &str| fs::read_to_string(folder.join(file)).ok();
    let number = |file: &str| text(file)?.trim().parse::<u64>().ok();
    if let Some(events) = text("memory.events.local").or_else(|| text("memory.events")) {
        let mut lines = events.lines().filter_map(|line| line.split_once(' '));
        return lines.find(|(name, _)| *name == "oom").and_then(|(_, value)| value.trim().parse().ok());
    }
    let counted = number("memory.failcnt")?.saturating_add(number("memory.memsw.failcnt").unwrap_or(0));
    let (peak, limit) = (number("memory.max_usage_in_bytes")?, number("memory.limit_in_bytes")?);
    Some(counted.max(u64::from(peak.saturating_add(SLACK) >= limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn version_2_counts_what_the_group_itself_was_refused() {
        let both = [("memory.events", "oom 5\noom_kill 9\n"), ("memory.events.local", "low 0\noom 2\noom_kill 9\n")];
        assert_eq!(memory_limit_hits(folder(&both).path()), Some(2));
        assert_eq!(memory_limit_hits(folder(&both[..1]).path()), Some(5), "kernels before 5.2");
        assert_eq!(memory_limit_hits(folder(&[]).path()), None);
    }

    #[test]
    fn version_1_counts_or_shows_by_its_peak() {
        let of = |alone: &str, with_swap: &str, peak: &str| {
            memory_limit_hits(
                folder(&[
                    ("memory.failcnt", alone),
                    ("memory.memsw.failcnt", with_swap),
                    ("memory.max_usage_in_bytes", peak),
                    ("memory.limit_in_bytes", "167772160\n"),
                ])
                .path(),
            )
        };
        // As seen on 6.18: of two cells of 160 MiB, one killed at its limit and one at the total of both.
        assert_eq!(of("0\n", "0\n", "167772160\n"), Some(1));
        assert_eq!(of("0\n", "0\n", "132644864\n"), Some(0));
        assert_eq!(of("2\n", "3\n", "132644864\n"), Some(5));
    }
}
