//! Code in the cell: calls that the kernel must deny, and programs that go for the host's strength.
//!
//! The calls are many and cheap, so they share a few runs: `probes.py` tries one after another, each in a
//! process of its own, and says what became of it. A line of it is evidence only because the program is
//! ours; what it could have changed outside is looked at from outside ([`super::witness`]).

mod calls;
mod earlier;
mod programs;

use std::collections::HashMap;

use serde::Deserialize;

use super::arena::Arena;
use super::case::{Case, Group, Judgement};
use super::trial;
use assize_corpus as crafted;

/// The program that tries them.
const PROGRAM: &str = include_str!("code/probes.py");

/// Calls to a run: with more, the last wait behind the slow ones; with fewer, cells cost more than calls.
const BATCH: usize = 60;

/// A call that must be denied, and what may be heard of it.
pub(super) struct Probe {
    name: &'static str,
    tried: &'static str,
    /// The kernel's errors, or what little was got; a star stands for the rest of the words.
    walls: &'static [&'static str],
}

/// What a probe says.
#[derive(Debug, Deserialize)]
struct Said {
    name: String,
    /// `denied`, `got`, `died` or `broke`.
    how: String,
    what: String,
}

/// The names of all.
#[must_use]
pub fn cases() -> Vec<Case> {
    let probes = calls::all().map(|probe| case_of(&probe));
    probes.chain(programs::all().into_iter().map(|trial| trial.case)).chain(earlier::cases()).collect()
}

fn case_of(probe: &Probe) -> Case {
    Case::new(Group::Code, probe.name, probe.tried, probe.walls.join(", "))
}

/// Tries all that are wanted.
pub async fn run(arena: &Arena) {
    let wanted: Vec<Probe> = calls::all().filter(|probe| arena.wants(&case_of(probe).id)).collect();
    let batches = async {
        if wanted.is_empty() {
            return;
        }
        // Someone to be reached, if the cells could reach one another.
        let neighbour = super::limits::Neighbour::begin(arena, 120, false).await;
        futures_util::future::join_all(wanted.chunks(BATCH).map(|batch| try_batch(arena, batch))).await;
        let ended = match neighbour {
            Ok(neighbour) => neighbour.end(arena).await,
            Err(why) => Err(why),
        };
        if let Err(why) = ended {
            for probe in wanted.iter().filter(|probe| probe.name.starts_with("reach-neighbour")) {
                arena.judge(&case_of(probe).id, Judgement::Unjudged(why.clone()));
            }
        }
    };
    tokio::join!(batches, trial::run(arena, programs::all()));
    earlier::run(arena).await;
}

/// One run that tries several.
async fn try_batch(arena: &Arena, batch: &[Probe]) {
    let heard = hear(arena, batch).await;
    let watched = arena.witness.check();
    for probe in batch {
        let judgement = match (&heard, &watched) {
            (Err(why), _) => Judgement::Unjudged(why.clone()),
            (_, Err(changed)) => Judgement::Escaped(changed.clone()),
            (Ok(heard), Ok(())) => judge(probe, heard.get(probe.name)),
        };
        arena.judge(&case_of(probe).id, judgement);
    }
}

async fn hear(arena: &Arena, batch: &[Probe]) -> Result<HashMap<String, Said>, String> {
    let ids: Vec<String> = batch.iter().map(|probe| case_of(probe).id).collect();
    let site = serde_json::json!({
        "probes": batch.iter().map(|probe| probe.name).collect::<Vec<_>>(),
        "host_port": arena.witness.port,
        "host_socket": arena.witness.socket,
        "api_port": arena.target.address.port(),
        "neighbour_port": super::limits::NEIGHBOUR_PORT,
        "neighbour_socket": super::limits::NEIGHBOUR_SOCKET,
        "canary": arena.witness.canary,
    });
    let files = [("run.py", PROGRAM.as_bytes()), ("site.json", site.to_string().as_bytes())].map(owned);
    let run = arena.begin(&ids, "probe", crafted::project(&files)).await?;
    let ended = arena.ended(run).await?;
    let text = arena.text(run).await?;
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Said>(line.strip_prefix("PROBE ")?).ok());
    let heard: HashMap<String, Said> = lines.map(|said| (said.name.clone(), said)).collect();
    // The last line tells that PID 1 lives, and the run's own end that it could still say so.
    let alive = heard.get("end").is_some_and(|end| end.what == "alive");
    if !alive || ended["score"].as_f64() != Some(1.0) {
        let last = text.lines().last().unwrap_or_default();
        return Err(format!("the run that tried it ended as {}: {last}", trial::told(&ended)));
    }
    Ok(heard)
}

fn owned((name, text): (&str, &[u8])) -> (String, Vec<u8>) {
    (name.to_owned(), text.to_vec())
}

fn judge(probe: &Probe, said: Option<&Said>) -> Judgement {
    let Some(Said { how, what, .. }) = said else {
        return Judgement::Unjudged("it said nothing".to_owned());
    };
    let matches = |wall: &&str| match wall.strip_suffix('*') {
        Some(begin) => what.starts_with(begin),
        None => what == wall,
    };
    match how.as_str() {
        "broke" => Judgement::Unjudged(what.clone()),
        _ => Judgement::of(probe.walls.iter().any(matches), what.clone()),
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
        let probe = Probe { name: "a", tried: "b", walls: &["EPERM", "0 *"] };
        let judged =
            |how: &str, what: &str| judge(&probe, Some(&Said { name: "a".into(), how: how.into(), what: what.into() }));
        assert!(matches!(judged("denied", "EPERM"), Judgement::Contained(_)));
        assert!(matches!(judged("got", "0 bytes"), Judgement::Contained(_)));
        assert!(matches!(judged("denied", "EINVAL"), Judgement::Escaped(_)), "it got past the door");
        assert!(matches!(judged("got", "done"), Judgement::Escaped(_)));
        assert!(matches!(judged("broke", "EPERM"), Judgement::Unjudged(_)));
        assert!(matches!(judge(&probe, None), Judgement::Unjudged(_)));
    }
}
