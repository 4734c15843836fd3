//! Output on its way from a cell to a reader.

use assize_host::clock::Clock;

use crate::harness::sse::{Events, output_ids};
use crate::harness::{id_of, json};
use crate::site::{Site, shared};

/// Lines that are waited for, 200 ms apart.
const LINES: usize = 15;

/// How late a line may be, in ms.
const LATEST: f64 = 250.0;

const CLOCK: &str = "import sys, time\n\
    begun = time.monotonic()\n\
    for line in range(16):\n\
    \x20   sys.stdout.write(f'{time.time()}\\n')\n\
    \x20   time.sleep(max(0, begun + 0.2 * (line + 1) - time.monotonic()))\n";

async fn follow(site: &Site, run: uuid::Uuid) -> Events {
    Events::open(site.get(&format!("/v1/runs/{run}/output"))).await
}

#[tokio::test]
async fn a_line_printed_in_a_cell_reaches_its_reader_within_250_ms() {
    let site = shared();
    let run = site.submit("python", &[("run.py", CLOCK)]).await;
    let mut events = follow(&site, run).await;
    let mut late = Vec::new();
    while late.len() < LINES {
        let event = events.next_named("output").await;
        let now = Clock::system().wall().timestamp_micros();
        for line in event.data["text"].as_str().unwrap().lines() {
            let printed: f64 = line.parse().unwrap();
            late.push(std::time::Duration::from_micros(now.unsigned_abs()).as_secs_f64().mul_add(1e3, -printed * 1e3));
        }
    }
    drop(events);
    late.sort_by(f64::total_cmp);
    let (median, most) = (late[late.len() / 2], late[late.len() - 1]);
    println!("{} lines, median {median:.1} ms, latest {most:.1} ms", late.len());
    assert!((0.0..=LATEST).contains(&median) && most <= LATEST, "median {median} ms, latest {most} ms: {late:?}");
    site.ended(run).await;
}

#[tokio::test]
async fn output_is_the_same_live_resumed_and_whole() {
    let site = shared();
    let script = "for n in 1 2 3 4 5 6 7 8; do echo line $n; echo error $n >&2; sleep 0.1; done";
    let run = site.submit("long", &[("run.sh", script)]).await;
    let mut events = follow(&site, run).await;
    let first = events.next_named("output").await;
    drop(events);
    // The reader is away while the run ends.
    let ended = site.ended(run).await;
    assert_eq!(ended["score"], 1.0, "{ended}");
    let id = first.id.clone().unwrap();
    let request = site.get(&format!("/v1/runs/{run}/output")).header("last-event-id", id);
    let rest = Events::open(request).await.rest().await;
    assert_eq!((rest.last().unwrap().name.as_str(), &rest.last().unwrap().data["score"]), ("end", &ended["score"]));
    let whole = json(site.get(&format!("/v1/runs/{run}/output")).send().await.unwrap()).await;
    let ids: Vec<&str> =
        whole["entries"].as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap()).collect();
    let mut seen = vec![first.id.clone().unwrap()];
    seen.extend(output_ids(&rest));
    assert_eq!(seen, ids, "every piece once");
    assert!(rest.iter().all(|event| event.name != "gap"));
    assert_eq!(whole["complete"], true);
    let stream = |name: &str| -> String {
        let entries = whole["entries"].as_array().unwrap().iter().filter(|entry| entry["stream"] == name);
        entries.map(|entry| entry["text"].as_str().unwrap()).collect()
    };
    let expected = |word: &str| (1..=8).map(|n| format!("{word} {n}\n")).collect::<String>();
    assert_eq!((stream("stdout"), stream("stderr")), (expected("line"), expected("error")));
}

#[tokio::test]
async fn output_by_stage_is_what_that_stage_printed() {
    let site = shared();
    let files =
        [("install.sh", "echo install"), ("build.sh", "printf 'b\\377\\303\\251\\n'"), ("run.sh", "echo tests")];
    let run = site.run("staged", &files).await;
    assert_eq!(run["score"], 1.0, "{run}");
    let text = async |query: &str| site.text(id_of(&run), query).await;
    assert_eq!(text("").await, "install\nb\u{fffd}é\ntests\n", "invalid UTF-8 costs one character");
    assert_eq!(text("&stage=install").await, "install\n");
    assert_eq!(text("&stage=build").await, "b\u{fffd}é\n");
    assert_eq!(text("&stage=tests").await, "tests\n");
}
