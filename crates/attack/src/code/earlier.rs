//! A run must find nothing of an earlier run that was in the same berth.
//!
//! First, runs that leave behind as much as possible go through every berth of the installation, twice. Then other runs
//! search for it. A search counts only in a berth that such a run was in; the host name of its cells identifies the
//! berth.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;

use crate::case::{Case, CaseOutcome, Group};
use crate::context::AttackContext;
use crate::trial;

const LITTER: &str = include_str!("litter.py");
const LOOK: &str = include_str!("look.py");

/// Number of berths of the installation: one for each half-slot.
const BERTHS: usize = crate::context::CONCURRENT_RUNS;

/// The template of both kinds of runs.
const TEMPLATE: &str = "python";

/// Each search, what it searches for, and the control that must have removed it.
const LOOKS: &[(&str, &str, &str)] = &[
    ("sockets", "reads /proc/net/tcp for an earlier run's sockets", NAMESPACE),
    ("waiting", "counts the sockets in TIME_WAIT that an earlier run left", NAMESPACE),
    ("tcp", "counts the connections that an earlier run made, in /proc/net/snmp", NAMESPACE),
    ("udp", "counts the datagrams that an earlier run sent", NAMESPACE),
    ("ip", "counts the packets of an earlier run", NAMESPACE),
    ("icmp", "counts the errors that an earlier run caused", NAMESPACE),
    ("netstat", "reads what TCP counted for an earlier run in /proc/net/netstat", NAMESPACE),
    ("octets", "reads how many bytes an earlier run sent to itself", NAMESPACE),
    ("loopback", "reads the traffic of the loopback since it is up", NAMESPACE),
    ("datagrams", "takes a UDP port that an earlier run had", NAMESPACE),
    ("abstract", "looks for an abstract Unix socket of an earlier run, and takes its name", NAMESPACE),
    ("message", "reads sixteen bytes that an earlier run spelled with ports that wait", NAMESPACE),
    ("port", "starts services on ports that an earlier run used, without SO_REUSEADDR", NAMESPACE),
    ("port-low", "does so on ports below 1024", NAMESPACE),
    ("port-range", "reads a range of ports that an earlier run tried to change", "/proc/sys is read-only"),
    ("files-tmp", "looks for files of an earlier run in /tmp", TMPFS),
    ("files-shm", "looks for files of an earlier run in /dev/shm", TMPFS),
    ("files-workspace", "looks for files of an earlier run in /workspace", TMPFS),
    ("processes", "looks for processes that outlived their run", "a PID namespace of its own"),
];

const NAMESPACE: &str = "the berth renews its network namespace after each run";
const TMPFS: &str = "a tmpfs of its own";

#[derive(Debug, Deserialize)]
struct Looked {
    name: String,
    seen: Option<String>,
    broke: Option<String>,
}

fn id_of(name: &str) -> String {
    format!("code/earlier-{name}")
}

/// Every case of this group.
pub(super) fn cases() -> Vec<Case> {
    let case = |(name, tried, control): &(&str, &str, &str)| {
        Case::new(Group::Code, &format!("earlier-{name}"), *tried, *control)
    };
    LOOKS.iter().map(case).collect()
}

/// Tries every requested case.
pub(super) async fn run(context: &AttackContext) {
    let wanted: Vec<String> = LOOKS.iter().map(|(name, ..)| id_of(name)).filter(|id| context.wants(id)).collect();
    if wanted.is_empty() {
        return;
    }
    let looked = look_everywhere(context, &wanted).await;
    for id in wanted {
        context.record(&id, assess(&looked, &id));
    }
}

/// Returns the result of every search in a berth with leftovers.
async fn look_everywhere(context: &AttackContext, ids: &[String]) -> Result<Vec<Looked>, String> {
    let mut littered = HashSet::new();
    for text in texts(context, ids, LITTER, BERTHS * 2).await? {
        littered.extend(berth_in(&text).map(str::to_owned));
    }
    let mut found = Vec::new();
    for text in texts(context, ids, LOOK, BERTHS).await? {
        if berth_in(&text).is_some_and(|berth| littered.contains(berth)) {
            found.extend(text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("LOOK ")?).ok()));
        }
    }
    Ok(found)
}

/// Runs a program this many times at once, and returns the output of each run.
async fn texts(context: &AttackContext, ids: &[String], program: &str, count: usize) -> Result<Vec<String>, String> {
    let archive = assize_corpus::project(&[("run.py".to_owned(), program.as_bytes().to_vec())]);
    let runs = (0..count).map(async |_| {
        let run = context.begin(ids, TEMPLATE, archive.clone()).await?;
        let ended = context.ended(run).await?;
        match ended["score"].as_f64() {
            Some(1.0) => context.text(run).await,
            _ => Err(format!("a run that should leave or look for something ended as {}", trial::describe_end(&ended))),
        }
    });
    futures_util::future::try_join_all(runs).await
}

fn berth_in(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("BERTH "))
}

fn assess(looked: &Result<Vec<Looked>, String>, id: &str) -> CaseOutcome {
    let looked = match looked {
        Ok(looked) => looked,
        Err(why) => return CaseOutcome::Inconclusive(why.clone()),
    };
    let of_this: Vec<&Looked> = looked.iter().filter(|look| id_of(&look.name) == id).collect();
    if let Some(broke) = of_this.iter().find_map(|look| look.broke.as_deref()) {
        return CaseOutcome::Inconclusive(broke.to_owned());
    }
    let seen: BTreeMap<&str, usize> =
        of_this.iter().filter_map(|look| look.seen.as_deref()).fold(BTreeMap::new(), |mut seen, what| {
            *seen.entry(what).or_default() += 1;
            seen
        });
    match (of_this.len(), seen.keys().find(|what| !what.is_empty())) {
        (0, _) => CaseOutcome::Inconclusive("no run looked in a berth where another had been".to_owned()),
        (count, None) => CaseOutcome::Contained(format!("nothing in {count} berths")),
        (_, Some(what)) => CaseOutcome::Escaped(what.chars().take(200).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_look_is_in_the_program() {
        for (name, ..) in LOOKS {
            assert!(LOOK.contains(&format!("    \"{name}\": ")), "{name}");
        }
    }

    #[test]
    fn only_a_look_that_saw_nothing_contains() {
        let looked = |seen: &[&str]| {
            Ok(seen.iter().map(|seen| Looked { name: "tcp".into(), seen: Some((*seen).into()), broke: None }).collect())
        };
        assert!(matches!(assess(&looked(&["", ""]), "code/earlier-tcp"), CaseOutcome::Contained(_)));
        assert!(matches!(assess(&looked(&["", "1"]), "code/earlier-tcp"), CaseOutcome::Escaped(_)));
        assert!(matches!(assess(&looked(&[]), "code/earlier-tcp"), CaseOutcome::Inconclusive(_)));
        assert!(matches!(assess(&Err("no run".into()), "code/earlier-tcp"), CaseOutcome::Inconclusive(_)));
    }
}
