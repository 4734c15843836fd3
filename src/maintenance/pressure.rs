//! Host pressure: pauses claims while this host is short of memory or disk space, or while its processes wait for
//! them.
//!
//! The decision ([`PressureLimits::shortages`]) is pure. Claims resume only once the value is 25 % better than the
//! limit (hysteresis), so that a host at its limit does not flap.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use assize_cell::Engine;
use assize_config::Config;
use assize_domain::queue::ClaimPause;
use assize_host as host;
use assize_observe::metrics;
use tokio_util::sync::CancellationToken;

use crate::admission::ClaimPauses;

/// Time between two readings. The kernel renews its averages as often.
const INTERVAL: Duration = Duration::from_secs(2);

/// The longest wait for the free space of a file system.
const STATFS_TIMEOUT: Duration = Duration::from_secs(5);

/// The values that were read. `None` means that this process cannot read the value; it pauses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Readings {
    /// Percent of the last 10 s in which every process that was not idle waited for memory.
    pub memory_pressure: Option<f64>,
    /// Percent of the last 10 s in which every process that was not idle waited for disks.
    pub io_pressure: Option<f64>,
    pub available_memory_mib: Option<u64>,
    /// Free space of the file system that holds the engine's containers.
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

/// The limits past which claims are paused. A limit of 0 is not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PressureLimits {
    /// In percent, like `max_io_pressure`.
    pub max_memory_pressure: u32,
    pub max_io_pressure: u32,
    pub min_available_memory_mib: u64,
    pub min_free_disk_mib: u64,
}

/// A resource that a host can be short of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shortage {
    MemoryPressure,
    IoPressure,
    Memory,
    Disk,
}

impl Shortage {
    /// Every resource.
    pub const ALL: [Self; 4] = [Self::MemoryPressure, Self::IoPressure, Self::Memory, Self::Disk];

    /// The setting that limits it.
    #[must_use]
    pub const fn setting(self) -> &'static str {
        match self {
            Self::MemoryPressure => "max_memory_pressure",
            Self::IoPressure => "max_io_pressure",
            Self::Memory => "min_available_memory_mib",
            Self::Disk => "min_free_disk_mib",
        }
    }
}

impl PressureLimits {
    /// The limits of the settings.
    #[must_use]
    pub const fn from_config(config: &Config) -> Self {
        Self {
            max_memory_pressure: config.max_memory_pressure,
            max_io_pressure: config.max_io_pressure,
            min_available_memory_mib: config.min_available_memory_mib,
            min_free_disk_mib: config.min_free_disk_mib,
        }
    }

    /// The limits that are set, and whose value could not be read.
    #[must_use]
    pub fn unreadable(&self, seen: &Readings) -> Vec<Shortage> {
        let blind = |shortage: &Shortage| match shortage {
            Shortage::MemoryPressure => self.max_memory_pressure > 0 && seen.memory_pressure.is_none(),
            Shortage::IoPressure => self.max_io_pressure > 0 && seen.io_pressure.is_none(),
            Shortage::Memory => self.min_available_memory_mib > 0 && seen.available_memory_mib.is_none(),
            Shortage::Disk => self.min_free_disk_mib > 0 && seen.free_disk_mib.is_none(),
        };
        Shortage::ALL.into_iter().filter(blind).collect()
    }

    /// The resources that the host is short of, each with a sentence that names limit and value. A shortage in
    /// `before` lasts until the value is 25 % better than the limit.
    #[must_use]
    pub fn shortages(&self, seen: &Readings, before: &[Shortage]) -> Vec<(Shortage, String)> {
        let mut shortages = Vec::new();
        let mut above = |what: Shortage, name: &str, limit: u32, seen: Option<f64>| {
            let release = f64::from(limit) * if before.contains(&what) { 0.75 } else { 1.0 };
            if let Some(seen) = seen.filter(|seen| limit > 0 && *seen > release) {
                shortages.push((what, format!("{name} is {seen:.0} % of the last 10 s, the limit is {limit} %")));
            }
        };
        above(Shortage::MemoryPressure, "memory pressure", self.max_memory_pressure, seen.memory_pressure);
        above(Shortage::IoPressure, "disk pressure", self.max_io_pressure, seen.io_pressure);
        let mut below = |what: Shortage, name: &str, limit: u64, seen: Option<u64>| {
            let release = if before.contains(&what) { limit.saturating_add(limit / 4) } else { limit };
            if let Some(seen) = seen.filter(|seen| limit > 0 && *seen < release) {
                shortages.push((what, format!("{name} is {seen} MiB, the limit is {limit} MiB")));
            }
        };
        below(Shortage::Memory, "available memory", self.min_available_memory_mib, seen.available_memory_mib);
        below(Shortage::Disk, "free disk of the engine", self.min_free_disk_mib, seen.free_disk_mib);
        shortages
    }
}

