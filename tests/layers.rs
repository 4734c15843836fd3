//! What each crate and each module of `src/` may use, as ARCHITECTURE.md says it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The modules of `src/`, lowest layer first. A module may use modules of lower layers, and those that stand before it
/// in its own.
const LAYERS: [&[&str]; 6] = [
    &["test_clock", "redis", "egress", "embedded", "installation", "metrics_listener", "signing_key"],
    &["template"],
    &["intake"],
    &["leases", "admission"],
    &["backup", "maintenance", "worker", "api"],
    &["cli"],
];

/// The crates of the workspace, and the crates of the workspace that each may use.
const CRATES: [(&str, &[&str]); 16] = [
    ("assize-protocol", &[]),
    ("assize-host", &[]),
    ("assize-corpus", &[]),
    ("assize-domain", &["assize-protocol"]),
    ("assize-config", &["assize-domain"]),
    ("assize-archive", &["assize-protocol", "assize-config"]),
    ("assize-signing", &["assize-protocol", "assize-domain"]),
    ("assize-observe", &["assize-domain", "assize-host", "assize-config"]),
    ("assize-store", &["assize-domain", "assize-host", "assize-observe", "assize-signing"]),
    ("assize-cell", &["assize-protocol", "assize-domain", "assize-host", "assize-config", "assize-observe"]),
    ("assize-client", &["assize-protocol", "assize-domain", "assize-host", "assize-config", "assize-signing"]),
    (
        "assize-attack",
        &[
            "assize-protocol",
            "assize-domain",
            "assize-host",
            "assize-config",
            "assize-corpus",
            "assize-archive",
            "assize-store",
            "assize-cell",
        ],
    ),
    ("warden", &["assize-protocol"]),
    ("assize-model", &["assize-domain"]),
    ("assize", &["*"]),
    ("soak", &["*"]),
];

/// Foreign crates that must not be reached, through whatever else: each with the crates that must not reach them.
const FORBIDDEN: [(&str, &[&str]); 5] = [
    ("assize-protocol", &["nix", "seccompiler", "landlock", "zip", "tokio", "sqlx", "bollard"]),
    ("assize-domain", &["tokio", "sqlx", "bollard", "redis", "hyper", "nix", "zip"]),
    ("assize-archive", &["tokio", "sqlx", "bollard", "redis", "hyper", "nix"]),
    ("assize-client", &["sqlx", "bollard", "redis", "axum", "object_store", "seccompiler", "landlock"]),
    ("assize", &["seccompiler", "landlock"]),
];

/// Every module of `src/` that the file uses by `crate::`, but its own.
fn used(text: &str) -> BTreeSet<String> {
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let Some(list) = rest.strip_prefix('{') else {
            found.insert(name(rest));
            continue;
        };
        let (mut depth, mut item) = (0_u32, String::new());
        for c in list.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    found.insert(name(std::mem::take(&mut item).trim()));
                }
                _ if depth == 0 => item.push(c),
                _ => {}
            }
        }
        found.insert(name(item.trim()));
    }
    found
}

