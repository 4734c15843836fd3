//! Runs that write as much as they may, beside one that writes little: the live output of the quiet run must remain.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use super::{case, id};
use crate::case::{Case, CaseOutcome};
use crate::context::{AttackContext, CONCURRENT_RUNS};
use assize_host::clock::Stopwatch;

/// Program of the quiet run: it writes some lines and then waits.
const QUIET: &str = "for line in range(20):\n    print('quiet', line, flush=True)\nimport time\ntime.sleep(120)\n";
const QUIET_LINES: usize = 20;

/// Time within which the quiet run must have written its lines.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(60);

/// Name, what is tried, the piece that is written again and again, and the number of runs: together more than the 64
/// MiB of Redis.
const KINDS: &[(&str, &str, &str, usize)] = &[
    // 1 MiB of stored output takes 6 MiB as JSON.
    ("loud-nul", "16 runs write NULs without end", "b'\\0' * 65536", 16),
    // 1 MiB of stored output takes 3 MiB as JSON.
    ("loud-bad-utf8", "28 runs write bytes that are no UTF-8 without end", "b'\\xff' * 65536", 28),
];

const WHOLE: &str = "loud-whole";

pub(super) fn cases() -> Vec<Case> {
    let control = "each run has a share of Redis: the live output of a quiet run remains";
    let kinds = KINDS.iter().map(|(name, tried, ..)| case(name, tried, control));
    let whole = case(
        WHOLE,
        "a run writes more than its share of live output",
        "its blob contains every piece under an id of its own",
    );
    kinds.chain([whole]).collect()
}

pub(super) async fn run(context: &AttackContext) {
    let wants_whole = context.wants(&id(WHOLE));
    for (number, (name, _, piece, count)) in KINDS.iter().enumerate() {
        if context.wants(&id(name)) || (number == 0 && wants_whole) {
            match beside(context, name, piece, *count).await {
                Ok((outcome, loud)) => {
                    context.record(&id(name), outcome);
                    if number == 0 {
                        context
                            .record(&id(WHOLE), whole(context, loud).await.unwrap_or_else(CaseOutcome::Inconclusive));
                    }
                }
                Err(why) => {
                    context.record(&id(name), CaseOutcome::Inconclusive(why.clone()));
                    if number == 0 {
                        context.record(&id(WHOLE), CaseOutcome::Inconclusive(why));
                    }
                }
            }
        }
    }
}

async fn begin(context: &AttackContext, name: &str, user: &str, template: &str, program: &str) -> Result<Uuid, String> {
    let archive = assize_corpus::project(&[("run.py".to_owned(), program.as_bytes().to_vec())]);
    let answer = context.submit(user, template, archive).await?;
    let run = answer.body["run"]["id"].as_str().and_then(|id| id.parse::<Uuid>().ok());
    let run = run.ok_or_else(|| format!("the project was not accepted: {}", answer.summary()))?;
    context.assign_run(run, &[id(name)]);
    Ok(run)
}

fn quiet_lines(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("quiet ")).count()
}

/// Runs the loud runs beside the quiet one; returns the outcome and one of the loud runs.
async fn beside(context: &AttackContext, name: &str, piece: &str, count: usize) -> Result<(CaseOutcome, Uuid), String> {
    let quiet = begin(context, name, &format!("{name}-quiet"), "neighbour", QUIET).await?;
    let begun = Stopwatch::start();
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    while quiet_lines(&context.text(quiet).await?) < QUIET_LINES {
        if begun.elapsed() > OUTPUT_TIMEOUT {
            return Err("the quiet run did not write".to_owned());
        }
        tick.tick().await;
    }
    let program = format!("import os\nfor _ in range(64):\n    os.write(1, {piece})\n");
    let loud: Vec<Result<Uuid, String>> = futures_util::stream::iter(0..count)
        .map(async |number| {
            let run = begin(context, name, &format!("{name}-{number}"), "python", &program).await?;
            context.ended(run).await?;
            Ok(run)
        })
        .buffered(CONCURRENT_RUNS + 2)
        .collect()
        .await;
    let loud = loud.into_iter().collect::<Result<Vec<_>, _>>()?;
    let ended = context.send(context.request(Method::GET, &format!("/v1/runs/{quiet}"))).await?;
    if ended.body["status"] != "running" {
        return Err(format!("the quiet run is {}", ended.body["status"]));
    }
    let left = quiet_lines(&context.text(quiet).await?);
    context.send(context.request(Method::POST, &format!("/v1/runs/{quiet}/cancel"))).await?;
    context.ended(quiet).await?;
    let seen = format!("{left} of the quiet run's {QUIET_LINES} lines are there beside {} loud runs", loud.len());
    let last = loud.last().copied().ok_or_else(|| "there was no loud run".to_owned())?;
    Ok((CaseOutcome::contained_if(left == QUIET_LINES, seen), last))
}

/// Whether the output of a run that has ended is complete: numbered from 1 without gaps, with as many bytes as are
/// stored.
async fn whole(context: &AttackContext, run: Uuid) -> Result<CaseOutcome, String> {
    let answer = context.send(context.request(Method::GET, &format!("/v1/runs/{run}/output"))).await?;
    let Some(Value::Array(entries)) = answer.body.get("entries") else { return Err(answer.summary()) };
    let bytes: usize = entries.iter().filter_map(|entry| entry["text"].as_str()).map(str::len).sum();
    let numbered = entries.iter().zip(1..).all(|(entry, number)| entry["id"] == format!("1-{number}"));
    let seen = format!(
        "{} pieces of {bytes} bytes, numbered {}",
        entries.len(),
        if numbered { "in a row" } else { "with gaps" }
    );
    // Half of the stored output is sent at the end of the stage.
    Ok(CaseOutcome::contained_if(numbered && bytes >= 1 << 20, seen))
}
