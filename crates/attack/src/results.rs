//! Results: malformed reports, and projects that try to write their own score.

pub mod artifacts;
pub mod blame;
pub mod called;
mod forged;
mod hidden;
pub mod progress;
mod reports;

use super::case::{Case, CaseOutcome};
use super::context::AttackContext;
use super::trial::{self, Expectation, Trial};

/// Every case of this group.
#[must_use]
pub fn cases() -> Vec<Case> {
    let trials = reports::all().into_iter().chain(forged::all()).chain(called::all()).chain(blame::all());
    let more = [hidden::cases(), artifacts::cases(), progress::cases()].concat();
    trials.map(|trial| trial.case).chain(more).collect()
}

/// Tries every requested case. An honest project runs first: if it gets no points, a lack of points
/// proves nothing.
pub async fn run(context: &AttackContext) {
    trial::run(context, reports::all()).await;
    hidden::run(context).await;
    artifacts::run(context).await;
    run_beside(context, forged::all(), &[("service", forged::archive("honest"), Expectation::Scores(10.0))]).await;
    run_beside(context, called::all(), &[called::honest()]).await;
    run_beside(context, blame::all(), &blame::honest()).await;
    run_progress(context).await;
}

async fn run_progress(context: &AttackContext) {
    let wanted = context.wanted(progress::cases().iter().map(|case| case.id.as_str()));
    if wanted.is_empty() {
        return;
    }
    match check(context, &progress::honest()).await {
        Ok(()) => progress::run(context).await,
        Err(why) => {
            for id in wanted {
                context.record(&id, CaseOutcome::Inconclusive(why.clone()));
            }
        }
    }
}

/// Template and archive of an honest project, and how its run must end.
type Honest = (&'static str, Vec<u8>, Expectation);

async fn run_beside(context: &AttackContext, trials: Vec<Trial>, honest: &[Honest]) {
    if trials.iter().all(|trial| !context.wants(&trial.case.id)) {
        return;
    }
    for one in honest {
        if let Err(why) = check(context, one).await {
            for trial in trials {
                context.record(&trial.case.id, CaseOutcome::Inconclusive(why.clone()));
            }
            return;
        }
    }
    trial::run(context, trials).await;
}

async fn check(context: &AttackContext, (template, archive, expected): &Honest) -> Result<(), String> {
    let run = context.begin(&[], template, archive.clone()).await?;
    let ended = context.ended(run).await?;
    match trial::assess(&ended, *expected) {
        CaseOutcome::Contained(_) => Ok(()),
        outcome => Err(format!("an honest project of {template} should have all points: {}", outcome.seen())),
    }
}
