//! Attempts to have the infrastructure blamed: for an archive that no cell can hold, for a registry that the project
//! filled itself, for what a Git server says, for a cell that was starved; and to have a worker pause for that.
//!
//! Who succeeds is tried again for nothing, three times, and takes the worker's time from everybody.

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

/// Those that are an archive which the scan must refuse.
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
