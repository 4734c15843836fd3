//! What became of an archive: which folder became the top, and what is not unpacked as it is.

use serde::Deserialize;
use serde_json::Value;

use crate::terminal::printable;

/// Names that are shown of each answer.
const MAX_NAMES: usize = 20;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Contents {
    top: String,
    ignored: Vec<Ignored>,
    beside_top: u64,
    links_left_out: u64,
    links_as_files: u64,
    examples: Vec<Example>,
}

#[derive(Debug, Deserialize)]
struct Ignored {
    pattern: String,
    entries: u64,
}

#[derive(Debug, Deserialize)]
struct Example {
    name: String,
    reason: String,
}

/// The lines that tell it, each with its label; none if everything is unpacked as it is. Text from outside is printable.
#[must_use]
pub fn lines(contents: &Value) -> Vec<(&'static str, String)> {
    // An older service has no such field, and a newer one may have more in it.
    let Ok(contents) = serde_json::from_value::<Contents>(contents.clone()) else { return Vec::new() };
    let mut lines = Vec::new();
    if !contents.top.is_empty() {
        lines.push(("top", format!("{}/ became the top of the project", printable(&contents.top))));
    }
    if !contents.ignored.is_empty() {
        let all: Vec<String> = contents
            .ignored
            .iter()
            .map(|ignored| format!("{} ({})", shown(&ignored.pattern), ignored.entries))
            .collect();
        lines.push(("ignored", all.join(", ")));
    }
    for (count, what) in
        [(contents.beside_top, "beside the top"), (contents.links_left_out, "links that lead out of the archive")]
    {
        if count > 0 {
            lines.push(("left out", format!("{count} {what}")));
        }
    }
    if contents.links_as_files > 0 {
        lines.push(("links", format!("{} became files that hold their targets", contents.links_as_files)));
    }
    for example in contents.examples.iter().take(MAX_NAMES) {
        let reason = match example.reason.as_str() {
            "ignored" => "ignored",
            "beside_top" => "left out, beside the top",
            "link_left_out" => "left out, a link that leads out of the archive",
            "link_as_file" => "a link, now a file",
            other => other,
        };
        lines.push(("", format!("{} ({})", printable(&example.name), printable(reason))));
    }
    lines
}

/// A pattern may have a control character in it, as that of `Icon\r` has.
fn shown(pattern: &str) -> String {
    printable(&pattern.escape_debug().to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::lines;

    #[test]
    fn every_part_has_a_line() {
        let contents = json!({
            "top": "hw3",
            "ignored": [{"pattern": "Icon\r", "entries": 1}, {"pattern": "venv/", "entries": 16}],
            "beside_top": 2, "links_left_out": 1, "links_as_files": 3, "surprise": true,
            "examples": [{"name": "venv/", "reason": "ignored"}, {"name": "a\u{1b}[2J", "reason": "new"}],
        });
        let lines: Vec<String> = lines(&contents).into_iter().map(|(label, text)| format!("{label}: {text}")).collect();
        assert_eq!(lines[0], "top: hw3/ became the top of the project");
        assert_eq!(lines[1], "ignored: Icon\\r (1), venv/ (16)");
        assert_eq!(lines[2], "left out: 2 beside the top");
        assert_eq!(lines[4], "links: 3 became files that hold their targets");
        assert!(lines[5] == ": venv/ (ignored)" && !lines[6].contains('\u{1b}'), "{lines:?}");
    }

    #[test]
    fn nothing_is_said_of_an_archive_that_is_whole_or_unknown() {
        assert!(lines(&json!({})).is_empty() && lines(&json!(null)).is_empty() && lines(&json!({"top": 7})).is_empty());
    }
}
