//! What nobody wants any more goes, and nothing else does.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use assize::maintenance::{janitor, process, stale_cgroups};
use assize_cell::Engine;
use assize_cell::counters::Cgroups;
use assize_config::Config;
use assize_host::clock::Clock;
use assize_store::Store;
use assize_store::queue::Wanted;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::CreateContainerOptionsBuilder;
use uuid::Uuid;

use crate::site::{Setup, Site, docker, remove};

/// A worker that had this process's id on this host and is gone.
fn dead() -> String {
    let alive = process::process_id();
    let (process, started) = alive.rsplit_once('-').unwrap();
    format!("{process}-{}", started.parse::<u64>().unwrap() - 1)
}

/// A site without a worker, which would clean up too.
fn quiet_site() -> Site {
    let mut site = Site::start(Setup { settings: vec![("worker_slots", "1".to_owned())], ..Setup::default() });
    site.take_worker();
    site
}

async fn engine(site: &Site) -> Engine {
    let warden_path = Path::new(env!("CARGO_BIN_EXE_assize")).with_file_name("assize-warden");
    Engine::connect(&Config { instance: site.instance.clone(), warden_path, ..Config::default() }).await.unwrap()
}

/// A container that was made and not started.
pub async fn container(labels: &[(&str, &str)], berth: Option<&str>) -> String {
    named(&format!("janitor-test-{}", Uuid::now_v7().simple()), labels, berth).await
}

/// The same under this name.
pub async fn named(name: &str, labels: &[(&str, &str)], berth: Option<&str>) -> String {
    let network_mode = berth.map_or_else(|| "none".to_owned(), |berth| format!("container:{berth}"));
    let body = ContainerCreateBody {
        image: Some("assize/base:1".to_owned()),
        cmd: Some(vec!["true".to_owned()]),
        labels: Some(labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()),
        host_config: Some(HostConfig { network_mode: Some(network_mode), ..HostConfig::default() }),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::new().name(name).build();
    docker().create_container(Some(options), body).await.unwrap().id
}

pub async fn is_there(id: &str) -> bool {
    docker().inspect_container(id, None).await.is_ok()
}

fn cell<'a>(instance: &'a str, run: &'a str, attempt: &'a str, worker: &'a str) -> [(&'a str, &'a str); 4] {
    [("assize.instance", instance), ("assize.run", run), ("assize.attempt", attempt), ("assize.worker", worker)]
}

fn berth<'a>(instance: &'a str, worker: &'a str) -> [(&'a str, &'a str); 3] {
    [("assize.instance", instance), ("assize.cell", "berth"), ("assize.worker", worker)]
}

