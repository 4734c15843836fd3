//! The ends of tests on their way from a stage's descriptor 3 to a reader.

use serde_json::Value;
use uuid::Uuid;

use crate::adoption::wrote;
use crate::harness::sse::{Event, Events};
use crate::harness::{id_of, json};
use crate::site::{Setup, Site, failure, message, shared};
use crate::templates;

/// A report of three tests, of which the template hides one and renames another.
const REPORT: &str = "printf '1..3\\nok 1 - a\\nnot ok 2 - b\\nok 3 - secret canary\\n' > results\n";

fn line(test: &str, status: &str) -> String {
    format!("echo '{{\"test\": \"{test}\", \"status\": \"{status}\"}}' >&3\n")
}

async fn follow(site: &Site, run: Uuid, after: Option<&str>) -> Events {
    let request = site.get(&format!("/v1/runs/{run}/output"));
    Events::open(match after {
        Some(id) => request.header("last-event-id", id),
        None => request,
    })
    .await
}

async fn whole(site: &Site, run: Uuid) -> Value {
    json(site.get(&format!("/v1/runs/{run}/output")).send().await.unwrap()).await
}

/// The ids of output and tests, in order.
fn ids(events: &[Event]) -> Vec<String> {
    events.iter().filter_map(|event| event.id.clone()).collect()
}

fn tests(events: &[Event]) -> Vec<&Value> {
    events.iter().filter(|event| event.name == "test").map(|event| &event.data).collect()
}

/// The events up to the first end of a test.
async fn until_test(events: &mut Events) -> Vec<Event> {
    let mut seen = Vec::new();
    while seen.last().is_none_or(|event: &Event| event.name != "test") {
        seen.push(events.next().await.unwrap());
    }
    seen
}

fn numbered(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("1-{number}")).collect()
}

#[tokio::test]
async fn the_end_of_a_test_arrives_while_the_run_goes_on() {
    let site = shared();
    let run = site.submit("progress", &[("run.sh", &(line("a", "passed") + "exec sleep 600"))]).await;
    let event = follow(&site, run, None).await.next_named("test").await;
    let data = &event.data;
    assert_eq!((&data["test"], &data["status"], &data["stage"]), (&"a".into(), &"passed".into(), &"tests".into()));
    assert_eq!((data["id"].as_str(), data["sequence"].as_u64()), (event.id.as_deref(), Some(1)));
    assert!(data["at_ms"].as_u64().unwrap() < 10_000, "{data}");
    assert_eq!(site.read(run).await["status"], "running");
    site.cancel(run).await;
    site.ended(run).await;
    // The blob of a run that ended without a verdict has it too.
    assert_eq!(whole(&site, run).await["tests"], Value::from(vec![data.clone()]));
}

#[tokio::test]
async fn tests_are_the_same_live_resumed_and_whole_and_hidden_ones_are_nowhere() {
    let site = shared();
    let script = ["echo begins\n"]
        .into_iter()
        .map(str::to_owned)
        .chain([line("a", "failed"), line("a", "passed"), line("secret canary", "passed"), line("b", "error")])
        .chain(["echo not a line >&3; sleep 0.3; echo ends\n".to_owned(), REPORT.to_owned()])
        .collect::<String>();
    let run = site.submit("progress", &[("run.sh", &script)]).await;
    let mut events = follow(&site, run, None).await;
    let mut seen = until_test(&mut events).await;
    drop(events);
    // The reader is away while the run ends.
    let ended = site.ended(run).await;
    assert_eq!((ended["score"].as_f64(), ended["max_score"].as_f64()), (Some(2.0), Some(3.0)), "{ended}");
    let after = seen.last().unwrap().id.clone().unwrap();
    seen.extend(follow(&site, run, Some(&after)).await.rest().await);
    let reported: Vec<_> = tests(&seen).iter().map(|test| (test["test"].as_str(), test["status"].as_str())).collect();
    let expected = [("a", "failed"), ("a", "passed"), ("the second", "errored")];
    assert_eq!(reported, expected.map(|(test, status)| (Some(test), Some(status))));
    assert_eq!(ids(&seen), numbered(ids(&seen).len()), "every event once");
    let again = follow(&site, run, None).await.rest().await;
    assert_eq!((ids(&again), tests(&again)), (ids(&seen), tests(&seen)));

    let whole = whole(&site, run).await;
    assert_eq!(whole["tests"], Value::from(tests(&seen).into_iter().cloned().collect::<Vec<_>>()));
    assert_eq!(site.text(run, "").await, "begins\nends\n");
    let lines = site.text_as(run, "ndjson").await;
    assert_eq!(lines.lines().count(), ids(&seen).len());
    assert!(!format!("{seen:?}{whole}{lines}").contains("canary"));
}

#[tokio::test]
async fn a_run_that_outlives_its_worker_reports_every_test_once() {
    let mut site = Site::start(Setup { settings: vec![("worker_slots", "1".to_owned())], ..Setup::default() });
    let script = line("a", "passed")
        + "echo begins\n"
        + &line("secret canary", "passed")
        + "sleep 1.2\n"
        + &line("b", "failed")
        + "echo ends\n"
        + REPORT;
    let run = site.submit("progress", &[("run.sh", &script)]).await;
    let mut events = follow(&site, run, None).await;
    let mut seen = until_test(&mut events).await;
    wrote(&site, run, "begins").await;
    site.take_worker().kill();
    site.start_worker();
    seen.extend(events.rest().await);
    let ended = site.ended(run).await;
    assert_eq!((ended["attempt"].as_i64(), ended["score"].as_f64()), (Some(1), Some(2.0)), "{ended}");
    assert_eq!(ids(&seen), numbered(ids(&seen).len()), "every event once");
    let reported: Vec<_> = tests(&seen).iter().map(|test| (test["test"].as_str(), test["sequence"].as_u64())).collect();
    assert_eq!(reported, [(Some("a"), Some(1)), (Some("the second"), Some(2))]);
    assert_eq!(whole(&site, run).await["tests"], Value::from(tests(&seen).into_iter().cloned().collect::<Vec<_>>()));
}

