//! Checks the limits of every template inside real cells.

use std::collections::BTreeMap;
use std::time::Duration;

use assize_protocol::isolation::IsolationCheck;

use super::Report;
use crate::maintenance::stale_cgroups;
use crate::template::Templates;
use assize_cell::counters::Cgroups;
use assize_cell::probe::{Probed, probe};
use assize_cell::slice::Slice;
use assize_cell::{Engine, EngineError};
use assize_config::Config;
use assize_domain::limits::CellLimits;
use assize_host::clock::Clock;

/// The age at which a container of an earlier doctor counts as left behind by a crash.
const LEFTOVER: Duration = Duration::from_secs(600);

/// A set of limits, and the templates that have it.
struct Case {
    limits: CellLimits,
    image: String,
    runtime: Option<String>,
    owners: Vec<String>,
}

/// Starts a cell for each different set of limits, one after another.
///
/// The cells carry a separate instance label, so that a worker of this installation does not remove them.
pub(super) async fn examine(mut engine: Engine, config: &Config, templates: &Templates, report: &mut Report) {
    engine.instance.push_str("-doctor");
    let cgroups = match Cgroups::detect(&engine).await {
        Ok(cgroups) => cgroups,
        Err(error) => return report.fault("cgroups", &error),
    };
    let slice = match Slice::open(&engine, &cgroups, config).await {
        Ok(slice) => slice,
        Err(error) => return report.fault("cgroups", &error),
    };
    if let Err(error) = slice.set().await {
        report.warn("totals", error, "check the results below: the limits may be enforced all the same");
    }
    let worker = format!("doctor-{}", std::process::id());
    let probing = async {
        let mut counters = None;
        for case in cases(templates) {
            let probed = probe(&engine, &cgroups, &worker, &case.image, case.limits, case.runtime.as_deref()).await;
            if let Ok(probed) = &probed {
                counters = Some(counters.unwrap_or(true) && probed.counters_readable);
            }
            report_case(&case, probed, report);
        }
        totals(&slice, report);
        match counters {
            Some(true) => report.ok("counters", "memory and pids of a cell can be read from its cgroup"),
            Some(false) => report.warn(
                "counters",
                "the cgroup of a cell is not where the engine's settings say",
                "run where /sys/fs/cgroup of the engine's host is visible; until then assize relies on the values that Docker reports",
            ),
            None => {}
        }
    };
    let interrupted = tokio::select! {
        () = probing => false,
        _ = tokio::signal::ctrl_c() => true,
    };
    let cleaned = clean(&engine, &worker).await;
    stale_cgroups::remove_parents(&cgroups);
    if let Err(error) = cleaned {
        report.warn(
            "cells",
            format!("containers of this check may be left behind: {error}"),
            "run `assize doctor` again in ten minutes, which removes them",
        );
    }
    if interrupted {
        report.fail("cells", "interrupted", "run it again");
    }
}

/// Checks the limits of all cells together. The parent cgroup of this check is not that of the workers, but is created
/// in the same way.
fn totals(slice: &Slice, report: &mut Report) {
    let findings = slice.findings();
    let broken: Vec<&IsolationCheck> = findings.iter().filter(|finding| !finding.ok).collect();
    for IsolationCheck { check, seen, limit, .. } in &broken {
        report.fail("totals", format!("{check}: expected {limit}, observed {seen}"), &slice.advice());
    }
    if broken.is_empty() {
        let seen: Vec<String> =
            findings.iter().map(|IsolationCheck { check, seen, .. }| format!("{check} {seen}")).collect();
        report.ok("totals", seen.join(", "));
    }
}

/// Returns every set of limits once, with the templates that have it.
fn cases(templates: &Templates) -> Vec<Case> {
    let mut cases: BTreeMap<String, Case> = BTreeMap::new();
    for template in templates.iter() {
        let driver = template.driver.as_ref();
        let driver = driver.map(|driver| (driver.limits, &driver.image, format!("{} (driver)", template.name)));
        let subject = (template.limits, &template.image, template.name.clone());
        for (limits, image, owner) in std::iter::once(subject).chain(driver) {
            let case = Case { limits, image: image.clone(), runtime: template.runtime.clone(), owners: Vec::new() };
            cases.entry(format!("{limits:?} {:?}", template.runtime)).or_insert(case).owners.push(owner);
        }
    }
    let mut cases: Vec<Case> = cases.into_values().collect();
    cases.sort_by(|a, b| a.owners.cmp(&b.owners));
    cases
}

fn report_case(case: &Case, probed: Result<Probed, EngineError>, report: &mut Report) {
    const ADVICE: &str =
        "do not run assize here until this limit is enforced; check the engine's storage driver, runtime and cgroups";
    let owners = case.owners.join(", ");
    let Probed { findings, trouble, .. } = match probed {
        Ok(probed) => probed,
        Err(error) => return report.fault_in("limits", &owners, &error),
    };
    let (unavailable, tried): (Vec<&IsolationCheck>, Vec<&IsolationCheck>) =
        findings.iter().partition(|finding| finding.unavailable);
    for IsolationCheck { check, seen, limit, .. } in unavailable {
        let advice = "use a newer kernel, which enforces it; until then this limit is not enforced here";
        report.warn("limits", format!("{owners}: {check}: expected {limit}, observed {seen}"), advice);
    }
    let (held, broken): (Vec<&IsolationCheck>, Vec<&IsolationCheck>) =
        tried.into_iter().partition(|finding| finding.ok);
    for finding in &broken {
        let IsolationCheck { check, seen, limit, .. } = finding;
        report.fail("limits", format!("{owners}: {check}: expected {limit}, observed {seen}"), ADVICE);
    }
    if let Some(trouble) = &trouble {
        report.fail("limits", format!("{owners}: {trouble}"), ADVICE);
    }
    if broken.is_empty() && trouble.is_none() {
        let CellLimits { cpus, memory_mib, pids, .. } = case.limits;
        let size = format!("{cpus} cpus, {memory_mib} MiB, {pids} pids");
        report.ok("limits", format!("{owners}: {} limits hold from inside ({size})", held.len()));
    }
}

/// Removes the containers of this process, and old containers of an earlier one.
async fn clean(engine: &Engine, worker: &str) -> Result<(), EngineError> {
    let now = Clock::system().wall().timestamp();
    let old = i64::try_from(LEFTOVER.as_secs()).unwrap_or(i64::MAX);
    for container in engine.ours().await? {
        let labels = container.labels.unwrap_or_default();
        let is_ours = labels.get(assize_cell::spec::LABEL_WORKER).is_some_and(|owner| owner == worker);
        let is_old = container.created.is_some_and(|at| now.saturating_sub(at) > old);
        if (is_ours || is_old)
            && let Some(id) = &container.id
        {
            engine.remove(id).await?;
        }
    }
    Ok(())
}
