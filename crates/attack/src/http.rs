//! Requests that are slow, cut, contradictory, too large or somebody else's.

pub mod alike;
mod bytes;
mod crowding;
mod foreign;
mod forms;
mod slow;

use super::arena::Arena;
use super::case::{Case, Group, Judgement};

/// The names of all.
#[must_use]
pub fn cases() -> Vec<Case> {
    [bytes::cases(), forms::cases(), foreign::cases(), alike::cases(), slow::cases(), crowding::cases()].concat()
}

/// Tries all that are wanted, but the slow ones.
pub async fn run(arena: &Arena) {
    bytes::run(arena).await;
    forms::run(arena).await;
    foreign::run(arena).await;
    alike::run(arena).await;
}

/// Those that must wait for the service's own timeouts.
pub async fn run_slow(arena: &Arena) {
    slow::run(arena).await;
    crowding::run(arena).await;
}

fn case(name: &str, tried: &str, wall: &str) -> Case {
    Case::new(Group::Http, name, tried, wall)
}

fn id(name: &str) -> String {
    format!("{}/{name}", Group::Http.as_str())
}

/// Judges by the answer: the service must have given one of these codes or statuses, and still be ready.
async fn judge(arena: &Arena, name: &str, answered: Result<String, String>, allowed: &[&str]) {
    let judgement = match answered {
        Err(why) => Judgement::Escaped(why),
        Ok(told) if !allowed.iter().any(|word| told.split(' ').any(|part| part == *word)) => Judgement::Escaped(told),
        Ok(told) => match bytes::ready(arena).await {
            Ok(()) => Judgement::Contained(told),
            Err(why) => Judgement::Escaped(format!("{told}, but then {why}")),
        },
    };
    arena.judge(&id(name), judgement);
}
