//! A limit that is configured is a limit that holds: what a worker that starts makes of a probe.
//!
//! Every limit has a name. One that does not hold, or was not tried, stops the worker, unless whoever runs it
//! allowed that by name; then it works, and says so in `/readyz` and in a metric for as long as it does.

use assize_protocol::isolation::IsolationCheck;

use super::call::EngineError;
use super::engine::Engine;
use super::probe::{self, Probed};
use super::slice::Slice;

/// Every limit that is tried at the start, by the name that the probe has for it.
pub const LIMITS: &[&str] = &[
    "network",
    "rootfs",
    "uid",
    "capabilities",
    "no_new_privs",
    "seccomp",
    "seccomp_io_uring",
    "seccomp_userfaultfd",
    "seccomp_keys",
    "seccomp_bpf",
    "seccomp_perf",
    "seccomp_namespaces",
    "seccomp_mounts",
    "seccomp_handles",
    "seccomp_trace",
    "seccomp_numa",
    "seccomp_sockets",
    "seccomp_devices",
    "seccomp_personality",
    "seccomp_kernel",
    "seccomp_clone3",
    "seccomp_32_bit",
    "devices",
    "mounts",
    "masked",
    "read_only",
    "namespaces",
    "grader",
    "core",
    "memlock",
    "msgqueue",
    "nofile",
    "fsize",
    "pids",
    "workspace_bytes",
    "workspace_inodes",
    "tmp_bytes",
    "shm_bytes",
    "cpus",
    "processors",
    "memory",
    "counters",
    "cells_memory",
    "cells_pids",
    "cells_cpu_weight",
];

/// Tried only where the engine's host has it.
pub const APPARMOR: &str = "apparmor";

/// The names in a list with commas.
///
/// # Errors
/// A name that is no limit's.
pub fn parse(allowed: &str) -> Result<Vec<String>, String> {
    let names = allowed.split(',').map(str::trim).filter(|name| !name.is_empty());
    let known = |name: &str| name == APPARMOR || LIMITS.contains(&name);
    names
        .map(|name| if known(name) { Ok(name.to_owned()) } else { Err(name) })
        .collect::<Result<_, _>>()
        .map_err(|name| format!("allow_unenforced_limits names {name:?}, there is: {}, {APPARMOR}", LIMITS.join(", ")))
}

/// What a probe and the totals found, as one list; what had to be tried and was not is in it as well.
#[must_use]
pub fn findings(has_apparmor: bool, probed: Vec<Probed>, totals: &[IsolationCheck]) -> Vec<IsolationCheck> {
    let apparmor = has_apparmor.then_some(APPARMOR);
    let mut all = Vec::new();
    for probed in probed {
        let Probed { mut findings, counters_readable, trouble } = probed;
        let seen = if counters_readable { "read from its cgroup" } else { "its cgroup is not where it should be" };
        findings.push(IsolationCheck::new(
            "counters",
            counters_readable,
            seen,
            "memory and pids of a cell can be read",
        ));
        findings.extend(totals.iter().cloned());
        for name in LIMITS.iter().copied().chain(apparmor) {
            if findings.iter().all(|finding| finding.check != name) {
                let seen = trouble.clone().unwrap_or_else(|| "it was not tried".to_owned());
                findings.push(IsolationCheck::new(name, false, seen, "tried from inside a cell"));
            }
        }
        all.extend(findings);
    }
    all
}

/// The names of the limits that do not hold and are allowed not to, or that this kernel has nothing to hold with.
///
/// # Errors
/// Those that are not allowed: limit, value seen, and what to do.
pub fn check(findings: &[IsolationCheck], allowed: &[String], advice: &str) -> Result<Vec<String>, String> {
    let (excused, broken): (Vec<&IsolationCheck>, Vec<&IsolationCheck>) = findings
        .iter()
        .filter(|finding| !finding.ok)
        .partition(|finding| finding.unavailable || allowed.contains(&finding.check));
    if broken.is_empty() {
        let mut names: Vec<String> = excused.into_iter().map(|finding| finding.check.clone()).collect();
        names.sort_unstable();
        names.dedup();
        return Ok(names);
    }
    let violations: Vec<String> = broken
        .iter()
        .map(|IsolationCheck { check, seen, limit, .. }| format!("{check} is to be: {limit}, seen: {seen}"))
        .collect();
    let flags: Vec<String> = broken.iter().map(|finding| format!("--allow-unenforced {}", finding.check)).collect();
    let totals = broken.iter().any(|finding| finding.check.starts_with("cells_"));
    let advice = if totals { format!(" ({advice})") } else { String::new() };
    Err(format!(
        "limits of cells do not hold here: {}; mend the engine's runtime, kernel or cgroups{advice}, or go on \
         without: {}",
        violations.join("; "),
        flags.join(" ")
    ))
}

