//! `assize template new` and `check`, which need no service.

use std::path::Path;

use serde_json::Value;

use crate::{Printed, printed, text};

/// Without a container engine, so that what is printed does not depend on the images of the host.
fn run(arguments: &[&str]) -> Printed {
    let mut command = crate::assize(arguments);
    printed(command.env("ASSIZE_DOCKER_HOST", "unix:///nonexistent/docker.sock").output().unwrap())
}

/// The folder of a new template in a temporary folder.
fn new(from: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = text(&folder.path().join("sums")).to_owned();
    let created = run(&["template", "new", &path, "--from", from]);
    assert_eq!(created.code, 0, "{}", created.err);
    (folder, path)
}

fn change(folder: &str, file: &str, from: &str, to: &str) {
    let path = Path::new(folder).join(file);
    let before = std::fs::read_to_string(&path).unwrap();
    assert!(before.contains(from), "{file} has no {from:?}");
    std::fs::write(path, before.replacen(from, to, 1)).unwrap();
}

/// Removes a sample and its expected end.
fn remove_sample(folder: &str, name: &str) {
    std::fs::remove_dir_all(Path::new(folder).join("sample").join(name)).unwrap();
    let path = Path::new(folder).join(EXPECT);
    let before = std::fs::read_to_string(&path).unwrap();
    let mut table: toml::Table = before.parse().unwrap();
    assert!(table.remove(name).is_some(), "there is no sample {name}");
    std::fs::write(path, toml::to_string(&table).unwrap()).unwrap();
}

/// The exit code, and each complaint as its severity, file, key, message and advice.
fn check(folder: &str) -> (i32, Vec<[String; 5]>) {
    let checked = run(&["template", "check", folder, "--json"]);
    assert_eq!(checked.err, "");
    let document: Value = serde_json::from_str(&checked.out).unwrap();
    assert_eq!(document["ok"], checked.code == 0, "{document}");
    let complaints = document["complaints"].as_array().unwrap().iter().map(|complaint| {
        ["severity", "file", "key", "message", "advice"]
            .map(|field| complaint[field].as_str().unwrap_or_else(|| panic!("no {field} in {complaint}")).to_owned())
    });
    (checked.code, complaints.collect())
}

#[test]
fn every_template_that_one_can_begin_with_is_correct() {
    for from in [
        "python-unit",
        "python-api",
        "c-stdio",
        "cpp-ctest",
        "go-test",
        "java-junit",
        "rust-cargo",
        "node-api",
        "node-web",
        "fullstack-browser",
        "sql-postgres",
        "notebook",
        "trivial",
    ] {
        let (_folder, path) = new(from);
        let (code, complaints) = check(&path);
        assert_eq!(code, 0, "{from}: {complaints:?}");
        assert!(complaints.iter().all(|[severity, ..]| severity != "error"), "{complaints:?}");
    }
}

#[test]
fn a_new_template_takes_the_place_of_nothing() {
    let (folder, path) = new("trivial");
    let again = run(&["template", "new", &path]);
    assert_eq!(again.code, 2);
    assert!(again.err.contains("is not empty; name a folder that does not exist"), "{}", again.err);
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert_eq!(run(&["template", "new", text(&empty)]).code, 0, "an empty folder is free");
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert_eq!(run(&["template", "new", text(&file)]).code, 2);
    let unknown = run(&["template", "new", text(&folder.path().join("other")), "--from", "cobol"]);
    assert_eq!(unknown.code, 2);
    for known in ["python-unit, ", "fullstack-browser, ", "sql-postgres, ", "notebook, ", "trivial"] {
        assert!(unknown.err.contains(known), "{known}: {}", unknown.err);
    }
}

#[test]
fn what_is_no_template_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    for (path, words) in
        [("/nonexistent", "cannot read /nonexistent"), (text(folder.path()), "there is no template.toml in")]
    {
        for command in ["check", "test"] {
            let refused = run(&["template", command, path]);
            assert_eq!(refused.code, 2, "{path}");
            assert!(refused.err.contains(words), "{}", refused.err);
        }
    }
}

/// A change to a file of the template `python-unit`, and the complaint that it causes.
struct Mistake {
    file: &'static str,
    from: &'static str,
    to: &'static str,
    key: &'static str,
    message: &'static str,
    advice: &'static str,
}

const TEMPLATE: &str = "template.toml";
const EXPECT: &str = "sample/expect.toml";

