//! The figures of a recording as tables in Markdown.

use std::collections::BTreeMap;

use super::analysis::{self, Figures, Quantiles};
use super::recording::Recording;
use super::stats;

/// Returns the figures of all phases as tables in Markdown.
pub fn waves(recording: &Recording) -> String {
    tables(&analysis::figures(recording))
}

/// Returns a table in Markdown.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let rule = format!("|{}\n", "---|".repeat(header.len()));
    line(&header) + &rule + &rows.iter().map(|row| line(row)).collect::<String>()
}

/// Returns the figures as tables in Markdown.
fn tables(all: &[Figures]) -> String {
    let quantiles = |of: &Option<Quantiles>| {
        of.map_or_else(
            || vec!["-".to_owned(); 3],
            |q| [q.p50, q.p95, q.p99].map(|value| format!("{value:.1}")).to_vec(),
        )
    };
    let mut overview = Vec::new();
    for figures in all {
        let little = figures.little.map_or("-".to_owned(), |(counted, law)| format!("{counted:.1} / {law:.1}"));
        let infrastructure = stats::share(figures.infrastructure, figures.ended);
        let lag = figures.lag_p99_ms.map_or("-".to_owned(), |lag| format!("{lag:.0}"));
        let mut row = vec![
            figures.phase.name.clone(),
            figures.ended.to_string(),
            format!("{:.2}", figures.per_second),
            format!("{} (< {:.2} %)", figures.infrastructure, infrastructure.upper * 100.0),
            figures.retried.to_string(),
        ];
        row.extend(quantiles(&figures.queue_wait));
        row.extend([figures.latency.map_or("-".to_owned(), |latency| format!("{:.1}", latency.p95))]);
        row.extend([little, lag, figures.void().map_or("yes".to_owned(), |why| format!("no: {why}"))]);
        overview.push(row);
    }
    let mut text = table(
        &[
            "phase",
            "ended",
            "per s",
            "infrastructure",
            "retried",
            "queue wait p50 s",
            "p95",
            "p99",
            "whole p95",
            "in flight / rate x time",
            "lag p99 ms",
            "valid",
        ],
        &overview,
    );
    let mut classes = Vec::new();
    for figures in all {
        for (class, times) in &figures.run_time {
            let mut row = vec![figures.phase.name.clone(), class.to_string(), times.count.to_string()];
            row.extend(quantiles(&Some(*times)));
            row.push(format!("{:.1}", times.max));
            classes.push(row);
        }
    }
    text += &format!("\n{}", table(&["phase", "class", "runs", "run time p50 s", "p95", "p99", "max"], &classes));
    text += &format!("\n{}", counts("outcome", all, |figures| &figures.outcomes));
    text += &format!("\n{}", counts("time-out in stage", all, |figures| &figures.timeouts));
    text += &format!("\n{}", estimates(all));
    text += &format!("\n{}", named("saturation", all, |figures| &figures.saturation));
    text += &format!("\n{}", named("CPU seconds per evaluation", all, |figures| &figures.cost));
    text
}

fn counts(name: &str, all: &[Figures], counts: impl Fn(&Figures) -> &BTreeMap<(String, String), u64>) -> String {
    let rows: Vec<Vec<String>> = all
        .iter()
        .flat_map(|figures| counts(figures).iter().map(|(key, count)| (figures.phase.name.clone(), key, count)))
        .map(|(phase, (class, key), count)| vec![phase, class.clone(), key.clone(), count.to_string()])
        .collect();
    table(&["phase", "class", name, "runs"], &rows)
}

fn estimates(all: &[Figures]) -> String {
    let row = |figures: &Figures| {
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
        let error = figures.estimate_error;
        let shares: Vec<String> = figures.waiting_for.iter().map(|(code, count)| format!("{code} {count}")).collect();
        vec![
            figures.phase.name.clone(),
            error.map_or(0, |error| error.count).to_string(),
            number(error.map(|error| error.p50)),
            number(error.map(|error| error.p95)),
            number(figures.estimate_bias_s),
            shares.join(", "),
        ]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    table(&["phase", "estimates", "error p50 s", "p95", "start less estimate, median s", "waited for"], &rows)
}

fn named<'a>(name: &str, all: &'a [Figures], values: impl Fn(&'a Figures) -> &'a Vec<(&'static str, f64)>) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (value, _) in all.iter().flat_map(&values) {
        if !names.contains(value) {
            names.push(value);
        }
    }
    let header: Vec<&str> =
        std::iter::once(name).chain(all.iter().map(|figures| figures.phase.name.as_str())).collect();
    let row = |name: &&str| {
        let value = |figures| values(figures).iter().find(|(other, _)| other == name).map(|(_, value)| *value);
        let cells = all.iter().map(|figures| value(figures).map_or("-".to_owned(), |value| format!("{value:.2}")));
        std::iter::once((*name).to_owned()).chain(cells).collect::<Vec<_>>()
    };
    table(&header, &names.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::fixture;

    #[test]
    fn a_table_has_a_cell_for_every_column() {
        for line in waves(&fixture::recording()).lines().filter(|line| !line.is_empty()) {
            assert!(line.starts_with('|') && line.ends_with('|'), "{line}");
        }
        assert_eq!(table(&["a", "b"], &[vec!["1".to_owned(), "2".to_owned()]]), "| a | b |\n|---|---|\n| 1 | 2 |\n");
    }
}
