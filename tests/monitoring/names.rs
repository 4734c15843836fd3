//! The names of metrics that rules, boards and documents use.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::{boards, files, read};

/// Words that begin like a metric and are none: roles and a database of Postgres, and the slice of the cells.
const OTHER_WORDS: [&str; 6] =
    ["assize_owner", "assize_api", "assize_worker", "assize_monitor", "assize_old", "assize_assize"];

/// Metrics that `assize backup` and the drill write to files for the node exporter, and that no process serves.
pub const TEXTFILE: [&str; 3] = [
    "assize_backup_last_success_timestamp_seconds",
    "assize_restore_drill_last_success_timestamp_seconds",
    "assize_restore_drill_duration_seconds",
];

/// The names in a text, without the endings of histograms.
pub fn metrics_in(text: &str) -> BTreeSet<String> {
    let recorded = Regex::new(r"\w+:\w+:\w+").unwrap();
    let text = recorded.replace_all(text, "");
    let name = Regex::new(r"\bassize_[a-z][a-z_]*[a-z]\b").unwrap();
    let names = name.find_iter(&text).map(|found| {
        let name = found.as_str();
        let endings = ["_bucket", "_count", "_sum"];
        endings.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
    });
    names.filter(|name| !OTHER_WORDS.contains(&name.as_str())).collect()
}

/// The metrics that each file names.
pub fn metrics_by_file() -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::new();
    for (folder, endings) in
        [("prometheus", &["yml", "md"][..]), ("grafana", &["json", "yml", "md"]), ("docs", &["md"])]
    {
        for (path, text) in files(folder, endings) {
            found.insert(path, metrics_in(&text));
        }
    }
    found
}

#[test]
fn names_are_read_as_prometheus_reads_them() {
    let text = "sum by (le) (rate(assize_a_seconds_bucket[5m])) / template:assize_b:ratio_rate5m > assize_c_total, assize_owner";
    assert_eq!(metrics_in(text).into_iter().collect::<Vec<_>>(), ["assize_a_seconds", "assize_c_total"]);
}

/// A recorded series that is renamed leaves an alert that can never fire.
#[test]
fn every_recorded_series_that_is_used_is_recorded_and_the_other_way_round() {
    let rules = read("prometheus/rules/recording.yml");
    let recorded: BTreeSet<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).map(str::trim).collect();
    assert!(recorded.len() > 10);
    let series = Regex::new(r"\b(?:assize|template|query):\w+:\w+\b").unwrap();
    let alerts = files("prometheus/rules", &["yml"]).into_iter().map(|(path, text)| {
        (path, text.lines().filter(|line| !line.contains("- record: ")).map(|line| format!("{line}\n")).collect())
    });
    let boards = boards::all().into_iter().map(|board| (board.path.clone(), board.content.to_string()));
    let mut used = BTreeSet::new();
    for (path, text) in alerts.chain(boards) {
        for found in series.find_iter(&text) {
            assert!(recorded.contains(found.as_str()), "{path} uses {}, which nothing records", found.as_str());
            used.insert(found.as_str().to_owned());
        }
    }
    let unused: Vec<&&str> = recorded.iter().filter(|name| !used.contains(**name)).collect();
    assert!(unused.is_empty(), "nothing uses {unused:?}");
}
