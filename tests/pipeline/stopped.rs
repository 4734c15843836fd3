//! A worker that is stopped between two steps, and wakes when its run is another's (FAILURES 3).

use std::collections::HashMap;
use std::time::Duration;

use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;
use sqlx::Connection;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::adoption::{let_leases_go_stale, nobody_claims, signal, wrote};
use crate::away::behind_a_gate;
use crate::janitor::{is_there, named};
use crate::site::{Site, docker};

/// Takes the lease as another worker does; who has it then does nothing.
async fn take_over(site: &Site, run: Uuid) {
    let query = "UPDATE project_evaluation_runs SET worker_id = 'another', lease_epoch = lease_epoch + 1,
        heartbeat_at = clock_timestamp() WHERE id = $1 AND status = 'preparing'";
    let taken = sqlx::query(query).bind(run).execute(&mut site.database().await).await.unwrap();
    assert_eq!(taken.rows_affected(), 1);
}

/// All that a worker writes.
async fn row(site: &Site, run: Uuid) -> (String, i32, i64, String) {
    let query = "SELECT status, attempt, lease_epoch, worker_id FROM project_evaluation_runs WHERE id = $1";
    sqlx::query_as(query).bind(run).fetch_one(&mut site.database().await).await.unwrap()
}

/// Whoever took the run over is silent: the worker goes on with it, in the next attempt.
async fn ends_well(site: &Site, run: Uuid) {
    let_leases_go_stale(site).await;
    let ended = site.ended(run).await;
    assert_eq!((&ended["attempt"], &ended["score"]), (&2.into(), &1.0.into()), "{ended}");
    site.until("no cell is left", async || site.cells(Some(run)).await.is_empty()).await;
}

/// The first of these that becomes of a cell of this installation: "start" or "destroy".
fn becomes(site: &Site) -> JoinHandle<String> {
    let label = format!("assize.instance={}", site.instance);
    tokio::spawn(async move {
        let filters = HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("event", vec!["start".to_owned(), "destroy".to_owned()]),
            ("label", vec![label, "assize.run".to_owned()]),
        ]);
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        docker().events(Some(options)).next().await.unwrap().unwrap().action.unwrap()
    })
}

/// Stopped between create and start.
#[tokio::test]
async fn a_cell_whose_lease_is_confirmed_too_late_is_not_started() {
    let folder = tempfile::tempdir().unwrap();
    let (gate, site) = behind_a_gate(folder.path());
    let becomes = becomes(&site);
    gate.hold("-1-subject");
    let run = site.submit("script", &[("run.sh", "exit 0")]).await;
    gate.wait_until_held();
    signal(site.worker(), "-STOP");
    assert_eq!(site.cells(Some(run)).await.len(), 1, "it was created");
    take_over(&site, run).await;
    let before = row(&site, run).await;
    gate.release();
    signal(site.worker(), "-CONT");
    site.worker().wait_for("lease lost");
    assert_eq!(becomes.await.unwrap(), "destroy");
    assert_eq!(row(&site, run).await, before, "nothing is written");
    assert_eq!(site.states(run).await, ["queued", "preparing"]);
    ends_well(&site, run).await;
}

/// A project that waits to be claimed, and a container that has the name of its cell already.
async fn with_a_namesake(site: &Site, claiming: &mut sqlx::PgConnection) -> (Uuid, String) {
    nobody_claims(claiming).await;
    let run = site.submit("script", &[("run.sh", "exit 0")]).await;
    let name = format!("{}-{}-1-subject", site.instance, run.simple());
    let (id, worker) = (run.to_string(), "SELECT id FROM workers");
    let worker: String = sqlx::query_scalar(worker).fetch_one(&mut *claiming).await.unwrap();
    let labels = [
        ("assize.instance", &*site.instance),
        ("assize.run", &*id),
        ("assize.attempt", "1"),
        ("assize.cell", "subject"),
        ("assize.worker", &*worker),
    ];
    (run, named(&name, &labels, None).await)
}

#[tokio::test]
async fn what_has_the_name_of_a_cell_already_makes_room_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (_gate, site) = behind_a_gate(folder.path());
    let mut connection = site.database().await;
    let mut claiming = connection.begin().await.unwrap();
    let (run, namesake) = with_a_namesake(&site, &mut claiming).await;
    claiming.commit().await.unwrap();
    let ended = site.ended(run).await;
    assert_eq!((&ended["attempt"], &ended["score"]), (&1.into(), &1.0.into()), "{ended}");
    assert!(!is_there(&namesake).await);
}

/// Stopped before it confirms its lease: what has the name may be another's by now.
#[tokio::test]
async fn what_has_the_name_of_a_cell_stays_when_the_lease_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (gate, mut site) = behind_a_gate(folder.path());
    let mut connection = site.database().await;
    let mut claiming = connection.begin().await.unwrap();
    let (run, namesake) = with_a_namesake(&site, &mut claiming).await;
    gate.hold("-1-subject/json");
    claiming.commit().await.unwrap();
    gate.wait_until_held();
    signal(site.worker(), "-STOP");
    take_over(&site, run).await;
    let before = row(&site, run).await;
    gate.release();
    signal(site.worker(), "-CONT");
    site.worker().wait_for("lease lost");
    // It has done all that it will when it has ended.
    let mut worker = site.take_worker();
    worker.terminate();
    let code = tokio::task::spawn_blocking(move || worker.exit(Duration::from_secs(10)).code()).await.unwrap();
    assert_eq!(code, Some(0));
    assert!(is_there(&namesake).await, "it is left alone");
    assert_eq!(row(&site, run).await, before, "nothing is written");
    site.start_worker();
    ends_well(&site, run).await;
}

/// It wakes when another has ended its run: what it has heard of the output is half of it.
#[tokio::test]
async fn half_of_an_output_does_not_replace_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (gate, mut site) = behind_a_gate(folder.path());
    let run = site.submit("long", &[("run.sh", "echo begins; sleep 3; echo ends")]).await;
    wrote(&site, run, "begins").await;
    let first = site.take_worker();
    signal(&first, "-STOP");
    gate.cut();
    let_leases_go_stale(&site).await;
    site.start_worker();
    assert_eq!(site.ended(run).await["score"], 1.0);
    let whole = site.text(run, "").await;
    assert_eq!(whole, "begins\nends\n");
    site.until("no cell is left", async || site.cells(Some(run)).await.is_empty()).await;

    // No heartbeat tells it of its loss before it has seen that the cell is gone and begun to write that.
    let mut connection = site.database().await;
    let mut lock = connection.begin().await.unwrap();
    sqlx::query("LOCK TABLE project_evaluation_runs IN EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    signal(&first, "-CONT");
    site.until("it begins to write the end", async || {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
            AND wait_event_type = 'Lock' AND query NOT LIKE '%Renews the leases%'";
        sqlx::query_scalar::<_, i64>(query).fetch_one(&mut site.database().await).await.unwrap() > 0
    })
    .await;
    lock.rollback().await.unwrap();
    first.wait_for("lease lost");
    assert_eq!(site.text(run, "").await, whole);
}
