//! Templates with small limits, whose stages do what the project says.

use std::path::Path;

const LIMITS: &str = "cpus = 1.0\nmemory_mib = 48\npids = 24\nworkspace_mib = 4\nworkspace_inodes = 60\ntmp_mib = 2\n";

const ROOMY: &str =
    "cpus = 1.0\nmemory_mib = 512\npids = 64\nworkspace_mib = 256\nworkspace_inodes = 500\ntmp_mib = 16\n";

/// Room for a report of 16 MiB, and none for another copy of it in memory.
const TIGHT: &str = "cpus = 1.0\nmemory_mib = 32\npids = 24\nworkspace_mib = 18\nworkspace_inodes = 60\ntmp_mib = 2\n";

/// 2 ms of a core in every 40: whatever is prepared takes its time.
const SLOW: &str = "cpus = 0.05\nmemory_mib = 64\npids = 24\nworkspace_mib = 16\nworkspace_inodes = 60\ntmp_mib = 2\n";

/// What an archive may hold, far below what the configuration lets in.
pub const STRICT: &str = "max_bytes = 100_000\nmax_entries = 20\nmax_unpacked_bytes = 50_000\nmax_ratio = 50\n\
    max_name_bytes = 100\nmax_depth = 4\nallow = [\".sh\", \".txt\", \".bin\", \"Makefile\"]\ndeny = [\".secret.txt\"]\n\
    deny_content = [\"program\", \"archive\"]\n";

const SHELL: &str = "assize/base:1";
const PYTHON: &str = "assize/python-api:1";
const PYTEST: &str = "assize/python-unit:1";
const PYTEST_COMMAND: &str = r#""python3", "-I", "-B", "-m", "pytest", "-p", "no:cacheprovider", "--rootdir=/grader",
    "--junitxml=/tmp/results.xml", "/grader""#;
const EXIT_CODE: &str = "format = \"exit_code\"\n";

/// Runs whatever the subject tells it to.
const OBEDIENT: &str = "import os, sys, json, time, urllib.request\n\
    url = os.environ['SUBJECT_URL']\n\
    exec(urllib.request.urlopen(url + '/judge.py').read())\n";

struct Written {
    class: char,
    image: &'static str,
    limits: &'static str,
    stages: String,
    driver: String,
    results: String,
    /// Of the section `[archive]`.
    archive: &'static str,
    /// The section `[artifacts]`.
    artifacts: &'static str,
    global_s: u32,
}

fn stage(name: &str, command: &str, timeout_s: u32) -> String {
    format!("[[stages]]\nname = \"{name}\"\ncommand = [{command}]\ntimeout_s = {timeout_s}\n")
}

fn tests(class: char, image: &'static str, command: &str, timeout_s: u32) -> Written {
    let stages = stage("tests", command, timeout_s);
    let (driver, results) = (String::new(), EXIT_CODE.to_owned());
    Written { class, image, limits: LIMITS, stages, driver, results, archive: "", artifacts: "", global_s: 20 }
}

