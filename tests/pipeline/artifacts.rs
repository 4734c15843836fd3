//! Files that runs hand out, from their cells to whoever reads them.

use std::path::Path;
use std::process::Output;

use assize_signing::{Statement, TrustedKeys, verify};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::adoption::{hold_verdicts, wrote};
use crate::harness::json;
use crate::harness::processes::assize;
use crate::site::{Setup, Site, failure, shared};
use crate::templates;

/// Runs `assize` with the site's settings.
async fn cli(site: &Site, arguments: &[&str]) -> Output {
    let mut command = assize(&site.settings);
    command.args(arguments).env("ASSIZE_URL", &site.url).env("ASSIZE_KEY", &site.key);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn printed(site: &Site, arguments: &[&str]) -> String {
    let output = cli(site, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn list(site: &Site, run: Uuid) -> Value {
    json(site.get(&format!("/v1/runs/{run}/artifacts")).send().await.unwrap()).await
}

/// Origin, name and content of every file that a run handed out; each has the digest and the length of the list.
async fn files(site: &Site, run: Uuid) -> Vec<(String, String, String)> {
    let mut files = Vec::new();
    for artifact in list(site, run).await["artifacts"].as_array().unwrap() {
        let content = site.get(artifact["url"].as_str().unwrap()).send().await.unwrap().bytes().await.unwrap();
        assert_eq!(artifact["sha256"], hex::encode(Sha256::digest(&content)), "{artifact}");
        assert_eq!(artifact["bytes"], content.len(), "{artifact}");
        let text = |key: &str| artifact[key].as_str().unwrap().to_owned();
        files.push((text("origin"), text("name"), String::from_utf8_lossy(&content).into_owned()));
    }
    files
}

fn file(origin: &str, name: &str, content: &str) -> (String, String, String) {
    (origin.to_owned(), name.to_owned(), content.to_owned())
}

/// A judge of the template `handing`, which writes two files in the driver's cell and gives full marks.
fn driver(before: &str) -> String {
    let writes = "os.makedirs('/workspace/out/shots')\n\
        open('/workspace/out/shots/one.png', 'w').write('a picture')\n\
        open('/workspace/out/report.html', 'w').write('<h1>report</h1>')\n\
        os.symlink('/etc/passwd', '/workspace/out/passwd.txt')";
    templates::judged(&format!("{writes}\n{before}"))
}

/// A service that writes a log in its own cell.
fn app() -> String {
    format!("open('/workspace/app.log', 'w').write('started')\n{}", templates::APP)
}

fn both_origins() -> Vec<(String, String, String)> {
    vec![
        file("driver", "workspace/out/report.html", "<h1>report</h1>"),
        file("driver", "workspace/out/shots/one.png", "a picture"),
        file("subject", "workspace/app.log", "started"),
    ]
}

#[tokio::test]
async fn both_cells_hand_out_their_files_and_the_statement_names_them() {
    let site = shared();
    let run = site.submit("handing", &[("app.py", &app()), ("judge.py", &driver(""))]).await;
    let ended = site.ended(run).await;
    assert_eq!((&ended["status"], &ended["score"]), (&"completed".into(), &json!(1.0)), "{ended}");
    assert_eq!(files(&site, run).await, both_origins());
    let seen = list(&site, run).await;
    assert_eq!(
        (&seen["left_out_count"], &seen["left_out"][0]["name"]),
        (&json!(1), &"workspace/out/passwd.txt".into())
    );
    assert_eq!(seen["artifacts"][0]["visibility"], "hidden");

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("keys.json"), printed(&site, &["key", "signing", "export"]).await).unwrap();
    let sealed = site.get(&format!("/v1/runs/{run}/verdict?format=dsse")).send().await.unwrap().bytes().await.unwrap();
    std::fs::write(path("verdict.json"), &sealed).unwrap();
    let trusted = TrustedKeys::read(&std::fs::read_to_string(path("keys.json")).unwrap()).unwrap();
    let Statement::Run(statement) = verify(&sealed, &trusted).unwrap().statement else { panic!("not of a run") };
    let signed: Vec<_> = statement.artifacts.iter().map(|one| (one.name.as_str(), &one.digest.sha256)).collect();
    let listed: Vec<_> = seen["artifacts"].as_array().unwrap().iter().collect();
    for (name, sha256) in &signed {
        assert!(listed.iter().any(|one| one["name"] == *name && one["sha256"] == **sha256), "{name}");
    }
    assert_eq!(signed.len(), 3);

    // The command line lists, saves and checks them.
    let id = run.to_string();
    let table = printed(&site, &["artifacts", &id]).await;
    assert!(table.contains("workspace/out/shots/one.png") && table.contains("left out"), "{table}");
    let saved = path("saved");
    printed(&site, &["artifacts", &id, "--save", &saved]).await;
    let shot = folder.path().join("saved/driver/workspace/out/shots/one.png");
    assert_eq!(std::fs::read_to_string(&shot).unwrap(), "a picture");
    let again = cli(&site, &["artifacts", &id, "--save", &saved]).await;
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.code() == Some(2) && said.contains("--force"), "{said}");
    let (statement, keys) = (path("verdict.json"), path("keys.json"));
    let check = ["verify", &statement, "--keys", &keys, "--artifacts", &saved];
    let told = printed(&site, &check).await;
    assert!(told.contains("the given artifacts match") && told.contains("driver: workspace/out/report.html"), "{told}");
    std::fs::write(&shot, "another one").unwrap();
    let changed = cli(&site, &check).await;
    let said = String::from_utf8_lossy(&changed.stdout).into_owned();
    assert!(changed.status.code() == Some(1) && said.contains("one.png does not match"), "{said}");
    printed(&site, &["artifacts", &id, "--save", &saved, "--force"]).await;
    printed(&site, &check).await;
}

#[tokio::test]
async fn a_shared_template_hands_out_what_its_tests_wrote_also_when_they_fail() {
    let site = shared();
    for (script, status) in [
        ("mkdir out; echo one > out/a.txt; exit 0", "completed"),
        ("mkdir out; echo one > out/a.txt; exit 1", "completed"),
        ("mkdir out; echo one > out/a.txt; sleep 30", "timed_out"),
    ] {
        let run = site.submit("handing-shared", &[("run.sh", script)]).await;
        let ended = site.ended(run).await;
        assert_eq!(ended["status"], status, "{script}: {ended}");
        assert_eq!(files(&site, run).await, [file("subject", "workspace/out/a.txt", "one\n")], "{script}");
    }
}

#[tokio::test]
async fn a_run_that_fails_without_its_results_hands_out_its_files() {
    let site = shared();
    let writes = driver("sys.exit(3)").replace("json.dump", "json.dumps");
    let run = site.submit("handing", &[("app.py", &app()), ("judge.py", &writes)]).await;
    let ended = site.ended(run).await;
    assert_eq!(failure(&ended).1, "results_missing", "{ended}");
    assert_eq!(files(&site, run).await, both_origins());
}

/// Whatever becomes of artifacts, the verdict is that of the results.
#[tokio::test]
async fn no_artifact_changes_a_verdict() {
    let site = shared();
    for script in [
        "ln -s / out",
        "mkdir out; mkfifo out/a.txt; ln -s /etc/passwd out/b.txt; echo x > out/c; ln out/c out/c.txt",
        "mkdir out; head -c 3000000 /dev/zero > out/a.txt",
        "mkdir out; cd out; n=0; while [ $n -lt 50 ]; do echo $n > $n.txt; n=$((n+1)); done",
        "mkdir out; chmod 0 out",
        "mkdir out; printf x > \"out/$(printf 'a\\033[2J\\nb').txt\"; printf x > \"out/$(printf 'a\\377').txt\"",
    ] {
        let run = site.submit("handing-shared", &[("run.sh", script)]).await;
        let ended = site.ended(run).await;
        assert_eq!((&ended["status"], &ended["score"]), (&"completed".into(), &json!(1.0)), "{script}: {ended}");
        let seen = list(&site, run).await;
        assert!(seen["left_out_count"].as_u64().unwrap() > 0, "{script}: {seen}");
        assert!(seen["artifacts"].as_array().unwrap().len() <= 4, "{script}: {seen}");
        assert!(!seen.to_string().contains("\\u001b"), "{seen}");
        files(&site, run).await;
    }
}

#[tokio::test]
async fn a_successor_hands_out_the_same_files() {
    let mut site = Site::start(Setup { settings: vec![("worker_slots", "1".to_owned())], ..Setup::default() });
    // Killed while the driver tests.
    let slow = driver("print('judging', flush=True); time.sleep(1.2)");
    let run = site.submit("handing", &[("app.py", &app()), ("judge.py", &slow)]).await;
    wrote(&site, run, "judging").await;
    site.take_worker().kill();
    site.start_worker();
    let ended = site.ended(run).await;
    assert_eq!((&ended["attempt"], &ended["score"]), (&json!(1), &json!(1.0)), "{ended}");
    assert_eq!(files(&site, run).await, both_origins());
    // Killed when both cells have said all that they will, and before Postgres has taken it.
    let lock = hold_verdicts(&site).await;
    let run = site.submit("handing", &[("app.py", &app()), ("judge.py", &driver(""))]).await;
    let stored = Path::new(&blob_folder(&site)).join("artifacts");
    site.reached(run, "parsing").await;
    site.take_worker().kill();
    sqlx::Connection::close(lock).await.unwrap();
    site.start_worker();
    let ended = site.ended(run).await;
    assert_eq!((&ended["attempt"], &ended["score"]), (&json!(1), &json!(1.0)), "{ended}");
    assert_eq!(files(&site, run).await, both_origins());
    assert!(stored.is_dir());
    site.until("no cell is left", async || site.cells(Some(run)).await.is_empty()).await;
}

fn blob_folder(site: &Site) -> String {
    let url = site.settings.iter().find(|(name, _)| name == "blob_url").map(|(_, value)| value.clone()).unwrap();
    url.trim_start_matches("file:").trim_start_matches("//").to_owned()
}

/// As much as a template may ask for: a journal that forgot its beginning would lose the run.
#[tokio::test]
async fn as_many_bytes_as_a_template_may_ask_for_pass_through_the_journal() {
    let mut site = Site::start(Setup { settings: vec![("worker_slots", "1".to_owned())], ..Setup::default() });
    let lock = hold_verdicts(&site).await;
    // Line feeds are what the engine's log takes most room for.
    let script = "mkdir out; for n in 1 2 3 4; do head -c 16777216 /dev/urandom > out/$n.txt; done; echo written";
    let run = site.submit("handing-much", &[("run.sh", script)]).await;
    site.reached(run, "parsing").await;
    site.take_worker().kill();
    sqlx::Connection::close(lock).await.unwrap();
    site.start_worker();
    let ended = site.ended(run).await;
    assert_eq!((&ended["attempt"], &ended["status"]), (&json!(1), &"completed".into()), "{ended}");
    let seen = list(&site, run).await;
    assert_eq!((seen["artifacts"].as_array().unwrap().len(), &seen["left_out_count"]), (4, &json!(0)), "{seen}");
    assert_eq!(files(&site, run).await.len(), 4);
    assert_eq!(site.text(run, "").await, "written\n");
}

/// With the output of their run, and the blobs when nobody names them.
#[tokio::test]
async fn retention_deletes_files_with_the_output() {
    let mut site = Site::start(Setup { settings: vec![("output_retention_days", "1".to_owned())], ..Setup::default() });
    let script = [("run.sh", "mkdir out; echo one > out/a.txt")];
    let (old, young) = (site.submit("handing-shared", &script).await, site.submit("handing-shared", &script).await);
    for run in [old, young] {
        site.ended(run).await;
        assert_eq!(files(&site, run).await.len(), 1);
    }
    site.take_worker().terminate();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "ALTER TABLE project_evaluation_runs DISABLE TRIGGER runs_ended;
         UPDATE project_evaluation_runs SET finished_at = now() - interval '2 days' WHERE id = '{old}';
         UPDATE artifact_blobs SET last_used_at = now() - interval '2 days'"
    )))
    .execute(&mut site.database().await)
    .await
    .unwrap();
    site.start_worker();
    site.until("the files of the old run are gone", async || {
        list(&site, old).await["artifacts"].as_array().unwrap().is_empty()
    })
    .await;
    assert_eq!(
        files(&site, young).await,
        [file("subject", "workspace/out/a.txt", "one\n")],
        "a blob that is still named"
    );
}