#[test]
fn no_module_reaches_up() {
    let order: Vec<(usize, &str)> = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(layer, modules)| modules.iter().map(move |module| (layer, *module)))
        .collect();
    let place = |module: &str| order.iter().position(|(_, name)| *name == module);
    let walk = ignore::WalkBuilder::new("src").standard_filters(false).build().filter_map(Result::ok);
    let mut wrong = Vec::new();
    for entry in walk.filter(|entry| entry.path().extension().is_some_and(|end| end == "rs")) {
        let below = entry.path().strip_prefix("src").expect("below src");
        let first = below.iter().next().expect("a name").to_string_lossy();
        let module = first.trim_end_matches(".rs");
        if matches!(module, "lib" | "main") {
            continue;
        }
        let Some(own) = place(module) else {
            wrong.push(format!("src/{module} stands in no layer; add it to LAYERS and to ARCHITECTURE.md"));
            continue;
        };
        let text = std::fs::read_to_string(entry.path()).expect("a source");
        for other in used(&text).iter().filter(|other| *other != module) {
            if place(other).is_some_and(|other| other > own) {
                wrong.push(format!("{} uses crate::{other}, which stands above {module}", entry.path().display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A clock that somebody makes for itself cannot be paused by a test.
#[test]
fn only_the_commands_read_the_clock_of_the_machine() {
    let walk = ignore::WalkBuilder::new("src").standard_filters(false).build().filter_map(Result::ok);
    let mut wrong = Vec::new();
    for entry in walk.filter(|entry| entry.path().extension().is_some_and(|end| end == "rs")) {
        let is_command = entry.path().starts_with("src/cli") || entry.path().ends_with("api/fuzzing.rs");
        let text = std::fs::read_to_string(entry.path()).expect("a source");
        let service = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        if !is_command && service.contains("Clock::system()") {
            wrong.push(entry.path().display().to_string());
        }
    }
    assert!(wrong.is_empty(), "they must be given a Clock: {}", wrong.join(", "));
}

#[test]
fn grouped_and_nested_imports_are_seen() {
    let text = "use crate::{a, b::{self, C}, d::e as f};\nuse crate::g::H; // crate::no\nlet x = crate::i::j();";
    assert_eq!(used(text).into_iter().collect::<Vec<_>>(), ["a", "b", "d", "g", "i"]);
}

/// The normal dependencies of each package of the graph, by name.
fn graph() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo).args(["metadata", "--format-version", "1", "--locked", "--offline"]).output();
    let output = output.expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"].as_array().expect("packages");
    let names: BTreeMap<String, String> =
        packages.iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in metadata["resolve"]["nodes"].as_array().expect("nodes") {
        let deps = node["deps"].as_array().into_iter().flatten();
        let normal = deps.filter(|dep| {
            dep["dep_kinds"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
        });
        let normal = normal.map(|dep| names[&text(&dep["pkg"])].clone());
        graph.entry(names[&text(&node["id"])].clone()).or_default().extend(normal);
    }
    graph
}

#[test]
fn each_crate_uses_only_what_it_may_know() {
    let graph = graph();
    let mut wrong = Vec::new();
    let own: BTreeSet<&str> = CRATES.iter().map(|(name, _)| *name).collect();
    for folder in std::fs::read_dir("crates").expect("crates").filter_map(Result::ok) {
        let name = format!("assize-{}", folder.file_name().to_string_lossy());
        if Path::new(&folder.path()).is_dir() && !own.contains(name.as_str()) {
            wrong.push(format!("{name} stands in no row; add it to CRATES and to ARCHITECTURE.md"));
        }
    }
    for (name, may) in CRATES {
        let used = graph.get(name).unwrap_or_else(|| panic!("there is no crate {name}"));
        for other in used.iter().filter(|other| own.contains(other.as_str())) {
            if !may.contains(&"*") && !may.contains(&other.as_str()) {
                wrong.push(format!("{name} uses {other}"));
            }
        }
    }
    for (name, forbidden) in FORBIDDEN {
        let (mut seen, mut open) = (BTreeSet::new(), vec![name]);
        while let Some(next) = open.pop() {
            if seen.insert(next) {
                open.extend(graph.get(next).into_iter().flatten().map(String::as_str));
            }
        }
        wrong.extend(
            forbidden.iter().filter(|other| seen.contains(*other)).map(|other| format!("{name} reaches {other}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Names that say nothing of what they name, and the constants whose unit or bound they hide.
const BANNED: [&str; 10] = [
    "fn told(",
    "fn said(",
    "fn of(",
    "fn judge(",
    "struct Told",
    "struct Said",
    "const PATIENCE",
    "const MOMENT",
    "const MOST_",
    "const MOST:",
];

#[test]
fn no_name_is_on_the_list_of_banned_ones() {
    let mut wrong = Vec::new();
    for root in ["src", "crates", "warden", "soak", "model", "benches", "tests"] {
        let walk = ignore::WalkBuilder::new(root).standard_filters(false).build().filter_map(Result::ok);
        for entry in walk.filter(|entry| entry.path().extension().is_some_and(|end| end == "rs")) {
            if entry.path().ends_with("tests/layers.rs") {
                continue;
            }
            let text = std::fs::read_to_string(entry.path()).expect("a source");
            // Judging belongs to verdicts.
            let is_verdict = entry.path().ends_with("worker/verdict.rs");
            let found = BANNED.iter().filter(|name| text.contains(*name) && !(is_verdict && **name == "fn judge("));
            wrong.extend(found.map(|name| format!("{}: {name}", entry.path().display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
