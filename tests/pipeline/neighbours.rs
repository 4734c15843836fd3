//! Two organisations on one host: whatever one of them runs, every passing sample of the other passes.

use assize_domain::key;
use assize_domain::key::KeyRole;
use assize_store::Store;
use assize_store::keys::NewKey;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use reqwest::multipart::Form;
use serde_json::Value;
use uuid::Uuid;

use crate::harness::{id_of, json, zip_part, zips};
use crate::namespaces::LITTER;
use crate::site::{Setup, Site, repository};

/// Passing samples in one test, of all templates in turn; the variable NEIGHBOUR_RUNS sets another number.
const RUNS: usize = 200;

/// Runs that are handed in together: more than fit, so that berths change hands all the time.
const AT_ONCE: usize = 16;

/// Where the passing sample of each template stands, and where an attacker's code goes in it.
const TEMPLATES: [(&str, &str); 5] = [
    ("python-api", "app.py"),
    ("python-unit", "rational.py"),
    ("node-api", "server.js"),
    ("node-web", "build.js"),
    ("trivial", "run.sh"),
];

/// What litters in Python, for cells that have only Node: sockets that wait, on the ports that services use.
const LITTER_IN_NODE: &str = r"
const net = require('node:net');
for (const port of [8000, 8001, 80]) {
  const server = net.createServer((socket) => socket.end());
  server.listen(port, '127.0.0.1', () => {
    for (let count = 0; count < 16; count += 1) net.connect(port, '127.0.0.1').resume();
    setTimeout(() => server.close(), 200);
  });
}
// A service that does not answer would be waited for.
setTimeout(() => process.exit(1), 500);
";

fn sample(template: &str) -> Vec<(String, Vec<u8>)> {
    let folder = repository(&format!("templates/{template}/sample/passing"));
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect()
}

fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    zips::zip(&files.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect::<Vec<_>>())
}

/// A project that leaves as much behind as it can, and does not care how it ends.
fn attacker(template: &str, file: &str) -> Vec<u8> {
    let code = match template {
        "node-api" => LITTER_IN_NODE.to_owned(),
        "node-web" => LITTER_IN_NODE.replace("const net = require('node:net');", "import net from 'node:net';"),
        "trivial" => "mkfifo /tmp/left; (sleep 30 &) ; exit 1\n".to_owned(),
        _ => LITTER.to_owned(),
    };
    let mut files = sample(template);
    for (name, content) in &mut files {
        if name == file {
            *content = code.clone().into_bytes();
        }
    }
    archive(&files)
}

/// A key of another organisation than the site's own.
async fn stranger(site: &Site) -> String {
    let store = Store::open(&site.database_url, 1).unwrap();
    let organization_id = store.ensure_organization("college").await.unwrap();
    let minted = key::mint();
    let secret_sha256 = &minted.secret_sha256;
    let new =
        NewKey { id: minted.id, organization_id, role: KeyRole::Submit, secret_sha256, label: "", expires_at: None };
    store.insert_key(new).await.unwrap();
    minted.text().to_owned()
}

async fn submit(site: &Site, key: &str, template: &str, archive: Vec<u8>) -> Uuid {
    let form = Form::new().text("template", template.to_owned()).text("user", "ada").part("archive", zip_part(archive));
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let request = client.post(format!("{}/v1/submissions", site.url)).bearer_auth(key).multipart(form);
    let response = request.send().await.unwrap();
    let status = response.status();
    let body = json(response).await;
    assert_eq!(status, 202, "{body}");
    id_of(&body["run"])
}

/// The run as it ended, which only its own organisation may read.
async fn ended(site: &Site, key: &str, run: Uuid) -> Value {
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    for _ in 0..6 {
        let request = client.get(format!("{}/v1/runs/{run}?wait=20", site.url)).bearer_auth(key);
        let seen = json(request.send().await.unwrap()).await;
        if !seen["finished_at"].is_null() {
            return seen;
        }
    }
    panic!("the run {run} does not end");
}

/// Hands in [`RUNS`] passing samples of two organisations in random order, with `attackers` of a hundred runs between them.
async fn every_passing_sample_passes(attackers: u32) {
    let site = Site::start(Setup {
        templates_dir: Some(repository("templates")),
        settings: vec![("worker_slots", "2".to_owned()), ("per_user_max_queued", "1000".to_owned())],
        ..Setup::default()
    });
    let _second = site.spawn_worker();
    let keys = [site.key.clone(), stranger(&site).await];
    let runs = std::env::var("NEIGHBOUR_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(RUNS);
    let seed = std::env::var("NEIGHBOUR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("NEIGHBOUR_SEED={seed} NEIGHBOUR_RUNS={runs}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..runs).map(|number| number % TEMPLATES.len()).collect();
    order.shuffle(&mut random);
    let passing = TEMPLATES.map(|(template, _)| archive(&sample(template)));
    let (mut judged, mut failed) = (0, Vec::new());
    for batch in order.chunks(AT_ONCE) {
        let mut waiting = Vec::new();
        for at in batch {
            let key = &keys[random.random_range(0..keys.len())];
            if random.random_range(0..100) < attackers {
                let (template, file) = TEMPLATES[random.random_range(0..TEMPLATES.len())];
                let enemy = &keys[random.random_range(0..keys.len())];
                waiting.push((enemy, submit(&site, enemy, template, attacker(template, file)).await, None));
            }
            let template = TEMPLATES[*at].0;
            waiting.push((key, submit(&site, key, template, passing[*at].clone()).await, Some(template)));
        }
        for (key, run, sample) in waiting {
            let end = ended(&site, key, run).await;
            let Some(template) = sample else { continue };
            judged += 1;
            if end["status"] != "completed" || end["score"] != end["max_score"] {
                failed.push(format!("{template}: {end}"));
            }
        }
    }
    assert_eq!(judged, runs);
    assert!(failed.is_empty(), "{} of {runs} passing samples did not pass:\n{}", failed.len(), failed.join("\n"));
}

#[tokio::test]
async fn beside_and_after_ordinary_runs_of_another_organisation_every_passing_sample_passes() {
    every_passing_sample_passes(0).await;
}

#[tokio::test]
async fn beside_and_after_an_attackers_runs_every_passing_sample_passes() {
    every_passing_sample_passes(60).await;
}
