//! A backup of a real installation, its drill, its restore, and what each of them refuses.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::harness::processes::assize;
use crate::site::{Setup, Site, repository, with_database};

fn command(settings: &[(String, String)], arguments: &[&str]) -> Output {
    assize(settings).args(arguments).output().unwrap()
}

async fn run(settings: &[(String, String)], arguments: &[&str]) -> (Option<i32>, String) {
    let (settings, arguments) = (settings.to_owned(), arguments.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
    let output = tokio::task::spawn_blocking(move || {
        command(&settings, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    })
    .await
    .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// Runs a command that must succeed, and reads its JSON.
async fn json_of(settings: &[(String, String)], arguments: &[&str]) -> Value {
    let (code, text) = run(settings, arguments).await;
    assert_eq!(code, Some(0), "{arguments:?}: {text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn file_below(folder: &Path) -> std::path::PathBuf {
    let walk = ignore::WalkBuilder::new(folder).standard_filters(false).build();
    walk.filter_map(Result::ok).map(ignore::DirEntry::into_path).find(|path| path.is_file()).expect("a file")
}

async fn site_with_runs() -> Site {
    let settings = vec![("worker_slots", "2".to_owned())];
    let site = Site::start(Setup { settings, templates_dir: Some(repository("templates")), ..Setup::default() });
    for code in [0, 1] {
        site.run("trivial", &[("run.sh", &format!("echo hello {code}; exit {code}"))]).await;
    }
    site
}

#[tokio::test]
async fn a_backup_is_incremental_and_its_drill_proves_it_whole() {
    let site = site_with_runs().await;
    let folder = tempfile::tempdir().unwrap();
    let (to, metrics) = (folder.path().join("backups"), folder.path().join("backup.prom"));
    let (to, metrics) = (to.to_str().unwrap(), metrics.to_str().unwrap());
    let first = json_of(&site.settings, &["backup", "--to", to, "--textfile", metrics, "--json"]).await;
    // Two archives and two outputs.
    assert_eq!(
        (first["manifest"]["blobs"].as_u64(), first["manifest"]["linked_blobs"].as_u64()),
        (Some(4), Some(0)),
        "{first}"
    );
    assert_eq!(first["manifest"]["database"]["rows"]["project_evaluation_runs"], 2, "{first}");
    let text = std::fs::read_to_string(metrics).unwrap();
    assert!(text.contains("\nassize_backup_last_success_timestamp_seconds "), "{text}");

    site.run("trivial", &[("run.sh", "echo another; exit 0")]).await;
    let second = json_of(&site.settings, &["backup", "--to", to, "--json"]).await;
    assert_eq!(
        (second["manifest"]["blobs"].as_u64(), second["manifest"]["linked_blobs"].as_u64()),
        (Some(6), Some(4)),
        "{second}"
    );

    let drill = ["restore", "--drill", "--from", to, "--textfile", metrics, "--json"];
    let drilled = json_of(&[], &drill).await;
    assert_eq!(drilled["folder"], second["folder"], "the newest is used");
    let seen = &drilled["drilled"];
    // Six blobs, the dump and the key.
    assert_eq!((seen["files"].as_u64(), seen["archives"].as_u64()), (Some(8), Some(3)), "{drilled}");
    assert_eq!((seen["signed_ends"].as_u64(), seen["outputs"].as_u64()), (Some(3), Some(3)), "{drilled}");
    let text = std::fs::read_to_string(metrics).unwrap();
    for name in ["assize_restore_drill_last_success_timestamp_seconds", "assize_restore_drill_duration_seconds"] {
        assert!(text.contains(&format!("\n{name} ")), "{text}");
    }
    let older = json_of(&[], &["restore", "--drill", "--from", first["folder"].as_str().unwrap(), "--json"]).await;
    assert_eq!(older["drilled"]["signed_ends"], 2, "{older}");

    // The same program that everybody has agrees.
    let sums = std::process::Command::new("sha256sum")
        .args(["--check", "--quiet", "SHA256SUMS"])
        .current_dir(second["folder"].as_str().unwrap())
        .output()
        .unwrap();
    assert!(sums.status.success(), "{}", String::from_utf8_lossy(&sums.stdout));
}

#[tokio::test]
async fn a_drill_fails_for_everything_that_is_not_as_it_was() {
    let site = site_with_runs().await;
    let folder = tempfile::tempdir().unwrap();
    let (root, metrics) = (folder.path().join("backups"), folder.path().join("drill.prom"));
    let (to, metrics) = (root.to_str().unwrap(), metrics.to_str().unwrap());
    let drill = ["restore", "--drill", "--from", to, "--textfile", metrics];

    // A signature that somebody changed in the database is in the backup too.
    let mut database = site.database().await;
    let forged = "ALTER TABLE project_evaluation_runs DISABLE TRIGGER USER;
        UPDATE project_evaluation_runs SET envelope = jsonb_set(envelope, '{payload}', to_jsonb(replace(envelope ->> 'payload', 'A', 'B')));
        ALTER TABLE project_evaluation_runs ENABLE TRIGGER USER";
    sqlx::raw_sql("CREATE TABLE kept AS SELECT id, envelope FROM project_evaluation_runs")
        .execute(&mut database)
        .await
        .unwrap();
    sqlx::raw_sql(forged).execute(&mut database).await.unwrap();
    json_of(&site.settings, &["backup", "--to", to, "--json"]).await;
    let (code, said) = run(&[], &drill).await;
    assert!(code == Some(5) && said.contains("signed end of run"), "{code:?} {said}");
    let repaired = "ALTER TABLE project_evaluation_runs DISABLE TRIGGER USER;
        UPDATE project_evaluation_runs AS run SET envelope = kept.envelope FROM kept WHERE kept.id = run.id;
        ALTER TABLE project_evaluation_runs ENABLE TRIGGER USER; DROP TABLE kept";
    sqlx::raw_sql(repaired).execute(&mut database).await.unwrap();

    // An archive that was gone before the backup.
    let blobs =
        site.settings.iter().find(|(name, _)| name == "blob_url").unwrap().1.strip_prefix("file:").unwrap().to_owned();
    let archive = file_below(&Path::new(&blobs).join("archives"));
    let bytes = std::fs::read(&archive).unwrap();
    std::fs::remove_file(&archive).unwrap();
    json_of(&site.settings, &["backup", "--to", to, "--json"]).await;
    let (code, said) = run(&[], &drill).await;
    assert!(
        code == Some(5) && said.contains("1 archives that the database names are not in the backup"),
        "{code:?} {said}"
    );
    // One that is damaged is reported by the backup itself.
    std::fs::write(&archive, "other bytes").unwrap();
    let (code, said) = run(&site.settings, &["backup", "--to", to]).await;
    assert!(code == Some(5) && said.contains("1 blobs were damaged"), "{code:?} {said}");
    std::fs::write(&archive, bytes).unwrap();

    // Bytes that changed in the backup.
    let set = json_of(&site.settings, &["backup", "--to", to, "--json"]).await;
    let set = Path::new(set["folder"].as_str().unwrap()).to_owned();
    let output = file_below(&set.join("blobs/output"));
    let kept = std::fs::read(&output).unwrap();
    std::fs::write(&output, "changed").unwrap();
    let (code, said) = run(&[], &drill).await;
    assert!(code == Some(5) && said.contains("1 files of the backup are missing or changed"), "{code:?} {said}");
    std::fs::write(&output, kept).unwrap();

    // A manifest that promises another row.
    let manifest = set.join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("\"project_evaluation_runs\": 2", "\"project_evaluation_runs\": 3"))
        .unwrap();
    let (code, said) = run(&[], &drill).await;
    assert!(code == Some(5) && said.contains("2 rows of project_evaluation_runs instead of 3"), "{code:?} {said}");
    assert!(!Path::new(metrics).exists(), "a drill that failed is no success");
    std::fs::write(&manifest, text).unwrap();
    json_of(&[], &["restore", "--drill", "--from", to, "--textfile", metrics, "--json"]).await;
}

#[tokio::test]
async fn a_restore_needs_an_empty_database_and_brings_everything_back() {
    let site = site_with_runs().await;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("backups");
    let to = root.to_str().unwrap();
    json_of(&site.settings, &["backup", "--to", to, "--json"]).await;

    let (code, said) = run(&site.settings, &["restore", "--from", to]).await;
    assert!(code == Some(2) && said.contains("it must have none"), "{code:?} {said}");
    let (code, said) = run(&site.settings, &["restore", "--from", folder.path().join("none").to_str().unwrap()]).await;
    assert!(code == Some(2) && said.contains("there is no backup in"), "{code:?} {said}");

    let name = format!("{}_restored", site.instance);
    let mut admin = site.database().await;
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.unwrap();
    let url = with_database(&site.database_url, &name);
    let mut settings = site.settings.clone();
    let place = |file: &str| folder.path().join(file).display().to_string();
    settings.push(("database_url".to_owned(), url.clone()));
    settings.push(("blob_url".to_owned(), format!("file:{}", place("blobs"))));
    let restored = json_of(&settings, &["restore", "--from", to, "--json"]).await;
    assert_eq!(restored["restored"]["blobs"], 4, "{restored}");

    let rows = "SELECT to_jsonb(run)::text FROM project_evaluation_runs AS run ORDER BY id";
    let mut other = PgConnection::connect(&url).await.unwrap();
    let seen: Vec<String> = sqlx::query_scalar(rows).fetch_all(&mut other).await.unwrap();
    let wanted: Vec<String> = sqlx::query_scalar(rows).fetch_all(&mut admin).await.unwrap();
    assert_eq!(seen, wanted);
    drop(other);
    // A backup of what was restored is the same backup.
    let again = json_of(&settings, &["backup", "--to", &place("again"), "--json"]).await;
    let (first, again) = (&restored["restored"]["schema_version"], &again["manifest"]["database"]);
    assert_eq!(&again["schema_version"], first);
    assert_eq!(again["rows"]["project_evaluation_runs"], 2);
    sqlx::query(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).execute(&mut admin).await.unwrap();
}
