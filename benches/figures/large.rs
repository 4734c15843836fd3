//! What one large archive costs in memory: it must pass through in pieces.

use std::fs;

use anyhow::{Context, Result};

use crate::archives;
use crate::client::form;
use crate::figure::{Bar, Figure, count};
use crate::installation::{MeasuredInstallation, templates};
use crate::load::{memory_mib, reset_peak};

/// Bytes that nothing can pack; with its frame it stays below `max_archive_bytes`.
const BYTES: usize = 95_000_000;

/// A workspace that holds them, in memory as a cell's workspace is.
const TEMPLATE: &str = "roomy";
const WORKSPACE_MIB: usize = 128;
const MEMORY_MIB: usize = 384;

pub async fn measure() -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let plain = fs::read_to_string(templates().join("trivial/template.toml"))?;
    let roomy = set(&set(&plain, "workspace_mib", WORKSPACE_MIB)?, "memory_mib", MEMORY_MIB)?;
    fs::create_dir(folder.path().join(TEMPLATE))?;
    fs::write(folder.path().join(TEMPLATE).join("template.toml"), roomy)?;

    let installation = MeasuredInstallation::start(folder.path()).await?;
    let measured = submit(&installation).await;
    installation.stop().await?;
    measured
}

async fn submit(installation: &MeasuredInstallation) -> Result<Vec<Figure>> {
    let script = archives::passing_script()?;
    let small = installation.client.submit(form(TEMPLATE, &archives::padded(&script, 1_000)?)).await?;
    installation.ended(&[small.run]).await?;
    let large = form(TEMPLATE, &archives::padded(&script, BYTES)?);

    let pids = [installation.api_pid()?, installation.worker_pid()?];
    let mut before = [0.0; 2];
    for (pid, before) in pids.iter().zip(&mut before) {
        reset_peak(*pid)?;
        *before = memory_mib(*pid, "status", "VmRSS")?;
    }
    let accepted = installation.client.submit(large).await?;
    installation.ended(&[accepted.run]).await?;
    let mut grown = [0.0; 2];
    for ((pid, before), grown) in pids.iter().zip(&before).zip(&mut grown) {
        *grown = memory_mib(*pid, "status", "VmHWM")? - before;
    }
    let [api, worker] = grown;
    Ok(vec![Figure::new("archive_100mb_growth_mb", api.max(worker), "MiB", Bar::AtMost(32.0)).with(format!(
        "the larger of API {api:.1} and worker {worker:.1}: peak resident over resident before, {:.1} MB archive",
        count(BYTES) / 1e6
    ))])
}

/// The template with another value for one of its limits.
fn set(template: &str, key: &str, value: usize) -> Result<String> {
    let line = template.lines().find(|line| line.starts_with(key)).with_context(|| format!("no {key}"))?;
    Ok(template.replace(line, &format!("{key} = {value}")))
}
