//! Results: reports that are no reports, and projects that want to write their own score.

pub mod blame;
mod forged;
mod hidden;
mod reports;

use super::arena::Arena;
use super::case::{Case, Judgement};
use super::trial::{self, Must, Trial};

/// The names of all.
#[must_use]
pub fn cases() -> Vec<Case> {
    let trials = reports::all().into_iter().chain(forged::all()).chain(blame::all());
    trials.map(|trial| trial.case).chain(hidden::cases()).collect()
}

/// Tries all that are wanted. First an honest project is judged: where that has no points, the lack of
/// points says nothing.
pub async fn run(arena: &Arena) {
    trial::run(arena, reports::all()).await;
    hidden::run(arena).await;
    run_beside(arena, forged::all(), &[("service", forged::archive("honest"), Must::Score(10.0))]).await;
    run_beside(arena, blame::all(), &blame::honest()).await;
}

/// An honest project, its template, and what it must come to.
type Honest = (&'static str, Vec<u8>, Must);

async fn run_beside(arena: &Arena, trials: Vec<Trial>, honest: &[Honest]) {
    if trials.iter().all(|trial| !arena.wants(&trial.case.id)) {
        return;
    }
    for one in honest {
        if let Err(why) = check(arena, one).await {
            for trial in trials {
                arena.judge(&trial.case.id, Judgement::Unjudged(why.clone()));
            }
            return;
        }
    }
    trial::run(arena, trials).await;
}

async fn check(arena: &Arena, (template, archive, must): &Honest) -> Result<(), String> {
    let run = arena.begin(&[], template, archive.clone()).await?;
    let ended = arena.ended(run).await?;
    match trial::judge(&ended, *must) {
        Judgement::Contained(_) => Ok(()),
        judgement => Err(format!("an honest project of {template} should have all points: {}", judgement.seen())),
    }
}
