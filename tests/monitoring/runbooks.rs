//! The pages of the alerts: one for each, in one form.

use std::fmt::Write;

use super::alerts::{self, Alert};
use super::{files, root};

const HEADINGS: [&str; 5] = ["Means", "Impact", "Look", "Do", "Verify"];

const INDEX: &str = "docs/runbooks/README.md";

#[test]
fn every_alert_has_a_page_and_every_page_an_alert() {
    let pages = files("docs/runbooks", &["md"]);
    let alerts = alerts::all();
    let path = |alert: &Alert| format!("docs/runbooks/{}.md", alert.name);
    let mut wrong = Vec::new();
    for alert in &alerts {
        let Some((_, text)) = pages.iter().find(|(page, _)| *page == path(alert)) else {
            wrong.push(format!("{} has no page", alert.name));
            continue;
        };
        if text.lines().next() != Some(&format!("# {}", alert.name)) {
            wrong.push(format!("the page of {} does not begin with its name", alert.name));
        }
        let headings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        if headings != HEADINGS {
            wrong.push(format!("the page of {} has the headings {headings:?}, not {HEADINGS:?}", alert.name));
        }
        for (heading, part) in headings.iter().zip(text.split("\n## ").skip(1)) {
            if part.trim() == *heading {
                wrong.push(format!("the page of {} says nothing under {heading}", alert.name));
            }
        }
    }
    let known = |page: &str| page == INDEX || alerts.iter().any(|alert| path(alert) == page);
    wrong.extend(pages.iter().filter(|(page, _)| !known(page)).map(|(page, _)| format!("{page} has no alert")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `UPDATE_SNAPSHOTS=1` writes the index instead of comparing it.
#[test]
fn the_index_lists_every_alert() {
    let path = root(INDEX);
    let index = index();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &index).unwrap();
    }
    let seen = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(seen, index, "run `UPDATE_SNAPSHOTS=1 cargo test --test monitoring`");
}

fn index() -> String {
    let mut text = "# Runbooks\n\n\
        One page for each alert of [prometheus](../../prometheus/README.md). Each says what the alert means, whom it\n\
        hurts, where to look, what to do, and how to see that it is over. A `page` wakes somebody; a `ticket` waits for the\n\
        next working day.\n\n\
        The commands are for root on the host, with `export ASSIZE_CONFIG=/etc/assize/assize.toml`. They name the first\n\
        instance of each unit; during an upgrade the second runs too.\n\n\
        | alert | severity | what it reports |\n|---|---|---|\n"
        .to_owned();
    for alert in alerts::all() {
        let Alert { name, .. } = &alert;
        let summary = plain(&alert.value("summary"));
        writeln!(text, "| [{name}]({name}.md) | {} | {summary} |", alert.severity()).unwrap();
    }
    text
}

/// A text with the names of its labels in place of their values.
fn plain(template: &str) -> String {
    template.replace("{{ $labels.", "*").replace(" }}", "*")
}