/// FAILURES 8.
#[tokio::test]
async fn only_what_nobody_of_this_installation_wants_is_removed() {
    let site = quiet_site();
    let (instance, other) = (site.instance.clone(), format!("{}-other", site.instance));
    let (me, dead) = (process::process_id(), dead());
    let store = Store::open(&site.database_url, 2).unwrap();
    site.submit("script", &[("run.sh", "exit 0")]).await;
    let caps = assize::admission::caps(&Config::default());
    let wanted = Wanted { worker_half_slots: 2, worker_capacity: 2, caps, most: 1 };
    let run = store.claim_runs(&dead, wanted).await.unwrap()[0].id.to_string();
    let unknown = Uuid::now_v7().to_string();

    let joined = container(&berth(&instance, &dead), None).await;
    let left = container(&berth(&instance, &dead), None).await;
    let kept = [
        ("a cell for adoption", container(&cell(&instance, &run, "1", &dead), Some(&joined)).await),
        ("its berth", joined),
        ("a berth of a worker that lives", container(&berth(&instance, &me), None).await),
        ("a cell that a worker just made", container(&cell(&instance, &unknown, "1", &me), None).await),
        ("a cell of another installation", container(&cell(&other, &unknown, "1", &dead), None).await),
        ("a stranger", container(&[("com.example", "1")], None).await),
        ("one that only names a run", container(&[("assize.run", &unknown), ("assize.worker", &dead)], None).await),
    ];
    let gone = [
        ("a cell of an attempt to come", container(&cell(&instance, &run, "2", &dead), Some(&left)).await),
        ("its berth", left),
        ("a cell of an unknown run", container(&cell(&instance, &unknown, "1", &dead), None).await),
        ("one without a worker", container(&[("assize.instance", &instance)], None).await),
    ];

    let engine = engine(&site).await;
    let removed = janitor::sweep(&engine, &store, &Clock::system()).await;
    let again = janitor::sweep(&engine, &store, &Clock::system()).await;
    let mut wrong = Vec::new();
    for (containers, expected) in [(&kept[..], true), (&gone[..], false)] {
        for (what, id) in containers {
            if is_there(id).await != expected {
                wrong.push(*what);
            }
            remove(id).await;
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}, {removed:?}");
    assert_eq!((removed.unwrap(), again.unwrap()), (4, 0));
}

#[tokio::test]
async fn without_postgres_nothing_is_removed() {
    let site = quiet_site();
    let labels = [("assize.instance", site.instance.as_str()), ("assize.run", &Uuid::now_v7().to_string())];
    let orphan = container(&[&labels[..], &[("assize.attempt", "1"), ("assize.worker", &dead())]].concat(), None).await;
    let away = Store::open("postgres://nobody@localhost/none?host=/nonexistent-socket", 1).unwrap();
    let swept = janitor::sweep(&engine(&site).await, &away, &Clock::system()).await;
    let there = is_there(&orphan).await;
    remove(&orphan).await;
    assert!(swept.is_err() && there);
}

/// Every folder under the parent cgroup of a site, by name.
fn children(cgroups: &Cgroups) -> HashMap<String, Vec<PathBuf>> {
    let mut children: HashMap<String, Vec<PathBuf>> = HashMap::new();
    for parent in cgroups.parents() {
        for entry in std::fs::read_dir(parent).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                children.entry(entry.file_name().into_string().unwrap()).or_default().push(entry.path());
            }
        }
    }
    children
}

#[tokio::test]
async fn cells_have_a_parent_cgroup_and_what_stays_in_it_is_removed() {
    let mut site = Site::start(Setup { settings: vec![("worker_slots", "1".to_owned())], ..Setup::default() });
    let run = site.submit("long", &[("run.sh", "sleep 3; exit 0")]).await;
    site.reached(run, "running").await;
    let engine = engine(&site).await;
    let cgroups = Cgroups::detect(&engine).await.unwrap();
    let there: HashSet<String> = engine.ours().await.unwrap().into_iter().filter_map(|one| one.id).collect();
    let of_containers = |children: &HashMap<String, Vec<PathBuf>>| -> HashSet<String> {
        children.keys().filter_map(|name| cgroups.container_of(name)).collect()
    };
    assert_eq!(there.len(), 3, "a cell and two berths");
    assert_eq!(of_containers(&children(&cgroups)), there);
    assert!(cgroups.can_read(&site.cells(Some(run)).await[0]));

    // What the engine forgot, in each tree, and something that is not a container's.
    let (known, name) = (there.iter().next().unwrap(), "0123456789abcdef".repeat(4));
    let folder_name = children(&cgroups).into_keys().find(|name| name.contains(known)).unwrap();
    let (left, other) = (folder_name.replace(known, &name), "not-a-container");
    let trees = cgroups.parents();
    for parent in &trees {
        std::fs::create_dir(parent.join(&left)).unwrap();
    }
    std::fs::create_dir(trees[0].join(other)).unwrap();
    let removed = stale_cgroups::sweep(&engine, &cgroups).await.unwrap();
    let after = children(&cgroups);
    std::fs::remove_dir(trees[0].join(other)).unwrap();
    assert!(after.contains_key(other) && !after.contains_key(&left), "{after:?}");
    assert_eq!((removed, of_containers(&after)), (trees.len() as u64, there));
    assert_eq!(site.ended(run).await["score"], 1.0);

    let mut worker = site.take_worker();
    worker.terminate();
    tokio::task::spawn_blocking(move || worker.exit(std::time::Duration::from_secs(10))).await.unwrap();
    assert_eq!(cgroups.parents(), Vec::<PathBuf>::new(), "the last worker takes the parent with it");
}

