//! One user under many names that look alike: all names must share one user's limit.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use super::{case, id};
use crate::case::{Case, CaseOutcome};
use crate::context::{AttackContext, CONCURRENT_RUNS};
use assize_host::clock::Stopwatch;

/// Limit of active runs of one user in the installation under attack: as many as any other case has at one time, and
/// fewer than the half-slots.
pub const USER_MAX_ACTIVE: usize = CONCURRENT_RUNS + 2;

/// Time within which a run must be claimed, or the API must name the reason why it waits.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(30);

/// A program that keeps its run active for as long as the template permits.
const SCRIPT: &[u8] = b"sleep 18";
const TEMPLATE: &str = "long";

const NAME: &str = "grace hopper";

/// Name, what is tried, name of the user.
const ALL: &[(&str, &str, &str)] = &[
    ("user-alike-case", "submits under the same name in capitals", "Grace HOPPER"),
    ("user-alike-spaces", "submits under the same name with other spaces", " grace\u{a0}\u{2003}hopper "),
    (
        "user-alike-zero-width",
        "submits under the same name with zero-width characters",
        "gra\u{200b}ce\u{2060} hop\u{feff}per",
    ),
    ("user-alike-soft-hyphen", "submits under the same name with soft hyphens", "grace hop\u{ad}per"),
    (
        "user-alike-tags",
        "submits under the same name with tags and selectors",
        "grace hopper\u{e0061}\u{e007f}\u{fe0f}\u{e0100}",
    ),
    (
        "user-alike-bidi",
        "submits under the same name with controls of direction",
        "\u{61c}\u{202d}grace hopper\u{202c}\u{2069}",
    ),
    ("user-alike-width", "submits under the same name in wide and mathematical letters", "ｇｒａｃｅ 𝐡𝐨𝐩𝐩𝐞𝐫"),
    (
        "user-alike-filler",
        "submits under the same name with fillers that are letters",
        "grace hopper\u{3164}\u{115f}\u{ffa0}\u{2800}",
    ),
];

pub(super) fn cases() -> Vec<Case> {
    let control = "names are compared in one form and case, without invisible characters";
    let alike = ALL.iter().map(|(name, tried, _)| case(name, tried, control));
    let nobody = case("user-invisible", "submits under a name of which nothing is seen", "bad_field");
    alike.chain([nobody]).collect()
}

pub(super) async fn run(context: &AttackContext) {
    if context.wants(&id("user-invisible")) {
        let answer = context.submit("\u{3164}\u{200b}\u{e0041}", TEMPLATE, archive()).await;
        super::record_answer(context, "user-invisible", answer.map(|answer| answer.summary()), &["bad_field"]).await;
    }
    if ALL.iter().all(|(name, ..)| !context.wants(&id(name))) {
        return;
    }
    let mut runs = Vec::new();
    let tried = try_all(context, &mut runs).await;
    for (name, ..) in ALL {
        let outcome = match &tried {
            Ok(judged) => judged.iter().find(|(of, _)| of == name).map(|(_, outcome)| outcome.clone()),
            Err(why) => Some(CaseOutcome::Inconclusive(why.clone())),
        };
        context.record(&id(name), outcome.unwrap_or_else(|| CaseOutcome::Inconclusive("it was not tried".to_owned())));
    }
    for run in runs {
        context.send(context.request(Method::POST, &format!("/v1/runs/{run}/cancel"))).await.ok();
        context.ended(run).await.ok();
    }
}

fn archive() -> Vec<u8> {
    assize_corpus::project(&[("run.sh".to_owned(), SCRIPT.to_vec())])
}

async fn begin(context: &AttackContext, runs: &mut Vec<Uuid>, user: &str, case: &str) -> Result<Uuid, String> {
    let answer = context.submit(user, TEMPLATE, archive()).await?;
    let run = answer.body["run"]["id"].as_str().and_then(|id| id.parse::<Uuid>().ok());
    let run = run.ok_or_else(|| format!("the project was not accepted: {}", answer.summary()))?;
    context.assign_run(run, &[id(case)]);
    runs.push(run);
    Ok(run)
}

async fn look(context: &AttackContext, run: Uuid) -> Result<Value, String> {
    Ok(context.send(context.request(Method::GET, &format!("/v1/runs/{run}"))).await?.body)
}

/// Fills the limit under one name, and checks what the runs under the other names wait for.
async fn try_all(context: &AttackContext, runs: &mut Vec<Uuid>) -> Result<Vec<(&'static str, CaseOutcome)>, String> {
    for _ in 0..USER_MAX_ACTIVE {
        begin(context, runs, NAME, ALL[0].0).await?;
    }
    let begun = Stopwatch::start();
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    for run in runs.clone() {
        while look(context, run).await?["status"] == "queued" {
            if begun.elapsed() > CLAIM_TIMEOUT {
                return Err(format!("run {run} was not claimed within {} s", CLAIM_TIMEOUT.as_secs()));
            }
            tick.tick().await;
        }
    }
    let mut alike = Vec::new();
    for (name, _, user) in ALL {
        alike.push((*name, begin(context, runs, user, name).await?));
    }
    let mut judged = Vec::new();
    for (name, run) in alike {
        let outcome = loop {
            let seen = look(context, run).await?;
            let (status, waiting) = (seen["status"].as_str().unwrap_or("?"), seen["queue"]["waiting_for"].as_str());
            match waiting {
                _ if status != "queued" => {
                    break CaseOutcome::Escaped(format!(
                        "{status} beside {USER_MAX_ACTIVE} runs of the name it looks like"
                    ));
                }
                Some("user_cap") => {
                    break CaseOutcome::Contained(seen["queue"]["detail"].as_str().unwrap_or_default().to_owned());
                }
                _ if begun.elapsed() > CLAIM_TIMEOUT => {
                    break CaseOutcome::Inconclusive(format!(
                        "it waits for {}",
                        waiting.unwrap_or("nothing that is known")
                    ));
                }
                _ => {}
            }
            tick.tick().await;
        };
        judged.push((name, outcome));
    }
    Ok(judged)
}
