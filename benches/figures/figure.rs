//! One measured number, what it is held to, and how all of them are shown.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

/// What a figure must be.
#[derive(Debug, Clone, Copy)]
pub enum Bar {
    AtMost(f64),
    AtLeast(f64),
    /// It is only reported.
    None,
}

/// A measured number.
#[derive(Debug, Clone)]
pub struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    bar: Bar,
    /// What it is made of, or how it was taken.
    parts: String,
}

impl Figure {
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str, bar: Bar) -> Self {
        Self { name: name.into(), value, unit, bar, parts: String::new() }
    }

    pub fn reported(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self::new(name, value, unit, Bar::None)
    }

    pub fn with(mut self, parts: impl Into<String>) -> Self {
        self.parts = parts.into();
        self
    }

    fn ok(&self) -> bool {
        match self.bar {
            Bar::AtMost(most) => self.value <= most,
            Bar::AtLeast(least) => self.value >= least,
            Bar::None => self.value.is_finite(),
        }
    }

    fn bar(&self) -> String {
        match self.bar {
            Bar::AtMost(most) => format!("<= {most}"),
            Bar::AtLeast(least) => format!(">= {least}"),
            Bar::None => String::new(),
        }
    }

    fn verdict(&self) -> &'static str {
        match (self.bar, self.ok()) {
            (Bar::None, _) => "",
            (_, true) => "ok",
            (_, false) => "MISSED",
        }
    }
}

/// All figures, for a person.
pub fn table(figures: &[Figure]) -> String {
    let rows = figures.iter().map(|figure| {
        let value = format!("{:.3}", figure.value);
        [
            figure.name.clone(),
            value,
            figure.unit.to_owned(),
            figure.bar(),
            figure.verdict().to_owned(),
            figure.parts.clone(),
        ]
    });
    let head = ["figure", "value", "unit", "bar", "", "parts"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3, 4].map(width);
    let line = |row: &[String; 6]| {
        let [name, value, unit, bar, verdict, parts] = row;
        let [a, b, c, d, e] = widths;
        format!("{name:<a$}  {value:>b$}  {unit:<c$}  {bar:<d$}  {verdict:<e$}  {parts}").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// All figures, for a program.
pub fn summary(figures: &[Figure]) -> Result<String> {
    let list: Vec<Value> = figures
        .iter()
        .map(|figure| {
            let bar = match figure.bar {
                Bar::AtMost(bar) | Bar::AtLeast(bar) => Some(bar),
                Bar::None => None,
            };
            json!({
                "name": figure.name,
                "value": figure.value,
                "unit": figure.unit,
                "bar": bar,
                "ok": figure.ok(),
            })
        })
        .collect();
    Ok(serde_json::to_string_pretty(&list)? + "\n")
}

/// The value below which `share` of the samples lie (nearest rank); not a number without samples.
pub fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (count(sorted.len()) * share).ceil().max(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank is at most the length")]
    sorted.get(rank as usize - 1).copied().unwrap_or(f64::NAN)
}

pub fn median(samples: &[f64]) -> f64 {
    quantile(samples, 0.5)
}

/// A count as a float; none here comes near 2^52.
#[expect(clippy::cast_precision_loss, reason = "counts, bytes and microseconds of one measurement")]
pub fn count(number: impl TryInto<u64>) -> f64 {
    number.try_into().map_or(f64::NAN, |number| number as f64)
}

pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