fn shell(timeout_s: u32) -> Written {
    tests('A', SHELL, r#""sh", "run.sh""#, timeout_s)
}

fn service(global_s: u32) -> Written {
    let start = stage("start", r#""python3", "-u", "app.py""#, 2) + "ready = { port = 8000 }\n";
    let command = r#"command = ["python3", "-u", "/grader/driver.py"]"#;
    Written {
        driver: format!("[driver]\nimage = \"{PYTHON}\"\n{command}\ntimeout_s = 3\n[driver.limits]\n{LIMITS}"),
        stages: start,
        results: "format = \"gradescope\"\npath = \"/workspace/results.json\"\nmax_kib = 64\n".to_owned(),
        image: PYTHON,
        global_s,
        ..shell(2)
    }
}

/// The templates of a site: what each is for stands in the name.
pub fn write(folder: &Path) {
    let staged = |timeout_s| {
        let stages = [("install", "install.sh"), ("build", "build.sh"), ("tests", "run.sh")];
        stages.map(|(name, script)| stage(name, &format!("\"sh\", \"{script}\""), timeout_s)).concat()
    };
    let one = |name: &str, template: Written| write_one(folder, name, &template);
    one("script", shell(2));
    one("long", shell(15));
    one("browser", Written { class: 'C', ..shell(5) });
    one("frontend", Written { class: 'B', ..shell(5) });
    one("hasty", Written { global_s: 1, ..shell(10) });
    one("slow", Written { limits: SLOW, ..shell(15) });
    one("roomy", Written { limits: ROOMY, ..shell(15) });
    one("python", Written { limits: ROOMY, ..tests('A', PYTHON, r#""python3", "-u", "run.py""#, 10) });
    one("staged", Written { stages: staged(2), ..shell(2) });
    one("verbose", Written { stages: staged(15), global_s: 40, ..shell(15) });
    let program = stage("build", r#""./program""#, 2) + &stage("tests", r#""true""#, 2);
    one("strict", Written { archive: STRICT, ..shell(5) });
    one("program", Written { stages: program, ..shell(2) });
    one("service", service(20));
    for format in ["gradescope", "junit", "tap", "ctrf"] {
        let results = format!("format = \"{format}\"\npath = \"/workspace/results\"\nmax_kib = 64\n");
        one(format, Written { results, ..shell(2) });
    }
    let tap = "format = \"tap\"\npath = \"/workspace/results\"\nmax_kib = 64\n";
    one("tap-of-two", Written { results: format!("{tap}expect_tests = 2\n"), ..shell(4) });
    one("tap-any-code", Written { results: format!("{tap}exit_code = \"ignored\"\n"), ..shell(2) });
    let rules =
        "[[tests]]\nmatch = \"secret*\"\nvisibility = \"hidden\"\n[[tests]]\nmatch = \"b\"\nname = \"the second\"\n";
    one("progress", Written { results: format!("{tap}max_score = 3\nprogress = true\n{rules}"), ..shell(15) });
    let shown = service(20).results + "progress = \"shown\"\n";
    one("progress-driver", Written { results: shown, ..service(20) });
    let files = "format = \"junit\"\npath = \"/workspace/r/*.xml\"\nmax_kib = 64\nexpect_tests = 3\n";
    one("junit-files", Written { results: files.to_owned(), ..shell(4) });
    let long = "format = \"junit\"\npath = \"/workspace/results\"\nmax_kib = 16384\n";
    one("junit-long", Written { limits: TIGHT, results: long.to_owned(), ..shell(10) });
    let gradescope = "format = \"gradescope\"\npath = \"/workspace/results\"\nmax_kib = 64\n";
    let ten = format!("{gradescope}max_score = 10\nextra_credit = 2\n");
    one("gradescope-of-ten", Written { results: ten, ..shell(2) });
    let patient = "max_score = 4\nexpect_tests = 2\non_driver_failure = \"score_zero\"\n";
    let results = service(20).results + patient;
    // Many at a time, on whatever host.
    let stages = service(20).stages.replace("timeout_s = 2", "timeout_s = 20");
    let driver = service(20).driver.replace("timeout_s = 3", "timeout_s = 10");
    one("page", Written { results, stages: stages.clone(), driver: driver.clone(), ..service(60) });
    one("page-unsaid", Written { stages, driver, ..service(60) });
    let handing =
        "[artifacts]\ndriver = [\"/workspace/out/**\"]\nsubject = [\"/workspace/*.log\"]\nvisibility = \"hidden\"\n";
    one("handing", Written { artifacts: handing, ..service(20) });
    let shared = "[artifacts]\nsubject = [\"/workspace/out/**\"]\nmax_files = 4\nmax_kib = 2048\n";
    one("handing-shared", Written { artifacts: shared, ..shell(2) });
    let much = "[artifacts]\nsubject = [\"/workspace/out/**\"]\nmax_kib = 65536\n";
    one("handing-much", Written { limits: ROOMY, artifacts: much, ..shell(15) });
    let junit = "format = \"junit\"\npath = \"/tmp/results.xml\"\nexpect_tests = 7\nprogress = true\n".to_owned();
    one("progress-pytest", Written { limits: ROOMY, results: junit, ..tests('A', PYTEST, PYTEST_COMMAND, 15) });
    bundle(folder, "progress-pytest", "conftest.py", pytest_hook());
    bundle(folder, "progress-pytest", "test_all.py", include_str!("progress/test_all.py"));
    for name in ["service", "page", "page-unsaid", "handing", "progress-driver"] {
        bundle(folder, name, "driver.py", OBEDIENT);
    }
    one("handed", Written { stages: staged(4), ..shell(4) });
    bundle(folder, "handed", "check.sh", "echo checked\n");
    let beside = stage("build", r#""sh", "build.sh""#, 4)
        + &stage("start", r#""python3", "-u", "app.py""#, 4)
        + "ready = { port = 8000 }\n"
        + &stage("tests", r#""sh", "/grader/check.sh""#, 4);
    one("beside", Written { stages: beside, ..tests('A', PYTHON, r#""true""#, 4) });
    bundle(folder, "beside", "check.sh", "echo checked\n");
}

/// The hook for pytest that `docs/templates.md` shows.
fn pytest_hook() -> &'static str {
    let section = include_str!("../../docs/templates.md").split("\n## Progress\n").nth(1).unwrap();
    section.split("```python\n").nth(1).and_then(|code| code.split("```").next()).unwrap()
}

/// What the grader hands in: one file.
fn bundle(folder: &Path, template: &str, name: &str, text: &str) {
    let tests = folder.join(template).join("tests");
    std::fs::create_dir_all(&tests).unwrap();
    std::fs::write(tests.join(name), text).unwrap();
}

fn write_one(folder: &Path, name: &str, template: &Written) {
    let Written { class, image, limits, stages, driver, results, archive, artifacts, global_s } = template;
    std::fs::create_dir_all(folder.join(name)).unwrap();
    let text = format!(
        "description = \"{name}\"\nclass = \"{class}\"\nimage = \"{image}\"\n[limits]\n{limits}{stages}{driver}\
         [archive]\n{archive}{artifacts}[results]\n{results}[global]\ntimeout_s = {global_s}\n"
    );
    std::fs::write(folder.join(name).join("template.toml"), text).unwrap();
}

/// A service that serves the files of its project.
pub const APP: &str = "import http.server\n\
    http.server.test(HandlerClass=http.server.SimpleHTTPRequestHandler, port=8000, bind='127.0.0.1')\n";

/// A project whose judge gives full marks after `before`.
pub fn judged(before: &str) -> String {
    format!("{before}\njson.dump({{'score': 1, 'max_score': 1}}, open('/workspace/results.json', 'w'))\n")
}
