//! Whether this host can take more: memory, disks and what processes wait for.
//!
//! The decision ([`Limits::judge`]) is pure. Between the limit that holds claims back and the one that lets
//! them go on lies a quarter, so that a host at its limit does not flap.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::admission::Holds;
use assize_cell::Engine;
use assize_config::Config;
use assize_domain::queue::ClaimPause;
use assize_host as host;

/// Between two looks. The kernel renews its averages as often.
const PERIOD: Duration = Duration::from_secs(2);

/// The longest wait for what a file system says of itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was seen; `None` is not known here, and holds nothing back.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Readings {
    /// Percent of the last 10 s in which every process that was not idle waited for memory.
    pub memory_pressure: Option<f64>,
    /// The same for disks.
    pub io_pressure: Option<f64>,
    pub available_memory_mib: Option<u64>,
    /// Of the file system that the engine keeps its containers on.
    pub free_disk_mib: Option<u64>,
}

impl fmt::Display for Readings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |seen: Option<f64>| seen.map_or_else(|| "unknown".to_owned(), |seen| format!("{seen:.0} %"));
        let mib = |seen: Option<u64>| seen.map_or_else(|| "unknown".to_owned(), |seen| format!("{seen} MiB"));
        write!(
            f,
            "stalled for memory {}, for disks {}; memory available {}, free for the engine {}",
            percent(self.memory_pressure),
            percent(self.io_pressure),
            mib(self.available_memory_mib),
            mib(self.free_disk_mib)
        )
    }
}

/// Past which claims are held back; 0 is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Percent.
    pub max_memory_pressure: u32,
    pub max_io_pressure: u32,
    pub min_available_memory_mib: u64,
    pub min_free_disk_mib: u64,
}

/// What a host can be short of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Short {
    MemoryPressure,
    IoPressure,
    Memory,
    Disk,
}

impl Limits {
    /// Those of the settings.
    #[must_use]
    pub const fn of(config: &Config) -> Self {
        Self {
            max_memory_pressure: config.max_memory_pressure,
            max_io_pressure: config.max_io_pressure,
            min_available_memory_mib: config.min_available_memory_mib,
            min_free_disk_mib: config.min_free_disk_mib,
        }
    }

    /// What the host is short of, each with limit and value for people. What it `was` short of already it
    /// is short of until a quarter of the limit lies between.
    #[must_use]
    pub fn judge(&self, seen: &Readings, was: &[Short]) -> Vec<(Short, String)> {
        let mut short = Vec::new();
        let mut above = |what: Short, name: &str, limit: u32, seen: Option<f64>| {
            let release = f64::from(limit) * if was.contains(&what) { 0.75 } else { 1.0 };
            if let Some(seen) = seen.filter(|seen| limit > 0 && *seen > release) {
                short.push((what, format!("{name} is {seen:.0} % of the last 10 s, the limit is {limit} %")));
            }
        };
        above(Short::MemoryPressure, "memory pressure", self.max_memory_pressure, seen.memory_pressure);
        above(Short::IoPressure, "disk pressure", self.max_io_pressure, seen.io_pressure);
        let mut below = |what: Short, name: &str, limit: u64, seen: Option<u64>| {
            let release = if was.contains(&what) { limit.saturating_add(limit / 4) } else { limit };
            if let Some(seen) = seen.filter(|seen| limit > 0 && *seen < release) {
                short.push((what, format!("{name} is {seen} MiB, the limit is {limit} MiB")));
            }
        };
        below(Short::Memory, "available memory", self.min_available_memory_mib, seen.available_memory_mib);
        below(Short::Disk, "free disk of the engine", self.min_free_disk_mib, seen.free_disk_mib);
        short
    }
}

/// What there is to read on this host.
#[derive(Debug, Clone, Default)]
pub struct Host {
    docker_root: Option<PathBuf>,
}

impl Host {
    /// Asks the engine where it keeps its containers; without an answer the disk is not looked at.
    pub async fn of(engine: &Engine) -> Self {
        let info = engine.info().await;
        Self { docker_root: info.ok().and_then(|info| info.docker_root_dir).map(PathBuf::from) }
    }

    /// Reads all of it.
    pub async fn read(&self) -> Readings {
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let free_disk_mib = match &self.docker_root {
            Some(folder) => free_mib(folder).await,
            None => None,
        };
        Readings {
            memory_pressure: stalled(&std::fs::read_to_string("/proc/pressure/memory").unwrap_or_default()),
            io_pressure: stalled(&std::fs::read_to_string("/proc/pressure/io").unwrap_or_default()),
            available_memory_mib: available_mib(&memory),
            free_disk_mib,
        }
    }
}

