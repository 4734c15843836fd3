//! One organisation whose submissions fail again and again for faults of the infrastructure. A neighbour's run must be
//! claimed all the same, and the worker must not pause.

use chrono::TimeDelta;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use uuid::Uuid;

use super::outside::NOBODY;
use super::{case, id};
use crate::case::{Case, CaseOutcome};
use crate::context::AttackContext;
use crate::trial;
use assize_domain::key;
use assize_domain::key::KeyRole;
use assize_domain::run::FailureCode;
use assize_host::clock::{Clock, Stopwatch};
use assize_store::keys::NewKey;

/// Consecutive failures after which the installation's worker examines whether to pause; fewer than the submissions of
/// each case.
pub const PAUSE_AFTER: usize = 3;

const SUBMISSIONS: usize = 6;

/// Name, what is tried, whether each submission has a user of its own.
const TRIED: &[(&str, &str, bool)] = &[
    ("pause-one-user", "six submissions of one user fail again and again for a host that is away", false),
    ("pause-one-organisation", "six users of one organisation do the same", true),
];

/// Connects to a permitted host without a listener, and fails for that reason.
const FAILING: &str = "import os, socket, sys\nfrom urllib.parse import urlsplit\n\
    proxy = urlsplit(os.environ['http_proxy'])\ns = socket.create_connection((proxy.hostname, proxy.port), 15)\n\
    s.sendall(b'CONNECT 127.0.0.1:NOBODY HTTP/1.1\\r\\n\\r\\n')\nprint(s.makefile('rb').readline())\nsys.exit(1)\n";

pub(super) fn cases() -> Vec<Case> {
    let control = "a pause needs several organisations, or a probe of the worker's own that fails";
    TRIED.iter().map(|(name, tried, _)| case(name, tried, control)).collect()
}

pub(super) async fn run(context: &AttackContext) {
    for (name, _, users) in TRIED {
        let id = id(name);
        if context.wants(&id) {
            let outcome = one(context, &id, *users).await.unwrap_or_else(CaseOutcome::Inconclusive);
            context.record(&id, outcome);
        }
    }
}

async fn one(context: &AttackContext, id: &str, users: bool) -> Result<CaseOutcome, String> {
    let neighbour = neighbour(context).await?;
    let body = FAILING.replace("NOBODY", &NOBODY.to_string());
    let mut failing = Vec::new();
    for number in 0..SUBMISSIONS {
        let user = if users { format!("{id}-{number}") } else { id.to_owned() };
        let archive = assize_corpus::project(&[("install.py".to_owned(), body.clone().into_bytes())]);
        let answer = context.submit(&user, "reaching", archive).await?;
        let run = answer.body["run"]["id"].as_str().and_then(|id| id.parse::<Uuid>().ok());
        let run = run.ok_or_else(|| format!("the submission was not accepted: {}", answer.summary()))?;
        context.assign_run(run, &[id.to_owned()]);
        failing.push(run);
    }
    for run in &failing {
        let ended = context.ended(*run).await?;
        if ended["failure"]["code"] != FailureCode::RegistryUnreachable.as_str() {
            return Err(format!("it should fail for a host that is away: {}", trial::describe_end(&ended)));
        }
    }
    // No successful run has ended the row of failures meanwhile.
    let has_paused = has_paused(context).await?;
    let begun = Stopwatch::start();
    neighbours_run(context, &neighbour).await?;
    let (ms, paused) = (begun.elapsed().as_millis(), if has_paused { "paused" } else { "did not pause" });
    Ok(CaseOutcome::contained_if(!has_paused, format!("the worker {paused}; a neighbour's run took {ms} ms")))
}

/// Submits a project for the neighbour and waits until its run has passed.
async fn neighbours_run(context: &AttackContext, key: &str) -> Result<(), String> {
    let archive = assize_corpus::project(&[("run.sh".to_owned(), b"exit 0\n".to_vec())]);
    let part = Part::bytes(archive).file_name("project.zip");
    let form = Form::new().text("template", "script").text("user", "neighbour").part("archive", part);
    let answer = context.send(context.as_holder(key, Method::POST, "/v1/submissions").multipart(form)).await?;
    let run = answer.body["run"]["id"].as_str().map(str::to_owned);
    let run = run.ok_or_else(|| format!("the submission of the neighbour was not accepted: {}", answer.summary()))?;
    let path = format!("/v1/runs/{run}?wait=20");
    for _ in 0..10 {
        let answer = context.send(context.as_holder(key, Method::GET, &path)).await?;
        match answer.body["score"].as_f64() {
            Some(score) if score > 0.0 => return Ok(()),
            Some(score) => return Err(format!("the neighbour's run has score {score}")),
            None => {}
        }
    }
    Err("the neighbour's run did not end".to_owned())
}

/// Whether the worker has ever paused. The counter exists from the start, so its absence leaves the case undecided.
async fn has_paused(context: &AttackContext) -> Result<bool, String> {
    let address = context.target.worker_metrics;
    let answer = context.http.get(format!("http://{address}/metrics")).send().await;
    let text = answer.map_err(|error| error.to_string())?.text().await.map_err(|error| error.to_string())?;
    let mut values = text.lines().filter_map(|line| line.strip_prefix("assize_claim_pauses_total{reason=\"paused\"} "));
    let value = values.next().ok_or("the worker does not count its pauses")?;
    Ok(value != "0")
}

/// A key of another organisation.
async fn neighbour(context: &AttackContext) -> Result<String, String> {
    let organization_id =
        context.store.ensure_organization("blame-neighbour").await.map_err(|error| error.to_string())?;
    let minted = key::mint();
    let new = NewKey {
        id: minted.id,
        organization_id,
        role: KeyRole::Submit,
        secret_sha256: &minted.secret_sha256,
        label: "neighbour",
        expires_at: Some(Clock::system().wall() + TimeDelta::hours(1)),
    };
    context.store.insert_key(new).await.map_err(|error| error.to_string())?;
    Ok(minted.text().to_owned())
}
