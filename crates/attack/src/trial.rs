//! Cases that consist of one project each. The project is submitted and runs; the outcome depends on how the run ends.

use futures_util::StreamExt;
use serde_json::Value;
use uuid::Uuid;

use super::case::{Case, CaseOutcome};
use super::context::{AttackContext, CONCURRENT_RUNS};
use assize_domain::run::{Cause, FailureCode};

/// How the submission or the run of a project must end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Expectation {
    /// The API rejects the submission with this problem code.
    Refused(&'static str),
    /// The run fails with one of these codes.
    Fails(&'static [FailureCode]),
    /// The run completes with this score.
    Scores(f64),
    /// The run completes with this score and this maximum.
    ScoresOutOf(f64, f64),
    /// The run completes with 0 points, or fails with a code whose cause is the submission.
    GainsNothing,
    /// As `GainsNothing`; if the run completes, its maximum is this number.
    GainsNothingOutOf(f64),
}

/// A case with its project.
#[derive(Debug, Clone)]
pub struct Trial {
    pub case: Case,
    pub template: &'static str,
    pub archive: Vec<u8>,
    pub expected: Expectation,
}

/// Tries every requested case, several at a time.
pub async fn run(context: &AttackContext, trials: Vec<Trial>) {
    let wanted = trials.into_iter().filter(|trial| context.wants(&trial.case.id));
    futures_util::stream::iter(wanted)
        .for_each_concurrent(CONCURRENT_RUNS + 2, async |trial| {
            let id = trial.case.id.clone();
            let outcome = one(context, trial).await.unwrap_or_else(CaseOutcome::Inconclusive);
            let outcome = match (outcome, context.host_canary.check()) {
                (CaseOutcome::Contained(_), Err(changed)) => CaseOutcome::Escaped(changed),
                (outcome, _) => outcome,
            };
            context.record(&id, outcome);
        })
        .await;
}

async fn one(context: &AttackContext, trial: Trial) -> Result<CaseOutcome, String> {
    let answer = context.submit(&trial.case.id, trial.template, trial.archive).await?;
    if let Expectation::Refused(code) = trial.expected {
        return Ok(CaseOutcome::contained_if(
            matches!(answer.status, 413 | 422) && answer.code() == code,
            answer.summary(),
        ));
    }
    let Some(run) = answer.body["run"]["id"].as_str().and_then(|id| id.parse::<Uuid>().ok()) else {
        return Err(format!("the submission was not accepted: {}", answer.summary()));
    };
    context.assign_run(run, std::slice::from_ref(&trial.case.id));
    let ended = context.ended(run).await?;
    Ok(assess(&ended, trial.expected))
}

fn code_of(run: &Value) -> Option<FailureCode> {
    run["failure"]["code"].as_str().and_then(|code| code.parse().ok())
}

/// Describes in one line how a run ended.
#[must_use]
pub fn describe_end(run: &Value) -> String {
    let message = run["failure"]["evidence"]["message"].as_str().unwrap_or_default();
    match (code_of(run), run["score"].as_f64()) {
        (Some(code), _) => format!("{code}: {}", message.lines().next().unwrap_or_default()),
        (None, Some(score)) => format!("score {score} of {}", run["max_score"].as_f64().unwrap_or_default()),
        (None, None) => format!("{} without a score", run["status"].as_str().unwrap_or("?")),
    }
}

/// Compares a run that has ended with the expectation.
#[must_use]
pub fn assess(run: &Value, expected: Expectation) -> CaseOutcome {
    let (code, score, max_score) = (code_of(run), run["score"].as_f64(), run["max_score"].as_f64());
    // Scores are compared after a round trip through decimal text. No zero may have a sign.
    let is = |seen: Option<f64>, wanted: f64| {
        seen.is_some_and(|seen| (seen - wanted).abs() < 1e-6 && (wanted > 0.0 || seen.is_sign_positive()))
    };
    let holds = match expected {
        Expectation::Refused(_) => false,
        Expectation::Fails(codes) => code.is_some_and(|code| codes.contains(&code)),
        Expectation::Scores(wanted) => is(score, wanted),
        Expectation::ScoresOutOf(wanted, most) => is(score, wanted) && is(max_score, most),
        Expectation::GainsNothing => code.map_or(is(score, 0.0), |code| code.cause() == Cause::Submission),
        Expectation::GainsNothingOutOf(most) => {
            code.map_or(is(score, 0.0) && is(max_score, most), |code| code.cause() == Cause::Submission)
        }
    };
    CaseOutcome::contained_if(holds, describe_end(run))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contained(run: Value, expected: Expectation) -> bool {
        matches!(assess(&run, expected), CaseOutcome::Contained(_))
    }

    #[test]
    fn only_a_run_without_points_and_by_its_own_fault_has_gained_nothing() {
        let failed = |code: &str| serde_json::json!({ "status": "failed", "failure": { "code": code } });
        let scored = |score: f64| serde_json::json!({ "status": "completed", "score": score, "max_score": 10.0 });
        assert!(contained(failed("report_spoiled"), Expectation::GainsNothing));
        for code in ["results_invalid", "results_missing", "driver_failed", "template_invalid"] {
            assert!(!contained(failed(code), Expectation::GainsNothing), "{code}: passed off as a fault of the tests");
            assert!(!contained(failed(code), Expectation::GainsNothingOutOf(10.0)), "{code}");
        }
        assert!(
            contained(scored(0.0), Expectation::GainsNothingOutOf(10.0))
                && contained(scored(7.0), Expectation::ScoresOutOf(7.0, 10.0))
        );
        assert!(
            !contained(scored(0.0), Expectation::GainsNothingOutOf(3.0))
                && !contained(scored(7.0), Expectation::ScoresOutOf(7.0, 3.0))
        );
        assert!(!contained(scored(-0.0), Expectation::GainsNothing), "a zero with a sign");
        assert!(!contained(scored(-1.0), Expectation::GainsNothing), "less than nothing");
        assert!(contained(scored(0.0), Expectation::GainsNothing));
        assert!(!contained(scored(0.5), Expectation::GainsNothing));
        assert!(
            !contained(failed("cell_lost"), Expectation::GainsNothing),
            "passed off as a fault of the infrastructure"
        );
        assert!(!contained(serde_json::json!({ "status": "aborted" }), Expectation::GainsNothing));
        assert!(contained(scored(7.0), Expectation::Scores(7.0)) && !contained(scored(8.0), Expectation::Scores(7.0)));
        assert!(contained(failed("out_of_memory"), Expectation::Fails(&[FailureCode::OutOfMemory])));
        assert!(!contained(scored(0.0), Expectation::Fails(&[FailureCode::OutOfMemory])));
    }
}
