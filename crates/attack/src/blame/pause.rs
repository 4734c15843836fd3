//! One organisation whose submissions fail for the infrastructure's own faults, again and again: a neighbour's run
//! is claimed all the same, and the worker does not pause.

use chrono::TimeDelta;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use uuid::Uuid;

use super::outside::NOBODY;
use super::{case, id};
use crate::arena::Arena;
use crate::case::{Case, Judgement};
use crate::trial;
use assize_corpus as crafted;
use assize_domain::key;
use assize_domain::key::KeyRole;
use assize_domain::run::FailureCode;
use assize_host::clock;
use assize_store::keys::NewKey;

/// Failures in a row that make the installation's worker look; fewer than the submissions of each case.
pub const PAUSE_AFTER: usize = 3;

const SUBMISSIONS: usize = 6;

/// Name, what is tried, whether each submission is another user's.
const TRIED: &[(&str, &str, bool)] = &[
    ("pause-one-user", "six submissions of one user fail again and again for a host that is away", false),
    ("pause-one-organisation", "six users of one organisation do the same", true),
];

/// Asks for a listed host where nobody answers, and fails for that.
const FAILING: &str = "import os, socket, sys\nfrom urllib.parse import urlsplit\n\
    proxy = urlsplit(os.environ['http_proxy'])\ns = socket.create_connection((proxy.hostname, proxy.port), 15)\n\
    s.sendall(b'CONNECT 127.0.0.1:NOBODY HTTP/1.1\\r\\n\\r\\n')\nprint(s.makefile('rb').readline())\nsys.exit(1)\n";

pub(super) fn cases() -> Vec<Case> {
    let wall = "a pause needs several organisations, or a probe of the worker's own that fails";
    TRIED.iter().map(|(name, tried, _)| case(name, tried, wall)).collect()
}

pub(super) async fn run(arena: &Arena) {
    for (name, _, users) in TRIED {
        let id = id(name);
        if arena.wants(&id) {
            let judgement = one(arena, &id, *users).await.unwrap_or_else(Judgement::Unjudged);
            arena.judge(&id, judgement);
        }
    }
}

async fn one(arena: &Arena, id: &str, users: bool) -> Result<Judgement, String> {
    let neighbour = neighbour(arena).await?;
    let body = FAILING.replace("NOBODY", &NOBODY.to_string());
    let mut failing = Vec::new();
    for number in 0..SUBMISSIONS {
        let user = if users { format!("{id}-{number}") } else { id.to_owned() };
        let archive = crafted::project(&[("install.py".to_owned(), body.clone().into_bytes())]);
        let answer = arena.submit(&user, "reaching", archive).await?;
        let run = answer.body["run"]["id"].as_str().and_then(|id| id.parse::<Uuid>().ok());
        let run = run.ok_or_else(|| format!("it was not taken in: {}", answer.told()))?;
        arena.of(run, &[id.to_owned()]);
        failing.push(run);
    }
    for run in &failing {
        let ended = arena.ended(*run).await?;
        if ended["failure"]["code"] != FailureCode::RegistryUnreachable.as_str() {
            return Err(format!("it should fail for a host that is away: {}", trial::told(&ended)));
        }
    }
    // No success of anybody's has ended the row meanwhile.
    let held = held(arena).await?;
    let begun = clock::monotonic();
    neighbours_run(arena, &neighbour).await?;
    let (ms, paused) = (begun.elapsed().as_millis(), if held { "paused" } else { "did not pause" });
    Ok(Judgement::of(!held, format!("the worker {paused}; a neighbour's run took {ms} ms")))
}

/// Hands in a project for the neighbour, and waits until it has passed.
async fn neighbours_run(arena: &Arena, key: &str) -> Result<(), String> {
    let archive = crafted::project(&[("run.sh".to_owned(), b"exit 0\n".to_vec())]);
    let part = Part::bytes(archive).file_name("project.zip");
    let form = Form::new().text("template", "script").text("user", "neighbour").part("archive", part);
    let answer = arena.send(arena.as_holder(key, Method::POST, "/v1/submissions").multipart(form)).await?;
    let run = answer.body["run"]["id"].as_str().map(str::to_owned);
    let run = run.ok_or_else(|| format!("the neighbour was not taken in: {}", answer.told()))?;
    let path = format!("/v1/runs/{run}?wait=20");
    for _ in 0..10 {
        let answer = arena.send(arena.as_holder(key, Method::GET, &path)).await?;
        match answer.body["score"].as_f64() {
            Some(score) if score > 0.0 => return Ok(()),
            Some(score) => return Err(format!("the neighbour's run has score {score}")),
            None => {}
        }
    }
    Err("the neighbour's run did not end".to_owned())
}

/// Whether the worker has ever paused: its metric is there from then on.
async fn held(arena: &Arena) -> Result<bool, String> {
    let port = arena.target.address.port() + 2;
    let asked = arena.http.get(format!("http://127.0.0.1:{port}/metrics")).send().await;
    let text = asked.map_err(|error| error.to_string())?.text().await.map_err(|error| error.to_string())?;
    Ok(text.contains("assize_admission_held{reason=\"paused\"}"))
}

/// A key of another organisation.
async fn neighbour(arena: &Arena) -> Result<String, String> {
    let organization_id =
        arena.store.ensure_organization("blame-neighbour").await.map_err(|error| error.to_string())?;
    let minted = key::mint();
    let new = NewKey {
        id: minted.id,
        organization_id,
        role: KeyRole::Submit,
        secret_sha256: &minted.secret_sha256,
        label: "neighbour",
        expires_at: Some(clock::wall() + TimeDelta::hours(1)),
    };
    arena.store.insert_key(new).await.map_err(|error| error.to_string())?;
    Ok(minted.text().to_owned())
}
