//! Invalid keys, and keys of another organisation, at every route.

use chrono::TimeDelta;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use uuid::Uuid;

use super::{case, id, record_answer};
use crate::case::{Case, CaseOutcome};
use crate::context::AttackContext;
use assize_domain::key;
use assize_domain::key::KeyRole;
use assize_host::clock::Clock;
use assize_store::keys::NewKey;

/// Every route that takes an id: name, method, path, kind of the id.
const ROUTES: &[(&str, &str, &str, &str)] = &[
    ("run", "GET", "/v1/runs/{run}", "a run"),
    ("wait", "GET", "/v1/runs/{run}?wait=1", "a run, waiting for its end"),
    ("output", "GET", "/v1/runs/{run}/output", "a run's output"),
    ("events", "GET", "/v1/runs/{run}/output?after=1-1", "a run's output from a point on"),
    ("verdict", "GET", "/v1/runs/{run}/verdict", "a run's verdict"),
    ("cancel", "POST", "/v1/runs/{run}/cancel", "a run, to cancel it"),
    ("submission", "GET", "/v1/submissions/{submission}", "a submission"),
];

/// Name, what the key is, the expected answer.
const KEYS: &[(&str, &str, &str)] = &[
    ("none", "no key", "401"),
    ("malformed", "a malformed key", "401"),
    ("wrong-secret", "a key with another secret", "401"),
    ("revoked", "a key that was revoked", "401"),
    ("expired", "a key that has expired", "401"),
    ("basic", "a key as a password", "401"),
    ("in-address", "a key in the address", "401"),
    ("reader", "a key that may only read to cancel", "403"),
];

pub(super) fn cases() -> Vec<Case> {
    let routes = ROUTES.iter().map(|(name, _, _, what)| {
        case(
            &format!("foreign-{name}"),
            &format!("asks for {what} of another organisation"),
            "404, as if it were not there",
        )
    });
    let batch = case("foreign-batch", "asks for a run of another organisation among ids", "an empty list");
    let replay = case("foreign-idempotency", "sends another organisation's idempotency key", "a submission of its own");
    let keys = KEYS.iter().map(|(name, what, answer)| case(&format!("key-{name}"), &format!("uses {what}"), answer));
    let canary = case(
        "secrets",
        "looks for the keys that were used in logs, files and answers",
        "keys are stored as digests and never logged",
    );
    routes.chain([batch, replay]).chain(keys).chain([canary]).collect()
}

struct Keys {
    stranger: String,
    reader: String,
    revoked: String,
    expired: String,
}

pub(super) async fn run(context: &AttackContext) {
    let wanted: Vec<String> = cases().into_iter().map(|case| case.id).filter(|id| context.wants(id)).collect();
    if wanted.is_empty() {
        return;
    }
    if let Err(why) = try_all(context).await {
        for id in wanted {
            context.record(&id, CaseOutcome::Inconclusive(why.clone()));
        }
    }
}

async fn try_all(context: &AttackContext) -> Result<(), String> {
    let keys = make_keys(context).await?;
    let archive = || assize_corpus::project(&[("run.sh".to_owned(), b"exit 0".to_vec())]);
    let form = || {
        let part = Part::bytes(archive()).file_name("project.zip");
        Form::new().text("template", "script").text("user", "owner").part("archive", part)
    };
    let idempotency = format!("foreign-{}", Uuid::now_v7());
    let post = |key: &str| context.as_holder(key, Method::POST, "/v1/submissions").multipart(form());
    let own = context.send(post(&context.target.key).header("idempotency-key", &idempotency)).await?;
    let own_id = |what: &str| own.body[what]["id"].as_str().unwrap_or_default().to_owned();
    let (run, submission) = (own_id("run"), own_id("submission"));
    let Ok(run_id) = run.parse::<Uuid>() else { return Err(format!("no run to ask for: {}", own.summary())) };

    for (name, method, path, _) in ROUTES {
        let path = path.replace("{run}", &run).replace("{submission}", &submission);
        let method = if *method == "GET" { Method::GET } else { Method::POST };
        let answer =
            context.send(context.as_holder(&keys.stranger, method, &path)).await.map(|answer| answer.summary());
        record_answer(context, &format!("foreign-{name}"), answer, &["404"]).await;
    }
    let batch = context.send(context.as_holder(&keys.stranger, Method::GET, &format!("/v1/runs?ids={run}"))).await?;
    let seen = batch.body["runs"].as_array().map_or(usize::MAX, Vec::len);
    context.record(
        &id("foreign-batch"),
        CaseOutcome::contained_if(batch.status == 200 && seen == 0, format!("{} with {seen} runs", batch.status)),
    );
    let replay = context.send(post(&keys.stranger).header("idempotency-key", &idempotency)).await?;
    let other = replay.body["run"]["id"].as_str().unwrap_or_default();
    let own_one = replay.status == 202 && !other.is_empty() && other != run;
    context.record(&id("foreign-idempotency"), CaseOutcome::contained_if(own_one, replay.summary()));

    check_keys(context, &keys, &run).await;
    // The cancellation with the foreign key must have had no effect.
    let ended = context.ended(run_id).await?;
    if ended["status"] == "aborted" {
        context.record(
            &id("foreign-cancel"),
            CaseOutcome::Escaped("the run of another organisation was cancelled".to_owned()),
        );
    }
    context.record(&id("secrets"), look_for_secrets(context, &keys));
    Ok(())
}

