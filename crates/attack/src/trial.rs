//! Cases that are a project each: handed in, run, and judged by how they end.

use futures_util::StreamExt;
use serde_json::Value;
use uuid::Uuid;

use super::arena::{AT_ONCE, Arena};
use super::case::{Case, Judgement};
use assize_domain::run::{Cause, FailureCode};

/// How a project must end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Must {
    /// It is not taken in: the code of the problem.
    BeRefused(&'static str),
    /// It fails with one of these codes.
    Fail(&'static [FailureCode]),
    /// It is judged, and has this score.
    Score(f64),
    /// It is judged, and has this score of this maximum.
    ScoreOf(f64, f64),
    /// Whatever becomes of it, it has no point, and it is nobody's fault but its own.
    GainNothing,
    /// The same, and where it is judged nonetheless, it has 0 of this maximum.
    NothingOf(f64),
}

/// One project.
#[derive(Debug, Clone)]
pub struct Trial {
    pub case: Case,
    pub template: &'static str,
    pub archive: Vec<u8>,
    pub must: Must,
}

/// Tries all that are wanted, some at a time.
pub async fn run(arena: &Arena, trials: Vec<Trial>) {
    let wanted = trials.into_iter().filter(|trial| arena.wants(&trial.case.id));
    futures_util::stream::iter(wanted)
        .for_each_concurrent(AT_ONCE + 2, async |trial| {
            let id = trial.case.id.clone();
            let judgement = one(arena, trial).await.unwrap_or_else(Judgement::Unjudged);
            let judgement = match (judgement, arena.witness.check()) {
                (Judgement::Contained(_), Err(changed)) => Judgement::Escaped(changed),
                (judgement, _) => judgement,
            };
            arena.judge(&id, judgement);
        })
        .await;
}

async fn one(arena: &Arena, trial: Trial) -> Result<Judgement, String> {
    let answer = arena.submit(&trial.case.id, trial.template, trial.archive).await?;
    if let Must::BeRefused(code) = trial.must {
        return Ok(Judgement::of(matches!(answer.status, 413 | 422) && answer.code() == code, answer.told()));
    }
    let Some(run) = answer.body["run"]["id"].as_str().and_then(|id| id.parse::<Uuid>().ok()) else {
        return Err(format!("it was not taken in: {}", answer.told()));
    };
    arena.of(run, std::slice::from_ref(&trial.case.id));
    let ended = arena.ended(run).await?;
    Ok(judge(&ended, trial.must))
}

fn code_of(run: &Value) -> Option<FailureCode> {
    run["failure"]["code"].as_str().and_then(|code| code.parse().ok())
}

/// How a run ended, in a line.
#[must_use]
pub fn told(run: &Value) -> String {
    let message = run["failure"]["evidence"]["message"].as_str().unwrap_or_default();
    match (code_of(run), run["score"].as_f64()) {
        (Some(code), _) => format!("{code}: {}", message.lines().next().unwrap_or_default()),
        (None, Some(score)) => format!("score {score} of {}", run["max_score"].as_f64().unwrap_or_default()),
        (None, None) => format!("{} without a score", run["status"].as_str().unwrap_or("?")),
    }
}

/// Whether a run that has ended is as it must be.
#[must_use]
pub fn judge(run: &Value, must: Must) -> Judgement {
    let (code, score, max_score) = (code_of(run), run["score"].as_f64(), run["max_score"].as_f64());
    // Scores went through decimal text, nothing more. No zero has a sign.
    let is = |seen: Option<f64>, wanted: f64| {
        seen.is_some_and(|seen| (seen - wanted).abs() < 1e-6 && (wanted > 0.0 || seen.is_sign_positive()))
    };
    let holds = match must {
        Must::BeRefused(_) => false,
        Must::Fail(codes) => code.is_some_and(|code| codes.contains(&code)),
        Must::Score(wanted) => is(score, wanted),
        Must::ScoreOf(wanted, most) => is(score, wanted) && is(max_score, most),
        Must::GainNothing => code.map_or(is(score, 0.0), |code| code.cause() == Cause::Submission),
        Must::NothingOf(most) => {
            code.map_or(is(score, 0.0) && is(max_score, most), |code| code.cause() == Cause::Submission)
        }
    };
    Judgement::of(holds, told(run))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contained(run: Value, must: Must) -> bool {
        matches!(judge(&run, must), Judgement::Contained(_))
    }

    #[test]
    fn only_a_run_without_points_and_by_its_own_fault_has_gained_nothing() {
        let failed = |code: &str| serde_json::json!({ "status": "failed", "failure": { "code": code } });
        let scored = |score: f64| serde_json::json!({ "status": "completed", "score": score, "max_score": 10.0 });
        assert!(contained(failed("report_spoiled"), Must::GainNothing));
        for code in ["results_invalid", "results_missing", "driver_failed", "template_invalid"] {
            assert!(!contained(failed(code), Must::GainNothing), "{code}: passed off as a fault of the tests");
            assert!(!contained(failed(code), Must::NothingOf(10.0)), "{code}");
        }
        assert!(contained(scored(0.0), Must::NothingOf(10.0)) && contained(scored(7.0), Must::ScoreOf(7.0, 10.0)));
        assert!(!contained(scored(0.0), Must::NothingOf(3.0)) && !contained(scored(7.0), Must::ScoreOf(7.0, 3.0)));
        assert!(!contained(scored(-0.0), Must::GainNothing), "a zero with a sign");
        assert!(!contained(scored(-1.0), Must::GainNothing), "less than nothing");
        assert!(contained(scored(0.0), Must::GainNothing));
        assert!(!contained(scored(0.5), Must::GainNothing));
        assert!(!contained(failed("cell_lost"), Must::GainNothing), "passed off as a fault of the infrastructure");
        assert!(!contained(serde_json::json!({ "status": "aborted" }), Must::GainNothing));
        assert!(contained(scored(7.0), Must::Score(7.0)) && !contained(scored(8.0), Must::Score(7.0)));
        assert!(contained(failed("out_of_memory"), Must::Fail(&[FailureCode::OutOfMemory])));
        assert!(!contained(scored(0.0), Must::Fail(&[FailureCode::OutOfMemory])));
    }
}
