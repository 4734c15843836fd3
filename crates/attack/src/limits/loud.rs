//! Runs that write as much as they may, beside one that writes little: its live output must stay.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use super::{case, id};
use crate::arena::{AT_ONCE, Arena};
use crate::case::{Case, Judgement};
use assize_corpus as crafted;
use assize_host::clock;

/// What the quiet run writes before it waits.
const QUIET: &str = "for line in range(20):\n    print('quiet', line, flush=True)\nimport time\ntime.sleep(120)\n";
const QUIET_LINES: usize = 20;

/// How long the quiet run may take to write.
const PATIENCE: Duration = Duration::from_secs(60);

/// Name, what, what is written again and again, and by how many runs: together more than the 64 MiB that Redis has.
const KINDS: &[(&str, &str, &str, usize)] = &[
    // Of 1 MiB that is kept 6 MiB of JSON.
    ("loud-nul", "16 runs write NULs without end", "b'\\0' * 65536", 16),
    // 3 MiB.
    ("loud-bad-utf8", "28 runs write bytes that are no UTF-8 without end", "b'\\xff' * 65536", 28),
];

const WHOLE: &str = "loud-whole";

pub(super) fn cases() -> Vec<Case> {
    let wall = "each run's share of Redis: a quiet run's live output stays";
    let kinds = KINDS.iter().map(|(name, tried, ..)| case(name, tried, wall));
    let whole =
        case(WHOLE, "a run writes more than its share of live output", "its blob has every piece, under one id each");
    kinds.chain([whole]).collect()
}

pub(super) async fn run(arena: &Arena) {
    let wants_whole = arena.wants(&id(WHOLE));
    for (number, (name, _, piece, count)) in KINDS.iter().enumerate() {
        if arena.wants(&id(name)) || (number == 0 && wants_whole) {
            match beside(arena, name, piece, *count).await {
                Ok((judgement, loud)) => {
                    arena.judge(&id(name), judgement);
                    if number == 0 {
                        arena.judge(&id(WHOLE), whole(arena, loud).await.unwrap_or_else(Judgement::Unjudged));
                    }
                }
                Err(why) => {
                    arena.judge(&id(name), Judgement::Unjudged(why.clone()));
                    if number == 0 {
                        arena.judge(&id(WHOLE), Judgement::Unjudged(why));
                    }
                }
            }
        }
    }
}

async fn begin(arena: &Arena, name: &str, user: &str, template: &str, program: &str) -> Result<Uuid, String> {
    let archive = crafted::project(&[("run.py".to_owned(), program.as_bytes().to_vec())]);
    let answer = arena.submit(user, template, archive).await?;
    let run = answer.body["run"]["id"].as_str().and_then(|id| id.parse::<Uuid>().ok());
    let run = run.ok_or_else(|| format!("the project was not taken: {}", answer.told()))?;
    arena.of(run, &[id(name)]);
    Ok(run)
}

fn quiet_lines(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("quiet ")).count()
}

/// The loud runs beside the quiet one, and one of the loud.
async fn beside(arena: &Arena, name: &str, piece: &str, count: usize) -> Result<(Judgement, Uuid), String> {
    let quiet = begin(arena, name, &format!("{name}-quiet"), "neighbour", QUIET).await?;
    let begun = clock::monotonic();
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    while quiet_lines(&arena.text(quiet).await?) < QUIET_LINES {
        if begun.elapsed() > PATIENCE {
            return Err("the quiet run did not write".to_owned());
        }
        tick.tick().await;
    }
    let program = format!("import os\nfor _ in range(64):\n    os.write(1, {piece})\n");
    let loud: Vec<Result<Uuid, String>> = futures_util::stream::iter(0..count)
        .map(async |number| {
            let run = begin(arena, name, &format!("{name}-{number}"), "python", &program).await?;
            arena.ended(run).await?;
            Ok(run)
        })
        .buffered(AT_ONCE + 2)
        .collect()
        .await;
    let loud = loud.into_iter().collect::<Result<Vec<_>, _>>()?;
    let ended = arena.send(arena.request(Method::GET, &format!("/v1/runs/{quiet}"))).await?;
    if ended.body["status"] != "running" {
        return Err(format!("the quiet run is {}", ended.body["status"]));
    }
    let left = quiet_lines(&arena.text(quiet).await?);
    arena.send(arena.request(Method::POST, &format!("/v1/runs/{quiet}/cancel"))).await?;
    arena.ended(quiet).await?;
    let seen = format!("{left} of the quiet run's {QUIET_LINES} lines are there beside {} loud runs", loud.len());
    let last = loud.last().copied().ok_or_else(|| "there was no loud run".to_owned())?;
    Ok((Judgement::of(left == QUIET_LINES, seen), last))
}

/// Whether the output of a run that has ended is whole: numbers from 1 on, each once, as many bytes as are kept.
async fn whole(arena: &Arena, run: Uuid) -> Result<Judgement, String> {
    let answer = arena.send(arena.request(Method::GET, &format!("/v1/runs/{run}/output"))).await?;
    let Some(Value::Array(entries)) = answer.body.get("entries") else { return Err(answer.told()) };
    let bytes: usize = entries.iter().filter_map(|entry| entry["text"].as_str()).map(str::len).sum();
    let numbered = entries.iter().zip(1..).all(|(entry, number)| entry["id"] == format!("1-{number}"));
    let seen = format!(
        "{} pieces of {bytes} bytes, numbered {}",
        entries.len(),
        if numbered { "in a row" } else { "with gaps" }
    );
    // Half of what is kept comes at the end of the stage.
    Ok(Judgement::of(numbered && bytes >= 1 << 20, seen))
}
