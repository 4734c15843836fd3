//! `make gate`: checks the five conditions of the plan with the data of a load or a soak, and signs the outcome.
//!
//! The settings are environment variables: `RESULT` (the folder of a recording; by default the newest one of `make soak`)
//! and `KEY` (the file of the private key that signs; by default `target/gate/signing.key`, which is created).
//!
//! The exit code is 0 if every condition passed and every planted fault was found, 1 if a condition failed, and 3 if
//! something could not be shown.

mod chart;
mod conditions;
#[cfg(test)]
pub mod fixture;
mod growth;
mod planted;
mod plots;
mod readiness;
mod report;
mod thresholds;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use assize_host::clock::Clock;

use self::conditions::Outcome;
use self::thresholds::Thresholds;
use super::recording::{FILES, Recording};
use super::{head, site};

/// The exit code if nothing failed and something could not be shown.
const NOT_SHOWN: u8 = 3;

/// Checks a recording and writes `report.md`, the charts and `readiness.json` beside it.
pub fn run() -> Result<ExitCode> {
    let path = |name: &str| std::env::var_os(name).filter(|text| !text.is_empty()).map(PathBuf::from);
    let folder = path("RESULT").unwrap_or_else(|| site::target().join("soak/latest"));
    ensure!(folder.is_dir(), "{} is no folder; run `make soak`, or set RESULT", folder.display());
    let key_path = path("KEY").unwrap_or_else(|| site::target().join("gate/signing.key"));
    let recording = Recording::read(&folder)?;
    let thresholds = Thresholds::committed()?;
    let conditions = conditions::conditions(&recording, &thresholds);
    let findings = planted::findings(&recording, &thresholds);
    let mut plots = Vec::new();
    for (name, chart) in plots::plots(&recording) {
        std::fs::write(folder.join(name), chart.svg()).with_context(|| format!("cannot write {name}"))?;
        plots.push(name);
    }
    let mut files = digests(&folder, FILES.iter().chain(&plots))?;
    let text = report::markdown(&recording, &conditions, &findings, &plots, &files);
    std::fs::write(folder.join("report.md"), text)?;
    files.extend(digests(&folder, ["report.md"].iter())?);
    if let Some(parent) = key_path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let key = readiness::signing_key(&key_path)?;
    let now = Clock::system().wall();
    let envelope = readiness::sign(&key, &recording, &conditions, &findings, &files, now)?;
    std::fs::write(folder.join("readiness.json"), format!("{}\n", serde_json::to_string(&envelope)?))?;
    std::fs::write(folder.join("public.pem"), key.public().to_pem())?;
    for condition in &conditions {
        println!("{:<16} {}", condition.name, condition.outcome().text());
        for check in condition.checks.iter().filter(|check| check.outcome != Outcome::Passed) {
            println!("  {} is {} ({}): {}", check.name, check.value, check.threshold, check.reason);
        }
    }
    for finding in findings.iter().filter(|finding| !finding.found) {
        println!("a planted fault was not found: {}", finding.fault);
    }
    println!("{}", report::summary(&conditions, &findings));
    println!("the report is {}/report.md; check it with", folder.display());
    println!("assize verify {0}/readiness.json --key {0}/public.pem --artifacts {0}", folder.display());
    let worst = conditions.iter().map(conditions::Condition::outcome).max();
    Ok(match worst {
        Some(Outcome::Failed) => ExitCode::FAILURE,
        Some(Outcome::Passed) if readiness::is_ready(&conditions, &findings) => ExitCode::SUCCESS,
        _ => ExitCode::from(NOT_SHOWN),
    })
}

fn digests<'a>(folder: &Path, names: impl Iterator<Item = &'a &'a str>) -> Result<Vec<(String, String)>> {
    names.map(|name| Ok(((*name).to_owned(), head::sha256_of(&folder.join(name))?))).collect()
}
