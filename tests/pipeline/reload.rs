//! Templates that change while a service runs.

use std::path::Path;

use serde_json::{Value, json};

use crate::adoption::{signal, wrote};
use crate::harness::json as json_of;
use crate::harness::processes::assize;
use crate::site::{Setup, Site, failure};

/// Changes the text of a template.
fn change(site: &Site, template: &str, from: &str, to: &str) {
    let path = site.templates_dir.join(template).join("template.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{template} has no {from:?}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

fn copy(site: &Site, from: &str, to: &str) {
    let folder = |name: &str| site.templates_dir.join(name);
    std::fs::create_dir(folder(to)).unwrap();
    std::fs::copy(folder(from).join("template.toml"), folder(to).join("template.toml")).unwrap();
    assert!(Path::new(&folder(to)).is_dir());
}

async fn degraded(site: &Site) -> String {
    let readiness = json_of(site.get("/readyz").send().await.unwrap()).await;
    assert_eq!(readiness["ready"], true, "{readiness}");
    readiness["degraded"].to_string()
}

/// The digest of each template as the API lists it.
async fn digest(site: &Site, name: &str) -> Option<String> {
    let all = json_of(site.get("/v1/templates").send().await.unwrap()).await;
    let listed = all["templates"].as_array().unwrap().iter().find(|template| template["name"] == name);
    listed.map(|template| template["digest"].as_str().unwrap().to_owned())
}

async fn refused_by_worker(site: &Site) -> Option<String> {
    let metrics = site.worker_metrics().await;
    metrics.lines().find_map(|line| line.strip_prefix("assize_templates_refused ")).map(str::to_owned)
}

#[tokio::test]
async fn templates_are_loaded_anew_and_a_bad_one_stays_as_it_was() {
    let site = Site::start(Setup { settings: vec![("worker_slots", "2".to_owned())], ..Setup::default() });
    let before = digest(&site, "long").await.unwrap();
    let run = site.submit("long", &[("run.sh", "echo begins; sleep 5")]).await;
    wrote(&site, run, "begins").await;
    // A run that began before ends as its template was: the new version would not even start its script.
    change(&site, "long", "\"sh\", \"run.sh\"", "\"false\"");
    copy(&site, "script", "fresh");
    change(&site, "python", "pids = 64", "pids = 1");
    copy(&site, "script", "no-image");
    change(&site, "no-image", "assize/base:1", "assize/nothing:1");
    signal(site.worker(), "-HUP");
    site.until("the worker has refused two", async || refused_by_worker(&site).await.as_deref() == Some("2")).await;
    signal(&site.api, "-HUP");
    site.until("the API has loaded them", async || digest(&site, "fresh").await.is_some()).await;
    assert!(degraded(&site).await.contains("the latest version of the template python was refused"));
    assert_ne!(digest(&site, "long").await.unwrap(), before);
    let fresh = site.run("fresh", &[("run.sh", "exit 0")]).await;
    assert_eq!(fresh["score"], 1.0, "{fresh}");
    let kept = site.run("python", &[("run.py", "raise SystemExit(0)")]).await;
    assert_eq!(kept["score"], 1.0, "{kept}");
    let begun: Value = site.ended(run).await;
    assert_eq!((begun["score"].as_f64(), begun["attempt"].as_i64()), (Some(1.0), Some(1)), "{begun}");
    let changed = site.run("long", &[("run.sh", "exit 0")]).await;
    assert_eq!(changed["score"], 0.0, "{changed}");
    // What the worker cannot use is missing there, whatever the API has.
    let unusable = site.run("no-image", &[("run.sh", "exit 0")]).await;
    assert_eq!(failure(&unusable).1, "template_invalid", "{unusable}");
    change(&site, "python", "pids = 1", "pids = 64");
    std::fs::remove_dir_all(site.templates_dir.join("no-image")).unwrap();
    signal(site.worker(), "-HUP");
    site.until("the worker refuses none", async || refused_by_worker(&site).await.as_deref() == Some("0")).await;
    signal(&site.api, "-HUP");
    site.until("the API refuses none", async || !degraded(&site).await.contains("refused")).await;
}

/// `assize templates reload`: the workers first, then the APIs, and each says what came of it.
#[tokio::test]
async fn a_command_loads_them_in_all_processes_and_prints_what_was_refused() {
    let site = Site::start(Setup { settings: vec![("worker_slots", "1".to_owned())], ..Setup::default() });
    let reload = || {
        let command = assize(&site.settings).args(["templates", "reload", "--json"]).output().unwrap();
        let answer: Value = serde_json::from_slice(&command.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&command.stderr)));
        (command.status.code(), answer)
    };
    copy(&site, "script", "fresh");
    let (code, answer) = reload();
    assert_eq!(code, Some(0), "{answer}");
    let kinds: Vec<_> = answer["processes"].as_array().unwrap().iter().map(|answers| &answers["kind"]).collect();
    assert_eq!(kinds, ["worker", "api"], "{answer}");
    for answers in answer["processes"].as_array().unwrap() {
        assert_eq!((&answers["reports"][0]["loaded"], &answers["missing"]), (&json!(["fresh"]), &json!(0)), "{answer}");
    }
    let fresh = site.run("fresh", &[("run.sh", "exit 0")]).await;
    assert_eq!(fresh["score"], 1.0, "{fresh}");
    // The API cannot see that an image is missing, the worker can.
    change(&site, "fresh", "assize/base:1", "assize/nothing:1");
    let (code, answer) = reload();
    assert_eq!(code, Some(1), "{answer}");
    let refused = &answer["processes"][0]["reports"][0]["refused"][0];
    assert_eq!(refused["name"], "fresh", "{answer}");
    assert!(refused["reason"].as_str().unwrap().contains("assize/nothing:1"), "{answer}");
    std::fs::rename(&site.templates_dir, site.templates_dir.with_extension("away")).unwrap();
    let (code, answer) = reload();
    assert_eq!(code, Some(1), "{answer}");
    assert!(
        answer["processes"][1]["reports"][0]["error"].as_str().unwrap().contains("cannot read the folder"),
        "{answer}"
    );
}
