//! The end of a load: all runs end, all workers stop, and nothing may be left.

use std::time::Duration;

use anyhow::Result;
use assize_host::clock::Stopwatch;
use bollard::query_parameters::ListVolumesOptions;

use super::audit::{self, Violation, ViolationKind};
use super::history;
use super::installation::Installation;
use super::service::Service;

/// The longest that an orphaned container may exist: 60 s, and some time for a busy host.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(70);

/// Waits until every run has ended. If one does not end in time, the audit reports it.
pub async fn wait_for_ends(installation: &Installation, timeout: Duration) -> Result<()> {
    let begun = Stopwatch::start();
    while history::open(&installation.pool).await? > 0 && begun.elapsed() < timeout {
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(())
}

/// Stops all workers in order. Everything that is left after that is leaked.
pub async fn stop_workers(installation: &mut Installation) -> Result<Vec<Violation>> {
    let mut found = Vec::new();
    let mut leak = |what: String| found.push(Violation::new(ViolationKind::Leaked, what));
    let begun = Stopwatch::start();
    let pids: Vec<u32> = installation.workers.iter().filter_map(Service::pid).collect();
    let orphans = async || -> Result<Vec<_>> {
        let there = installation.cells.containers().await?;
        let lifetimes = installation.cells.lifetimes().into_iter();
        Ok(lifetimes.filter(|(id, lifetime)| there.contains_key(id) && !lifetime.is_berth_of(&pids)).collect())
    };
    while begun.elapsed() < ORPHAN_TIMEOUT && !orphans().await?.is_empty() {
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    for (id, lifetime) in orphans().await? {
        leak(format!(
            "{} exists {} s after its run ended or its worker died",
            lifetime.named(&id),
            ORPHAN_TIMEOUT.as_secs()
        ));
    }
    for worker in std::mem::take(&mut installation.workers) {
        if let Err(error) = worker.stop(installation.shape.drained()).await {
            leak(format!("{error:#}"));
        }
        installation.retired.push(worker);
    }
    let there = installation.cells.containers().await?;
    let lifetimes = installation.cells.lifetimes();
    for (id, state) in &there {
        leak(format!(
            "{} ({state}) is left after every worker has stopped",
            lifetimes.get(id).cloned().unwrap_or_default().named(id)
        ));
    }
    let volumes =
        installation.engine.docker.list_volumes(None::<ListVolumesOptions>).await?.volumes.unwrap_or_default();
    volumes.iter().for_each(|volume| leak(format!("volume {}", volume.name)));
    audit::cgroups(&installation.instance, lifetimes.keys().filter(|id| !there.contains_key(*id)))
        .into_iter()
        .for_each(|folder| leak(format!("cgroup {folder}")));
    let leases = "SELECT count(*) FROM project_evaluation_runs WHERE status IN ('preparing', 'running', 'parsing')";
    let leases = history::count(&installation.pool, leases).await?;
    if leases > 0 {
        leak(format!("{leases} leases"));
    }
    Ok(found)
}
