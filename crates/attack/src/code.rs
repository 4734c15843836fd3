//! Code in the cell: system calls that the kernel must deny, and programs that exhaust a resource of the host.
//!
//! The calls are many and cheap, so they share a few runs. `probes/` tries one call after another, each in a process of
//! its own, and prints the result. Its lines are evidence only because the program is part of the attack; whether a call
//! changed anything outside the cell is checked from outside ([`super::host_canary`]).

mod calls;
mod earlier;
mod programs;

use std::collections::HashMap;

use serde::Deserialize;

use super::case::{Case, CaseOutcome, Group};
use super::context::AttackContext;
use super::trial;

/// The program that tries the calls. Its parts are one Python module, in this order.
const PROGRAM: &str = concat!(
    include_str!("code/probes/calls.py"),
    include_str!("code/probes/file_systems.py"),
    include_str!("code/probes/namespaces.py"),
    include_str!("code/probes/identity.py"),
    include_str!("code/probes/limits.py"),
    include_str!("code/probes/warden.py"),
    include_str!("code/probes/network.py"),
    include_str!("code/probes/main.py"),
);

/// Calls per run. With more, the last calls wait behind the slow ones; with fewer, the cells cost more than the calls.
const BATCH: usize = 60;

/// A call that must be denied, and the results that count as denied.
pub(super) struct Probe {
    name: &'static str,
    tried: &'static str,
    /// Names of kernel errors, or harmless results; a trailing star stands for any rest.
    allowed: &'static [&'static str],
}

/// The result of a probe, as `probes/` prints it.
#[derive(Debug, Deserialize)]
struct ProbeReport {
    name: String,
    /// `denied`, `got`, `died` or `broke`.
    how: String,
    what: String,
}

/// Every case of this group.
#[must_use]
pub fn cases() -> Vec<Case> {
    let probes = calls::all().map(|probe| case_of(&probe));
    probes.chain(programs::all().into_iter().map(|trial| trial.case)).chain(earlier::cases()).collect()
}

fn case_of(probe: &Probe) -> Case {
    Case::new(Group::Code, probe.name, probe.tried, probe.allowed.join(", "))
}

/// Tries every requested case.
pub async fn run(context: &AttackContext) {
    let wanted: Vec<Probe> = calls::all().filter(|probe| context.wants(&case_of(probe).id)).collect();
    let batches = async {
        if wanted.is_empty() {
            return;
        }
        // A neighbour that the probes would reach if cells could reach one another.
        let neighbour = super::limits::Neighbour::begin(context, 120, false).await;
        futures_util::future::join_all(wanted.chunks(BATCH).map(|batch| try_batch(context, batch))).await;
        let ended = match neighbour {
            Ok(neighbour) => neighbour.end(context).await,
            Err(why) => Err(why),
        };
        if let Err(why) = ended {
            for probe in wanted.iter().filter(|probe| probe.name.starts_with("reach-neighbour")) {
                context.record(&case_of(probe).id, CaseOutcome::Inconclusive(why.clone()));
            }
        }
    };
    tokio::join!(batches, trial::run(context, programs::all()));
    earlier::run(context).await;
}

/// Runs one project that tries several calls.
async fn try_batch(context: &AttackContext, batch: &[Probe]) {
    let reports = run_probes(context, batch).await;
    let watched = context.host_canary.check();
    for probe in batch {
        let outcome = match (&reports, &watched) {
            (Err(why), _) => CaseOutcome::Inconclusive(why.clone()),
            (_, Err(changed)) => CaseOutcome::Escaped(changed.clone()),
            (Ok(reports), Ok(())) => assess(probe, reports.get(probe.name)),
        };
        context.record(&case_of(probe).id, outcome);
    }
}

async fn run_probes(context: &AttackContext, batch: &[Probe]) -> Result<HashMap<String, ProbeReport>, String> {
    let ids: Vec<String> = batch.iter().map(|probe| case_of(probe).id).collect();
    let site = serde_json::json!({
        "probes": batch.iter().map(|probe| probe.name).collect::<Vec<_>>(),
        "host_port": context.host_canary.port,
        "host_socket": context.host_canary.socket,
        "api_port": context.target.address.port(),
        "neighbour_port": super::limits::NEIGHBOUR_PORT,
        "neighbour_socket": super::limits::NEIGHBOUR_SOCKET,
        "canary": context.host_canary.canary,
    });
    let files = [("run.py", PROGRAM.as_bytes()), ("site.json", site.to_string().as_bytes())].map(owned);
    let run = context.begin(&ids, "probe", assize_corpus::project(&files)).await?;
    let ended = context.ended(run).await?;
    let text = context.text(run).await?;
    let lines = text.lines().filter_map(|line| serde_json::from_str::<ProbeReport>(line.strip_prefix("PROBE ")?).ok());
    let reports: HashMap<String, ProbeReport> = lines.map(|report| (report.name.clone(), report)).collect();
    // The last line proves that PID 1 is alive, and the end of the run that PID 1 could still report.
    let alive = reports.get("end").is_some_and(|end| end.what == "alive");
    if !alive || ended["score"].as_f64() != Some(1.0) {
        let last = text.lines().last().unwrap_or_default();
        return Err(format!("the run that tried it ended as {}: {last}", trial::describe_end(&ended)));
    }
    Ok(reports)
}

fn owned((name, text): (&str, &[u8])) -> (String, Vec<u8>) {
    (name.to_owned(), text.to_vec())
}

fn assess(probe: &Probe, report: Option<&ProbeReport>) -> CaseOutcome {
    let Some(ProbeReport { how, what, .. }) = report else {
        return CaseOutcome::Inconclusive("the probe reported nothing".to_owned());
    };
    let matches = |control: &&str| match control.strip_suffix('*') {
        Some(begin) => what.starts_with(begin),
        None => what == control,
    };
    match how.as_str() {
        "broke" => CaseOutcome::Inconclusive(what.clone()),
        _ => CaseOutcome::contained_if(probe.allowed.iter().any(matches), what.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_of_the_list_is_in_the_program() {
        for probe in calls::all() {
            let as_function = format!("\ndef {}(", probe.name.replace('-', "_"));
            let as_entry = format!("\"{}\": ", probe.name);
            let as_address = probe.name.strip_prefix("reach-").map(|name| format!("\"{name}\": (V"));
            let known = PROGRAM.contains(&as_function)
                || PROGRAM.contains(&as_entry)
                || as_address.is_some_and(|entry| PROGRAM.contains(&entry));
            assert!(known, "{}", probe.name);
        }
    }

    #[test]
    fn only_what_is_named_contains() {
        let probe = Probe { name: "a", tried: "b", allowed: &["EPERM", "0 *"] };
        let assessed = |how: &str, what: &str| {
            assess(&probe, Some(&ProbeReport { name: "a".into(), how: how.into(), what: what.into() }))
        };
        assert!(matches!(assessed("denied", "EPERM"), CaseOutcome::Contained(_)));
        assert!(matches!(assessed("got", "0 bytes"), CaseOutcome::Contained(_)));
        assert!(matches!(assessed("denied", "EINVAL"), CaseOutcome::Escaped(_)), "it got past the door");
        assert!(matches!(assessed("got", "done"), CaseOutcome::Escaped(_)));
        assert!(matches!(assessed("broke", "EPERM"), CaseOutcome::Inconclusive(_)));
        assert!(matches!(assess(&probe, None), CaseOutcome::Inconclusive(_)));
    }
}
