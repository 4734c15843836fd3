//! Before a worker claims anything, every limit of a cell is tried from inside one.

use std::collections::BTreeSet;

use anyhow::{Context, bail};

use super::Worker;
use crate::template::Templates;
use assize_cell::berth::BERTH_IMAGE;
use assize_cell::unenforced;
use assize_host::clock;
use assize_observe::metrics;

/// The names of the limits that do not hold and are allowed not to.
///
/// # Errors
/// The limits that do not hold, or what keeps them from being tried.
pub async fn check(worker: &Worker) -> anyhow::Result<Vec<String>> {
    let began = clock::monotonic();
    let allowed = unenforced::parse(&worker.config.allow_unenforced).map_err(anyhow::Error::msg)?;
    fit(&worker.templates, worker.slice.totals.memory >> 20)?;
    if let Err(error) = worker.slice.set().await {
        // Whether it matters shows when the totals are read.
        tracing::warn!(error, "the totals of all cells could not be set");
    }
    let mut runtimes: BTreeSet<Option<&str>> = BTreeSet::from([None]);
    for template in worker.templates.iter() {
        let whose = format!("runtime of template {}", template.name);
        worker.engine.check_runtime(template.runtime.as_deref(), &whose)?;
        runtimes.insert(template.runtime.as_deref());
    }
    let runtimes: Vec<Option<&str>> = runtimes.into_iter().collect();
    let found = unenforced::try_all(&worker.engine, &worker.slice, &worker.cgroups, &worker.id, BERTH_IMAGE, &runtimes)
        .await
        .context("cannot try the limits of a cell")?;
    let unenforced = unenforced::judge(&found, &allowed, &worker.slice.advice()).map_err(anyhow::Error::msg)?;
    for limit in &unenforced {
        metrics().limit_unenforced(limit);
        tracing::warn!(limit, "a limit of cells does not hold here, and is allowed not to");
    }
    let taken_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(limits = found.len() - unenforced.len(), taken_ms, "the limits of a cell hold");
    Ok(unenforced)
}

/// The totals once more, when cells keep their cgroup in being: until then another worker of this
/// installation that stopped could have removed it.
///
/// # Errors
/// The totals that do not hold and are not allowed not to.
pub async fn check_totals(worker: &Worker, allowed: &[String]) -> anyhow::Result<()> {
    let set = worker.slice.set().await;
    let judged = unenforced::judge(&worker.slice.findings(), allowed, &worker.slice.advice());
    match (judged, set) {
        (Ok(_), _) => Ok(()),
        (Err(error), Ok(())) => bail!(error),
        (Err(error), Err(why)) => bail!("{error} ({why})"),
    }
}

/// A cell that may have more than all cells together would be ended for others' sake.
fn fit(templates: &Templates, all_mib: u64) -> anyhow::Result<()> {
    for template in templates.iter() {
        let driver_mib = template.driver.as_ref().map_or(0, |driver| driver.limits.memory_mib);
        let cells_mib = template.limits.memory_mib + driver_mib;
        if cells_mib > all_mib {
            bail!(
                "the cells of template {} may have {cells_mib} MiB of memory, all cells together {all_mib} MiB; \
                 lower memory_mib in the template, or raise cells_memory_mib",
                template.name
            );
        }
    }
    Ok(())
}
