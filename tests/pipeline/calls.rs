//! Cases whose program is called in the project's cell: what they may expect, and whose fault a failure is.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::adoption::wrote;
use crate::harness::id_of;
use crate::site::{Setup, Site, failure, message};

const LIMITS: &str =
    "cpus = 1.0\nmemory_mib = 64\npids = 24\nworkspace_mib = 8\nworkspace_inodes = 4000\ntmp_mib = 4\n";

/// Writes a template whose cases run `sh run.sh`, with a build that anybody passes.
fn write_template(folder: &Path, name: &str, driver: &str, cases: &[(&str, &[(&str, &str)])]) {
    let own = folder.join(name);
    for (case, files) in cases {
        for (file, text) in *files {
            let path = own.join("tests/cases").join(case).join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }
    std::fs::create_dir_all(&own).unwrap();
    let text = format!(
        "description = \"{name}\"\nclass = \"A\"\nimage = \"assize/base:1\"\n[limits]\n{LIMITS}\
         [[stages]]\nname = \"build\"\ncommand = [\"true\"]\ntimeout_s = 5\n\
         [driver]\nkind = \"cases\"\nprogram = [\"sh\", \"run.sh\"]\nimage = \"assize/base:1\"\ntimeout_s = 40\n{driver}\
         [driver.limits]\n{LIMITS}[global]\ntimeout_s = 60\n"
    );
    std::fs::write(own.join("template.toml"), text).unwrap();
}

fn site(folder: &Path) -> Site {
    Site::start(Setup { templates_dir: Some(folder.to_owned()), ..Setup::default() })
}

fn test<'v>(verdict: &'v Value, name: &str) -> &'v Value {
    let tests = verdict["tests"].as_array().unwrap();
    tests.iter().find(|test| test["name"] == name).unwrap_or_else(|| panic!("no test {name} in {verdict}"))
}

#[tokio::test]
async fn a_case_may_expect_files_beside_the_output() {
    let folder = tempfile::tempdir().unwrap();
    let files = |case: &'static str| [("in", case), ("files/made/a.txt", "1.0\n"), ("case.toml", FILES)];
    let (right, wrong, missing, link) = (files("right"), files("wrong"), files("missing"), files("link"));
    let both = [("in", "right"), ("out", "other\n"), ("files/made/a.txt", "1.0\n"), ("case.toml", FILES)];
    const FILES: &str = "files = { \"made/a.txt\" = \"float:1e-3\" }";
    let cases: &[(&str, &[_])] =
        &[("both", &both), ("link", &link), ("missing", &missing), ("right", &right), ("wrong", &wrong)];
    write_template(folder.path(), "files", "fresh = true\n", cases);
    let site = site(folder.path());
    let script = "read mode; mkdir made; case $mode in right) echo 1.0001 > made/a.txt;; wrong) echo 2 > made/a.txt;; \
        link) echo 1 > /tmp/a; ln -s /tmp/a made/a.txt;; esac; echo said\n";
    let run = site.run("files", &[("run.sh", script)]).await;
    assert_eq!((run["score"].as_f64(), run["max_score"].as_f64()), (Some(1.0), Some(5.0)), "{run}");
    let verdict = site.verdict(id_of(&run)).await;
    for (name, words) in [
        ("both", "-other"),
        ("wrong", "file made/a.txt: --- expected"),
        ("missing", "file made/a.txt: the program did not write it"),
        ("link", "file made/a.txt: it is a symbolic link"),
    ] {
        let text = test(&verdict, name)["message"].as_str().unwrap_or_default();
        assert!(text.contains(words), "{name}: {verdict}");
    }
    assert_eq!(test(&verdict, "right")["status"], "passed", "{verdict}");
}

/// The wardens go on with their calls while no worker is there.
#[tokio::test]
async fn killed_in_the_middle_of_calls_no_case_runs_twice_and_both_cells_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let cases: &[(&str, &[_])] = &[
        ("c1", &[("in", "1"), ("out", "1\n")]),
        ("c2", &[("in", "2"), ("out", "2\n")]),
        ("c3", &[("in", "3"), ("out", "3\n")]),
    ];
    write_template(folder.path(), "slow", "", cases);
    let mut site = site(folder.path());
    // The workspace is the same for all calls: a case that ran twice would count one too many.
    let script = "sleep 0.8; echo x >> calls; read number; [ $(wc -l < calls) = $number ] && echo $number\n";
    let run = site.submit("slow", &[("run.sh", script)]).await;
    wrote(&site, run, "c1: right").await;
    let mut cells = site.cells(Some(run)).await;
    site.take_worker().kill();
    site.start_worker();
    let mut found = site.cells(Some(run)).await;
    cells.sort();
    found.sort();
    assert_eq!((cells.len(), &found), (2, &cells), "the same cells go on");
    let ended = site.ended(run).await;
    assert_eq!((ended["attempt"].as_i64(), ended["score"].as_f64()), (Some(1), Some(3.0)), "{ended}");
    assert_eq!(site.text(run, "&stage=tests").await, "c1: right\nc2: right\nc3: right\n");
}

#[tokio::test]
async fn a_checker_that_hangs_or_does_not_decide_is_the_graders_fault() {
    let folder = tempfile::tempdir().unwrap();
    for (name, checker) in [("hangs", "sleep 60"), ("undecided", "exit 7")] {
        let text = "compare = \"checker\"";
        let driver = format!("checker = [\"sh\", \"-c\", \"{checker}\"]\nchecker_timeout_s = 1\n");
        write_template(folder.path(), name, &driver, &[("c", &[("out", ""), ("case.toml", text)])]);
    }
    let site = site(folder.path());
    for (name, words) in [("hangs", "took longer than its 1 s"), ("undecided", "ended with code 7")] {
        let ended = site.run(name, &[("run.sh", "exit 0")]).await;
        let (status, _, cause) = failure(&ended);
        assert_eq!((status, cause), ("failed", "grader"), "{ended}");
        let mut seen = message(&ended).to_owned();
        write!(seen, "{}", site.text(id_of(&ended), "").await).unwrap();
        assert!(seen.contains(words), "{seen}");
    }
}
