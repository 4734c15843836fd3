//! Prometheus' own checks of the rules and of the settings.

use std::io::Write;
use std::process::{Command, Stdio};

use super::{files, root};

/// Runs `promtool` in the folder `prometheus/` with this on its stdin, expects success, and returns what it printed.
pub fn passes(arguments: &[&str], input: &str) -> String {
    run("promtool", arguments, input).unwrap_or_else(|printed| panic!("promtool {arguments:?}:\n{printed}"))
}

/// Returns what the program printed, as an error if its exit code was not 0.
fn run(program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(root("prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} cannot be started: {error}; `scripts/setup` installs it"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(printed) } else { Err(printed) }
}

fn paths(folder: &str) -> Vec<String> {
    let paths: Vec<String> = files(folder, &["yml"]).into_iter().map(|(path, _)| path).collect();
    assert!(!paths.is_empty(), "{folder} is empty");
    paths.iter().map(|path| path.replacen("prometheus/", "", 1)).collect()
}

#[test]
fn the_settings_and_the_rules_are_valid() {
    let printed = passes(&["check", "config", "prometheus.yml"], "");
    assert!(printed.contains(&format!("{} rule files found", paths("prometheus/rules").len())), "{printed}");
}

#[test]
fn the_rules_do_what_their_tests_say() {
    let paths = paths("prometheus/tests");
    let mut arguments = vec!["test", "rules"];
    arguments.extend(paths.iter().map(String::as_str));
    passes(&arguments, "");
}

#[test]
fn the_settings_of_alertmanager_are_valid() {
    run("amtool", &["check-config", "alertmanager.yml"], "").unwrap_or_else(|printed| panic!("{printed}"));
}

/// The checks above would prove nothing if a wrong rule passed them.
#[test]
fn a_wrong_rule_does_not_pass() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrong.yml");
    std::fs::write(&path, "groups: [{name: wrong, rules: [{record: a:b:c, expr: 'sum(rate(x))'}]}]").unwrap();
    let printed = run("promtool", &["check", "rules", path.to_str().unwrap()], "").unwrap_err();
    assert!(printed.contains("expected type range vector"), "{printed}");
}
