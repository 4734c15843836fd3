//! The boards of Grafana: what a board must have so that its reader need not guess.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{files, promtool, root};

/// A board as its file has it.
pub struct Board {
    pub path: String,
    pub content: Value,
}

impl Board {
    pub fn uid(&self) -> &str {
        self.content["uid"].as_str().unwrap()
    }

    /// The panels that show something.
    fn panels(&self) -> impl Iterator<Item = &Value> {
        self.content["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row")
    }

    /// Every expression, with the title of its panel.
    pub fn expressions(&self) -> Vec<(String, String)> {
        let of_panel = |panel: &Value| {
            let title = text(&panel["title"]).to_owned();
            let targets = panel["targets"].as_array().unwrap().clone();
            targets.into_iter().map(move |target| (title.clone(), text(&target["expr"]).to_owned()))
        };
        let annotations = self.content["annotations"]["list"].as_array().unwrap().iter();
        let annotations = annotations.map(|entry| (text(&entry["name"]).to_owned(), text(&entry["expr"]).to_owned()));
        self.panels().flat_map(of_panel).chain(annotations).collect()
    }
}

pub fn all() -> Vec<Board> {
    let boards = files("grafana/boards", &["json"]);
    boards.into_iter().map(|(path, text)| Board { content: serde_json::from_str(&text).expect(&path), path }).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn every_board_can_be_read_without_its_author() {
    const SOURCE: &str = "${datasource}";
    let (mut wrong, mut uids) = (Vec::new(), BTreeSet::new());
    for board in all() {
        if !board.uid().starts_with("assize-") || !uids.insert(board.uid().to_owned()) {
            wrong.push(format!("{}: the uid {} is not its own", board.path, board.uid()));
        }
        let variables = board.content["templating"]["list"].as_array().unwrap();
        if !variables.iter().any(|variable| variable["name"] == "datasource" && variable["type"] == "datasource") {
            wrong.push(format!("{}: it has no variable for the data source", board.path));
        }
        let mut ids = BTreeSet::new();
        for panel in board.panels() {
            let title = text(&panel["title"]);
            let mut check = |holds: bool, problem: &str| {
                if !holds {
                    wrong.push(format!("{}: panel {title:?}: {problem}", board.path));
                }
            };
            check(!title.is_empty(), "it has no title");
            check(ids.insert(panel["id"].to_string()), "another panel has its id");
            check(text(&panel["description"]).ends_with('.'), "it has no description");
            check(!text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty(), "it has no unit");
            check(panel["datasource"]["uid"] == SOURCE, "its data source is fixed");
            let targets = panel["targets"].as_array().unwrap();
            check(targets.iter().all(|target| target["datasource"]["uid"] == SOURCE), "a data source is fixed");
            let pages: Vec<&str> = panel["links"].as_array().unwrap().iter().map(|link| text(&link["url"])).collect();
            check(!pages.is_empty(), "it has no link to a page");
            for page in pages {
                let page = page.strip_prefix("${runbooks}/").unwrap_or_default();
                check(root("docs/runbooks").join(page).is_file(), "it links to a page that does not exist");
            }
            let place = &panel["gridPos"];
            check(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24, "it is wider than the board");
        }
    }
    assert_eq!(uids.len(), 3);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A fixed range is empty where the scrape interval is longer, and hides peaks where the board shows a month.
#[test]
fn every_range_of_a_board_follows_its_interval() {
    for board in all() {
        for (title, expression) in board.expressions() {
            for range in expression.split('[').skip(1) {
                assert!(range.starts_with("$__rate_interval]"), "{}: {title}: {expression}", board.path);
            }
        }
    }
}

/// Prometheus parses the expressions as those of recording rules, so that the test needs no Grafana.
#[test]
fn every_expression_of_a_board_is_valid() {
    let mut rules = String::from("groups:\n  - name: boards\n    rules:\n");
    let mut count = 0;
    for board in all() {
        for (_, expression) in board.expressions() {
            let expression = expression.replace("$__rate_interval", "5m");
            let expression = serde_json::to_string(&expression).unwrap();
            rules.push_str(&format!("      - record: board:expression:{count}\n        expr: {expression}\n"));
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("boards.yml");
    std::fs::write(&path, rules.replace("board:expression:", "board:expression_")).unwrap();
    let printed = promtool::passes(&["check", "rules", path.to_str().unwrap()], "");
    assert!(printed.contains(&format!("{count} rules found")), "{printed}");
}