/// Tries every limit in a cell of `image`, once for each of the runtimes, and reads the totals back.
///
/// # Errors
/// [`EngineError`] if no cell could be made.
pub async fn try_all(
    engine: &Engine,
    slice: &Slice,
    cgroups: &super::counters::Cgroups,
    worker: &str,
    image: &str,
    runtimes: &[Option<&str>],
) -> Result<Vec<IsolationCheck>, EngineError> {
    let cells = runtimes.iter().map(|runtime| probe::probe(engine, cgroups, worker, image, probe::SMALL, *runtime));
    let probed = futures_util::future::try_join_all(cells).await?;
    Ok(findings(engine.confinement.expected.is_some(), probed, &slice.findings()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(check: &str, ok: bool) -> IsolationCheck {
        IsolationCheck::new(check, ok, "64 processes", "32 processes")
    }

    #[test]
    fn a_limit_that_does_not_hold_is_named_with_what_was_seen_and_what_to_do() {
        let findings = [found("network", true), found("pids", false), found("cells_memory", false)];
        let error = check(&findings, &[], "be root").unwrap_err();
        for part in [
            "pids is to be: 32 processes, seen: 64 processes",
            "--allow-unenforced pids --allow-unenforced cells_memory",
            "(be root)",
        ] {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains("network"), "{error}");
    }

    #[test]
    fn what_was_not_tried_does_not_hold() {
        let probed = |names: &[&str], trouble: Option<&str>| Probed {
            findings: names.iter().map(|name| found(name, true)).collect(),
            counters_readable: true,
            trouble: trouble.map(str::to_owned),
        };
        let inside: Vec<&str> = LIMITS.iter().copied().filter(|name| *name != "counters").collect();
        assert!(findings(false, vec![probed(&inside, None)], &[]).iter().all(|finding| finding.ok));
        let broken = |has_apparmor, probed| -> Vec<String> {
            let all = findings(has_apparmor, vec![probed], &[]);
            all.into_iter().filter(|finding| !finding.ok).map(|finding| finding.check + ": " + &finding.seen).collect()
        };
        assert_eq!(broken(true, probed(&inside, None)), ["apparmor: it was not tried"]);
        let cut = &inside[..inside.len() - 1];
        assert_eq!(
            broken(false, probed(cut, Some("it ended with code 137"))),
            ["cells_cpu_weight: it ended with code 137"]
        );
    }

    #[test]
    fn only_what_was_allowed_by_name_may_fail_and_it_is_told() {
        let findings = [found("pids", false), found("pids", false), found("cpus", true)];
        let allowed = parse("pids, cpus").unwrap();
        assert_eq!(check(&findings, &allowed, ""), Ok(vec!["pids".to_owned()]));
        assert!(check(&findings, &parse("cpus").unwrap(), "").is_err());
        assert_eq!(check(&findings[2..], &allowed, ""), Ok(Vec::new()));
    }

    #[test]
    fn what_the_kernel_has_nothing_for_is_told_and_stops_nobody() {
        let grader = IsolationCheck { unavailable: true, ..found("grader", false) };
        assert_eq!(check(&[grader, found("pids", true)], &[], ""), Ok(vec!["grader".to_owned()]));
        assert!(check(&[found("grader", false)], &[], "").is_err(), "where the kernel has it, it must hold");
    }

    #[test]
    fn a_name_that_is_no_limits_is_refused() {
        assert_eq!(parse(" ,"), Ok(Vec::new()));
        assert!(parse("pids,bids").unwrap_err().contains("\"bids\""));
    }
}
