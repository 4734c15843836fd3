//! The operators' commands on an installation that works: a drain loses nothing, and a cleanup takes nothing that is needed.

use std::process::Output;

use serde_json::Value;

use crate::adoption::wrote;
use crate::harness::processes::assize;
use crate::site::database::{delete, make};
use crate::site::{Setup, Site};

/// Runs a command with the settings of the site, of which some are replaced.
async fn operate(site: &Site, arguments: &[&str], replaced: &[(&str, &str)]) -> (i32, String, String) {
    let mut settings = site.settings.clone();
    for (name, value) in replaced {
        settings.retain(|(other, _)| other != name);
        settings.push(((*name).to_owned(), (*value).to_owned()));
    }
    let mut command = assize(&settings);
    command.args(arguments);
    let Output { status, stdout, stderr } =
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

async fn json_of(site: &Site, arguments: &[&str]) -> Value {
    let (code, out, err) = operate(site, arguments, &[]).await;
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

fn names(jobs: &Value) -> Vec<&str> {
    jobs["jobs"].as_array().unwrap().iter().map(|job| job["job"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_worker_that_drains_ends_its_runs_and_begins_none_until_it_may_again() {
    let site = Site::start(Setup { settings: vec![("worker_slots", "2".to_owned())], ..Setup::default() });
    let first = site.submit("long", &[("run.sh", "echo begins; sleep 3")]).await;
    wrote(&site, first, "begins").await;
    let workers = json_of(&site, &["workers", "--json"]).await;
    let worker = workers["workers"][0]["id"].as_str().unwrap().to_owned();
    let (code, out, err) = operate(&site, &["drain", &worker, "--reason", "new disks"], &[]).await;
    assert_eq!((code, out), (0, format!("worker {worker} drains; 1 active run goes on\n")), "{err}");
    assert_eq!(err, "", "Redis has told the worker");
    let second = site.submit("script", &[("run.sh", "exit 0")]).await;
    let ended = site.ended(first).await;
    assert_eq!((ended["score"].as_f64(), ended["attempt"].as_i64()), (Some(1.0), Some(1)), "{ended}");
    let waits = site.read(second).await;
    assert_eq!((&waits["status"], &waits["queue"]["waiting_for"]), (&"queued".into(), &"draining".into()), "{waits}");
    assert!(waits["queue"]["detail"].as_str().unwrap().contains("drained by operator: new disks"), "{waits}");
    let metrics = site.worker_metrics().await;
    assert!(metrics.contains("assize_claims_paused{reason=\"drained_by_operator\"} 1"), "{metrics}");
    assert_eq!(json_of(&site, &["workers", "--json"]).await["workers"][0]["state"], "drained");
    let (code, _, err) = operate(&site, &["resume", &worker], &[]).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(site.ended(second).await["score"], 1.0);
}

#[tokio::test]
async fn a_cleanup_does_what_the_preview_names_and_harms_no_run() {
    let site = Site::start(Setup { settings: vec![("worker_slots", "2".to_owned())], ..Setup::default() });
    let run = site.submit("long", &[("run.sh", "echo begins; sleep 4")]).await;
    wrote(&site, run, "begins").await;
    let preview = json_of(&site, &["cleanup", "--dry-run", "--json"]).await;
    let done = json_of(&site, &["cleanup", "--json"]).await;
    assert_eq!(names(&preview), names(&done));
    for (job, index) in names(&preview).into_iter().zip(0..) {
        let (found, removed) = (&preview["jobs"][index]["objects"], &done["jobs"][index]["removed"]);
        // Folders of cgroups and replaced images come and go with other tests on this host.
        assert!(found == removed || ["cgroups", "images"].contains(&job), "{job}: {preview} {done}");
    }
    let (other, _) = make(format!("{}_other", site.instance)).await;
    let (code, _, err) = operate(&site, &["cleanup"], &[("database_url", &other)]).await;
    delete(&other).await;
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("the database of these settings does not know it"), "{err}");
    let ended = site.ended(run).await;
    assert_eq!((ended["score"].as_f64(), ended["attempt"].as_i64()), (Some(1.0), Some(1)), "{ended}");
}