/// Imports an empty image without a tag.
fn dangling(change: &str) -> String {
    let tar = ["-c", "--files-from", "/dev/null"];
    let mut empty = Command::new("tar").args(tar).stdout(Stdio::piped()).spawn().unwrap();
    let archive = empty.stdout.take().unwrap();
    let mut import = Command::new("docker");
    let imported = import.args(["import", "--change", change, "-"]).stdin(archive).output().unwrap();
    empty.wait().unwrap();
    assert!(imported.status.success(), "{imported:?}");
    String::from_utf8(imported.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn an_image_that_was_replaced_goes_and_that_of_others_stays() {
    let site = quiet_site();
    let engine = engine(&site).await;
    let unique = Uuid::now_v7();
    let (ours, used) =
        (dangling(&format!("LABEL assize.inputs={unique}")), dangling(&format!("LABEL assize.inputs=u{unique}")));
    let other = dangling(&format!("LABEL com.example={unique}"));
    let body = ContainerCreateBody {
        image: Some(used.clone()),
        cmd: Some(vec!["true".to_owned()]),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::new().build();
    let container = docker().create_container(Some(options), body).await.unwrap().id;

    let dangling = async |before| -> Vec<String> {
        engine.dangling_images(before).await.unwrap().into_iter().map(|image| image.id).collect()
    };
    let found = dangling(i64::MAX).await;
    assert!(found.contains(&ours) && found.contains(&used) && !found.contains(&other), "{found:?}");
    assert!(!dangling(0).await.contains(&ours), "nothing that is still being built");
    let removed = (engine.remove_image(&ours).await.unwrap(), engine.remove_image(&used).await.unwrap());
    remove(&container).await;
    assert_eq!(removed, (true, false), "a container uses the second");
    assert!(engine.remove_image(&used).await.unwrap() && engine.remove_image(&other).await.unwrap());
    assert!(engine.remove_image(&used).await.unwrap(), "one that is gone is fine");
}

/// FAILURES 25.
#[tokio::test]
async fn each_job_tells_when_it_last_succeeded_and_the_workers_are_counted() {
    let site = Site::start(Setup { settings: vec![("worker_slots", "1".to_owned())], ..Setup::default() });
    let jobs =
        ["containers", "cgroups", "workers", "idempotency_keys", "output", "runs", "archives", "artifacts", "images"];
    site.until("every job has succeeded", async || {
        let metrics = site.worker_metrics().await;
        let is_counted = metrics.contains("\nassize_workers 1\n") && metrics.contains("\nassize_worker_half_slots 2\n");
        is_counted
            && jobs.iter().all(|job| {
                let name = format!("assize_janitor_last_success_timestamp_seconds{{task=\"{job}\"}} ");
                metrics.lines().any(|line| line.strip_prefix(&name).is_some_and(|at| at != "0"))
            })
    })
    .await;
    // With no worker there would be no series at all if the API did not count.
    site.until("the API counts the workers too", async || site.api_metrics().await.contains("\nassize_workers 1\n"))
        .await;
    assert!(site.api_metrics().await.contains("assize_build_info{version="), "{}", site.api_metrics().await);
}

/// FAILURES 21.
#[tokio::test]
async fn a_host_that_is_short_of_memory_holds_claims_back_and_says_so() {
    let settings = vec![("worker_slots", "1".to_owned()), ("min_available_memory_mib", (1_u64 << 40).to_string())];
    let site = Site::start(Setup { settings, ..Setup::default() });
    site.worker().wait_for("claims are paused");
    assert!(site.worker().output().contains("the limit is 1099511627776 MiB"));
    assert!(site.worker_metrics().await.contains("assize_claims_paused{reason=\"host_pressure\"} 1"));
}
