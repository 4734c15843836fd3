//! Requests that are slow, truncated, contradictory, too large or made with another organisation's key.

pub mod alike;
mod bytes;
mod crowding;
mod foreign;
mod forms;
mod slow;

use super::case::{Case, CaseOutcome, Group};
use super::context::AttackContext;

/// Every case of this group.
#[must_use]
pub fn cases() -> Vec<Case> {
    [bytes::cases(), forms::cases(), foreign::cases(), alike::cases(), slow::cases(), crowding::cases()].concat()
}

/// Tries every requested case except the slow ones.
pub async fn run(context: &AttackContext) {
    bytes::run(context).await;
    forms::run(context).await;
    foreign::run(context).await;
    alike::run(context).await;
}

/// Tries the cases that must wait for the service's own timeouts.
pub async fn run_slow(context: &AttackContext) {
    slow::run(context).await;
    crowding::run(context).await;
}

fn case(name: &str, tried: &str, control: &str) -> Case {
    Case::new(Group::Http, name, tried, control)
}

fn id(name: &str) -> String {
    format!("{}/{name}", Group::Http.as_str())
}

/// Records the outcome by the answer: the service must answer with one of these codes or statuses, and still be ready.
async fn record_answer(context: &AttackContext, name: &str, answered: Result<String, String>, allowed: &[&str]) {
    let outcome = match answered {
        Err(why) => CaseOutcome::Escaped(why),
        Ok(answer) if !allowed.iter().any(|word| answer.split(' ').any(|part| part == *word)) => {
            CaseOutcome::Escaped(answer)
        }
        Ok(answer) => match bytes::ready(context).await {
            Ok(()) => CaseOutcome::Contained(answer),
            Err(why) => CaseOutcome::Escaped(format!("{answer}, but then {why}")),
        },
    };
    context.record(&id(name), outcome);
}
