//! Keys that are none, and keys of another organisation, at every route.

use chrono::TimeDelta;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use uuid::Uuid;

use super::{case, id, judge};
use crate::arena::Arena;
use crate::case::{Case, Judgement};
use assize_corpus as crafted;
use assize_domain::key;
use assize_domain::key::KeyRole;
use assize_host::clock;
use assize_store::keys::NewKey;

/// Every route that takes an id: name, method, path, of what.
const ROUTES: &[(&str, &str, &str, &str)] = &[
    ("run", "GET", "/v1/runs/{run}", "a run"),
    ("wait", "GET", "/v1/runs/{run}?wait=1", "a run, waiting for its end"),
    ("output", "GET", "/v1/runs/{run}/output", "a run's output"),
    ("events", "GET", "/v1/runs/{run}/output?after=1-1", "a run's output from a point on"),
    ("verdict", "GET", "/v1/runs/{run}/verdict", "a run's verdict"),
    ("cancel", "POST", "/v1/runs/{run}/cancel", "a run, to cancel it"),
    ("submission", "GET", "/v1/submissions/{submission}", "a submission"),
];

/// Name, what it is, the answer.
const KEYS: &[(&str, &str, &str)] = &[
    ("none", "no key", "401"),
    ("malformed", "a key that is none", "401"),
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

pub(super) async fn run(arena: &Arena) {
    let wanted: Vec<String> = cases().into_iter().map(|case| case.id).filter(|id| arena.wants(id)).collect();
    if wanted.is_empty() {
        return;
    }
    if let Err(why) = try_all(arena).await {
        for id in wanted {
            arena.judge(&id, Judgement::Unjudged(why.clone()));
        }
    }
}

async fn try_all(arena: &Arena) -> Result<(), String> {
    let keys = make_keys(arena).await?;
    let archive = || crafted::project(&[("run.sh".to_owned(), b"exit 0".to_vec())]);
    let form = || {
        let part = Part::bytes(archive()).file_name("project.zip");
        Form::new().text("template", "script").text("user", "owner").part("archive", part)
    };
    let idempotency = format!("foreign-{}", Uuid::now_v7());
    let post = |key: &str| arena.as_holder(key, Method::POST, "/v1/submissions").multipart(form());
    let own = arena.send(post(&arena.target.key).header("idempotency-key", &idempotency)).await?;
    let of = |what: &str| own.body[what]["id"].as_str().unwrap_or_default().to_owned();
    let (run, submission) = (of("run"), of("submission"));
    let Ok(run_id) = run.parse::<Uuid>() else { return Err(format!("no run to ask for: {}", own.told())) };

    for (name, method, path, _) in ROUTES {
        let path = path.replace("{run}", &run).replace("{submission}", &submission);
        let method = if *method == "GET" { Method::GET } else { Method::POST };
        let answer = arena.send(arena.as_holder(&keys.stranger, method, &path)).await.map(|answer| answer.told());
        judge(arena, &format!("foreign-{name}"), answer, &["404"]).await;
    }
    let batch = arena.send(arena.as_holder(&keys.stranger, Method::GET, &format!("/v1/runs?ids={run}"))).await?;
    let seen = batch.body["runs"].as_array().map_or(usize::MAX, Vec::len);
    arena.judge(
        &id("foreign-batch"),
        Judgement::of(batch.status == 200 && seen == 0, format!("{} with {seen} runs", batch.status)),
    );
    let replay = arena.send(post(&keys.stranger).header("idempotency-key", &idempotency)).await?;
    let other = replay.body["run"]["id"].as_str().unwrap_or_default();
    let own_one = replay.status == 202 && !other.is_empty() && other != run;
    arena.judge(&id("foreign-idempotency"), Judgement::of(own_one, replay.told()));

    check_keys(arena, &keys, &run).await;
    // The foreign cancel must not have reached it.
    let ended = arena.ended(run_id).await?;
    if ended["status"] == "aborted" {
        arena.judge(
            &id("foreign-cancel"),
            Judgement::Escaped("the run of another organisation was cancelled".to_owned()),
        );
    }
    arena.judge(&id("secrets"), look_for_secrets(arena, &keys));
    Ok(())
}

async fn check_keys(arena: &Arena, keys: &Keys, run: &str) {
    let path = format!("/v1/runs/{run}");
    let url = format!("http://{}{path}", arena.target.address);
    let own = &arena.target.key;
    let mut wrong = own.clone();
    // The last character is one of the secret.
    let last = if wrong.pop() == Some('A') { 'B' } else { 'A' };
    wrong.push(last);
    for (name, _, answer) in KEYS {
        let request = match *name {
            "none" => arena.http.get(&url),
            "malformed" => arena.as_holder("assize_nothing", Method::GET, &path),
            "wrong-secret" => arena.as_holder(&wrong, Method::GET, &path),
            "revoked" => arena.as_holder(&keys.revoked, Method::GET, &path),
            "expired" => arena.as_holder(&keys.expired, Method::GET, &path),
            "basic" => arena.http.get(&url).basic_auth("key", Some(own)),
            "in-address" => arena.http.get(format!("{url}?key={own}&access_token={own}")),
            _ => arena.as_holder(&keys.reader, Method::POST, &format!("{path}/cancel")),
        };
        let answered = arena.send(request).await.map(|answer| answer.told());
        judge(arena, &format!("key-{name}"), answered, &[answer]).await;
    }
}

async fn make_keys(arena: &Arena) -> Result<Keys, String> {
    let store = &arena.store;
    let told = |error: assize_store::StoreError| error.to_string();
    let other = store.ensure_organization("elsewhere").await.map_err(told)?;
    let home = store.ensure_organization("demo").await.map_err(told)?;
    let make = async |organization_id, role, expires_at| {
        let minted = key::mint();
        let secret_sha256 = &minted.secret_sha256;
        let new = NewKey { id: minted.id, organization_id, role, secret_sha256, label: "attack", expires_at };
        store.insert_key(new).await.map_err(told)?;
        Ok::<_, String>((minted.id, minted.text().to_owned()))
    };
    let (_, stranger) = make(other, KeyRole::Admin, None).await?;
    let (_, reader) = make(home, KeyRole::Read, None).await?;
    let (_, expired) = make(home, KeyRole::Admin, Some(clock::wall() - TimeDelta::seconds(1))).await?;
    let (revoked_id, revoked) = make(home, KeyRole::Admin, None).await?;
    store.revoke_key(revoked_id).await.map_err(told)?;
    Ok(Keys { stranger, reader, revoked, expired })
}

/// Greps everything that the installation keeps in files, but the file that the key is to be in.
fn look_for_secrets(arena: &Arena, keys: &Keys) -> Judgement {
    /// Of one file; logs of an attack have a few MiB.
    const MOST: u64 = 64 << 20;
    let secret = |key: &str| key.splitn(3, '_').last().unwrap_or(key).to_owned();
    let secrets =
        [&arena.target.key, &keys.stranger, &keys.reader, &keys.revoked, &keys.expired].map(|key| secret(key));
    let (mut looked, mut found) = (0, Vec::new());
    let walk = ignore::WalkBuilder::new(&arena.target.root).standard_filters(false).build();
    for entry in walk.filter_map(Result::ok) {
        let path = entry.path();
        let small = entry.metadata().is_ok_and(|about| about.is_file() && about.len() <= MOST);
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
        (_, 0) => Judgement::Unjudged("no file could be looked at".to_owned()),
        (true, looked) => Judgement::Contained(format!("in none of {looked} files")),
        (false, _) => Judgement::Escaped(format!("found in {}", found.join(", "))),
    }
}