/// The sources of [`Readings`] on this host.
#[derive(Debug, Clone, Default)]
pub struct PressureSources {
    docker_root: Option<PathBuf>,
}

impl PressureSources {
    /// Asks the engine for the folder of its containers. Without an answer the disk is not checked.
    pub async fn find(engine: &Engine) -> Self {
        let info = engine.info().await;
        Self { docker_root: info.ok().and_then(|info| info.docker_root_dir).map(PathBuf::from) }
    }

    /// Reads all values.
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

/// Reads the values until `stop`, and pauses claims while the host is short of a resource.
pub async fn run(pauses: ClaimPauses, engine: Engine, limits: PressureLimits, stop: CancellationToken) {
    let mut sources = PressureSources::find(&engine).await;
    let mut unreadable = Vec::new();
    let mut before = Vec::new();
    while !stop.is_cancelled() {
        if sources.docker_root.is_none() {
            sources = PressureSources::find(&engine).await;
        }
        let seen = sources.read().await;
        unreadable = report_unreadable(limits.unreadable(&seen), &unreadable);
        before = run_once(&pauses, limits, &seen, &before);
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

/// Pauses or resumes claims by the values that were read. Returns the current shortages. The detail of the pause
/// does not change while the shortages are the same.
fn run_once(pauses: &ClaimPauses, limits: PressureLimits, seen: &Readings, before: &[Shortage]) -> Vec<Shortage> {
    let (now, details): (Vec<Shortage>, Vec<String>) = limits.shortages(seen, before).into_iter().unzip();
    if now.is_empty() {
        pauses.lift(ClaimPause::HostPressure);
    } else if now != before {
        pauses.pause(ClaimPause::HostPressure, &details.join("; "));
    }
    now
}

/// Shows which limits are blind in the metrics, and logs it when it changes.
fn report_unreadable(now: Vec<Shortage>, before: &[Shortage]) -> Vec<Shortage> {
    for shortage in Shortage::ALL {
        metrics().pressure_limit_is_blind(shortage.setting(), now.contains(&shortage));
    }
    if now != before {
        let settings: Vec<_> = now.iter().map(|shortage| shortage.setting()).collect();
        if now.is_empty() {
            tracing::info!("every value that can pause claims is readable again");
        } else {
            let settings = settings.join(", ");
            tracing::warn!(settings, "these limits pause no claim, because this process cannot read their values");
        }
    }
    now
}

async fn free_mib(folder: &Path) -> Option<u64> {
    let folder = folder.to_owned();
    let free = tokio::task::spawn_blocking(move || host::free_bytes(&folder));
    let free = tokio::time::timeout(STATFS_TIMEOUT, free).await.ok()?.ok()?.ok()?;
    Some(free >> 20)
}

/// The value `full avg10` of a file of `/proc/pressure`, in percent.
fn stalled(text: &str) -> Option<f64> {
    let full = text.lines().find_map(|line| line.strip_prefix("full "))?;
    full.split_whitespace().find_map(|field| field.strip_prefix("avg10="))?.parse().ok()
}

/// The value `MemAvailable` of `/proc/meminfo`, in MiB.
fn available_mib(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib >> 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PressureLimits = PressureLimits {
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

    fn shortages(seen: &Readings, before: &[Shortage]) -> Vec<Shortage> {
        LIMITS.shortages(seen, before).into_iter().map(|(shortage, _)| shortage).collect()
    }

    #[test]
    fn a_host_at_its_limits_claims_and_one_past_a_limit_names_it() {
        assert_eq!(LIMITS.shortages(&WELL, &[]), []);
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
            let details: Vec<_> = LIMITS.shortages(&seen, &[]).into_iter().map(|(_, detail)| detail).collect();
            assert_eq!(details, [words]);
        }
    }

    #[test]
    fn a_shortage_lasts_until_the_value_is_a_quarter_better_than_the_limit() {
        let near = Readings {
            memory_pressure: Some(15.1),
            io_pressure: Some(60.1),
            available_memory_mib: Some(639),
            free_disk_mib: Some(2_499),
        };
        let all = [Shortage::MemoryPressure, Shortage::IoPressure, Shortage::Memory, Shortage::Disk];
        assert_eq!(shortages(&near, &all), all);
        assert_eq!(shortages(&near, &[]), []);
        assert_eq!(shortages(&near, &[Shortage::Disk]), [Shortage::Disk], "each for itself");
        let far = Readings {
            memory_pressure: Some(15.0),
            io_pressure: Some(60.0),
            available_memory_mib: Some(640),
            free_disk_mib: Some(2_500),
        };
        assert_eq!(shortages(&far, &all), []);
    }

    #[test]
    fn a_value_that_is_unknown_or_not_checked_pauses_nothing() {
        assert_eq!(shortages(&Readings::default(), &[Shortage::Memory]), []);
        let nothing = PressureLimits {
            max_memory_pressure: 0,
            max_io_pressure: 0,
            min_available_memory_mib: 0,
            min_free_disk_mib: 0,
        };
        let worst = Readings {
            memory_pressure: Some(100.0),
            io_pressure: Some(100.0),
            available_memory_mib: Some(0),
            free_disk_mib: Some(0),
        };
        assert_eq!(nothing.shortages(&worst, &[]), []);
    }

    #[test]
    fn a_limit_whose_value_cannot_be_read_is_blind() {
        let some = Readings { memory_pressure: None, free_disk_mib: None, ..WELL };
        assert_eq!(LIMITS.unreadable(&some), [Shortage::MemoryPressure, Shortage::Disk]);
        assert_eq!(LIMITS.unreadable(&WELL), []);
        let off = PressureLimits { max_memory_pressure: 0, min_free_disk_mib: 0, ..LIMITS };
        assert_eq!(off.unreadable(&some), [], "a limit that is switched off needs no value");
        let blind = report_unreadable(LIMITS.unreadable(&some), &[]);
        let series = "assize_pressure_limit_blind{setting=\"max_memory_pressure\"}";
        assert!(metrics().text().contains(&format!("{series} 1\n")));
        report_unreadable(LIMITS.unreadable(&WELL), &blind);
        assert!(metrics().text().contains(&format!("{series} 0\n")));
    }

    #[test]
    fn claims_are_paused_while_the_host_is_short_of_something() {
        // FAILURES 17 and 21.
        let pauses = ClaimPauses::default();
        let mut changes = pauses.subscribe();
        let mut before = Vec::new();
        let mut look = |available| {
            before = run_once(&pauses, LIMITS, &Readings { available_memory_mib: Some(available), ..WELL }, &before);
            let changed = changes.has_changed().unwrap();
            changes.mark_unchanged();
            (pauses.strongest().map(|(_, detail)| detail), changed)
        };
        let paused = Some("available memory is 100 MiB, the limit is 512 MiB".to_owned());
        assert_eq!(look(600), (None, false));
        assert_eq!(look(100), (paused.clone(), true));
        assert_eq!(look(99), (paused.clone(), false), "the same shortage is no change");
        assert_eq!(look(600), (paused, false));
        assert_eq!(look(640), (None, true));
        assert_eq!(look(600), (None, false));
    }

    #[test]
    fn the_files_of_the_kernel_are_read() {
        let text = "some avg10=1.50 avg60=0.13 avg300=3.20 total=1\nfull avg10=0.75 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!((stalled(text), stalled(""), stalled("full x")), (Some(0.75), None, None));
        assert_eq!(available_mib("MemTotal: 1 kB\nMemAvailable:   2097152 kB\n"), Some(2048));
        assert_eq!(available_mib(""), None);
    }
}
