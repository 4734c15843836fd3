//! FAILURES 6 and 9, in small: Postgres and the engine go away in mid-run and come back.

use std::path::Path;

use crate::harness::gate::Gate;
use crate::harness::sse::Events;
use crate::site::{Setup, Site};

const LINES: &str = "for n in 1 2 3 4 5 6 7 8; do echo line $n; sleep 0.2; done";

/// FAILURES 9: the cell did not notice, and its journal has what was missed.
#[tokio::test]
async fn when_the_engine_cuts_every_stream_the_runs_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (gate, site) = behind_a_gate(folder.path());
    let run = site.submit("long", &[("run.sh", LINES)]).await;
    for line in ["line 2\n", "line 5\n"] {
        site.until("it writes", async || site.text(run, "").await.contains(line)).await;
        gate.cut();
    }
    let ended = site.ended(run).await;
    assert_eq!((&ended["score"], &ended["attempt"]), (&1.0.into(), &1.into()), "{ended}");
    let lines: String = (1..=8).map(|n| format!("line {n}\n")).collect();
    assert_eq!(site.text(run, "").await, lines);
}

/// A site whose worker reaches the engine through a gate.
pub fn behind_a_gate(folder: &Path) -> (Gate, Site) {
    let gate = Gate::new(folder.join("docker.sock"), Path::new("/var/run/docker.sock"));
    let settings = vec![("docker_host", format!("unix://{}", gate.path.display())), ("worker_slots", "1".to_owned())];
    let site = Site::start(Setup { settings, ..Setup::default() });
    (gate, site)
}

/// Runs that are submitted while the engine is away wait until it is `back`, and have lost nothing by it.
async fn wait_for_the_engine(site: &Site, why: &str, back: impl FnOnce()) {
    site.until("the worker pauses", async || {
        let state = sqlx::query_scalar::<_, String>("SELECT state FROM workers");
        state.fetch_one(&mut site.database().await).await.unwrap() == "paused"
    })
    .await;
    let mut runs = Vec::new();
    for _ in 0..4 {
        runs.push(site.submit("script", &[("run.sh", "exit 0")]).await);
    }
    site.until("the queue says so", async || {
        let seen = site.read(*runs.last().unwrap()).await;
        seen["queue"]["waiting_for"] == "paused" && seen["queue"]["detail"].as_str().unwrap().contains(why)
    })
    .await;
    back();
    for run in runs {
        let ended = site.ended(run).await;
        assert_eq!(ended["score"], 1.0, "{ended}");
        assert_eq!(ended["attempt"], 1, "an engine that is away costs nobody an attempt who waits: {ended}");
    }
    site.worker().wait_for("claims are no longer paused");
}

/// FAILURES 26, 30: what the engine cannot do is held back before it is claimed, and goes on by itself.
#[tokio::test]
async fn without_the_engine_nothing_is_claimed_and_what_waits_passes_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let (gate, site) = behind_a_gate(folder.path());
    assert_eq!(site.run("script", &[("run.sh", "exit 0")]).await["score"], 1.0);
    for _ in 0..2 {
        gate.shut();
        wait_for_the_engine(&site, "check that it runs and that docker_host is right", || gate.open()).await;
    }
}

/// FAILURES 9: it takes connections and says nothing.
#[tokio::test]
async fn while_the_engine_hangs_nothing_is_claimed_either() {
    let folder = tempfile::tempdir().unwrap();
    let (gate, site) = behind_a_gate(folder.path());
    gate.stall(true);
    wait_for_the_engine(&site, "did not answer a ping within 2 s", || gate.stall(false)).await;
}

#[tokio::test]
async fn while_postgres_is_away_a_run_goes_on_and_its_end_is_written_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let real = crate::site::postgres_socket();
    let gate = Gate::new(folder.path().join(real.file_name().unwrap()), &real);
    let postgres_folder = Some(folder.path().to_owned());
    let site = Site::start(Setup { postgres_folder, ..Setup::default() });
    let run = site.submit("long", &[("run.sh", LINES)]).await;
    let mut events = Events::open(site.get(&format!("/v1/runs/{run}/output"))).await;
    events.next_named("output").await;
    drop(events);

    gate.shut();
    site.until("the API says that it is not ready", async || {
        site.get("/readyz").send().await.is_ok_and(|answer| answer.status() == 503)
    })
    .await;
    let answer = site.get(&format!("/v1/runs/{run}")).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
    site.worker().wait_for("does not answer");
    gate.open();

    let ended = site.ended(run).await;
    assert_eq!((&ended["score"], &ended["attempt"]), (&1.0.into(), &1.into()), "{ended}");
    let next = site.run("script", &[("run.sh", "exit 0")]).await;
    assert_eq!(next["score"], 1.0, "{next}");
}