/// Looks until `stop`, and holds claims back while the host is short of something.
pub async fn run(holds: Holds, engine: Engine, limits: Limits, stop: CancellationToken) {
    let mut host = Host::of(&engine).await;
    let mut unknown_told = false;
    let mut was = Vec::new();
    while !stop.is_cancelled() {
        if host.docker_root.is_none() {
            host = Host::of(&engine).await;
        }
        let seen = host.read().await;
        if !std::mem::replace(&mut unknown_told, true) {
            tell_unknown(&seen);
        }
        was = run_once(&holds, limits, &seen, &was);
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

/// Holds claims back or lets them go on, by what was seen. Gives what the host is short of now. The words
/// stay while it is short of the same.
fn run_once(holds: &Holds, limits: Limits, seen: &Readings, was: &[Short]) -> Vec<Short> {
    let short = limits.judge(seen, was);
    let (now, words): (Vec<Short>, Vec<String>) = short.into_iter().unzip();
    if now.is_empty() {
        holds.release(ClaimPause::HostPressure);
    } else if now != was {
        holds.hold(ClaimPause::HostPressure, &words.join("; "));
    }
    now
}

fn tell_unknown(seen: &Readings) {
    let unknown = [
        (seen.memory_pressure.is_none(), "memory pressure"),
        (seen.io_pressure.is_none(), "disk pressure"),
        (seen.available_memory_mib.is_none(), "available memory"),
        (seen.free_disk_mib.is_none(), "free disk of the engine"),
    ];
    let unknown: Vec<_> = unknown.into_iter().filter_map(|(is, name)| is.then_some(name)).collect();
    if !unknown.is_empty() {
        tracing::info!(unknown = unknown.join(", "), "cannot be read on this host and holds no claim back");
    }
}

async fn free_mib(folder: &Path) -> Option<u64> {
    let folder = folder.to_owned();
    let free = tokio::task::spawn_blocking(move || host::free_bytes(&folder));
    let free = tokio::time::timeout(PATIENCE, free).await.ok()?.ok()?.ok()?;
    Some(free >> 20)
}

/// `full avg10` of a file of `/proc/pressure`, in percent.
fn stalled(text: &str) -> Option<f64> {
    let full = text.lines().find_map(|line| line.strip_prefix("full "))?;
    full.split_whitespace().find_map(|field| field.strip_prefix("avg10="))?.parse().ok()
}

/// `MemAvailable` of `/proc/meminfo`, in MiB.
fn available_mib(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib >> 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        max_memory_pressure: 20,
        max_io_pressure: 80,
        min_available_memory_mib: 512,
        min_free_disk_mib: 2_000,
    };

    const WELL: Readings = Readings {
        memory_pressure: Some(0.0),
        io_pressure: Some(80.0),
        available_memory_mib: Some(512),
        free_disk_mib: Some(2_000),
    };

    fn short_of(seen: &Readings, was: &[Short]) -> Vec<Short> {
        LIMITS.judge(seen, was).into_iter().map(|(short, _)| short).collect()
    }

    #[test]
    fn a_host_at_its_limits_goes_on_and_one_past_a_limit_says_which() {
        assert_eq!(LIMITS.judge(&WELL, &[]), []);
        let cases = [
            (
                Readings { memory_pressure: Some(20.6), ..WELL },
                "memory pressure is 21 % of the last 10 s, the limit is 20 %",
            ),
            (Readings { io_pressure: Some(99.0), ..WELL }, "disk pressure is 99 % of the last 10 s, the limit is 80 %"),
            (Readings { available_memory_mib: Some(511), ..WELL }, "available memory is 511 MiB, the limit is 512 MiB"),
            (Readings { free_disk_mib: Some(0), ..WELL }, "free disk of the engine is 0 MiB, the limit is 2000 MiB"),
        ];
        for (seen, words) in cases {
            let said: Vec<_> = LIMITS.judge(&seen, &[]).into_iter().map(|(_, said)| said).collect();
            assert_eq!(said, [words]);
        }
    }

    #[test]
    fn what_was_short_is_short_until_a_quarter_lies_between() {
        let near = Readings {
            memory_pressure: Some(15.1),
            io_pressure: Some(60.1),
            available_memory_mib: Some(639),
            free_disk_mib: Some(2_499),
        };
        let all = [Short::MemoryPressure, Short::IoPressure, Short::Memory, Short::Disk];
        assert_eq!(short_of(&near, &all), all);
        assert_eq!(short_of(&near, &[]), []);
        assert_eq!(short_of(&near, &[Short::Disk]), [Short::Disk], "each for itself");
        let far = Readings {
            memory_pressure: Some(15.0),
            io_pressure: Some(60.0),
            available_memory_mib: Some(640),
            free_disk_mib: Some(2_500),
        };
        assert_eq!(short_of(&far, &all), []);
    }

    #[test]
    fn what_is_not_known_or_not_looked_at_holds_nothing_back() {
        assert_eq!(short_of(&Readings::default(), &[Short::Memory]), []);
        let nothing =
            Limits { max_memory_pressure: 0, max_io_pressure: 0, min_available_memory_mib: 0, min_free_disk_mib: 0 };
        let worst = Readings {
            memory_pressure: Some(100.0),
            io_pressure: Some(100.0),
            available_memory_mib: Some(0),
            free_disk_mib: Some(0),
        };
        assert_eq!(nothing.judge(&worst, &[]), []);
    }

    #[test]
    fn a_host_that_is_short_holds_claims_back_until_it_is_not() {
        // FAILURES 17 and 21.
        let holds = Holds::default();
        let mut changes = holds.changes();
        let mut was = Vec::new();
        let mut look = |available| {
            was = run_once(&holds, LIMITS, &Readings { available_memory_mib: Some(available), ..WELL }, &was);
            let news = changes.has_changed().unwrap();
            changes.mark_unchanged();
            (holds.reason().map(|(_, why)| why), news)
        };
        let held = Some("available memory is 100 MiB, the limit is 512 MiB".to_owned());
        assert_eq!(look(600), (None, false));
        assert_eq!(look(100), (held.clone(), true));
        assert_eq!(look(99), (held.clone(), false), "the same is no news");
        assert_eq!(look(600), (held, false));
        assert_eq!(look(640), (None, true));
        assert_eq!(look(600), (None, false));
    }

    #[test]
    fn the_kernels_words_are_read() {
        let text = "some avg10=1.50 avg60=0.13 avg300=3.20 total=1\nfull avg10=0.75 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!((stalled(text), stalled(""), stalled("full x")), (Some(0.75), None, None));
        assert_eq!(available_mib("MemTotal: 1 kB\nMemAvailable:   2097152 kB\n"), Some(2048));
        assert_eq!(available_mib(""), None);
    }
}
