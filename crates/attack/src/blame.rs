//! Failures that a project causes and that must not count as failures of the infrastructure: an archive that no cell
//! can hold, a registry that the project filled itself, the texts of a Git server, a starved cell. Other cases try to
//! make a worker pause in this way.
//!
//! A project that succeeded would be retried three times at no cost and take the worker's time from everybody.

mod forge;
pub mod outside;
mod pause;
mod registry;
mod room;
mod starved;

pub use pause::PAUSE_AFTER;

use super::case::{Case, Group};
use super::context::AttackContext;

/// Every case of this group.
#[must_use]
pub fn cases() -> Vec<Case> {
    let trials = [room::all(), starved::all()].concat().into_iter().map(|trial| trial.case);
    trials.chain(registry::cases()).chain(forge::cases()).chain(pause::cases()).collect()
}

/// The cases whose archive the scan must refuse.
#[cfg(test)]
pub(super) fn archives() -> Vec<super::trial::Trial> {
    room::all()
}

/// Tries every requested case.
pub async fn run(context: &AttackContext) {
    super::trial::run(context, [room::all(), starved::all()].concat()).await;
    registry::run(context).await;
    forge::run(context).await;
    pause::run(context).await;
}

fn case(name: &str, tried: &str, control: &str) -> Case {
    Case::new(Group::Blame, name, tried, control)
}

fn id(name: &str) -> String {
    format!("{}/{name}", Group::Blame.as_str())
}
