//! How many runs end per second when 64 come at once, against a loop over the engine, and what a
//! run costs beside its cell.

use std::sync::Arc;

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt};

use crate::Scale;
use crate::archives;
use crate::client::form;
use crate::figure::{Bar, Figure, count, median};
use crate::installation::{MeasuredInstallation, templates};
use crate::load::{cpu_ms, tree_cpu_ms};
use crate::raw::Raw;

/// Runs in a burst, and containers in a loop.
const BURST: usize = 64;

/// Uploads at one time; all of them are in before the fourth run has ended.
const UPLOADS: usize = 16;

/// How many containers the loop tries to have at one time; the best counts.
const AT_ONCE: [usize; 4] = [1, 2, 4, 8];

#[derive(Default)]
struct Samples {
    runs: Vec<f64>,
    bare: Vec<f64>,
    at_once: usize,
    api_cpu: Vec<f64>,
    worker_cpu: Vec<f64>,
    postgres_cpu: Vec<f64>,
    redis_cpu: Vec<f64>,
}

pub async fn measure(scale: Scale) -> Result<Vec<Figure>> {
    let raw = Arc::new(Raw::like("trivial").await?);
    let installation = MeasuredInstallation::start(&templates()).await?;
    let sampled = sample(scale, &installation, &raw).await;
    raw.clear().await?;
    installation.stop().await?;
    let samples = sampled?;

    let (runs, bare) = (median(&samples.runs), median(&samples.bare));
    let (api, worker) = (median(&samples.api_cpu), median(&samples.worker_cpu));
    Ok(vec![
        Figure::new("burst_ratio", runs / bare, "", Bar::AtLeast(1.6)).with(format!(
            "{runs:.2} runs/s / {bare:.2} bare containers/s at {} at once, medians of {} rounds of {BURST}",
            samples.at_once, scale.rounds
        )),
        Figure::reported("burst_runs_per_s", runs, "1/s"),
        Figure::reported("bare_containers_per_s", bare, "1/s"),
        Figure::new("cpu_added_ms_per_run", api + worker, "ms", Bar::AtMost(5.0))
            .with(format!("API {api:.2} + worker {worker:.2}; nobody polls or watches")),
        Figure::reported("postgres_cpu_ms_per_run", median(&samples.postgres_cpu), "ms"),
        Figure::reported("redis_cpu_ms_per_run", median(&samples.redis_cpu), "ms"),
    ])
}

async fn sample(scale: Scale, installation: &MeasuredInstallation, raw: &Arc<Raw>) -> Result<Samples> {
    let script = archives::passing_script()?;
    let mut samples = Samples::default();
    let mut best = 0.0;
    for at_once in AT_ONCE {
        let rate = raw.rate(&script, BURST, at_once).await?;
        eprintln!("  bare, {at_once} at once: {rate:.2}/s");
        if rate > best {
            (best, samples.at_once) = (rate, at_once);
        }
    }
    burst(installation, &script).await?;
    for _ in 0..scale.rounds {
        let before = Costs::measure(installation)?;
        let runs = burst(installation, &script).await?;
        let after = Costs::measure(installation)?;
        let bare = raw.rate(&script, BURST, samples.at_once).await?;
        eprintln!("  {runs:.2} runs/s, {bare:.2} bare/s");
        samples.runs.push(runs);
        samples.bare.push(bare);
        let each = |after: f64, before: f64| (after - before) / count(BURST);
        samples.api_cpu.push(each(after.api, before.api));
        samples.worker_cpu.push(each(after.worker, before.worker));
        samples.postgres_cpu.push(each(after.postgres, before.postgres));
        samples.redis_cpu.push(each(after.redis, before.redis));
    }
    Ok(samples)
}

/// Runs per second, from the first 202 to the last end.
async fn burst(installation: &MeasuredInstallation, script: &str) -> Result<f64> {
    let archives = (0..BURST).map(|_| archives::padded(script, 1_000)).collect::<Result<Vec<_>>>()?;
    let forms = archives.iter().map(|archive| form("trivial", archive));
    let accepted: Vec<_> = futures_util::stream::iter(forms.map(|form| installation.client.submit(form)))
        .buffer_unordered(UPLOADS)
        .try_collect()
        .await?;
    let first = accepted.iter().map(|accepted| accepted.at_wall).min().context("no burst")?;
    let runs: Vec<_> = accepted.iter().map(|accepted| accepted.run).collect();
    let rows = installation.ended(&runs).await?;
    let last = rows.iter().filter_map(|row| row.finished_at).max().context("no run has ended")?;
    Ok(count(BURST) / (last - first).as_seconds_f64())
}

struct Costs {
    api: f64,
    worker: f64,
    postgres: f64,
    redis: f64,
}

impl Costs {
    fn measure(installation: &MeasuredInstallation) -> Result<Self> {
        Ok(Self {
            api: cpu_ms(installation.api_pid()?)?,
            worker: cpu_ms(installation.worker_pid()?)?,
            postgres: tree_cpu_ms(installation.postgres_pid()?)?,
            redis: cpu_ms(installation.redis_pid()?)?,
        })
    }
}
