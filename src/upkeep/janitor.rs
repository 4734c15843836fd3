//! Containers that nobody wants any more.
//!
//! A container names its worker, and whether that lives can be seen ([`super::process`]). A cell names its run and attempt as well: whether that is
//! active is in Postgres. Only containers with our instance label are ever looked at.

use std::collections::HashSet;
use std::time::Duration;

use uuid::Uuid;

use super::process::{Fate, fate};
use assize_cell::spec::{LABEL_ATTEMPT, LABEL_RUN, LABEL_WORKER};
use assize_cell::{ContainerSummary, Engine};
use assize_host::clock;
use assize_store::Store;

/// A cell of a worker that lives may be this young and belong to no active attempt: a probe's. With a
/// look every 30 s nothing unwanted gets older than 60 s.
const YOUNG: Duration = Duration::from_secs(30);

/// Runs that one query asks for.
const PAGE: usize = 500;

/// A container of ours, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    id: String,
    /// Whether the worker that made it lives.
    has_worker: bool,
    /// Of a cell; a berth has none.
    attempt: Option<(Uuid, i32)>,
    /// The container whose namespace it joins.
    berth: Option<String>,
    age_s: i64,
}

impl Seen {
    fn of(container: ContainerSummary, now: i64) -> Option<Self> {
        let labels = container.labels.unwrap_or_default();
        let run = labels.get(LABEL_RUN).and_then(|run| run.parse().ok());
        let attempt = labels.get(LABEL_ATTEMPT).and_then(|attempt| attempt.parse().ok());
        let network = container.host_config.and_then(|host| host.network_mode).unwrap_or_default();
        Some(Self {
            id: container.id?,
            has_worker: labels.get(LABEL_WORKER).is_some_and(|worker| fate(worker) != Fate::Dead),
            attempt: run.zip(attempt),
            berth: network.strip_prefix("container:").map(str::to_owned),
            age_s: now.saturating_sub(container.created.unwrap_or(0)),
        })
    }

    /// Whether someone wants it for itself: a cell is wanted by its attempt, whichever worker has that
    /// now; everything else by the worker that made it.
    fn is_wanted(&self, active: &HashSet<(Uuid, i32)>) -> bool {
        match &self.attempt {
            Some(attempt) => {
                active.contains(attempt) || (self.has_worker && self.age_s < YOUNG.as_secs().cast_signed())
            }
            None => self.has_worker,
        }
    }
}

/// Those that nobody wants: not for themselves, nor as the berth of a cell that is wanted.
fn orphans<'a>(seen: &'a [Seen], active: &HashSet<(Uuid, i32)>) -> Vec<&'a str> {
    let joined: HashSet<&str> =
        seen.iter().filter(|one| one.is_wanted(active)).filter_map(|one| one.berth.as_deref()).collect();
    let wanted = |one: &&Seen| one.is_wanted(active) || joined.contains(one.id.as_str());
    seen.iter().filter(|one| !wanted(one)).map(|one| one.id.as_str()).collect()
}

/// Removes every container of ours that nobody wants. How many there were.
///
/// The engine is asked first and Postgres afterwards: a cell is made after its attempt became active,
/// so one whose attempt is not active then is past it.
///
/// # Errors
/// If the engine or Postgres does not answer; what it then did not remove is left for the next time.
pub async fn sweep(engine: &Engine, store: &Store) -> anyhow::Result<u64> {
    let now = clock::wall().timestamp();
    let seen: Vec<Seen> = engine.ours().await?.into_iter().filter_map(|container| Seen::of(container, now)).collect();
    let runs: HashSet<Uuid> = seen.iter().filter_map(|one| one.attempt.map(|(run, _)| run)).collect();
    let runs: Vec<Uuid> = runs.into_iter().collect();
    let mut active = HashSet::new();
    for page in runs.chunks(PAGE) {
        active.extend(store.active_attempts(page).await?);
    }
    let orphans = orphans(&seen, &active);
    for id in &orphans {
        engine.remove(id).await?;
    }
    if !orphans.is_empty() {
        tracing::info!(containers = orphans.len(), "removed containers that nobody wants any more");
    }
    Ok(orphans.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Uuid = Uuid::from_u128(1);

    fn cell(id: &str, has_worker: bool, attempt: i32, age_s: i64) -> Seen {
        Seen { id: id.to_owned(), has_worker, attempt: Some((RUN, attempt)), berth: None, age_s }
    }

    fn berth(id: &str, has_worker: bool) -> Seen {
        Seen { id: id.to_owned(), has_worker, attempt: None, berth: None, age_s: 1_000 }
    }

    #[test]
    fn a_cell_is_wanted_by_its_attempt_and_a_berth_by_its_worker() {
        let active = HashSet::from([(RUN, 2)]);
        let seen = [
            cell("for adoption", false, 2, 1_000),
            cell("at work", true, 2, 1_000),
            cell("a probe", true, 7, 29),
            cell("its reply was lost", true, 7, 30),
            cell("of the attempt before", false, 1, 0),
            berth("mine", true),
            berth("of a dead worker", false),
        ];
        assert_eq!(orphans(&seen, &active), ["its reply was lost", "of the attempt before", "of a dead worker"]);
    }

    #[test]
    fn the_berth_of_a_wanted_cell_stays() {
        let active = HashSet::from([(RUN, 2)]);
        let joining = |cell: Seen, berth: &str| Seen { berth: Some(berth.to_owned()), ..cell };
        let seen = [
            joining(cell("wanted", false, 2, 1_000), "kept"),
            joining(cell("unwanted", false, 1, 1_000), "lost"),
            berth("kept", false),
            berth("lost", false),
        ];
        assert_eq!(orphans(&seen, &active), ["unwanted", "lost"]);
    }
}