#[tokio::test]
async fn a_report_that_contradicts_what_was_reported_is_no_verdict() {
    let site = shared();
    for (test, status, why) in [
        ("b", "passed", "reported \"the second\" as passed while they ran, and the report has it as failed"),
        ("a", "failed", "reported \"a\" as failed while they ran, and the report has it as passed"),
        ("c", "passed", "reported \"c\" as passed while they ran, and the report has no such test"),
        ("secret canary", "failed", "reported a hidden test as failed while they ran"),
    ] {
        let run = site.run("progress", &[("run.sh", &(line(test, status) + REPORT))]).await;
        assert_eq!(failure(&run), ("failed", "report_spoiled", "submission"), "{run}");
        assert!(message(&run).contains(why) && !message(&run).contains("canary"), "{}", message(&run));
    }
    // In a cell of its own, the driver is to blame.
    let judge = "os.write(3, b'{\"test\": \"a\", \"status\": \"passed\"}\\n')\n\
        json.dump({'tests': [{'name': 'a', 'score': 0, 'max_score': 1}]}, open('/workspace/results.json', 'w'))\n";
    let run = site.run("progress-driver", &[("app.py", templates::APP), ("judge.py", judge)]).await;
    assert_eq!(failure(&run), ("failed", "results_invalid", "grader"), "{run}");
    assert!(message(&run).contains("\"a\" as passed") && message(&run).contains("has it as failed"), "{run}");
}

#[tokio::test]
async fn a_driver_reports_its_tests() {
    let site = shared();
    let judge = "os.write(3, b'{\"test\": \"a\", \"status\": \"passed\"}\\n')\n\
        json.dump({'tests': [{'name': 'a', 'score': 1, 'max_score': 1}]}, open('/workspace/results.json', 'w'))\n";
    let run = site.run("progress-driver", &[("app.py", templates::APP), ("judge.py", judge)]).await;
    assert_eq!(run["score"], 1.0, "{run}");
    let whole = whole(&site, id_of(&run)).await;
    let test = &whole["tests"][0];
    assert_eq!((&test["test"], &test["status"], &test["stage"]), (&"a".into(), &"passed".into(), &"tests".into()));
}

/// The names that the hook makes are those of the report, or the run would have no verdict.
#[tokio::test]
async fn the_hook_of_the_documentation_reports_what_pytest_reports() {
    let site = shared();
    let run = site.run("progress-pytest", &[("project.py", "")]).await;
    assert_eq!(run["status"], "completed", "{run}");
    let whole = whole(&site, id_of(&run)).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let tests = whole["tests"].as_array().unwrap().iter();
    let reported: Vec<_> = tests.map(|test| (text(&test["test"]), text(&test["status"]))).collect();
    let expected = [
        ("test_all.TestClass.test_method", "passed"),
        ("test_all.test_text[a::b/c.py]", "passed"),
        ("test_all.test_text[[x]]", "failed"),
        ("test_all.test_skipped", "skipped"),
        ("test_all.test_expected_to_fail", "skipped"),
        ("test_all.test_set_up", "failed"),
        ("test_all.test_torn_down", "passed"),
        ("test_all.test_torn_down", "failed"),
    ];
    assert_eq!(reported, expected.map(|(test, status)| (test.to_owned(), status.to_owned())));
}

#[tokio::test]
async fn of_a_flood_ten_thousand_lines_are_stored_and_the_run_goes_on() {
    let site = shared();
    let script = "yes '{\"test\":\"a\",\"status\":\"passed\"}' | head -n 1000000 >&3\n\
        head -c 100000000 /dev/zero | tr '\\0' x >&3\necho on\n"
        .to_owned()
        + REPORT;
    let run = site.run("progress", &[("run.sh", &script)]).await;
    assert_eq!(run["score"], 2.0, "{run}");
    let whole = whole(&site, id_of(&run)).await;
    assert_eq!(whole["tests"].as_array().unwrap().len(), 10_000);
    assert_eq!(site.text(id_of(&run), "").await, "on\n");
    let events = follow(&site, id_of(&run), None).await.rest().await;
    assert_eq!(ids(&events), numbered(10_001));
}

#[tokio::test]
async fn without_the_setting_there_is_no_descriptor() {
    let site = shared();
    let script = format!("ls /proc/self/fd | tr '\\n' ' '; echo ${{ASSIZE_PROGRESS_FD-none}}\n{REPORT}");
    let run = site.run("tap", &[("run.sh", &script)]).await;
    // `ls` has its own listing open.
    assert_eq!(site.text(id_of(&run), "").await, "0 1 2 3 none\n");
    let run = site.run("progress", &[("run.sh", &script)]).await;
    assert_eq!(site.text(id_of(&run), "").await, "0 1 2 3 4 3\n");
}
