//! SECURITY.md says of every failure code who can bring it about, and how that was tried.

use std::path::Path;

use assize_attack::case::matches;
use assize_domain::run::FailureCode;

/// The rows of the table: the codes, and how they were tried.
fn rows() -> Vec<(Vec<String>, String)> {
    let document = std::fs::read_to_string("SECURITY.md").expect("SECURITY.md");
    let (_, section) =
        document.split_once("## Who can bring about which failure\n").expect("SECURITY.md has the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        assert_eq!(cells.len(), 4, "{row}");
        (quoted(cells[0]), cells[2].to_owned())
    })
    .collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_failure_code_has_a_row() {
    let rows = rows();
    for code in FailureCode::ALL {
        let count = rows.iter().flat_map(|(codes, _)| codes).filter(|name| *name == code.as_str()).count();
        assert_eq!(count, 1, "rows of {code} in SECURITY.md");
    }
}

#[test]
fn what_is_named_as_tried_is_there() {
    let cases = assize_attack::cases();
    let sources: String = ["src", "crates", "tests", "warden"].map(|folder| walk(Path::new(folder))).concat();
    for (codes, tried) in rows() {
        for name in quoted(&tried) {
            if name.ends_with(".rs") {
                let found = Path::new(&name).is_file() || Path::new("src").join(&name).is_file();
                assert!(found, "{codes:?}: there is no file {name}");
            } else if name.contains('/') {
                let found = cases.iter().any(|case| matches(&name, &case.id));
                assert!(found, "{codes:?}: no case is named like {name}");
            } else if !name.starts_with("make ") {
                assert!(sources.contains(&format!("fn {name}(")), "{codes:?}: there is no test {name}");
            }
        }
    }
}

/// All Rust sources below a folder.
fn walk(folder: &Path) -> String {
    let files = ignore::WalkBuilder::new(folder).standard_filters(false).build().filter_map(Result::ok);
    let sources = files.filter(|entry| entry.path().extension().is_some_and(|end| end == "rs"));
    sources.filter_map(|entry| std::fs::read_to_string(entry.path()).ok()).collect()
}
