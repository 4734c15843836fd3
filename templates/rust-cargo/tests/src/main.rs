//! Runs the tests with cargo, and writes their results as TAP: after each test those of all so far.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::process::{exit, Command, Stdio};

const REPORT: &str = "/workspace/results.tap";
const CARGO: [&str; 5] = ["test", "--offline", "--locked", "--manifest-path", "/grader/Cargo.toml"];

fn main() {
    let mut command = Command::new("cargo");
    // In one thread, so that a line has a test and its result.
    command.args(CARGO).args(["--test", "evaluate", "--", "--test-threads=1", "--format=pretty", "--color=never"]);
    let mut process = command.stdout(Stdio::piped()).spawn().expect("cargo can be started");
    let stdout = BufReader::new(process.stdout.take().expect("a pipe"));

    let mut results: Vec<(String, String)> = Vec::new();
    let mut messages: BTreeMap<String, String> = BTreeMap::new();
    let mut shown_test: Option<String> = None; // whose output the lines are, behind all results
    let mut has_results = true;
    for line in stdout.lines().map(|line| line.expect("libtest writes UTF-8")) {
        if line == "failures:" {
            has_results = false;
            shown_test = None;
        } else if let Some((name, result)) = result_of(&line).filter(|_| has_results) {
            println!("{line}");
            results.push((name, result));
            write(&results, &messages, false);
        } else if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            shown_test = Some(name.to_owned());
        } else if let Some(name) = &shown_test {
            let message = messages.entry(name.clone()).or_default();
            writeln!(message, "# {line}").expect("a text can grow");
        }
    }
    write(&results, &messages, true);
    let status = process.wait().expect("cargo ends");
    exit(if status.success() { 0 } else { 1 });
}

/// The name and the result of a line such as `test overflow ... ok`.
fn result_of(line: &str) -> Option<(String, String)> {
    let (name, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
    Some((name.to_owned(), result.to_owned()))
}

/// Writes a new report in place of the old one.
fn write(results: &[(String, String)], messages: &BTreeMap<String, String>, is_complete: bool) {
    let mut report = "TAP version 14\n".to_owned();
    for (number, (name, result)) in results.iter().enumerate() {
        let (outcome, directive) = match result.as_str() {
            "ok" => ("ok", ""),
            ignored if ignored.starts_with("ignored") => ("ok", " # SKIP"),
            _ => ("not ok", ""),
        };
        let message = messages.get(name).map_or("", String::as_str);
        writeln!(report, "{outcome} {} - {name}{directive}\n{message}", number + 1).expect("a text can grow");
    }
    if is_complete {
        writeln!(report, "1..{}", results.len()).expect("a text can grow");
    }
    let new = format!("{REPORT}.new");
    std::fs::write(&new, report).and_then(|()| std::fs::rename(&new, REPORT)).expect("the report can be written");
}
