//! The parameters of a run: for whoever decides, and for nobody else.

use serde_json::{Value, json};

use reqwest::multipart::Form;
use uuid::Uuid;

use crate::adoption::wrote;
use crate::harness::{id_of, json, zip_part, zips};
use crate::site::{Setup, Site, shared};
use crate::templates::{APP, judged};

/// Prints the parameters on one line, so that a test reads them in the output.
const PRINT: &str = "print('parameters', json.dumps(json.load(open('/grader/assize.json'))), flush=True)";

/// What the project finds of the parameters, wherever in its cell they could be.
const SEARCH: &str = "import os\n\
    found = [os.path.join(folder, name) for top in ('/grader', '/workspace', '/tmp') \
        for folder, _, names in os.walk(top) for name in names if name == 'assize.json']\n\
    print('found', found, 'grader', os.path.exists('/grader') and os.listdir('/grader'), flush=True)\n";

async fn submit(site: &Site, template: &str, metadata: &Value, files: &[(&str, &str)]) -> (Uuid, Uuid) {
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    let form = Form::new()
        .text("template", template.to_owned())
        .text("user", "Ada")
        .text("metadata", metadata.to_string())
        .part("archive", zip_part(zips::zip(&files)));
    let response = site.post("/v1/submissions").multipart(form).send().await.unwrap();
    let body = json(response).await;
    (id_of(&body["submission"]), id_of(&body["run"]))
}

/// What the tests stage printed of the parameters.
async fn printed(site: &Site, run: Uuid) -> Value {
    // The two cells' output may be interleaved in the middle of a line, so this asks for one stage.
    let text = site.text(run, "&stage=tests").await;
    let line = text.lines().find_map(|line| line.strip_prefix("parameters "));
    serde_json::from_str(line.unwrap_or_else(|| panic!("no parameters in {text}"))).unwrap()
}

#[tokio::test]
async fn the_driver_reads_the_parameters_and_the_subject_has_none() {
    let site = shared();
    // What a platform sends is data, however it is written.
    let metadata = json!({"course": "../../etc", "big": 1.7976931348623157e308, "assize.json": ["<&\"'$(id)"]});
    let app = format!("{SEARCH}{APP}");
    let files = [("app.py", app.as_str()), ("judge.py", &judged(PRINT))];
    let (submission, run) = submit(&site, "service", &metadata, &files).await;
    let ended = site.ended(run).await;
    assert_eq!(ended["score"], 1.0, "{ended}");
    let seen = printed(&site, run).await;
    assert_eq!(seen["submission_id"], submission.to_string(), "{seen}");
    assert_eq!((&seen["run_id"], &seen["attempt"]), (&json!(run.to_string()), &json!(1)));
    assert_eq!((&seen["metadata"], &seen["due_at"]), (&metadata, &Value::Null));
    assert_eq!(seen["seed"].as_str().unwrap().len(), 16);
    let user = seen["user"].as_str().unwrap();
    assert!(user.len() == 32 && user.bytes().all(|byte| byte.is_ascii_hexdigit()), "{user}");
    assert_eq!(to_the_second(&seen["submitted_at"]), to_the_second(&ended["submitted_at"]));
    let text = site.text(run, "&stage=start").await;
    assert!(text.contains("found [] grader "), "{text}");
    assert!(text.contains("grader False") || text.contains("grader []"), "{text}");
    // The same user has the same pseudonym, another submission another seed.
    let (_, other) = submit(&site, "service", &json!({}), &files).await;
    site.ended(other).await;
    let other = printed(&site, other).await;
    assert_eq!((&other["user"], &other["metadata"]), (&seen["user"], &json!({})));
    assert_ne!(other["seed"], seen["seed"]);
}

/// To the second: the two texts have fractions of different lengths.
fn to_the_second(time: &Value) -> String {
    time.as_str().unwrap().chars().take(19).collect()
}

#[tokio::test]
async fn a_shared_cell_gets_the_parameters_with_the_tests_and_not_before() {
    let site = shared();
    let look = "ls -A /grader; echo looked; test ! -e /grader/assize.json";
    let tests = "ls -A /grader | sort; echo \"parameters $(tr -d '\\n' < /grader/assize.json)\"";
    let files = [("install.sh", look), ("build.sh", look), ("run.sh", tests)];
    let (submission, run) = submit(&site, "handed", &json!({"a": 1}), &files).await;
    let ended = site.ended(run).await;
    assert_eq!(ended["score"], 1.0, "{ended} {}", site.text(run, "").await);
    assert_eq!(printed(&site, run).await["submission_id"], submission.to_string());
    let text = site.text(run, "").await;
    assert!(text.starts_with("looked\nlooked\nassize.json\ncheck.sh\n"), "{text}");
}

#[tokio::test]
async fn a_shared_cell_without_tests_has_no_parameters() {
    let site = shared();
    let run = site.run("script", &[("run.sh", "test ! -e /grader/assize.json")]).await;
    assert_eq!(run["score"], 1.0, "{run}");
}

/// The plan of a cell is the same whatever the parameters are, so that another worker adopts it.
#[tokio::test]
async fn an_adopted_driver_goes_on_with_its_parameters() {
    let mut site = Site::start(Setup { settings: vec![("worker_slots", "1".to_owned())], ..Setup::default() });
    let judge = judged(&format!("{PRINT}\ntime.sleep(1.2)\n{PRINT}"));
    let metadata = json!({"long": "x".repeat(10_000)});
    let (_, run) = submit(&site, "service", &metadata, &[("app.py", APP), ("judge.py", &judge)]).await;
    wrote(&site, run, "parameters ").await;
    site.take_worker().kill();
    site.start_worker();
    let ended = site.ended(run).await;
    assert_eq!((ended["attempt"].as_i64(), ended["score"].as_f64()), (Some(1), Some(1.0)), "{ended}");
    let text = site.text(run, "").await;
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("parameters ")).collect();
    assert!(lines.len() == 2 && lines[0] == lines[1], "{text}");
}
