//! The checks of limits at the start of a worker: before it claims anything, it tries every limit of a cell from
//! inside one.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use assize_cell::berth::BERTH_IMAGE;
use assize_cell::unenforced;
use assize_host::clock::Stopwatch;
use assize_observe::metrics;

use super::Worker;
use crate::template::Template;

/// Tries every limit of a cell. Returns the names of the limits that are not enforced here: those that the setting
/// `allow_unenforced_limits` names, and those that the kernel of this host cannot enforce.
///
/// # Errors
/// The limits that are not enforced, or what prevents the worker from trying them.
pub async fn verify_limits(worker: &Worker) -> anyhow::Result<Vec<String>> {
    let began = Stopwatch::start();
    let allowed = unenforced::parse(&worker.config.allow_unenforced_limits).map_err(anyhow::Error::msg)?;
    let templates = worker.templates.current();
    for template in templates.iter() {
        check_memory(template, worker.slice.totals.memory >> 20)?;
    }
    if let Err(error) = worker.slice.set().await {
        // The totals are read later; that shows whether this failure matters.
        tracing::warn!(error, "the totals of all cells could not be set");
    }
    let mut runtimes: BTreeSet<Option<&str>> = BTreeSet::from([None]);
    for template in templates.iter() {
        let whose = format!("runtime of template {}", template.name);
        worker.engine.check_runtime(template.runtime.as_deref(), &whose)?;
        runtimes.insert(template.runtime.as_deref());
    }
    let runtimes: Vec<Option<&str>> = runtimes.into_iter().collect();
    let found = unenforced::try_all(&worker.engine, &worker.slice, &worker.cgroups, &worker.id, BERTH_IMAGE, &runtimes)
        .await
        .context("cannot try the limits of a cell")?;
    let unenforced = unenforced::check(&found, &allowed, &worker.slice.advice()).map_err(anyhow::Error::msg)?;
    for limit in &unenforced {
        metrics().limit_unenforced(limit);
        tracing::warn!(
            limit,
            "a limit of cells is not enforced here: allow_unenforced_limits names it, or the kernel cannot enforce it"
        );
    }
    let taken_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(limits = found.len() - unenforced.len(), taken_ms, "the limits of a cell are enforced");
    Ok(unenforced)
}

/// Verifies the totals of all cells once more when the first berths exist. Until then another worker of this
/// installation that stopped could have removed the parent cgroup.
///
/// # Errors
/// The totals that are not enforced and that the setting `allow_unenforced_limits` does not allow.
pub async fn verify_totals(worker: &Worker, allowed: &[String]) -> anyhow::Result<()> {
    let set = worker.slice.set().await;
    let judged = unenforced::check(&worker.slice.findings(), allowed, &worker.slice.advice());
    match (judged, set) {
        (Ok(_), _) => Ok(()),
        (Err(error), Ok(())) => bail!(error),
        (Err(error), Err(why)) => bail!("{error} ({why})"),
    }
}

/// Checks the memory limits of a template against the total. A cell whose limit exceeds the total would be killed
/// under the parent cgroup's limit.
pub fn check_memory(template: &Template, all_mib: u64) -> anyhow::Result<()> {
    let driver_mib = template.driver.as_ref().map_or(0, |driver| driver.limits.memory_mib);
    let cells_mib = template.limits.memory_mib + driver_mib;
    if cells_mib > all_mib {
        bail!(
            "the cells of template {} may have {cells_mib} MiB of memory, all cells together {all_mib} MiB; \
             lower memory_mib in the template, or raise cells_memory_mib",
            template.name
        );
    }
    Ok(())
}
