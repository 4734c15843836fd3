//! The keys that `template.toml` may have, for a complaint that suggests the right one.

use toml::{Table, Value};

use super::complaint::{Complaint, TEMPLATE_FILE};

/// Each section with its keys; `""` is the top.
const SECTIONS: [(&str, &[&str]); 12] = [
    (
        "",
        &[
            "description",
            "class",
            "image",
            "runtime",
            "limits",
            "archive",
            "stages",
            "driver",
            "results",
            "tests",
            "parameters",
            "artifacts",
            "global",
        ],
    ),
    ("limits", &LIMITS),
    (
        "archive",
        &[
            "max_bytes",
            "max_entries",
            "max_unpacked_bytes",
            "max_ratio",
            "max_name_bytes",
            "max_depth",
            "allow",
            "deny",
            "deny_content",
            "ignore",
            "root",
            "names",
        ],
    ),
    ("stages", &["name", "command", "timeout_s", "env", "ready", "egress", "egress_quota"]),
    (
        "driver",
        &[
            "image",
            "subject",
            "fresh",
            "kind",
            "command",
            "program",
            "checker",
            "checker_timeout_s",
            "timeout_s",
            "limits",
            "env",
        ],
    ),
    ("driver.limits", &LIMITS),
    (
        "results",
        &[
            "format",
            "path",
            "max_kib",
            "expect_tests",
            "max_score",
            "extra_credit",
            "exit_code",
            "on_driver_failure",
            "progress",
        ],
    ),
    ("tests", &["match", "points", "visibility", "name"]),
    ("parameters", &["user"]),
    ("artifacts", &["driver", "subject", "max_files", "max_kib", "kinds", "visibility"]),
    ("global", &["timeout_s"]),
    ("stages.ready", &["port", "http"]),
];

const LIMITS: [&str; 6] = ["cpus", "memory_mib", "pids", "workspace_mib", "workspace_inodes", "tmp_mib"];

/// How similar a key must be to be suggested.
const SIMILAR: f64 = 0.6;

/// Removes every unknown key, so that the rest can be examined, and complains about each.
pub(super) fn take_unknown(table: &mut Table) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    take("", table, &mut complaints);
    complaints
}

fn take(section: &str, table: &mut Table, complaints: &mut Vec<Complaint>) {
    let Some((_, keys)) = SECTIONS.iter().find(|(name, _)| *name == section) else { return };
    let path = |key: &str| if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
    for key in table.keys().filter(|key| !keys.contains(&key.as_str())) {
        let place = if section.is_empty() { "at the top".to_owned() } else { format!("in {section}") };
        let advice = match most_similar(key, keys) {
            Some(similar) => format!("did you mean `{similar}`?"),
            None => format!("remove it, or use one of: {}", keys.join(", ")),
        };
        complaints.push(Complaint::error(
            TEMPLATE_FILE,
            &path(key),
            format!("there is no key `{key}` {place}"),
            advice,
        ));
    }
    table.retain(|key, _| keys.contains(&key));
    for (key, value) in table.iter_mut() {
        match value {
            Value::Table(inner) => take(&path(key), inner, complaints),
            Value::Array(items) => {
                for inner in items.iter_mut().filter_map(Value::as_table_mut) {
                    take(&path(key), inner, complaints);
                }
            }
            _ => {}
        }
    }
}

fn most_similar<'a>(key: &str, keys: &[&'a str]) -> Option<&'a str> {
    let similarity = |other: &str| strsim::normalized_damerau_levenshtein(key, other);
    let starts = keys.iter().copied().find(|other| other.starts_with(key) && key.len() > 3);
    let nearest = keys.iter().copied().max_by(|one, other| similarity(one).total_cmp(&similarity(other)));
    starts.or_else(|| nearest.filter(|other| similarity(other) >= SIMILAR))
}

/// The key that a reason names; empty if it names none.
pub(super) fn named_in(reason: &str) -> String {
    let marks = |c: char| !(c.is_alphanumeric() || c == '_' || c == '.');
    let words = reason.split_whitespace().map(|word| word.trim_matches(marks).trim_matches('.'));
    let is_section = |word: &str| SECTIONS.iter().any(|(name, _)| !name.is_empty() && *name == word);
    for word in words {
        if is_section(word.split('.').next().unwrap_or_default()) {
            return word.to_owned();
        }
        if word == "stage" {
            return "stages".to_owned();
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::file::File;

    /// A key of the list that no template may have, or a key that is missing from it, would mislead an author.
    #[test]
    fn the_list_has_the_keys_that_a_template_may_have() {
        for (section, keys) in SECTIONS {
            let unknown = unknown_field(section, "no_such_key").unwrap_or_else(|| panic!("[{section}] takes any key"));
            for key in keys {
                assert!(unknown.contains(&format!("`{key}`")), "[{section}] has no {key}: {unknown}");
            }
            let known = unknown.matches('`').count() / 2 - 1;
            assert_eq!(known, keys.len(), "[{section}]: {unknown}");
        }
    }

    /// What is answered to a key that a section does not have.
    fn unknown_field(section: &str, key: &str) -> Option<String> {
        let text = match section {
            "" => format!("{key} = 1"),
            "stages.ready" => format!("[[stages]]\nready = {{ {key} = 1 }}"),
            "stages" | "tests" => format!("[[{section}]]\n{key} = 1"),
            section => format!("[{section}]\n{key} = 1"),
        };
        let error = toml::from_str::<File>(&text).unwrap_err().to_string();
        error.lines().find(|line| line.contains("unknown field")).map(str::to_owned)
    }

    #[test]
    fn a_reason_names_its_key() {
        for (reason, key) in [
            ("limits.pids is 1, it must be 4 to 32768", "limits.pids"),
            ("stage start: `ready` must be set", "stages"),
            ("with a [driver] there is no tests stage", "driver"),
            ("`match` of [[tests]] number 2 has 0 bytes", "tests"),
            ("results.path must be absolute", "results.path"),
            ("cannot pack tests/: it is too large", "tests"),
            ("nothing at all", ""),
        ] {
            assert_eq!(named_in(reason), key, "{reason}");
        }
    }
}
