//! Runs that outlive their workers: adopted where they are, whatever became of the worker.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use sqlx::Connection;
use uuid::Uuid;

use crate::harness::processes::Process;
use crate::janitor::{container, is_there};
use crate::site::{Setup, Site, containers, docker, failure, message, remove};
use crate::templates;

const WHOLE: [&str; 5] = ["queued", "preparing", "running", "parsing", "completed"];

fn site() -> Site {
    Site::start(Setup { settings: vec![("worker_slots", "1".to_owned())], ..Setup::default() })
}

/// Makes every lease as old as one that nobody renewed.
pub async fn let_leases_go_stale(site: &Site) {
    let query = "UPDATE project_evaluation_runs SET heartbeat_at = heartbeat_at - interval '1 hour'
        WHERE status IN ('preparing', 'running', 'parsing')";
    sqlx::query(query).execute(&mut site.database().await).await.unwrap();
}

/// What a stage of this project has written so far.
pub async fn wrote(site: &Site, run: Uuid, text: &str) {
    site.until(&format!("{run} wrote {text}"), async || site.text(run, "").await.contains(text)).await;
}

pub fn signal(process: &Process, name: &str) {
    let sent = Command::new("kill").args([name, &process.pid().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// It ended as if nothing had happened: one attempt, each state and each stage once, full marks.
async fn ended_well(site: &Site, run: Uuid, stages: &[&str]) -> Value {
    let ended = site.ended(run).await;
    assert_eq!((ended["attempt"].as_i64(), ended["score"].as_f64()), (Some(1), Some(1.0)), "{ended}");
    assert_eq!(site.states(run).await, WHOLE);
    let query = "SELECT phase FROM run_events WHERE run_id = $1 AND to_status = 'running' ORDER BY id";
    let entered: Vec<String> = sqlx::query_scalar(query).bind(run).fetch_all(&mut site.database().await).await.unwrap();
    assert_eq!(entered, stages, "each stage begins once");
    site.until("no cell is left", async || site.cells(Some(run)).await.is_empty()).await;
    ended
}

/// A stage that says when it begins and when it ends, and takes its time.
fn stage(name: &str) -> String {
    format!("echo {name} begins; sleep 1.2; echo {name} ends")
}

/// The project of the template `staged`, and what it writes.
async fn staged(site: &Site) -> (Uuid, String) {
    let names = [("install", "install.sh"), ("build", "build.sh"), ("tests", "run.sh")];
    let scripts = names.map(|(name, _)| stage(name));
    let files: Vec<_> = names.iter().zip(&scripts).map(|((_, file), script)| (*file, script.as_str())).collect();
    let written = names.map(|(name, _)| format!("{name} begins\n{name} ends\n")).concat();
    (site.submit("staged", &files).await, written)
}

/// FAILURES 1, 5 of the promises: kill -9 in each stage.
#[tokio::test]
async fn killed_in_any_stage_no_stage_runs_twice_and_the_verdict_is_the_same() {
    let mut site = site();
    for killed_in in ["install", "build", "tests"] {
        let (run, written) = staged(&site).await;
        wrote(&site, run, &format!("{killed_in} begins")).await;
        let cells = site.cells(Some(run)).await;
        site.take_worker().kill();
        site.start_worker();
        assert_eq!(site.cells(Some(run)).await, cells, "the same cell goes on");
        ended_well(&site, run, &["install", "build", "tests"]).await;
        assert_eq!(site.text(run, "").await, written, "killed in {killed_in}");
    }
}

/// A processor of its own for each cell, also for one that the worker before made.
#[tokio::test]
async fn a_cell_made_after_an_adoption_runs_beside_the_adopted_one() {
    if std::thread::available_parallelism().is_ok_and(|all| all.get() < 2) {
        return println!("skipped: on one processor all cells run on the same");
    }
    let mut site = Site::start(Setup { settings: vec![("worker_slots", "2".to_owned())], ..Setup::default() });
    let mut bound = Vec::new();
    let mut runs = Vec::new();
    for _ in 0..2 {
        let run = site.submit("script", &[("run.sh", "echo begins; sleep 60")]).await;
        wrote(&site, run, "begins").await;
        let [cell] = site.cells(Some(run)).await.try_into().unwrap();
        let said = docker().inspect_container(&cell, None).await.unwrap();
        bound.push(said.host_config.and_then(|host| host.cpuset_cpus).unwrap());
        runs.push(run);
        if runs.len() == 1 {
            site.take_worker().kill();
            site.start_worker();
        }
    }
    assert!(!bound.contains(&String::new()) && bound[0] != bound[1], "bound to {bound:?}");
    for run in runs {
        site.cancel(run).await;
        assert_eq!(site.ended(run).await["attempt"], 1);
    }
}

#[tokio::test]
async fn killed_again_and_again_every_stage_still_runs_once() {
    let mut site = site();
    let (run, written) = staged(&site).await;
    for killed_in in ["install begins", "build begins"] {
        wrote(&site, run, killed_in).await;
        site.take_worker().kill();
        site.start_worker();
    }
    ended_well(&site, run, &["install", "build", "tests"]).await;
    assert_eq!(site.text(run, "").await, written);
}

#[tokio::test]
async fn killed_while_the_driver_tests_both_cells_go_on() {
    let mut site = site();
    let judge = templates::judged("print('judging', flush=True); time.sleep(1.5); print('judged', flush=True)");
    let run = site.submit("service", &[("app.py", templates::APP), ("judge.py", &judge)]).await;
    wrote(&site, run, "judging").await;
    let mut cells = site.cells(Some(run)).await;
    site.take_worker().kill();
    site.start_worker();
    let mut seen = site.cells(Some(run)).await;
    cells.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, cells, "both go on");
    ended_well(&site, run, &["start", "tests"]).await;
    let text = site.text(run, "&stage=tests").await;
    assert_eq!(text.matches("judging").count() + text.matches("judged").count(), 2, "{text}");
}

/// What had begun is not begun again in the same attempt.
#[tokio::test]
async fn without_its_driver_the_attempt_ends_and_the_next_one_is_whole() {
    let mut site = site();
    let judge = templates::judged("print('judging', flush=True); time.sleep(1.5); print('judged', flush=True)");
    let run = site.submit("service", &[("app.py", templates::APP), ("judge.py", &judge)]).await;
    wrote(&site, run, "judging").await;
    site.take_worker().kill();
    let driver = containers(&site.instance).await.into_iter().find(|cell| {
        cell.labels.as_ref().and_then(|labels| labels.get("assize.cell")).is_some_and(|role| role == "driver")
    });
    remove(&driver.unwrap().id.unwrap()).await;
    site.start_worker();
    let ended = site.ended(run).await;
    assert_eq!((&ended["attempt"], &ended["score"]), (&2.into(), &1.0.into()), "{ended}");
    let again = (1, "queued".to_owned(), Some("worker_lost".to_owned()));
    assert!(site.events(run).await.contains(&again), "{:?}", site.events(run).await);
    // Of the first attempt is what it had said.
    let text = site.text(run, "&stage=tests").await;
    assert!(text.ends_with("judging\njudged\n") && text.matches("judging").count() == 2, "{text}");
    site.until("no cell is left", async || site.cells(Some(run)).await.is_empty()).await;
}

/// A driver that was not begun is begun by the successor.
#[tokio::test]
async fn killed_while_the_service_starts_the_successor_brings_the_driver() {
    let mut site = site();
    let app = format!("import time\nprint('soon', flush=True)\ntime.sleep(1.2)\n{}", templates::APP);
    let run = site.submit("service", &[("app.py", &app), ("judge.py", &templates::judged(""))]).await;
    wrote(&site, run, "soon").await;
    site.take_worker().kill();
    site.start_worker();
    ended_well(&site, run, &["start", "tests"]).await;
}

/// Holds every run back from its verdict for as long as the lock is held.
pub async fn hold_verdicts(site: &Site) -> sqlx::PgConnection {
    let mut connection = site.database().await;
    sqlx::raw_sql(
        "CREATE FUNCTION wait_for_test() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END $$;
         CREATE TRIGGER wait_for_test BEFORE UPDATE ON project_evaluation_runs
         FOR EACH ROW WHEN (NEW.status = 'completed') EXECUTE FUNCTION wait_for_test();
         SELECT pg_advisory_lock(1)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection
}

/// A run with full marks whose worker is killed before Postgres has taken them; another is there.
pub async fn killed_before_the_verdict(site: &mut Site) -> Uuid {
    let lock = hold_verdicts(site).await;
    let files = [("run.sh", "echo '{\"score\": 1, \"max_score\": 1}' > results; echo judged")];
    let run = site.submit("gradescope", &files).await;
    site.reached(run, "parsing").await;
    site.take_worker().kill();
    lock.close().await.unwrap();
    site.start_worker();
    run
}

#[tokio::test]
async fn killed_before_the_verdict_is_written_it_is_read_again_from_the_journal() {
    let mut site = site();
    let run = killed_before_the_verdict(&mut site).await;
    ended_well(&site, run, &["tests"]).await;
    assert_eq!(site.text(run, "").await, "judged\n");
}

/// What the engine keeps of a cell's stdout on its disk, in bytes.
async fn journal_bytes(cell: &str) -> u64 {
    let root = crate::site::docker().info().await.unwrap().docker_root_dir.unwrap();
    let file = Path::new(&root).join("containers").join(cell).join("local-logs/container.log");
    std::fs::metadata(file).unwrap().len()
}

/// FAILURES 18: the engine's log keeps a message for each line, and forgets its oldest at 64 MiB.
#[tokio::test]
async fn output_of_nothing_but_line_feeds_does_not_outgrow_the_journal() {
    const STAGE: usize = 1 << 20;
    const HALF: usize = 500_000;
    let mut site = site();
    let feeds = |bytes: usize| format!("yes '' | head -c {bytes}");
    let tests = format!("{}; echo flooded; sleep 2; {}", feeds(HALF), feeds(HALF));
    let files = [("install.sh", &*feeds(STAGE)), ("build.sh", &*feeds(STAGE)), ("run.sh", &tests)];
    let run = site.submit("verbose", &files).await;
    wrote(&site, run, "flooded").await;
    site.take_worker().kill();
    let kept = (2 * STAGE + HALF) as u64;
    let journal = journal_bytes(&site.cells(Some(run)).await.remove(0)).await;
    assert!(journal < kept * 2, "{kept} bytes of output, {journal} in the journal");
    site.start_worker();
    ended_well(&site, run, &["install", "build", "tests"]).await;
    let text = site.text(run, "").await;
    assert_eq!((text.len(), text.trim()), (2 * STAGE + 2 * HALF + "flooded\n".len(), "flooded"));
}

/// The cell has ended and its cgroup is gone when the successor comes: the kernel's word outlives it.
#[tokio::test]
async fn memory_that_ran_out_while_no_worker_lived_is_still_the_cause() {
    let mut site = site();
    let hog = "echo begins; sleep 1; tail /dev/zero; exit 0";
    let run = site.submit("long", &[("run.sh", hog)]).await;
    wrote(&site, run, "begins").await;
    site.take_worker().kill();
    let cell = site.cells(Some(run)).await.remove(0);
    site.until("the cell has ended", async || {
        let seen = docker().inspect_container(&cell, None).await.unwrap();
        seen.state.unwrap().running == Some(false)
    })
    .await;
    site.start_worker();
    assert_eq!(failure(&site.ended(run).await), ("failed", "out_of_memory", "submission"));
}

/// FAILURES 10.
#[tokio::test]
async fn after_drain_timeout_the_worker_leaves_its_runs_to_its_successor() {
    let settings = vec![("worker_slots", "1".to_owned()), ("drain_timeout_s", "1".to_owned())];
    let mut site = Site::start(Setup { settings, ..Setup::default() });
    let run = site.submit("long", &[("run.sh", "echo begins; sleep 4; echo ends")]).await;
    wrote(&site, run, "begins").await;
    let mut worker = site.take_worker();
    // The successor is there before the other has gone: a rolling upgrade.
    site.start_worker();
    worker.terminate();
    let code = tokio::task::spawn_blocking(move || worker.exit(Duration::from_secs(10)).code()).await.unwrap();
    assert_eq!(code, Some(0));
    ended_well(&site, run, &["tests"]).await;
    assert_eq!(site.text(run, "").await, "begins\nends\n");
    assert_eq!(crashes(&site, run).await, 0, "a worker that let go has not crashed");
    let worker = site.take_worker();
    worker.terminate();
    drop(worker);
    let left = containers(&site.instance).await;
    assert!(left.is_empty(), "the berth that came with the run is gone too: {left:?}");
}

async fn crashes(site: &Site, run: Uuid) -> i32 {
    let query = "SELECT crashes FROM project_evaluation_runs WHERE id = $1";
    sqlx::query_scalar(query).bind(run).fetch_one(&mut site.database().await).await.unwrap()
}

/// FAILURES 3: the first worker is stopped past its lease, and comes back when its run is another's.
#[tokio::test]
async fn a_worker_that_was_stopped_past_its_lease_leaves_the_cell_to_its_new_owner() {
    let mut site = site();
    let run = site.submit("long", &[("run.sh", "echo begins; sleep 5; echo ends")]).await;
    wrote(&site, run, "begins").await;
    let cells = site.cells(Some(run)).await;
    let first = site.take_worker();
    signal(&first, "-STOP");
    let_leases_go_stale(&site).await;
    site.start_worker();
    site.worker().wait_for("run adopted");
    signal(&first, "-CONT");
    first.wait_for("lease lost");
    assert_eq!(site.cells(Some(run)).await, cells, "it goes on");
    ended_well(&site, run, &["tests"]).await;
    assert_eq!(site.text(run, "").await, "begins\nends\n");
}

/// FAILURES 2, 7: whatever kills three workers is not given to a fourth.
#[tokio::test]
async fn a_run_that_kills_its_workers_ends_with_the_third() {
    let mut site = site();
    let run = site.submit("long", &[("run.sh", "sleep 12")]).await;
    site.reached(run, "running").await;
    for _ in 0..2 {
        site.take_worker().kill();
        site.start_worker();
        site.worker().wait_for("run adopted");
    }
    site.take_worker().kill();
    site.start_worker();
    let ended = site.ended(run).await;
    assert_eq!(failure(&ended), ("failed", "worker_lost", "infrastructure"), "{ended}");
    assert!(message(&ended).starts_with("3 workers died"), "{ended}");
    site.until("no cell is left", async || site.cells(None).await.is_empty()).await;
}

/// FAILURES 8: there was no cell yet, so there is nothing to go on with.
#[tokio::test]
async fn killed_before_the_first_stage_the_run_is_queued_again_at_once() {
    let mut site = site();
    let run = site.submit("slow", &[("run.sh", "exit 0")]).await;
    site.reached(run, "preparing").await;
    site.take_worker().kill();
    assert_eq!(site.states(run).await.last().unwrap(), "preparing", "it was caught in time");
    site.start_worker();
    let ended = site.ended(run).await;
    assert_eq!(ended["score"].as_f64(), Some(1.0), "{ended}");
    // With luck the warden had begun, and its cell went on.
    assert!((1..=2).contains(&ended["attempt"].as_i64().unwrap()), "{ended}");
    site.until("no cell is left", async || site.cells(None).await.is_empty()).await;
}

/// Nobody else claims while this transaction lasts: its lock is the one that claims take.
pub async fn nobody_claims(claiming: &mut sqlx::PgConnection) {
    sqlx::query("SELECT pg_advisory_xact_lock(7020116191)").execute(&mut *claiming).await.unwrap();
}

/// Submits a project and claims its run for the only worker, which hears nothing of it.
async fn claim_by_hand(site: &Site, claiming: &mut sqlx::PgConnection, template: &str, files: &[(&str, &str)]) -> Uuid {
    nobody_claims(claiming).await;
    let run = site.submit(template, files).await;
    let query = "UPDATE project_evaluation_runs SET status = 'preparing', worker_id = (SELECT id FROM workers),
        lease_epoch = 1, heartbeat_at = clock_timestamp(), started_at = clock_timestamp() WHERE id = $1";
    sqlx::query(query).bind(run).execute(&mut *claiming).await.unwrap();
    run
}

/// FAILURES 6: the claim was made and its reply never came. The worker finds it under its own name.
#[tokio::test]
async fn a_claim_whose_reply_was_lost_is_worked_on_all_the_same() {
    let site = site();
    let mut connection = site.database().await;
    let mut claiming = connection.begin().await.unwrap();
    let run = claim_by_hand(&site, &mut claiming, "script", &[("run.sh", "exit 0")]).await;
    claiming.commit().await.unwrap();
    ended_well(&site, run, &["tests"]).await;
    assert_eq!(crashes(&site, run).await, 0);
}

/// FAILURES 3: who ended the first attempt died before it destroyed its cell. The janitor spares a young
/// one; the second attempt does not.
#[tokio::test]
async fn an_attempt_begins_without_the_cells_of_the_one_before() {
    let site = site();
    let mut connection = site.database().await;
    let query = "SELECT id FROM workers";
    let worker: String = sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap();
    let mut claiming = connection.begin().await.unwrap();
    let run = claim_by_hand(&site, &mut claiming, "long", &[("run.sh", "echo begins; sleep 2")]).await;
    let query = "UPDATE project_evaluation_runs SET status = 'queued', attempt = 2, worker_id = NULL,
        heartbeat_at = NULL, started_at = NULL WHERE id = $1";
    sqlx::query(query).bind(run).execute(&mut *claiming).await.unwrap();
    let name = run.to_string();
    let of = |attempt| {
        [
            ("assize.instance", &*site.instance),
            ("assize.run", &*name),
            ("assize.attempt", attempt),
            ("assize.worker", &*worker),
        ]
    };
    let (earlier, later) = (container(&of("1"), None).await, container(&of("3"), None).await);
    claiming.commit().await.unwrap();
    wrote(&site, run, "begins").await;
    let there = (is_there(&earlier).await, is_there(&later).await);
    remove(&later).await;
    remove(&earlier).await;
    assert_eq!(there, (false, true), "only what is of an earlier attempt goes");
    assert_eq!(site.ended(run).await["attempt"], 2);
}
