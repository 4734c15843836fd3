//! Limits of a cell: each holds, and says that it did.

use reqwest::multipart::Form;
use serde_json::Value;

use crate::harness::{id_of, json, problem, zip_part, zips};
use crate::site::{failure, message, shared};
use crate::stages::fail_each;

/// More memory than a cell has, in a process of its own.
const HOG: &str = "head -c 100000000 /dev/zero | tail -c 90000000 > /dev/null";

/// FAILURES 11.
#[tokio::test]
async fn the_oom_killers_word_outranks_exit_code_0() {
    let site = shared();
    let survived = format!("{HOG}; exit 0");
    let runs = fail_each(
        &site,
        &[
            ("long", &[("run.sh", &survived)], "failed", "out_of_memory"),
            ("staged", &[("install.sh", &format!("{HOG}; exit 0"))], "failed", "out_of_memory"),
        ],
    )
    .await;
    assert!(message(&runs[0]).contains("48 MiB"), "{}", runs[0]);
}

/// What comes after it could not change what the run comes to, and would go on at its neighbours' cost.
#[tokio::test]
async fn a_stage_ends_with_the_first_process_that_is_killed_for_memory() {
    let site = shared();
    let goes_on = format!("trap '' TERM; {HOG}; while :; do {HOG}; sleep 0.1; done");
    let runs = fail_each(&site, &[("long", &[("run.sh", &goes_on)], "failed", "out_of_memory")]).await;
    let time = |key: &str| runs[0][key].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    let taken = time("finished_at") - time("started_at");
    assert!(taken.num_seconds() < 10, "it went on for {taken}: {}", runs[0]);
}

#[tokio::test]
async fn a_full_disk_explains_why_a_stage_failed() {
    let site = shared();
    let bytes = "dd if=/dev/zero of=big bs=65536 2>&1 | tail -1; cat run.sh > more";
    let inodes = "n=0; while : > file-$n; do n=$((n+1)); done";
    let runs = fail_each(
        &site,
        &[
            ("script", &[("run.sh", bytes)], "failed", "out_of_disk"),
            ("script", &[("run.sh", inodes)], "failed", "out_of_disk"),
            (
                "script",
                &[("run.sh", "dd if=/dev/zero of=/tmp/big bs=65536 && exit 0; exit 1")],
                "failed",
                "out_of_disk",
            ),
        ],
    )
    .await;
    assert!(message(&runs[0]).starts_with("/workspace was full"), "{}", runs[0]);
    assert!(message(&runs[2]).starts_with("/tmp was full"), "{}", runs[2]);
}

#[tokio::test]
async fn an_archive_that_the_workspace_has_no_room_for_is_refused_at_the_door() {
    let site = shared();
    for (archive, code, limit, seen) in [
        (zips::stored("big", 5 << 20), "archive_exceeds_workspace", 4 << 20, 5 << 20),
        (zips::with_entries(200), "archive_exceeds_inodes", 59, 200),
    ] {
        let form = Form::new().text("template", "script").text("user", "ada").part("archive", zip_part(archive));
        let response = site.post("/v1/submissions").multipart(form).send().await.unwrap();
        let body = problem(response, 422, code).await;
        assert_eq!((&body["limit"], &body["seen"]), (&limit.into(), &seen.into()), "{body}");
    }
}

/// FAILURES 19.
#[tokio::test]
async fn a_fork_bomb_ends_in_its_own_cell_and_its_neighbour_passes() {
    let site = shared();
    let bomb = "bomb() { bomb | bomb & }; bomb; sleep 1; exit 1";
    let files = [("run.sh", bomb)];
    let (bombed, neighbour) =
        tokio::join!(site.run("script", &files), site.run("long", &[("run.sh", "sleep 1; exec sh -c 'exit 0'")]));
    assert_eq!(failure(&bombed), ("failed", "too_many_processes", "submission"), "{bombed}");
    assert!(message(&bombed).starts_with("the cell's limit is 24 processes"), "{bombed}");
    assert_eq!(neighbour["score"], 1.0, "{neighbour}");
}

fn entries(output: &Value) -> Vec<(u64, &str)> {
    let entries = output["entries"].as_array().unwrap();
    entries.iter().map(|entry| (entry["offset"].as_u64().unwrap(), entry["text"].as_str().unwrap())).collect()
}

/// FAILURES 18.
#[tokio::test]
async fn of_a_flood_the_head_and_the_tail_are_kept_and_the_jump_shows_what_is_missing() {
    const KEPT: usize = 512 * 1024;
    let site = shared();
    let script = "echo first; yes abcdefg | head -c 8000000; echo last";
    let run = site.run("long", &[("run.sh", script)]).await;
    assert_eq!(run["score"], 1.0, "{run}");
    let path = format!("/v1/runs/{}/output", id_of(&run).hyphenated());
    let output = json(site.get(&path).send().await.unwrap()).await;
    let entries = entries(&output);
    let kept: usize = entries.iter().map(|(_, text)| text.len()).sum();
    assert_eq!(kept, 2 * KEPT, "what is kept of a stage is bounded");
    assert!(entries[0].1.starts_with("first\n") && entries.last().unwrap().1.ends_with("last\n"));
    let mut jumps = Vec::new();
    let mut next = 0;
    for (offset, text) in &entries {
        if *offset != next {
            jumps.push(offset - next);
        }
        next = offset + text.len() as u64;
    }
    let total = 8_000_000 + "first\nlast\n".len();
    assert_eq!(jumps, [(total - 2 * KEPT) as u64], "one jump, of all that was dropped");
    assert_eq!(next, total as u64);
}

#[tokio::test]
async fn a_stage_that_writes_without_end_is_killed_for_it() {
    let site = shared();
    let files: [(&str, &str); 1] = [("run.sh", "cat /dev/zero")];
    let runs = fail_each(
        &site,
        &[("long", &files, "failed", "output_limit"), ("long", &[("run.sh", "yes")], "failed", "output_limit")],
    )
    .await;
    for run in &runs {
        assert!(message(run).ends_with("the limit is 67108864"), "{run}");
        let query = "";
        let kept = site.text(id_of(run), query).await.len();
        assert!(kept <= 1 << 20, "{kept} bytes of output were kept");
    }
}
