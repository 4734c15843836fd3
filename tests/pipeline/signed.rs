//! Signed ends of real runs, checked offline by the real binary: `assize verify` asks nobody.

use std::path::{Path, PathBuf};
use std::process::Output;

use assize_signing::{RunStatement, Statement, TrustedKeys, verify};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::adoption::killed_before_the_verdict;
use crate::harness::json;
use crate::harness::processes::assize;
use crate::harness::zips;
use crate::site::{Setup, Site, docker, shared};
use crate::templates;

/// Runs `assize` with the site's settings.
async fn cli(site: &Site, arguments: &[&str]) -> Output {
    let mut command = assize(&site.settings);
    command.args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn printed(site: &Site, arguments: &[&str]) -> String {
    let output = cli(site, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn exported(site: &Site) -> TrustedKeys {
    TrustedKeys::read(&printed(site, &["key", "signing", "export"]).await).unwrap()
}

async fn envelope(site: &Site, run: Uuid) -> Vec<u8> {
    let answer = site.get(&format!("/v1/runs/{run}/verdict?format=dsse")).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    answer.bytes().await.unwrap().to_vec()
}

fn statement(envelope: &[u8], keys: &TrustedKeys) -> (String, RunStatement) {
    let verified = verify(envelope, keys).unwrap();
    match verified.statement {
        Statement::Run(run) => (verified.key_id, *run),
        other => panic!("{other:?}"),
    }
}

/// Files for those who verify.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: &[u8]) -> String {
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

async fn image_id(name: &str) -> String {
    docker().inspect_image(name).await.unwrap().id.unwrap().trim_start_matches("sha256:").to_owned()
}

#[tokio::test]
async fn the_end_of_a_run_verifies_offline_with_its_archive_and_its_output() {
    let site = shared();
    let judge = templates::judged("print('judging', flush=True)");
    let archive = zips::zip(&[("app.py", templates::APP.as_bytes()), ("judge.py", judge.as_bytes())]);
    let run = site.submit_archive("service", archive.clone()).await;
    let ended = site.ended(run).await;
    let output = site.get(&format!("/v1/runs/{run}/output?format=ndjson")).send().await.unwrap();
    let output = output.bytes().await.unwrap();
    assert!(!output.is_empty());
    let sealed = envelope(&site, run).await;

    let folder = Folder::new();
    let keys = folder.write("keys.json", printed(&site, &["key", "signing", "export"]).await.as_bytes());
    let file = folder.write("verdict.json", &sealed);
    let (zip, ndjson) = (folder.write("project.zip", &archive), folder.write("output.ndjson", &output));
    let check = ["verify", &file, "--keys", &keys, "--archive", &zip, "--output", &ndjson];
    let told = printed(&site, &check).await;
    for word in ["VERIFIED", "exit code 0", "1 of 1", "integrity", "isolated", &run.to_string()] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let other = folder.write("other.zip", &zips::good());
    assert_eq!(cli(&site, &["verify", &file, "--keys", &keys, "--archive", &other]).await.status.code(), Some(1));
    let cut = folder.write("cut.ndjson", &output[..output.iter().position(|byte| *byte == b'\n').unwrap() + 1]);
    assert_eq!(cli(&site, &["verify", &file, "--keys", &keys, "--output", &cut]).await.status.code(), Some(1));

    let (_, said) = statement(&sealed, &exported(&site).await);
    assert_eq!((said.run_id, said.attempt, said.status.as_str()), (run, 1, "completed"));
    assert_eq!(serde_json::to_value(said.verdict.unwrap()).unwrap()["tests"], site.verdict(run).await["tests"]);
    let images: Vec<_> = said.cells.iter().map(|cell| cell.image_digest.clone().unwrap().sha256).collect();
    assert_eq!(images, [image_id("assize/python-api:1").await, image_id("assize/python-api:1").await]);
    assert_eq!((said.cells[0].role.as_str(), said.cells[1].role.as_str()), ("subject", "driver"));
    assert_eq!((&said.cells[1].limits["memory_mib"], said.cells[1].stages[0].timeout_ms), (&json!(48), 3000));
    let stages: Vec<_> = said.stages.iter().map(|stage| (stage.cell.as_str(), stage.name.as_str())).collect();
    assert_eq!(stages, [("driver", "tests"), ("subject", "start")]);
    let known = json(site.get("/v1/templates").send().await.unwrap()).await;
    let known = known["templates"].as_array().unwrap().iter().find(|known| known["name"] == "service").unwrap().clone();
    assert_eq!(known["digest"], said.template.unwrap().digest.sha256);
    // By one clock, the database's.
    assert_eq!(json!(said.started_at), ended["started_at"]);
    let finished: chrono::DateTime<chrono::Utc> = ended["finished_at"].as_str().unwrap().parse().unwrap();
    let apart = (finished - said.finished_at).num_milliseconds();
    assert!((-50..2000).contains(&apart), "{apart} ms");
}

#[tokio::test]
async fn a_run_without_a_verdict_is_signed_too() {
    let site = shared();
    let keys = exported(&site).await;
    for (template, script, code, status) in
        [("staged", "exit 7", "build_failed", "failed"), ("staged", "sleep 30", "stage_timeout", "timed_out")]
    {
        let files = [("install.sh", "exit 0"), ("build.sh", script), ("run.sh", "exit 0")];
        let run = site.submit(template, &files).await;
        site.ended(run).await;
        let (_, said) = statement(&envelope(&site, run).await, &keys);
        let failure = said.failure.unwrap();
        assert_eq!((failure.code.as_str(), said.status.as_str()), (code, status));
        assert!(said.verdict.is_none());
        let stages: Vec<_> = said.stages.iter().map(|stage| stage.name.as_str()).collect();
        assert_eq!(stages, ["install", "build"]);
        assert_eq!(said.output.unwrap().bytes, 0);
    }
}

/// The worker is killed when it has signed, and before Postgres has taken that.
#[tokio::test]
async fn killed_before_the_verdict_the_successors_statement_is_the_one() {
    let mut site = Site::start(Setup { settings: vec![("worker_slots", "1".to_owned())], ..Setup::default() });
    let run = killed_before_the_verdict(&mut site).await;
    let ended = site.ended(run).await;
    assert_eq!((ended["status"].as_str(), ended["attempt"].as_i64()), (Some("completed"), Some(1)), "{ended}");
    let (_, said) = statement(&envelope(&site, run).await, &exported(&site).await);
    assert_eq!((said.run_id, said.attempt), (run, 1));
    let stages: Vec<_> = said.stages.iter().map(|stage| (stage.name.as_str(), json!(stage.exit))).collect();
    assert_eq!(stages, [("tests", json!({ "how": "exited", "code": 0 }))], "as the journal has it");
    assert_eq!(said.cells[0].image_digest.as_ref().unwrap().sha256, image_id("assize/base:1").await);
    // The output is that which the API serves, whichever worker wrote it.
    let output = site.get(&format!("/v1/runs/{run}/output?format=ndjson")).send().await.unwrap();
    let folder = Folder::new();
    let file = folder.write("verdict.json", &envelope(&site, run).await);
    let ndjson = folder.write("output.ndjson", &output.bytes().await.unwrap());
    let keys = folder.write("keys.json", printed(&site, &["key", "signing", "export"]).await.as_bytes());
    printed(&site, &["verify", &file, "--keys", &keys, "--output", &ndjson]).await;
}

/// Its statement would name a template that it was not judged by.
#[tokio::test]
async fn a_cell_of_another_template_is_not_gone_on_with() {
    let mut site = Site::start(Setup { settings: vec![("worker_slots", "1".to_owned())], ..Setup::default() });
    let run = site.submit("long", &[("run.sh", "echo begins; sleep 2; echo ends")]).await;
    site.until("it began", async || site.text(run, "").await.contains("begins")).await;
    site.take_worker().kill();
    let file = site.templates_dir.join("long/template.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("# another word\n{text}")).unwrap();
    site.start_worker();
    let ended = site.ended(run).await;
    assert_eq!((ended["attempt"].as_i64(), ended["status"].as_str()), (Some(2), Some("completed")), "{ended}");
    let sealed = envelope(&site, run).await;
    assert_eq!(statement(&sealed, &exported(&site).await).1.attempt, 2);
    // Of two attempts the lines of the last are what was signed.
    let output = site.get(&format!("/v1/runs/{run}/output?format=ndjson")).send().await.unwrap();
    let output = output.text().await.unwrap();
    assert_eq!((output.matches("begins").count(), output.matches("\"1-1\"").count()), (2, 1), "{output}");
    let folder = Folder::new();
    let (file, ndjson) = (folder.write("verdict.json", &sealed), folder.write("output.ndjson", output.as_bytes()));
    let keys = folder.write("keys.json", printed(&site, &["key", "signing", "export"]).await.as_bytes());
    printed(&site, &["verify", &file, "--keys", &keys, "--output", &ndjson]).await;
}

#[tokio::test]
async fn rotation_needs_no_restart_and_costs_no_old_signature() {
    let site = Site::start(Setup { settings: vec![("worker_slots", "1".to_owned())], ..Setup::default() });
    let one = async || {
        let run = site.submit("script", &[("run.sh", "exit 0")]).await;
        site.ended(run).await;
        envelope(&site, run).await
    };
    let before = one().await;
    let old = exported(&site).await;
    let rotation = cli(&site, &["key", "signing", "rotate", "--json"]).await;
    let rotated: Value = serde_json::from_slice(&rotation.stdout).unwrap();
    let after = one().await;
    assert!(verify(&after, &old).is_err(), "who has only the old keys does not know the new one");
    let keys = exported(&site).await;
    let (first, second) = (statement(&before, &keys).0, statement(&after, &keys).0);
    assert_eq!(rotated["id"], second);
    assert_ne!(first, second);

    // The key that signs here is not retired by mistake; the old one is, and keeps what it had signed.
    assert_eq!(cli(&site, &["key", "signing", "retire", &second]).await.status.code(), Some(2));
    printed(&site, &["key", "signing", "retire", &first]).await;
    let keys = exported(&site).await;
    statement(&before, &keys);
    statement(&after, &keys);
    let listed = printed(&site, &["key", "signing", "list"]).await;
    assert!(listed.contains("signs here") && listed.contains("retired"), "{listed}");
    assert_eq!(cli(&site, &["key", "signing", "create"]).await.status.code(), Some(2), "there is one");

    // FAILURES, canary: the key is in nothing that the processes or the command said, and in no table.
    let (_, path) = site.settings.iter().find(|(key, _)| key == "signing_key_file").unwrap();
    let pem = std::fs::read_to_string(Path::new(path)).unwrap();
    let document = STANDARD.decode(pem.lines().nth(1).unwrap()).unwrap();
    let secret = STANDARD.encode(&document[18..]);
    let mut said = site.api.output() + &site.worker().output();
    assert!(said.contains("the signing key was replaced"), "{said}");
    said.extend([&rotation.stdout, &rotation.stderr].map(|stream| String::from_utf8_lossy(stream).into_owned()));
    let mut database = site.database().await;
    let tables: Vec<String> = sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
        .fetch_all(&mut database)
        .await
        .unwrap();
    for table in tables {
        let query = format!("SELECT coalesce(string_agg(t::text, ' '), '') FROM {table} AS t");
        let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&mut database).await.unwrap();
        said.push_str(&rows);
    }
    let hex: String = document[16..].iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!said.contains(&secret) && !said.contains(&hex));
}

#[tokio::test]
async fn a_worker_whose_key_was_retired_does_not_start() {
    let mut site = Site::start(Setup { settings: vec![("worker_slots", "1".to_owned())], ..Setup::default() });
    site.take_worker();
    let listed: Value = serde_json::from_str(&printed(&site, &["key", "signing", "list", "--json"]).await).unwrap();
    let mut database = site.database().await;
    sqlx::query("UPDATE signing_keys SET retired_at = now()").execute(&mut database).await.unwrap();
    let output = cli(&site, &["worker"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("was retired") && said.contains("assize key signing rotate"), "{said}");
    assert!(said.contains(listed["active_here"].as_str().unwrap()), "{said}");
}