async fn check_keys(context: &AttackContext, keys: &Keys, run: &str) {
    let path = format!("/v1/runs/{run}");
    let url = format!("http://{}{path}", context.target.address);
    let own = &context.target.key;
    let mut wrong = own.clone();
    // The last character belongs to the secret.
    let last = if wrong.pop() == Some('A') { 'B' } else { 'A' };
    wrong.push(last);
    for (name, _, answer) in KEYS {
        let request = match *name {
            "none" => context.http.get(&url),
            "malformed" => context.as_holder("assize_nothing", Method::GET, &path),
            "wrong-secret" => context.as_holder(&wrong, Method::GET, &path),
            "revoked" => context.as_holder(&keys.revoked, Method::GET, &path),
            "expired" => context.as_holder(&keys.expired, Method::GET, &path),
            "basic" => context.http.get(&url).basic_auth("key", Some(own)),
            "in-address" => context.http.get(format!("{url}?key={own}&access_token={own}")),
            _ => context.as_holder(&keys.reader, Method::POST, &format!("{path}/cancel")),
        };
        let answered = context.send(request).await.map(|answer| answer.summary());
        record_answer(context, &format!("key-{name}"), answered, &[answer]).await;
    }
}

async fn make_keys(context: &AttackContext) -> Result<Keys, String> {
    let store = &context.store;
    let as_text = |error: assize_store::StoreError| error.to_string();
    let other = store.ensure_organization("elsewhere").await.map_err(as_text)?;
    let home = store.ensure_organization("demo").await.map_err(as_text)?;
    let make = async |organization_id, role, expires_at| {
        let minted = key::mint();
        let secret_sha256 = &minted.secret_sha256;
        let new = NewKey { id: minted.id, organization_id, role, secret_sha256, label: "attack", expires_at };
        store.insert_key(new).await.map_err(as_text)?;
        Ok::<_, String>((minted.id, minted.text().to_owned()))
    };
    let (_, stranger) = make(other, KeyRole::Admin, None).await?;
    let (_, reader) = make(home, KeyRole::Read, None).await?;
    let (_, expired) = make(home, KeyRole::Admin, Some(Clock::system().wall() - TimeDelta::seconds(1))).await?;
    let (revoked_id, revoked) = make(home, KeyRole::Admin, None).await?;
    store.revoke_key(revoked_id).await.map_err(as_text)?;
    Ok(Keys { stranger, reader, revoked, expired })
}

/// Searches every file of the installation for keys, except the file that contains the key by design.
fn look_for_secrets(context: &AttackContext, keys: &Keys) -> CaseOutcome {
    /// Longest file that is searched, in bytes; logs of an attack have a few MiB.
    const MAX_FILE_BYTES: u64 = 64 << 20;
    let secret = |key: &str| key.splitn(3, '_').last().unwrap_or(key).to_owned();
    let secrets =
        [&context.target.key, &keys.stranger, &keys.reader, &keys.revoked, &keys.expired].map(|key| secret(key));
    let (mut looked, mut found) = (0, Vec::new());
    let walk = ignore::WalkBuilder::new(&context.target.root).standard_filters(false).build();
    for entry in walk.filter_map(Result::ok) {
        let path = entry.path();
        let small = entry.metadata().is_ok_and(|about| about.is_file() && about.len() <= MAX_FILE_BYTES);
        if !small || path.file_name().is_some_and(|name| name == "key") {
            continue;
        }
        if let Ok(bytes) = std::fs::read(path) {
            looked += 1;
            let text = String::from_utf8_lossy(&bytes);
            if secrets.iter().any(|secret| text.contains(secret.as_str())) {
                found.push(path.display().to_string());
            }
        }
    }
    match (found.is_empty(), looked) {
        (_, 0) => CaseOutcome::Inconclusive("no file could be looked at".to_owned()),
        (true, looked) => CaseOutcome::Contained(format!("in none of {looked} files")),
        (false, _) => CaseOutcome::Escaped(format!("found in {}", found.join(", "))),
    }
}
