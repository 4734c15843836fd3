//! Projects that try to get no verdict instead of a bad one: they end the tests, spoil the report, or starve the
//! driver, so that the failure looks like somebody else's. Also reports outside the scale of their template.
//!
//! The template `unit` runs its tests in the project's own process. The templates `page`, `page-fails` and
//! `page-last` have a driver that runs what the project serves; the first says `on_driver_failure = "score_zero"`, the
//! driver of the last writes its report at its end only. An honest project has three of
//! three points in each.

mod ended;
mod spoilt;
mod starved;

use std::path::Path;

use crate::case::{Case, Group};
use crate::trial::{Expectation, Trial};

const RUNNER: &str = include_str!("blame/runner.py");
const DRIVER: &str = include_str!("blame/driver.py");

/// Largest score, and number of tests, of each template.
const FULL: f64 = 3.0;

const LIMITS: &str = "cpus = 1.0\nmemory_mib = 96\npids = 24\nworkspace_mib = 8\nworkspace_inodes = 200\ntmp_mib = 2\n";
const SCALE: &str = "format = \"gradescope\"\nmax_kib = 64\nexpect_tests = 3\nmax_score = 3\n";
const PYTHON: &str = "assize/python-api:1";

/// The beginning of every project of `unit`: three wrong answers.
const WRONG: &str = "import atexit, ctypes, json, os, resource, signal, socket, subprocess, sys, threading, time\n\
    def one(): return 0\ndef two(): return 0\ndef three(): return 0\n\
    F = '/workspace/report'\nR = F + '/results.json'\nrunner = sys.modules['__main__']\n";

/// The driver of the templates `page` and `page-fails`.
pub(super) const SERVICE: &str = "import http.server\n\
    http.server.test(HandlerClass=http.server.SimpleHTTPRequestHandler, port=8000, bind='127.0.0.1')\n";

/// Writes the templates.
///
/// # Errors
/// The folder cannot be written to.
pub fn write_templates(folder: &Path) -> std::io::Result<()> {
    let head =
        |name: &str| format!("description = \"{name}\"\nclass = \"A\"\nimage = \"{PYTHON}\"\n[limits]\n{LIMITS}");
    let stage = |name: &str, command: &str, timeout_s: u32| {
        format!("[[stages]]\nname = \"{name}\"\ncommand = [{command}]\ntimeout_s = {timeout_s}\n")
    };
    let global = "[global]\ntimeout_s = 40\n";
    let write = |name: &str, text: String, tests: Option<(&str, &str)>| {
        let own = folder.join(name);
        std::fs::create_dir_all(own.join("tests"))?;
        if let Some((file, text)) = tests {
            std::fs::write(own.join("tests").join(file), text)?;
        }
        std::fs::write(own.join("template.toml"), text)
    };
    let build = stage("build", r#""sh", "build.sh""#, 5);
    let tests = stage("tests", r#""python3", "-I", "-B", "/grader/runner.py""#, 10);
    let unit = format!(
        "{}{build}{tests}[results]\n{SCALE}path = \"/workspace/report/results.json\"\n{global}",
        head("three tests in the project's process")
    );
    write("unit", unit, Some(("runner.py", RUNNER)))?;
    let own = format!(
        "{}{}[results]\nformat = \"exit_code\"\n{global}",
        head("tests that are a program of the project's"),
        stage("tests", r#""./program""#, 5)
    );
    write("own-program", own, None)?;
    // Written as by a careless author.
    let last = DRIVER.replacen("    write(passed)\n", "", 1).replace("        write(passed)\n", "");
    let last = last.replace("\n\n\nmain()", "\n    write(passed)\n\n\nmain()");
    let zero = "on_driver_failure = \"score_zero\"\n";
    for (name, more, driver) in [("page", zero, DRIVER), ("page-fails", "", DRIVER), ("page-last", "", last.as_str())] {
        let text = format!(
            "{}{}ready = {{ port = 8000 }}\n[driver]\nimage = \"{PYTHON}\"\n\
             command = [\"python3\", \"-I\", \"-B\", \"/grader/driver.py\"]\ntimeout_s = 10\n[driver.limits]\n{LIMITS}\
             [results]\n{SCALE}path = \"/workspace/results.json\"\n{more}{global}",
            head("a driver that runs what is served"),
            stage("start", r#""python3", "-I", "-u", "run.py""#, 20)
        );
        write(name, text, Some(("driver.py", driver)))?;
    }
    Ok(())
}

pub(super) fn all() -> Vec<Trial> {
    [ended::all(), spoilt::all(), starved::all()].concat()
}

/// Honest projects: if they get no points, a lack of points proves nothing.
pub(super) fn honest() -> [(&'static str, Vec<u8>, Expectation); 3] {
    let right = "def one(): return 1\ndef two(): return 2\ndef three(): return 3\n";
    [
        ("unit", unit("", right), Expectation::ScoresOutOf(FULL, FULL)),
        ("page", pages("answer = 2", "answer = 3"), Expectation::ScoresOutOf(FULL, FULL)),
        ("page-last", pages("answer = 2", "answer = 3"), Expectation::ScoresOutOf(FULL, FULL)),
    ]
}

fn trial(
    name: &str,
    tried: &str,
    control: &str,
    template: &'static str,
    archive: Vec<u8>,
    expected: Expectation,
) -> Trial {
    Trial { case: Case::new(Group::Results, &format!("blame-{name}"), tried, control), template, archive, expected }
}

/// A project for `unit`, with the script of its build and its module.
fn unit(build: &str, module: &str) -> Vec<u8> {
    let files = [("build.sh", build), ("project.py", module)];
    assize_corpus::project(&files.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())))
}

/// A project for `unit` that answers wrongly and does `code` when it is imported.
fn wrong(code: &str) -> Vec<u8> {
    unit("", &format!("{WRONG}{code}\n"))
}

/// A project for the driver: its first page is right, the other two are arguments.
fn pages(second: &str, third: &str) -> Vec<u8> {
    let files = [("run.py", SERVICE), ("1.py", "answer = 1"), ("2.py", second), ("3.py", third)];
    assize_corpus::project(&files.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())))
}

#[cfg(test)]
mod tests {
    #[test]
    fn they_are_templates_with_a_scale() {
        let folder = tempfile::tempdir().unwrap();
        super::write_templates(folder.path()).unwrap();
        let templates = assize::template::Templates::load(folder.path()).unwrap();
        for name in ["unit", "page", "page-fails", "page-last"] {
            let scale = templates.get(name).unwrap().results.scale();
            assert_eq!((scale.max_score, scale.tests), (Some(super::FULL), Some(3)), "{name}");
        }
        assert!(templates.get("own-program").is_some());
    }
}
