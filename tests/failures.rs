//! The list of failures names the files that show each of them, and no file names a line that is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const LIST: &str = "docs/failures.md";
const ROOTS: [&str; 8] = ["src", "crates", "warden", "soak", "model", "tests", "benches", "SECURITY.md"];

/// The numbers behind each `FAILURES` of a text: `FAILURES 23, 24 and the ...` names two.
fn numbers(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in text.split("FAILURES ").skip(1) {
        for word in rest.replace(" and ", ", ").split(", ") {
            let end = word.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(word.len());
            let number = word.get(..end).unwrap_or_default();
            let letters = number.trim_start_matches(|c: char| c.is_ascii_digit());
            if number.starts_with(|c: char| c.is_ascii_digit()) && letters.len() <= 1 {
                found.insert(number.to_owned());
            }
            if end < word.len() {
                break;
            }
        }
    }
    found
}

/// Which files name each number.
fn named() -> BTreeMap<String, BTreeSet<String>> {
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for root in ROOTS {
        for entry in ignore::WalkBuilder::new(root).build().filter_map(Result::ok) {
            let path = entry.path();
            let is_text = path.extension().is_some_and(|end| end == "rs" || end == "md" || end == "sql");
            if !is_text || path == Path::new("tests/failures.rs") {
                continue;
            }
            for number in numbers(&std::fs::read_to_string(path).expect("a text")) {
                named.entry(number).or_default().insert(path.display().to_string());
            }
        }
    }
    named
}

#[test]
fn every_line_is_shown_and_every_number_has_a_line() {
    let list = std::fs::read_to_string(LIST).expect("the list");
    let mut named = named();
    let mut wanted = String::new();
    for line in list.lines() {
        let cells: Vec<&str> = line.split(" | ").collect();
        let number = line.strip_prefix("| ").and_then(|line| line.split(' ').next()).unwrap_or_default();
        match cells.as_slice() {
            [head, wrong, right, _] if number.starts_with(|c: char| c.is_ascii_digit()) => {
                let files = named.remove(number).unwrap_or_default();
                assert!(!files.is_empty(), "no file names FAILURES {number}");
                let files: Vec<String> = files.iter().map(|file| format!("`{file}`")).collect();
                wanted.push_str(&format!("{head} | {wrong} | {right} | {} |\n", files.join(", ")));
            }
            _ => wanted.push_str(&format!("{line}\n")),
        }
    }
    assert!(named.is_empty(), "{LIST} has no line for {named:?}");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(LIST, &wanted).expect("to write the list");
    }
    let list = std::fs::read_to_string(LIST).expect("the list");
    assert!(list == wanted, "{LIST} is not up to date: UPDATE_SNAPSHOTS=1 cargo test --test failures");
}

#[test]
fn a_comment_may_name_several() {
    let named = numbers("FAILURES 23, 24 and the rest; FAILURES 33a, the other way. FAILURES 1, 5 of the promises");
    assert_eq!(named, ["1", "23", "24", "33a", "5"].map(str::to_owned).into());
}