const fn mistake(
    file: &'static str,
    from: &'static str,
    to: &'static str,
    [key, message, advice]: [&'static str; 3],
) -> Mistake {
    Mistake { file, from, to, key, message, advice }
}

#[test]
fn each_mistake_has_its_complaint() {
    let rule = "[[tests]]\nmatch = \"nothing*\"\n[global]";
    for Mistake { file, from, to, key, message, advice } in [
        mistake(
            TEMPLATE,
            "[global]",
            "[globl]",
            ["globl", "there is no key `globl` at the top", "did you mean `global`?"],
        ),
        mistake(
            TEMPLATE,
            "timeout_s",
            "timeout",
            ["stages.timeout", "there is no key `timeout` in stages", "`timeout_s`"],
        ),
        mistake(
            TEMPLATE,
            "pids = 64",
            "pids = 1",
            ["limits.pids", "limits.pids is 1, it must be 4", "correct limits.pids"],
        ),
        mistake(TEMPLATE, "pids = 64", "pids = \"a\"", ["limits", "invalid type: string", "correct"]),
        mistake(TEMPLATE, "pids = 64", "pids = ", ["", "line 8: ", "correct the syntax of TOML"]),
        mistake(TEMPLATE, "pids = 64", "", ["limits.pids", "the key limits.pids is missing", "add limits.pids"]),
        mistake(
            TEMPLATE,
            "name = \"build\"",
            "name = \"tests\"",
            ["stages", "stages must come in the order", "stages"],
        ),
        mistake(TEMPLATE, "max_score = 10", "max_score = 9", ["results.max_score", "a test is one point", "correct"]),
        mistake(TEMPLATE, "[global]", rule, ["tests.match", "number 1 is \"nothing*\"", "correct the pattern"]),
        mistake(
            TEMPLATE,
            "root = [\"rational.py\"]",
            "max_bytes = 1",
            ["archive", "the service refuses this project", "leave out"],
        ),
        mistake(
            EXPECT,
            "[passing]",
            "[passed]",
            ["passed", "there is no sample passed", "create the folder sample/passed"],
        ),
        mistake(
            EXPECT,
            "[passing]",
            "[passed]",
            ["passing", "the sample passing has no expected end", "add the table [passing]"],
        ),
        mistake(EXPECT, "score = 10.0", "scroe = 10.0", ["passing", "unknown field `scroe`", "correct the table"]),
        mistake(EXPECT, "\"failed\"", "\"running\"", ["not-starting", "with which no run ends", "correct the table"]),
        mistake(
            EXPECT,
            "max_score = 10.0",
            "max_score = 9.0",
            ["passing.max_score", "results.max_score gives 10", "set max_score = 10"],
        ),
        mistake(
            EXPECT,
            "score = 7.0",
            "score = 11.0",
            ["partly-failing.score", "expects 11 points, a score is 0 to 10", "correct score"],
        ),
        mistake(EXPECT, "[passing]", "[passing", ["", "", "correct the syntax of TOML"]),
    ] {
        let (_folder, path) = new("python-unit");
        // Whether a pattern matches is known only if a sample declares its tests.
        change(&path, EXPECT, "max_score = 10.0", "max_score = 10.0\ntests = { \"a\" = \"passed\" }");
        change(&path, file, from, to);
        let (code, complaints) = check(&path);
        let found = complaints.iter().find(|complaint| {
            complaint[0] == "error" && complaint[2].starts_with(key) && complaint[3].contains(message)
        });
        let found = found.unwrap_or_else(|| panic!("{to:?} has no complaint with {message:?}: {complaints:#?}"));
        assert!(found[1] == file || found[1].starts_with("sample/"), "{found:?}");
        assert!(found[4].contains(advice), "{found:?}");
        assert_eq!(code, 1, "{to:?}");
    }
}

#[test]
fn all_complaints_come_at_once_and_errors_first() {
    let (_folder, path) = new("python-unit");
    change(&path, TEMPLATE, "cpus = 1.0", "cpus = 0.0");
    change(&path, TEMPLATE, "max_kib = 1024", "max_kb = 1024\nextra_credit = 5");
    change(&path, EXPECT, "[output-flood]", "[outputflood]");
    change(&path, EXPECT, "[starter]", "[beginning]");
    let (code, complaints) = check(&path);
    let errors: Vec<&str> = complaints.iter().filter(|one| one[0] == "error").map(|one| one[2].as_str()).collect();
    assert_eq!(
        (code, errors),
        (
            1,
            vec![
                "results.max_kb",
                "limits.cpus",
                "results.extra_credit",
                "output-flood",
                "starter",
                "beginning",
                "outputflood"
            ]
        )
    );
    let first_warning = complaints.iter().position(|one| one[0] == "warning").unwrap();
    assert!(complaints[first_warning..].iter().all(|one| one[0] != "error"));
}

#[test]
fn samples_that_should_be_there_are_warnings() {
    let (_folder, path) = new("python-unit");
    let warnings = |path: &str| -> Vec<String> {
        let (code, complaints) = check(path);
        assert_eq!(code, 0, "{complaints:?}");
        complaints.into_iter().filter(|one| one[0] == "warning").map(|[.., message, _]| message).collect()
    };
    assert_eq!(warnings(&path), [""; 0]);
    change(&path, EXPECT, "score = 10.0", "score = 9.0");
    assert_eq!(warnings(&path), ["no sample passes"]);
    change(&path, EXPECT, "score = 0.0", "score = 10.0");
    let (code, complaints) = check(&path);
    assert_eq!(code, 1);
    assert!(complaints[0][3].contains("a student passes without any work"), "{complaints:?}");
    for name in ["empty", "starter"] {
        remove_sample(&path, name);
    }
    assert_eq!(warnings(&path), ["no sample passes", "there is no sample empty", "there is no sample starter"]);
}

#[test]
fn an_engine_that_does_not_answer_is_a_note() {
    let (_folder, path) = new("python-unit");
    remove_sample(&path, "empty");
    remove_sample(&path, "starter");
    let (code, complaints) = check(&path);
    let note = complaints.iter().find(|one| one[0] == "note").unwrap();
    assert_eq!((code, note[2].as_str()), (0, "image"));
    assert!(note[3].contains("assize/python-unit:1 was not tried"), "{note:?}");
    let printed = run(&["template", "check", &path]);
    let lines: Vec<&str> = printed.out.lines().collect();
    assert_eq!(lines[0], "warning  sample/expect.toml: there is no sample empty");
    assert_eq!(lines[1], "         add a project with one empty file, which must not pass");
    assert_eq!(lines.last(), Some(&"sums: 0 errors, 2 warnings"));
}

/// Nothing is started for a template that cannot be used.
#[test]
fn a_template_with_errors_is_not_tested() {
    let (_folder, path) = new("trivial");
    change(&path, TEMPLATE, "pids = 32", "pids = 1");
    let tested = run(&["template", "test", &path]);
    assert_eq!(tested.code, 1);
    assert!(tested.out.contains("limits.pids is 1") && tested.out.contains("nothing was run"), "{}", tested.out);
}
