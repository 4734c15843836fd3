//! What processes cost, from /proc, and what the machine is doing besides.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use assize_cell::Engine;

use crate::figure::count;
use crate::installation;

/// Of one tick in /proc: USER_HZ, which is 100 on every architecture that Linux reports it on.
const TICK: Duration = Duration::from_millis(10);

/// The machine, in one line.
pub async fn context() -> Result<String> {
    let engine = Engine::connect(&installation::config(&installation::templates())?).await?;
    let info = engine.info().await?;
    let cores = std::thread::available_parallelism()?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').take(3).collect::<Vec<_>>().join(" ");
    let version = info.server_version.unwrap_or_default();
    let cgroup = info.cgroup_version.map(|version| version.to_string()).unwrap_or_default();
    let storage = info.driver.unwrap_or_default();
    Ok(format!("{cores} cores, engine {version} ({storage}, cgroup v{cgroup}), load average {load}"))
}

/// User and system time of one process so far, in ms, its threads included.
pub fn cpu_ms(pid: u32) -> Result<f64> {
    Ok(Times::measure(pid)?.own)
}

/// The same to the nanosecond, but only of the threads that live: for a process that starts none.
pub fn fine_cpu_ms(pid: u32) -> Result<f64> {
    let mut sum = 0.0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // It may have ended since it was listed.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        sum += count(text.split(' ').next().unwrap_or_default().parse::<u64>()?) / 1e6;
    }
    Ok(sum)
}

/// The same as [`cpu_ms`] of a process, of all below it, and of those of them that have ended.
pub fn tree_cpu_ms(pid: u32) -> Result<f64> {
    let mut below: HashMap<u32, Vec<Times>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // One that has ended since is in its parent's sum.
        if let Ok(times) = Times::measure(pid) {
            below.entry(times.parent).or_default().push(times);
        }
    }
    let mut open = vec![Times::measure(pid)?];
    let mut sum = 0.0;
    while let Some(times) = open.pop() {
        sum += times.own + times.reaped;
        open.extend(below.remove(&times.pid).unwrap_or_default());
    }
    Ok(sum)
}

struct Times {
    pid: u32,
    parent: u32,
    own: f64,
    reaped: f64,
}

impl Times {
    fn measure(pid: u32) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name stands in brackets and may hold anything; the fields after it count from 3.
        let (_, rest) = text.rsplit_once(") ").context("a stat without a name")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let field = |number: usize| fields.get(number - 3).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        let ticks = |first: usize| count(field(first) + field(first + 1)) * TICK.as_secs_f64() * 1000.0;
        Ok(Self { pid, parent: u32::try_from(field(4))?, own: ticks(14), reaped: ticks(16) })
    }
}

/// A line of /proc/<pid>/status or smaps_rollup, in MiB.
pub fn memory_mib(pid: u32, file: &str, key: &str) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("{file} has no {key}"))?;
    let kib = line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse::<u64>()?;
    Ok(count(kib) / 1024.0)
}

/// The peak so far is forgotten; what is resident now is the peak.
pub fn reset_peak(pid: u32) -> Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").context("resetting the peak of resident memory")
}
