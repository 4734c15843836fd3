//! The alerts of `prometheus/rules/`, and that each has what its receiver needs.

use super::{boards, files, read};

/// An alert as its file has it.
pub struct Alert {
    pub name: String,
    /// The lines from the name to the next alert.
    text: String,
}

impl Alert {
    /// The value of a key that stands on a line of its own, without quotes; empty if there is none.
    pub fn value(&self, key: &str) -> String {
        let start = format!("{key}: ");
        let line = self.text.lines().find_map(|line| line.trim().strip_prefix(&start)).unwrap_or_default();
        line.trim_matches(|c| c == '"' || c == '\'').to_owned()
    }

    pub fn severity(&self) -> String {
        let labels = self.value("labels");
        labels.trim_start_matches("{severity: ").trim_end_matches('}').to_owned()
    }
}

/// Every alert, in the order of the files.
pub fn all() -> Vec<Alert> {
    let mut alerts = Vec::new();
    for (_, text) in files("prometheus/rules", &["yml"]) {
        for block in text.split("- alert: ").skip(1) {
            let (name, text) = block.split_once('\n').unwrap();
            // The next group begins at the margin of the list of groups.
            let text = text.split("\n  - name:").next().unwrap_or_default();
            alerts.push(Alert { name: name.trim().to_owned(), text: text.to_owned() });
        }
    }
    assert!(alerts.len() > 50, "the alerts are not found");
    alerts
}

#[test]
fn every_alert_has_what_its_receiver_needs() {
    let boards: Vec<String> = boards::all().iter().map(|board| format!("/d/{}", board.uid())).collect();
    let mut wrong = Vec::new();
    for alert in all() {
        let name = &alert.name;
        let mut check = |holds: bool, problem: &str| {
            if !holds {
                wrong.push(format!("{name}: {problem}"));
            }
        };
        let is_switch = name == "DeadMansSwitch";
        let severities: &[&str] = if is_switch { &["heartbeat"] } else { &["page", "ticket"] };
        check(severities.contains(&alert.severity().as_str()), "the severity is not page or ticket");
        check(!alert.value("summary").is_empty(), "it has no summary");
        check(!alert.value("summary").ends_with('.'), "the summary is a heading, without a full stop");
        check(alert.value("description").ends_with('.'), "the description is not a sentence");
        check(alert.value("runbook_url") == format!("docs/runbooks/{name}.md"), "runbook_url is not its own page");
        check(boards.contains(&alert.value("dashboard")), "dashboard is not the address of a board");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_two_alerts_have_one_name() {
    let mut names: Vec<String> = all().into_iter().map(|alert| alert.name).collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn every_alert_is_seen_firing_and_silent() {
    let tests: String = files("prometheus/tests", &["yml"]).into_iter().map(|(_, text)| text).collect();
    let mut wrong = Vec::new();
    for Alert { name, .. } in all() {
        if !tests.contains(&format!("alertname: {name}\n        exp_alerts:\n          - exp_labels:")) {
            wrong.push(format!("{name} fires in no test"));
        }
        if !tests.contains(&format!("alertname: {name}, exp_alerts: []")) && name != "DeadMansSwitch" {
            wrong.push(format!("{name} is silent in no test"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A route or an inhibition that names an alert of yesterday does nothing, and nobody notices.
#[test]
fn the_settings_of_alertmanager_name_alerts_that_exist() {
    let names: Vec<String> = all().into_iter().map(|alert| alert.name).collect();
    let settings = read("prometheus/alertmanager.yml");
    let mut seen = 0;
    for line in settings.lines().filter(|line| line.contains("alertname ")) {
        let (_, pattern) = line.split_once("alertname ").unwrap();
        let pattern = pattern.trim_start_matches(['=', '~', ' ', '"']);
        let pattern: String = pattern.chars().take_while(|c| !"\"']".contains(*c)).collect();
        let (start, ends) = pattern.split_once('(').unwrap_or((&pattern, ""));
        for end in ends.trim_end_matches(')').split('|') {
            seen += 1;
            let name = format!("{start}{end}");
            assert!(names.contains(&name), "alertmanager.yml names {name}, which is no alert");
        }
    }
    assert!(seen > 10, "{seen}");
}
