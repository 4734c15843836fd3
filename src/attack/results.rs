//! Results: reports that are no reports, and projects that want to write their own score.

mod forged;
mod hidden;
mod reports;

use super::arena::Arena;
use super::case::{Case, Judgement};
use super::trial::{self, Must};

/// The names of all.
#[must_use]
pub fn cases() -> Vec<Case> {
    let trials = reports::all().into_iter().chain(forged::all()).map(|trial| trial.case);
    trials.chain(hidden::cases()).collect()
}

/// Tries all that are wanted. First an honest project is judged: where that has no points, the lack of
/// points says nothing.
pub async fn run(arena: &Arena) {
    trial::run(arena, reports::all()).await;
    hidden::run(arena).await;
    let forged = forged::all();
    if forged.iter().all(|trial| !arena.wants(&trial.case.id)) {
        return;
    }
    match honest(arena).await {
        Ok(()) => trial::run(arena, forged).await,
        Err(why) => {
            for trial in forged {
                arena.judge(&trial.case.id, Judgement::Unjudged(why.clone()));
            }
        }
    }
}

async fn honest(arena: &Arena) -> Result<(), String> {
    let run = arena.begin(&[], "service", forged::archive("honest")).await?;
    let ended = arena.ended(run).await?;
    match trial::judge(&ended, Must::Score(10.0)) {
        Judgement::Contained(_) => Ok(()),
        judgement => Err(format!("an honest project should have all ten points: {}", judgement.seen())),
    }
}
