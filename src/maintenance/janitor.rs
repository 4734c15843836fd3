//! The janitor of containers: it removes those that no attempt and no worker needs any more.
//!
//! A container's labels name its worker, and [`super::process`] shows whether that worker is alive. The labels of
//! a cell name its run and attempt as well, and Postgres shows whether that attempt is active. The janitor only
//! looks at containers with the label of its own installation.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use assize_cell::berth::berth_of;
use assize_cell::spec::{LABEL_ATTEMPT, LABEL_RUN, LABEL_WORKER};
use assize_cell::{ContainerSummary, Engine};
use assize_host::clock::Clock;
use assize_store::Store;
use uuid::Uuid;

use super::process::{Liveness, liveness};

/// A cell of a live worker is not removed before this age, even if no active attempt has it: it may belong to a
/// probe. Since the janitor looks every 30 s, no unneeded cell gets older than 60 s.
const MIN_AGE: Duration = Duration::from_secs(30);

/// Runs in one query.
const PAGE_RUNS: usize = 500;

/// What the janitor needs of a container of this installation.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OwnedContainer {
    id: String,
    /// Whether the worker that made the container is alive, or may be.
    worker_lives: bool,
    /// The run and attempt of a cell; `None` for a berth.
    attempt: Option<(Uuid, i32)>,
    /// The id of the container whose network namespace this one joins.
    berth: Option<String>,
    age_s: i64,
}

impl OwnedContainer {
    fn from_summary(container: ContainerSummary, now: i64) -> Option<Self> {
        let berth = berth_of(&container).map(str::to_owned);
        let labels = container.labels.unwrap_or_default();
        let run = labels.get(LABEL_RUN).and_then(|run| run.parse().ok());
        let attempt = labels.get(LABEL_ATTEMPT).and_then(|attempt| attempt.parse().ok());
        Some(Self {
            id: container.id?,
            worker_lives: labels.get(LABEL_WORKER).is_some_and(|worker| liveness(worker) != Liveness::Dead),
            attempt: run.zip(attempt),
            berth,
            age_s: now.saturating_sub(container.created.unwrap_or(0)),
        })
    }

    /// Whether the container is needed for itself. A cell is needed by its attempt, whichever worker drives that
    /// attempt now. Every other container is needed by the worker that made it.
    fn is_needed(&self, active: &HashSet<(Uuid, i32)>) -> bool {
        match &self.attempt {
            Some(attempt) => {
                active.contains(attempt) || (self.worker_lives && self.age_s < MIN_AGE.as_secs().cast_signed())
            }
            None => self.worker_lives,
        }
    }
}

/// The ids of the containers that are needed neither for themselves nor as the berth of a needed cell.
fn orphans<'a>(containers: &'a [OwnedContainer], active: &HashSet<(Uuid, i32)>) -> Vec<&'a str> {
    let joined: HashSet<&str> =
        containers.iter().filter(|one| one.is_needed(active)).filter_map(|one| one.berth.as_deref()).collect();
    let is_needed = |one: &&OwnedContainer| one.is_needed(active) || joined.contains(one.id.as_str());
    containers.iter().filter(|one| !is_needed(one)).map(|one| one.id.as_str()).collect()
}

/// Removes every container of this installation that is not needed any more. Returns the number of removed ones.
///
/// # Errors
/// If the engine or Postgres does not answer; the next sweep removes the rest.
pub async fn sweep(engine: &Engine, store: &Store, clock: &Clock) -> anyhow::Result<u64> {
    let orphans = find_orphans(engine, store, clock).await?;
    for id in &orphans {
        engine.remove(id).await?;
    }
    if !orphans.is_empty() {
        tracing::info!(containers = orphans.len(), "removed containers that no attempt and no worker needs any more");
    }
    Ok(orphans.len() as u64)
}

/// Finds the containers of this installation that are not needed any more. Returns their ids.
///
/// The engine is asked before Postgres: a cell is made after its attempt became active, so if the attempt of a
/// listed cell is not active, it has ended.
///
/// # Errors
/// If the engine or Postgres does not answer.
pub async fn find_orphans(engine: &Engine, store: &Store, clock: &Clock) -> anyhow::Result<Vec<String>> {
    let now = clock.wall().timestamp();
    let containers: Vec<OwnedContainer> =
        engine.ours().await?.into_iter().filter_map(|container| OwnedContainer::from_summary(container, now)).collect();
    let runs: HashSet<Uuid> = containers.iter().filter_map(|one| one.attempt.map(|(run, _)| run)).collect();
    let runs: Vec<Uuid> = runs.into_iter().collect();
    let mut active = HashSet::new();
    for page in runs.chunks(PAGE_RUNS) {
        active.extend(store.active_attempts(page).await?);
    }
    Ok(orphans(&containers, &active).into_iter().map(str::to_owned).collect())
}

/// Finds the live workers of this host that have containers of this installation but no row in this database. There are some
/// only if the settings name the database of another installation, for which all these containers would be orphans.
///
/// # Errors
/// If the engine or Postgres does not answer.
pub async fn find_unknown_workers(engine: &Engine, store: &Store) -> anyhow::Result<BTreeSet<String>> {
    let labels = engine.ours().await?.into_iter().filter_map(|container| container.labels);
    let mut workers: BTreeSet<String> = labels.filter_map(|mut labels| labels.remove(LABEL_WORKER)).collect();
    workers.retain(|worker| liveness(worker) == Liveness::Alive);
    for known in store.list_workers().await? {
        workers.remove(&known.id);
    }
    Ok(workers)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Uuid = Uuid::from_u128(1);

    fn cell(id: &str, worker_lives: bool, attempt: i32, age_s: i64) -> OwnedContainer {
        OwnedContainer { id: id.to_owned(), worker_lives, attempt: Some((RUN, attempt)), berth: None, age_s }
    }

    fn berth(id: &str, worker_lives: bool) -> OwnedContainer {
        OwnedContainer { id: id.to_owned(), worker_lives, attempt: None, berth: None, age_s: 1_000 }
    }

    #[test]
    fn a_cell_is_needed_by_its_attempt_and_a_berth_by_its_worker() {
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
        let joining = |cell: OwnedContainer, berth: &str| OwnedContainer { berth: Some(berth.to_owned()), ..cell };
        let seen = [
            joining(cell("wanted", false, 2, 1_000), "kept"),
            joining(cell("unwanted", false, 1, 1_000), "lost"),
            berth("kept", false),
            berth("lost", false),
        ];
        assert_eq!(orphans(&seen, &active), ["unwanted", "lost"]);
    }
}
