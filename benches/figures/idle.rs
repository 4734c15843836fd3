//! What the service costs with nothing to do.

use std::time::Duration;

use anyhow::Result;
use assize_host::clock::Stopwatch;

use crate::Scale;
use crate::figure::{Bar, Figure, ms};
use crate::installation::{MeasuredInstallation, templates};
use crate::load::{fine_cpu_ms, memory_mib};

pub async fn measure(scale: Scale) -> Result<Vec<Figure>> {
    let installation = MeasuredInstallation::start(&templates()).await?;
    let measured = watch(scale, &installation).await;
    installation.stop().await?;
    measured
}

async fn watch(scale: Scale, installation: &MeasuredInstallation) -> Result<Vec<Figure>> {
    let (api, worker) = (installation.api_pid()?, installation.worker_pid()?);
    let rss = || anyhow::Ok([memory_mib(api, "status", "VmRSS")?, memory_mib(worker, "status", "VmRSS")?]);
    let at_start = rss()?;
    // Threads that only the start needed end after 10 s, and their time goes with them.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let used = || anyhow::Ok(fine_cpu_ms(api)? + fine_cpu_ms(worker)?);
    let (before, begun) = (used()?, Stopwatch::start());
    tokio::time::sleep(Duration::from_secs(scale.idle_seconds)).await;
    let (spent, lasted) = (used()? - before, begun.elapsed());
    let idle = rss()?;
    let pss = [memory_mib(api, "smaps_rollup", "Pss")?, memory_mib(worker, "smaps_rollup", "Pss")?];
    let anonymous = [memory_mib(api, "status", "RssAnon")?, memory_mib(worker, "status", "RssAnon")?];
    let two = |[api, worker]: [f64; 2]| format!("API {api:.1} + worker {worker:.1}");
    Ok(vec![
        Figure::new("idle_rss_mb", idle.iter().sum(), "MiB", Bar::AtMost(40.0)).with(format!(
            "{}; at the start {}; anonymous {}",
            two(idle),
            two(at_start),
            two(anonymous)
        )),
        Figure::reported("idle_pss_mb", pss.iter().sum(), "MiB").with(two(pss)),
        Figure::new("idle_cpu_percent", spent / ms(lasted) * 100.0, "%", Bar::AtMost(0.5))
            .with(format!("{spent:.1} ms of one core in {:.1} s", lasted.as_secs_f64())),
    ])
}
